"""The polychromatic slab."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.core.checks import DarklungError
from darklung.physics.instrument import make_instrument
from darklung.physics.materials import linear_attenuation
from darklung.physics.slab import slab_signal

WIDE = make_instrument(spectrum="tube", low_kev=25, high_kev=100, bins=15, design_energy_kev=45, flat_visibility=0.14)


def test_thin_slab_is_linear_and_thick_slab_hardens() -> None:
    mu = linear_attenuation("water", 1.0, WIDE.energies_kev)
    thin, _ = slab_signal(WIDE, attenuation=mu * 1e-6)
    assert_allclose(thin, (WIDE.weights * mu).sum() * 1e-6, rtol=1e-4)
    thick, _ = slab_signal(WIDE, attenuation=np.outer([0.01, 0.02], mu))
    assert thick[1] < 2 * thick[0]


def test_false_dark_field_of_25_mm_of_water_at_100_kv_is_of_the_published_size() -> None:
    _, false = slab_signal(WIDE, attenuation=linear_attenuation("water", 1.0, WIDE.energies_kev) * 25e-3)
    assert -0.09 < false < 0.02
    assert abs(false) > 1e-3


def test_strong_scattering_saturates() -> None:
    flat = np.zeros(len(WIDE.energies_kev))
    weak = (WIDE.energies_kev / 45) ** -3.0
    one, ten = (slab_signal(WIDE, attenuation=flat, scattering=factor * weak)[1] for factor in (0.1, 1.0))
    assert one < ten < 10 * one


def test_doors() -> None:
    with pytest.raises(DarklungError, match="no negative thickness"):
        slab_signal(WIDE, attenuation=-np.ones(15))
    with pytest.raises(DarklungError, match="for 15 energy bins"):
        slab_signal(WIDE, attenuation=np.ones(4))


def test_behind_lead_and_without_visibility_nothing_is_zero_over_zero():
    tube = make_instrument(low_kev=40, high_kev=80, bins=4)
    deep = np.array([900.0, 1000.0, 1100.0, 1200.0])
    attenuation, dark = slab_signal(tube, attenuation=deep, scattering=[0.3, 0.2, 0.1, 0.1])
    # Only the most penetrating bin is left.
    assert attenuation == pytest.approx(900 - np.log(tube.weights[0]), rel=1e-9)
    assert dark == pytest.approx(0.3 - np.log(tube.visibility[0] / tube.flat_visibility), rel=1e-9)
    blind = make_instrument(low_kev=70, high_kev=70, flat_visibility=0.0)
    attenuation, dark = slab_signal(blind, attenuation=[0.5])
    assert attenuation == pytest.approx(0.5)
    assert np.isnan(dark)

"""Dose against tabulated coefficients and a case done by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.core.checks import DarklungError
from darklung.physics.detector import Sensor
from darklung.physics.dose import BUILD_UP, entrance_fluence, mass_energy_absorption, mean_dose_gy, recoil_fraction
from darklung.physics.instrument import make_instrument
from darklung.physics.spectrum import tube


def test_water_against_nist() -> None:
    # NIST, μ_en/ρ of water [cm²/g] = 0.1 m²/kg
    energies = [30.0, 40.0, 60.0, 80.0, 100.0]
    assert_allclose(10 * mass_energy_absorption("water", energies), [0.1557, 0.06947, 0.03190, 0.02597, 0.02546], rtol=0.03)


def test_recoil_fraction_limits() -> None:
    assert_allclose(recoil_fraction(0.1), 0.1 / 511, rtol=0.01)
    assert_allclose(recoil_fraction(100.0), 0.138, rtol=0.01)


def test_thin_cylinder_by_hand() -> None:
    line = make_instrument(low_kev=70, high_kev=70, sensor=Sensor(thickness_m=1.0))
    dose = mean_dose_gy(line, counts_per_pixel=1e7, pixel_m=1e-4, diameter_m=1e-6, behind_sample=1.0)
    expected = 1e7 / 1e-8 * 70 * 1.602177e-16 * mass_energy_absorption("water", 70.0) * BUILD_UP
    assert_allclose(dose, expected, rtol=1e-4)


@pytest.mark.parametrize(("diameter_m", "published"), [(10e-3, 0.80), (20e-3, 0.63), (30e-3, 0.52), (40e-3, 0.44)])
def test_dose_coefficients_of_boone(diameter_m: float, published: float) -> None:
    # Dose per air kerma, 40 kVp behind 1 mm of aluminium, from Monte Carlo (doi:10.1162/15353500200404118, abstract)
    beam = make_instrument(
        spectrum=tube(kvp=40, bins=60, low_kev=6, filters_m={"al": 1e-3}),
        design_energy_kev=25,
        reference_energy_kev=25,
        flat_visibility=0.1,
    )
    energies = beam.energies_kev
    fluence = entrance_fluence(beam, counts_per_pixel=1e6, pixel_m=1e-4)
    kerma = (fluence * energies * mass_energy_absorption("air", energies)).sum() * 1.602177e-16
    dose = mean_dose_gy(beam, counts_per_pixel=1e6, pixel_m=1e-4, diameter_m=diameter_m)
    assert_allclose(dose / kerma, published, rtol=0.2)


def test_default_protocol_is_near_the_prototypes_estimate() -> None:
    # 1.5e7 counts a 120 µm pixel: about 105 mGy, ± 40 %
    assert_allclose(mean_dose_gy(make_instrument(), counts_per_pixel=1.5e7, pixel_m=120e-6), 0.105, rtol=0.4)


def test_dose_scales_with_counts_and_pixel() -> None:
    one = mean_dose_gy(make_instrument(), counts_per_pixel=1e6, pixel_m=1e-4)
    assert_allclose(mean_dose_gy(make_instrument(), counts_per_pixel=4e6, pixel_m=2e-4), one)
    thick = mean_dose_gy(make_instrument(), counts_per_pixel=1e6, pixel_m=1e-4, diameter_m=0.1)
    assert thick < one
    with pytest.raises(DarklungError, match="behind_sample"):
        mean_dose_gy(make_instrument(), counts_per_pixel=1e6, pixel_m=1e-4, behind_sample=0.0)
    assert np.isfinite(one)

"""Sizes from scattering: branches, two settings, and what is outside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from darklung.calibrate.sizes import sizes, sizes_from_two
from darklung.calibrate.sphere_fits import fit_spheres
from darklung.calibrate.spheres import SphereCalibration
from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.physics.scattering import sphere

DIAMETERS_M = 1e-6 * np.array([0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.5, 6.5, 9.0])
DEPTH_M = 0.012


def dark(diameter_m, xi_m, amount=1.0):
    return DEPTH_M * sphere(diameter_m, 0.1 * amount, 1.2e-7, 60.0, xi_m)


def curve(xi_m, noise=0.0, offset=0.0) -> SphereCalibration:
    signal = dark(DIAMETERS_M, xi_m) + offset + stream(0, "curve", str(xi_m)).normal(0, noise, len(DIAMETERS_M))
    return fit_spheres(diameter_m=DIAMETERS_M, signal=signal, thickness_m=DEPTH_M, offset=offset != 0)


NEAR, FAR = curve(0.8e-6, noise=0.001), curve(2.4e-6, noise=0.001)


def test_the_inverse_undoes_the_curve_on_its_branch():
    exact = curve(1.3e-6, offset=0.2)
    small, large = np.linspace(0.25e-6, 2.2e-6, 30), np.linspace(2.4e-6, 8.8e-6, 30)
    for diameter, name, wanted in ((small, "small", "small_m"), (large, "large", "large_m")):
        found = sizes(exact, dark(diameter, 1.3e-6) + 0.2, prefer=name)
        np.testing.assert_allclose(getattr(found, wanted), diameter, rtol=2e-3)
        np.testing.assert_allclose(found.size_m, diameter, rtol=2e-3)
        assert found.valid.all()


def test_branches_are_flagged_and_nothing_is_extrapolated():
    exact = curve(1.3e-6)
    top = dark(1.771 * 1.3e-6, 1.3e-6)
    signal = [dark(0.3e-6, 1.3e-6), dark(3e-6, 1.3e-6), 1.05 * top, dark(0.1e-6, 1.3e-6), np.nan, -5.0]
    found = sizes(exact, signal)
    assert found.branch.tolist() == [1, 3, 0, 0, 0, 0]
    assert found.valid.tolist() == [True, False, False, False, False, False]
    assert found.size_m[0] == pytest.approx(0.3e-6, rel=1e-3)
    assert np.isnan(found.size_m[1:]).all()
    assert found.large_m[1] == pytest.approx(3e-6, rel=1e-2)
    assert np.isnan(found.size_error_m[1:]).all()


def test_errors_of_sizes_are_right():
    noise, diameter = 0.004, 0.5e-6
    values = dark(diameter, 0.8e-6) + stream(1, "noise").normal(0, noise, 4000)
    exact = curve(0.8e-6)
    found = sizes(exact, values, noise**2, prefer="small", within=1e9)
    assert found.size_m.std() == pytest.approx(np.median(found.size_error_m), rel=0.05)


def test_the_amount_scales_the_curve():
    exact = curve(1.3e-6)
    found = sizes(exact, dark(0.4e-6, 1.3e-6, amount=0.5), amount=0.5, prefer="small")
    assert found.size_m == pytest.approx(0.4e-6, rel=1e-3)
    with pytest.raises(DarklungError, match="amount: wanted a finite number > 0"):
        sizes(exact, 1.0, amount=0.0)
    with pytest.raises(DarklungError, match="prefer: 'big' is not known"):
        sizes(exact, 1.0, prefer="big")


def test_two_settings_give_size_and_amount_without_ambiguity():
    diameter = 1e-6 * np.array([1.3, 1.8, 2.5, 4.0, 6.0])
    found = sizes_from_two((NEAR, FAR), [dark(diameter, xi, amount=0.6) for xi in (0.8e-6, 2.4e-6)])
    np.testing.assert_allclose(found.size_m, diameter, rtol=0.05)
    np.testing.assert_allclose(found.amount, 0.6, rtol=0.05)
    assert set(found.branch.tolist()) == {1, 2}
    assert found.branch[0] == 1
    assert found.branch[-1] == 2


def test_errors_of_two_settings_are_right():
    noise, diameter = 0.003, 2.5e-6
    exact = curve(0.8e-6), curve(2.4e-6)
    values = [dark(diameter, xi) + stream(2, str(xi)).normal(0, noise, 3000) for xi in (0.8e-6, 2.4e-6)]
    found = sizes_from_two(exact, (values[0], values[1]), (noise**2, noise**2))
    assert found.size_m.std() == pytest.approx(np.median(found.size_error_m), rel=0.1)


def test_where_both_settings_scatter_alike_nothing_is_told():
    noise, small = 0.005, 0.4e-6
    values = [dark(small, xi) + stream(3, str(xi)).normal(0, noise, 2000) for xi in (0.8e-6, 2.4e-6)]
    found = sizes_from_two((NEAR, FAR), (values[0], values[1]), (noise**2, noise**2))
    assert found.valid.mean() < 0.05
    outside = sizes_from_two((NEAR, FAR), ([1.0, -1.0, np.nan], [100.0, 1.0, 1.0]))
    assert not outside.valid.any()
    with pytest.raises(DarklungError, match="both settings respond alike"):
        sizes_from_two((NEAR, NEAR), (1.0, 1.0))


def test_two_settings_of_powders_of_other_thicknesses():
    diameter = 1e-6 * np.array([1.3, 2.5, 6.0])
    thick = replace(FAR, signal=2 * FAR.signal, thickness_m=2 * FAR.thickness_m)
    signals = (dark(diameter, 0.8e-6), 2 * dark(diameter, 2.4e-6))
    for paths in (None, (DEPTH_M, 2 * DEPTH_M)):
        found = sizes_from_two((NEAR, thick), signals, thickness_m=paths)
        np.testing.assert_allclose(found.size_m, diameter, rtol=0.05)
        np.testing.assert_allclose(found.amount, 1.0, rtol=0.05)

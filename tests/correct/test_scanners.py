"""Two scanners with different spectra, and calibration through the simulator, as `benchmarks/calibration.py` has them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scene():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("calibration_scene", BENCHMARKS / "calibration.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def test_normalised_values_agree_where_raw_ones_do_not(scene):
    ratio = {k: by["80 kV"] / by["120 kV"] for k, by in scene.compared_scanners().items() if "true" not in k}
    assert (ratio["raw"] > 2).all()
    assert np.abs(ratio["raw, SU"] - 1).max() > 0.05
    for told in ("at 60 keV", "as at 120 kV", "at 60 keV, SU"):
        assert np.abs(ratio[told] - 1).max() < 0.02, told
    found = scene.compared_scanners()
    for scanner in ("80 kV", "120 kV"):
        np.testing.assert_allclose(found["at 60 keV"][scanner], found["true at 60 keV"][scanner], rtol=0.03)


def test_suspensions_through_the_simulator_give_the_spectrums_correlation_length(scene):
    fit = scene.suspension_fit(ordered=False)
    assert 3.0e-6 < fit.correlation_length_m < 3.1e-6
    assert abs(fit.offset) < 4 * np.sqrt(fit.covariance[2, 2])

"""The measured baby-mouse sinogram (attenuation and differential phase of one detector line, full turn)."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from darklung.core.geometry import ParallelGeometry
from darklung.tomo.fbp import fbp, fbp_gradient
from darklung.tomo.sinogram import estimate_axis

FOLDER = Path(os.environ.get("DARKLUNG_DATA", Path(__file__).parents[3] / "shared" / "data")) / "baby_mouse_sinogram"
pytestmark = [pytest.mark.real, pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no measured data at {FOLDER}")]


def load():
    attenuation, phase = (np.load(FOLDER / f"sinogram_{name}.npy").T[:, None].astype(float) for name in ("amp", "dpc"))
    phase = phase - np.median(phase, axis=2, keepdims=True)
    views, rows, cols = attenuation.shape
    return attenuation, phase, ParallelGeometry(np.arange(views) * 2 * np.pi / views, rows, cols, 1.0)


def test_axis_from_attenuation_and_from_phase_agree():
    attenuation, phase, g = load()
    found = estimate_axis(attenuation, g), estimate_axis(phase, g, differential=True)
    assert found[0] == pytest.approx(found[1], abs=0.02)
    assert found[0] == pytest.approx(118.0, abs=0.02)


def test_both_halves_of_the_turn_show_the_same_slice():
    attenuation, phase, g = load()
    half = g.views // 2 + 1
    for data, method in ((attenuation, fbp), (phase, fbp_gradient)):
        parts = [(data[:half], g.angles_rad[:half]), (data[-half:], g.angles_rad[-half:])]
        one, two = (method(d, replace(g, angles_rad=a))[0, 50:-50, 50:-50] for d, a in parts)
        assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.93
        wrong = method(parts[0][0], replace(g, angles_rad=parts[0][1], axis_col=120.0))[0, 50:-50, 50:-50]
        assert np.corrcoef(wrong.ravel(), two.ravel())[0, 1] < np.corrcoef(one.ravel(), two.ravel())[0, 1] - 0.1


def test_the_plastic_wall_is_below_water_in_both():
    attenuation, phase, g = load()
    y, x = np.mgrid[: g.cols, : g.cols] - (g.cols - 1) / 2
    radius = np.hypot(y, x).round().astype(int)
    for volume in (fbp(attenuation, g)[0], fbp_gradient(phase, g)[0]):
        profile = np.bincount(radius.ravel(), volume.ravel()) / np.bincount(radius.ravel())
        water = profile[100:112].mean()
        assert 84 <= profile[40:115].argmin() + 40 <= 97
        assert profile[86:95].mean() < water - 5 * profile[100:112].std()

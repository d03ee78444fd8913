"""The page and the numbers of a retrieval."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan, noisy_scan

from darklung.core.checks import DarklungError
from darklung.retrieve.overview import mean_of_repeats, overview_png, summarise
from darklung.retrieve.stepping import retrieve


@pytest.fixture
def maps():
    theta = equidistant(5)
    rng = np.random.default_rng(0)
    sample = rng.poisson(curves(theta, 2000.0, 0.15, np.full((12, 14), 0.5)))
    flat = rng.poisson(curves(theta, 4000.0, 0.3, np.zeros((12, 14))))
    return retrieve(make_scan(sample[None], flat[None], theta))


def test_numbers(maps):
    numbers = summarise(maps)
    assert numbers["transmission"] == pytest.approx(0.5, abs=0.01)
    assert numbers["dark_field"] == pytest.approx(np.log(2), abs=0.05)
    assert numbers["flat_visibility"] == pytest.approx(0.3, abs=0.01)
    assert numbers["valid_fraction"] == 1
    assert numbers["dark_field_error"] == pytest.approx(np.sqrt((2 / 0.15**2 - 1) / 1e4 + (2 / 0.09 - 1) / 2e4), rel=0.1)


def test_pages(maps, tmp_path):
    overview_png(maps, tmp_path / "map.png", title="map")
    line = retrieve(noisy_scan(counts=1e4, visibility=0.2, theta=equidistant(5), pixels=50))
    overview_png(line, tmp_path / "line.png")
    scan = make_scan(*(np.full((9, 5, 1, 50), 300), np.full((1, 5, 1, 50), 300)), equidistant(5))
    moved = np.random.default_rng(2).poisson(scan.frames * (1 + 0.2 * np.cos(equidistant(5)))[:, None, None])
    overview_png(retrieve(dataclasses.replace(scan, frames=moved, flats=moved[:, :1])), tmp_path / "repeats.png")
    for name in ("map.png", "line.png", "repeats.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DarklungError, match="view: wanted 0 to 0"):
        overview_png(maps, tmp_path / "x.png", view=1)


@pytest.mark.filterwarnings("error")
def test_nothing_valid(tmp_path):
    scan = noisy_scan(counts=10, visibility=0.01, theta=equidistant(5), pixels=9)
    result = retrieve(scan, least_strength=1e9)
    assert np.isnan(summarise(result)["dark_field"])
    overview_png(result, tmp_path / "none.png")


def test_matplotlib_is_loaded_only_to_draw():
    code = "import sys, darklung.retrieve.overview; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_mean_of_repeats_leaves_invalid_ones_out():
    rng = np.random.default_rng(1)
    values = 1 + 0.1 * rng.normal(size=(400, 1, 30))
    valid = rng.random(values.shape) > 0.2
    valid[:, :, 7] = False
    values[~valid] = 50.0
    mean, error = mean_of_repeats(values, valid)
    assert np.isnan([mean[7], error[7]]).all()
    rest = np.arange(30) != 7
    assert np.abs(mean[rest] - 1).max() < 0.03
    np.testing.assert_allclose(error[rest], 0.1 / np.sqrt(valid.sum(axis=(0, 1))[rest]), rtol=0.2)

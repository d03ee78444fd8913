"""The axis is found, and rings go without touching the rest."""

from dataclasses import replace

import numpy as np
import pytest
from tomo_shapes import blob_integrals, ellipsoid_integrals, geometry

from darklung.core.checks import DarklungError
from darklung.tomo.fbp import fbp
from darklung.tomo.sinogram import estimate_axis, suppress_rings

BLOBS = [(0.0, 6e-3, -9e-3, 3e-3, 2.0), (1e-3, -8e-3, 5e-3, 5e-3, 1.0)]


@pytest.mark.parametrize("axis_col", [31.5, 28.13, 36.8])
@pytest.mark.parametrize(("views", "arc"), [(120, 2 * np.pi), (91, 2 * np.pi), (90, np.pi), (90, -1.5 * np.pi)])
def test_axis(axis_col, views, arc):
    g = geometry(views=views, arc=arc, rows=3, cols=64, axis_col=axis_col, start=0.1)
    data = blob_integrals(g, BLOBS)
    data += np.random.default_rng(8).normal(size=data.shape) * 0.01 * data.max()
    assert estimate_axis(data, replace(g, axis_col=31.5)) == pytest.approx(axis_col, abs=0.05)


def test_axis_of_differential_projections():
    g = geometry(views=120, arc=2 * np.pi, rows=3, cols=64, axis_col=33.7)
    shifted = [blob_integrals(replace(g, axis_col=g.axis_col + h), BLOBS) for h in (0.01, -0.01)]
    assert estimate_axis(shifted[0] - shifted[1], g, differential=True) == pytest.approx(33.7, abs=0.02)


def test_rings_go_and_the_rest_stays():
    rng = np.random.default_rng(9)
    g = geometry(views=180, rows=2, cols=96)
    clean = ellipsoid_integrals(g, (0, 2e-3, -3e-3), (1, 30e-3, 24e-3)) * 20
    clean -= ellipsoid_integrals(g, (0, 9e-3, 8e-3), (1, 6e-3, 4e-3)) * 12
    offsets = rng.normal(size=(1, 2, 96)) * 0.02
    corrected = suppress_rings(clean + offsets)
    error = [
        np.std((fbp(p, g) - fbp(clean, g))[:, 20:-20, 20:-20]) for p in (clean + offsets, corrected, suppress_rings(clean))
    ]
    assert error[1] < error[0] / 2.5
    assert error[2] < error[0] / 4
    moved = corrected - (clean + offsets)
    assert np.allclose(moved, moved[:1], atol=1e-6)  # one number a column


def test_errors_name_what_is_wrong():
    g = geometry(views=12, rows=1, cols=16)
    data = np.ones((12, 1, 16))
    with pytest.raises(DarklungError, match="opposite views only"):
        estimate_axis(data, g, differential=True)
    with pytest.raises(DarklungError, match="positive sum in every view"):
        estimate_axis(-data, g)
    with pytest.raises(DarklungError, match="at least 3 views"):
        estimate_axis(data[:2], geometry(views=2, rows=1, cols=16, arc=1.0))
    with pytest.raises(DarklungError, match="width"):
        suppress_rings(data, width=4)

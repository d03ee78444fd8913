"""Refraction across the axis by fbp: the object's own sign and size, whichever way the gratings look and drift."""

import numpy as np
import pytest

from darklung.core.circle import PI_BELOW, wrapped
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.tomo.methods import fbp_method

COLS, VIEWS, RADIUS, DELTA = 48, 90, 14.0, 0.1  # of the disc, δ times the fringe phase per refraction angle


def disc(direction_rad, offset_rad):
    """Projections of a disc about the axis: C13, phase is positive where ∫δ dl grows along u."""
    edges = np.arange(COLS + 1) - COLS / 2
    paths = 2 * DELTA * np.sqrt(np.maximum(RADIUS**2 - edges**2, 0))
    phase = np.broadcast_to(np.sin(direction_rad) * np.diff(paths), (1, VIEWS, 1, COLS))
    maps = {name: np.zeros(phase.shape, np.float32) for name in PROJECTION_MAPS} | {"phase": wrapped(phase + offset_rad)}
    geometry = ParallelGeometry(np.arange(VIEWS) * np.pi / VIEWS, 1, COLS, 1e-4)
    valid = np.ones(phase.shape, bool)
    return Projections(**{**maps, "valid": valid}, directions_rad=np.array([direction_rad]), geometry=geometry)


@pytest.mark.parametrize("offset_rad", [0.0, 2.0, 3.0, np.pi, -3.1])
@pytest.mark.parametrize("degrees", [90, 270, -90])
def test_refraction_is_the_objects_own(degrees, offset_rad):
    found = fbp_method(disc(np.radians(degrees), offset_rad), phase=True).extras[f"refraction_{degrees}"][1][0]
    y, x = np.mgrid[:COLS, :COLS] - (COLS - 1) / 2
    assert found[np.hypot(y, x) < 0.8 * RADIUS].mean() == pytest.approx(DELTA, rel=0.02)
    assert abs(found[(np.hypot(y, x) > 1.2 * RADIUS) & (np.hypot(y, x) < 22)].mean()) < 0.02 * DELTA


def test_wrapped_phases_lie_on_the_circle_once():
    turns = np.array([np.pi, -np.pi, 3 * np.pi, 7.0, -7.0])
    found = wrapped(turns)
    assert (np.abs(found) <= np.float32(PI_BELOW)).all()
    np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * turns), atol=1e-6)

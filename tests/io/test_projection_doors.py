"""Files of projections whose numbers make no sense are refused before anything is computed."""

import h5py
import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.io.projections import open_projections

VIEWS, ROWS, COLS = 180, 2, 16


def plain(path, angles=None, **attributes):
    with h5py.File(path, "w") as file:
        file["attenuation"] = np.zeros((VIEWS, ROWS, COLS), np.float32)
        file["angles_rad"] = np.arange(VIEWS) * np.pi / VIEWS if angles is None else angles
        file.attrs.update({"pixel_m": 1e-4, **attributes})
    return path


@pytest.mark.parametrize(
    "degrees",
    [np.arange(VIEWS) * 1.0, np.arange(VIEWS) * 2.0, np.linspace(-90, 90, VIEWS), np.linspace(0, 60, VIEWS)],
    ids=["half", "full", "centred", "an arc of 60"],
)
def test_degrees_are_told(tmp_path, degrees):
    with pytest.raises(DarklungError, match=r"angles_rad: from .*more than 4 turns: are these degrees\?"):
        open_projections(plain(tmp_path / "p.h5", degrees))


@pytest.mark.parametrize(
    "radians", [np.linspace(0, 2 * np.pi, VIEWS), np.linspace(-12, 12, VIEWS), np.linspace(1, 25, VIEWS)]
)
def test_turns_in_radians_are_taken(tmp_path, radians):
    assert open_projections(plain(tmp_path / "p.h5", radians)).geometry.views == VIEWS


ABSURD = [np.nan, np.inf, -1e9, 1e9, "middle", [1.0, 2.0]]
LENGTHS = ("source_axis_m",)  # any that is finite and > 0 is one
CASES = [
    (name, value)
    for name in ("axis_col", "axis_row", "tilt_rad", "pixel_m", *LENGTHS)
    for value in ABSURD
    if not (name in LENGTHS and value == 1e9)
]


@pytest.mark.parametrize(("name", "value"), CASES, ids=repr)
def test_absurd_numbers_are_refused(tmp_path, name, value):
    cone = {} if name in ("axis_col", "pixel_m") else {"source_axis_m": 0.3}
    with pytest.raises(DarklungError, match=name):
        open_projections(plain(tmp_path / "p.h5", **{**cone, name: value}))


@pytest.mark.parametrize("axis", [-1.0, -0.01, 15.01, 40.0])
def test_an_axis_beside_the_detector_is_refused_and_not_taken_for_the_middle(tmp_path, axis):
    with pytest.raises(DarklungError, match="axis_col: wanted 0 to 15"):
        open_projections(plain(tmp_path / "p.h5", axis_col=axis))


def test_numbers_in_an_array_of_one_are_numbers(tmp_path):
    found = open_projections(plain(tmp_path / "p.h5", axis_col=np.array([7.0]), pixel_m=np.array([[1e-4]])))
    assert (found.geometry.axis_col, found.geometry.pixel_m) == (7.0, 1e-4)

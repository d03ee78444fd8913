"""Grids of images: direction, places, and what differs between two."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from darklung.core.checks import DarklungError
from darklung.core.grey import is_calibrated, require_unit
from darklung.core.orientation import named_direction, rounded_direction, towards
from darklung.core.types import Image

TURN = Rotation.from_euler("zyx", [25, -10, 5], degrees=True).as_matrix()


def image(**how):
    return Image(np.zeros((2, 3, 4, 5)), ("a", "b"), ("1/m", "a.u."), **{"spacing_m": (1.0, 2.0, 3.0), **how})


def test_a_direction_is_orthonormal():
    assert image().direction == ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    assert image(direction=TURN.tolist()).direction == tuple(map(tuple, TURN.tolist()))
    assert Image(np.zeros((1, 3, 4)), ("a",), ("1",), (1.0, 1.0)).direction == ((1, 0), (0, 1))
    for wrong, told in (
        (np.ones((3, 3)), "wanted orthonormal columns"),
        (2 * np.eye(3), "wanted orthonormal columns"),
        (np.full((3, 3), np.nan), "wanted orthonormal columns"),
        (np.eye(2), "wanted 3 × 3 numbers"),
    ):
        with pytest.raises(DarklungError, match=told):
            image(direction=wrong.tolist())


def test_a_grid_is_centred_by_default_whatever_its_direction():
    assert image(direction=TURN.tolist()).position_m([1, 1.5, 2]) == pytest.approx((0, 0, 0))


@given(st.tuples(*[st.floats(-9, 9)] * 3))
def test_index_and_position_are_inverse(index):
    turned = image(direction=(TURN @ np.diag([1, -1, 1])).tolist(), origin_m=(1.0, -2.0, 5.0))
    assert turned.index_of(turned.position_m(index)) == pytest.approx(index, abs=1e-9)


def test_a_crop_stays_where_it_was():
    whole = image(direction=TURN.tolist(), frame="LPS").with_data(np.arange(120.0).reshape(2, 3, 4, 5))
    part = whole.cropped((slice(1, 3), slice(None), slice(2, -1)))
    assert part.shape == (2, 4, 2)
    assert (part.frame, part.direction, part.units) == ("LPS", whole.direction, whole.units)
    np.testing.assert_array_equal(part.data[:, 1, 3, 1], whole.data[:, 2, 3, 3])
    assert part.position_m([1, 3, 1]) == pytest.approx(whole.position_m([2, 3, 3]))
    for wrong in ((slice(0, 2),) * 2, (slice(2, 2),) * 3, (slice(0, 2, 2),) * 3):
        with pytest.raises(DarklungError, match="box: wanted"):
            whole.cropped(wrong)


def test_other_data_keep_the_grid():
    turned = image(direction=TURN.tolist(), frame="LPS", origin_m=(1.0, 2.0, 3.0))
    other = turned.with_data(np.ones((1, 3, 4, 5)), ("c",), ("rad",))
    assert other.same_grid(turned)
    assert (other.names, other.units) == (("c",), ("rad",))
    with pytest.raises(DarklungError, match="data: wanted"):
        turned.with_data(np.ones((2, 3, 4, 6)))


def test_axes_of_a_turned_grid_are_refused():
    assert image().axes_m()[1] == pytest.approx([-3, -1, 1, 3])
    with pytest.raises(DarklungError, match=r"got axes towards z .* off.*; reorient or resample it first"):
        image(direction=TURN.tolist()).axes_m()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ""),
        ({"spacing_m": (1.0, 2.0, 3.000001)}, ""),
        ({"spacing_m": (1.0, 2.0, 3.1)}, "spacing"),
        ({"origin_m": (-1.0, -3.0, -6.1)}, "place"),
        ({"origin_m": (-1.0, -3.0, -6.001)}, ""),
        ({"frame": "LPS"}, "frame 'scanner' and 'LPS'"),
        ({"direction": TURN.tolist()}, "axes towards z, y, x and z ("),
        (
            {"direction": ((-1, 0, 0), (0, 1, 0), (0, 0, 1)), "origin_m": (1.0, -3.0, -6.0)},
            "axes towards z, y, x and -z, y, x",
        ),
    ],
)
def test_what_differs_between_two_grids(change, told):
    difference = image().grid_difference(image(**change))
    assert difference.startswith(told) if told else difference == ""
    assert image().same_grid(image(**change)) == (not told)


def test_names_of_axes():
    direction, anatomical = named_direction("axes", ("head", "belly", "right"))
    assert anatomical
    assert towards(direction, "LPS") == ("head", "belly", "right")
    assert towards(direction, "scanner") == ("z", "-y", "-x")
    assert towards(named_direction("axes", ("x", "-z", "y"))[0], "scanner") == ("x", "-z", "y")
    assert towards(tuple(map(tuple, TURN.tolist())), "LPS")[0].startswith("head (")
    assert towards(((0.0, 1.0), (-1.0, 0.0)), "detector") == ("-x", "y")


def test_directions_of_files_are_rounded_and_sheared_ones_refused():
    assert rounded_direction("f", np.eye(3) + 1e-9) == ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    rounded = np.round(TURN, 4)
    np.testing.assert_allclose(rounded_direction("f", rounded), TURN, atol=1e-4)
    sheared = np.eye(3)
    sheared[0, 1] = 0.05
    with pytest.raises(DarklungError, match="f: the axes are not perpendicular"):
        rounded_direction("f", sheared)


def test_whether_grey_values_mean_something():
    assert is_calibrated(image(), "a")
    assert not is_calibrated(image(), "b")
    require_unit(image(), "a", "1/m", origin="insert")
    with pytest.raises(DarklungError, match=r"insert: wanted b in 1/m, got a\.u\.; tell two materials"):
        require_unit(image(), "b", "1/m", origin="insert")

"""Counts, times and doors of the protocol."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.core.checks import DarklungError
from darklung.simulate.protocol import Protocol


def test_counts_are_shared_out() -> None:
    one = Protocol(views=60, steps=5, directions_rad=(0.0, np.pi / 2), counts_per_pixel=6e6)
    assert_allclose(one.frame_counts * 60 * 5 * 2, 6e6)
    assert_allclose(Protocol(views=120, flats=6, flat_repeats=4).flat_share, 0.2)


def test_angles_leave_out_the_end_point() -> None:
    assert_allclose(Protocol(views=4, arc_rad=np.pi).angles_rad, np.arange(4) * np.pi / 4)


def test_mission_protocol_fits_25_minutes() -> None:
    views = {"views": 360, "exposure_s": 0.36, "dead_time_s": 0.03, "flats": 6, "flat_repeats": 4}
    assert_allclose(Protocol(**views).total_time_s, 2 * (360 + 24) * 5 * 0.39)
    with pytest.raises(DarklungError, match="takes 1728 s, more than time_limit_s = 1500 s"):
        Protocol(**{**views, "exposure_s": 0.42})


def test_flats_are_interleaved_in_time() -> None:
    one = Protocol(views=10, flats=3, flat_repeats=2, exposure_s=0.1, dead_time_s=0.1)
    views, flats = one.times_s()
    assert views.shape == (2, 10)
    assert flats.shape == (2, 6)
    for d in range(2):
        every = np.sort(np.concatenate([views[d], flats[d]]))
        assert_allclose(np.diff(every), one.view_duration_s)
        assert (np.diff(views[d]) > 0).all()
        assert flats[d, 1] < views[d, 0] < views[d, 4] < flats[d, 2] < flats[d, 3] < views[d, 5]
        assert views[d, -1] < flats[d, 4]
    assert views[0].max() < flats[1].min()
    assert_allclose(flats.max() + one.view_duration_s / 2, one.total_time_s)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"views": 0}, "views"),
        ({"steps": 2}, "steps"),
        ({"flats": 0}, "flats"),
        ({"supersampling": 1.5}, "supersampling"),
        ({"counts_per_pixel": 0.0}, "counts_per_pixel"),
        ({"exposure_s": np.nan}, "exposure_s"),
        ({"dead_time_s": -1.0}, "dead_time_s"),
        ({"directions_rad": ()}, "directions_rad"),
        ({"directions_rad": (np.inf,)}, "directions_rad"),
        ({"arc_rad": 7.0}, "arc_rad"),
    ],
)
def test_impossible_input_names_the_field(options: dict, field: str) -> None:
    with pytest.raises(DarklungError, match=f"^{field}"):
        Protocol(**options)

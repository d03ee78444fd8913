"""Maps of sections: their inverse, their errors by sampling, and the file they are kept in."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.register.files import load_maps, read_landmarks, save_maps
from darklung.register.reslice import resliced
from darklung.register.transform import Bending, PlaneMap


def bending(seed, size=0.15e-3):
    rng = np.random.default_rng(seed)
    return Bending((-5e-3, -4e-3), 1.2e-3, size * rng.uniform(-1, 1, (9, 8, 2)))


def plane(seed=0, bend=True):
    rng = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    along = turned[:, :2] @ (np.eye(2) * 1.2 + 0.05 * rng.standard_normal((2, 2)))
    own = bending(seed, 0.1e-3) if bend else None
    return PlaneMap("one", "LPS", 1e-3 * rng.standard_normal(3), along, own, 1e-10 * np.eye(9), 20e-6)


@given(st.integers(0, 40))
def test_points_come_back(seed):
    one = plane(seed)
    rng = np.random.default_rng(seed)
    points, heights = rng.uniform(-5e-3, 5e-3, (50, 2)), rng.uniform(-1e-3, 1e-3, 50)
    back, zero = one.point_m(one.position_m(points))
    assert np.abs(back - points).max() < 1e-11
    assert np.abs(zero).max() < 1e-15
    above = one.position_m(points) + heights[:, None] * one.normal()
    back, height = one.point_m(above)
    assert np.abs(back - points).max() < 1e-11
    assert height == pytest.approx(heights, abs=1e-14)


def test_bending_stays_in_the_plane_and_bends_as_a_spline():
    one = plane(3)
    points = np.random.default_rng(1).uniform(-4e-3, 4e-3, (200, 2))
    assert np.abs((one.position_m(points) - one.centre_m) @ one.normal()).max() < 1e-15
    # A cubic spline of even coefficients is even, of linear ones linear between its knots.
    knots = np.arange(9.0)[:, None, None] * np.ones((9, 9, 2))
    ramp = Bending((0.0, 0.0), 1.0, 0.25 * knots * np.array([1.0, 0.0]))
    inner = np.random.default_rng(2).uniform(2, 6, (50, 2))
    assert ramp.at(inner) == pytest.approx(np.stack([0.25 * inner[:, 0], 0 * inner[:, 0]], axis=-1), abs=1e-12)


def test_a_bending_that_folds_is_refused():
    with pytest.raises(DarklungError, match=r"bending: wanted slopes below 0\.6, got .*fold"):
        bending(0, 2e-3)


def test_errors_are_those_of_drawn_maps():
    rng = np.random.default_rng(5)
    root = rng.standard_normal((9, 9)) * np.repeat([20e-6, 5e-3, 5e-3], 3)[:, None]
    base = plane(2, bend=False)
    one = PlaneMap("one", "LPS", base.centre_m, np.linalg.qr(base.along)[0], None, root @ root.T, 0.0)
    points = np.array([[0.0, 0.0], [2e-3, -1e-3]])
    drawn = (root @ rng.standard_normal((9, 20000))).T.reshape(-1, 3, 3)
    factors = np.column_stack([np.ones(2), points])
    moved = np.einsum("pi,nik->npk", factors, drawn)
    axes = np.stack([*one.along.T, one.normal()])
    assert one.error_m(points) == pytest.approx((moved @ axes.T).std(axis=0), rel=0.03)


def test_files_hold_all_of_it_and_readers_are_strict(tmp_path):
    maps, file = [plane(1), PlaneMap("two", "LPS", np.zeros(3), np.eye(3)[:, :2])], tmp_path / "transforms.json"
    save_maps(file, maps)
    back = load_maps(file)
    assert list(back) == ["one", "two"]
    points = np.random.default_rng(0).uniform(-4e-3, 4e-3, (20, 2))
    for one in maps:
        assert np.array_equal(back[one.section].position_m(points), one.position_m(points))
        assert np.array_equal(back[one.section].error_m(points), one.error_m(points))
    content = json.loads(file.read_text())
    for change, told in (
        ({"darklung_registration": 2}, "wanted a registration, darklung_registration: 1, got 2"),
        ({"more": 1}, "more: unknown key"),
        ({"sections": content["sections"] * 2}, "sections: wanted each once, got one, two, one, two"),
        ({"sections": [{**content["sections"][1], "along": [[0, 0]] * 3}]}, "wanted two directions of a plane"),
        ({"sections": [{**content["sections"][1], "covariance": [[0.0]]}]}, "covariance: wanted 9 × 9 numbers"),
    ):
        file.write_text(json.dumps({**content, **change}))
        with pytest.raises(DarklungError, match=r"transforms\.json: ") as caught:
            load_maps(file)
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_volume_is_seen_through_a_section():
    """A field that is linear in space is linear on the plane, whatever the grid's axes; NaN beyond it."""
    direction = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    image = Image(np.zeros((0, 30, 31, 32)), (), (), (3e-4, 4e-4, 5e-4), (), "LPS", tuple(map(tuple, direction)))
    slope = np.array([1.0, -2.0, 3.0])
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij"), axis=-1)
    places = np.asarray(image.origin_m) + (index * image.spacing_m) @ direction.T
    one = plane(4)
    points = np.random.default_rng(2).uniform(-2e-3, 2e-3, (5, 6, 2))
    assert resliced(image, places @ slope, one, points) == pytest.approx(one.position_m(points) @ slope, abs=1e-12)
    assert np.isnan(resliced(image, places @ slope, one, points + 1.0)).all()
    assert one.position_m(points[0, 0]) == pytest.approx(one.position_m(points)[0, 0])
    with pytest.raises(DarklungError, match="one: wanted the frame 'scanner', got 'LPS'"):
        resliced(replace(image, frame="scanner"), places @ slope, one, points)


def test_landmarks_are_read_by_use(tmp_path):
    file = tmp_path / "marks.csv"
    file.write_text("section,row_mm,col_mm,z_mm,y_mm,x_mm,use\na,1,2,3,4,5,fit\na,1,2,3,4,6,\nb,0,0,0,0,0,check\n")
    found = read_landmarks(file, ("a", "b"))
    assert found["fit"]["a"].points_m.tolist() == [[1e-3, 2e-3]]
    assert found["fit"]["a"].places_m.tolist() == [[3e-3, 4e-3, 5e-3]]
    assert set(found["check"]) == {"a", "b"}
    for line, told in (
        ("c,1,2,3,4,5,fit", "row 2: section: 'c' is not known; known: a, b"),
        ("a,1,x,3,4,5,fit", "col_mm: wanted a"),
    ):
        file.write_text(f"section,row_mm,col_mm,z_mm,y_mm,x_mm,use\n{line}\n")
        with pytest.raises(DarklungError, match=r"marks\.csv: row 2") as caught:
            read_landmarks(file, ("a", "b"))
        assert told in str(caught.value)

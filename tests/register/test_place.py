"""Sections of a known texture find their place; what is wrong is flagged or refused."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from blobs import AXES, PIXEL, section, volume

from darklung.core.checks import DarklungError
from darklung.core.resample import reorient
from darklung.core.types import Image
from darklung.register.features import SectionView
from darklung.register.fit import positions
from darklung.register.place import place
from darklung.register.pose import Frame
from darklung.register.search import Question, search

VOXEL_UM = 200


def pose(at_m=0.4e-3, tilts=(0.12, -0.08), turn=0.1, shrinkage=0.12):
    """Nine numbers of a map."""
    frame = Frame(AXES, np.zeros((1, 2)), np.zeros(1))
    numbers = np.zeros(frame.count)
    numbers[:3], numbers[3], numbers[6:9] = (*tilts, turn), -np.log(1 - shrinkage), (0.2e-3, at_m, -0.3e-3)
    return frame.map_of(numbers, 0)


def error_um(view, found, true):
    points = view.points_m()[view.lung > 0.5]
    return 1e6 * np.linalg.norm(found.position_m(points) - positions(points, true), axis=1)


@pytest.fixture(scope="module")
def scene():
    image, lung = volume()
    true = pose()
    view = section(true)
    return image, lung, true, view, place([view], image, lung, Question(AXES, ("attenuation",)))


def test_a_section_is_placed_within_half_a_voxel(scene):
    _, _, true, view, found = scene
    off = error_um(view, found.maps[0], true)
    assert np.median(off) < 0.3 * VOXEL_UM
    assert np.percentile(off, 95) < 0.7 * VOXEL_UM
    assert found.flags == ()
    assert found.quality[0].dice > 0.95
    assert max(found.quality[0].error_m) < 0.5e-3 * 0.2


def test_frame_and_direction_of_the_volume_do_not_matter(scene):
    image, lung, true, view, _ = scene
    flipped = replace(
        image, data=np.ascontiguousarray(image.data[:, ::-1]), direction=((-1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)),
        origin_m=(-image.origin_m[0], *image.origin_m[1:]), frame="LPS",
    )  # fmt: skip
    assert reorient(flipped).origin_m == pytest.approx(image.origin_m)
    answer = search([view], flipped, np.ascontiguousarray(lung[::-1]), Question(AXES, ("attenuation",)), lambda s, w: None)
    points = view.points_m()[view.lung > 0.5]
    off = np.linalg.norm(positions(points, answer.place(0)) - positions(points, true), axis=1)
    assert np.median(off) < 0.3e-3 * 0.2 * 1.5


def test_a_mirrored_section_and_one_of_another_animal_are_flagged(scene):
    image, lung, _, view, _ = scene
    turned = place([view.mirrored()], image, lung, Question(AXES, ("attenuation",)))
    assert any("mirrored pictures fit better" in f for f in turned.flags)
    other, inside = volume(seed=9)
    strange = place([view], other, inside, Question(AXES, ("attenuation",)), mirrored=False)
    assert any("another animal?" in f for f in strange.flags)


def test_a_wrong_pixel_is_flagged(scene):
    image, lung, _, view, _ = scene
    large = replace(view, pixel_m=1.7 * view.pixel_m, origin_m=tuple(1.7 * o for o in view.origin_m))
    assert place([large], image, lung, Question(AXES, ("attenuation",)), mirrored=False).flags


def test_a_ball_without_texture_leaves_the_pose_open():
    side, voxel = 48, 0.2e-3
    axis = (np.arange(side) - (side - 1) / 2) * voxel
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    lung = z**2 + y**2 + x**2 < (3.5e-3) ** 2
    noise = np.random.default_rng(0).standard_normal(lung.shape)
    image = Image((1 + 0.1 * noise)[None].astype(np.float32), ("attenuation",), ("1/m",), (voxel,) * 3)
    count = 90
    row = (np.arange(count) - (count - 1) / 2) * PIXEL
    inside = (row[:, None] ** 2 + row[None] ** 2 < (3.0e-3) ** 2).astype(np.float32)
    texture = np.random.default_rng(1).standard_normal((count, count)).astype(np.float32)
    view = SectionView("ball", inside, {"tissue": (0.3 + 0.05 * texture) * inside}, PIXEL, (row[0], row[0]))
    found = place([view], image, lung, Question(AXES, ("attenuation",)), mirrored=False)
    assert found.flags


def test_a_stack_is_placed_and_its_spacing_found(scene):
    image, lung, *_ = scene
    base, numbers = pose(), (1, 2, 4)
    normal = np.cross(base[6:9], base[3:6])
    normal /= np.linalg.norm(normal)
    maps = [np.concatenate([base[:3] + (n - 2.3) * 0.9e-3 * normal, base[3:]]) for n in numbers]
    views = [section(m, name=f"s{n}") for m, n in zip(maps, numbers)]
    found = place(views, image, lung, Question(AXES, ("attenuation",), numbers), mirrored=False)
    for view, one, true in zip(views, found.maps, maps):
        assert np.median(error_um(view, one, true)) < 0.35 * VOXEL_UM
    assert abs(found.answer.matched.parameters[9]) == pytest.approx(0.9e-3, rel=0.08)
    assert found.flags == ()


def test_landmarks_draw_the_pose(scene):
    image, lung, true, view, _ = scene
    points = np.array([[2e-3, 1e-3], [-2e-3, 1.5e-3], [0.5e-3, -2e-3], [1e-3, 2e-3]])
    moved = true.copy()
    moved[:3] += (0, 0.5e-3, 0)  # what landmarks say against the pictures
    ask = Question(AXES, ("attenuation",), landmarks={0: (points, positions(points, moved))}, landmark_sd_m=1e-6)
    answer = search([view], image, lung, ask, lambda s, w: None)
    assert positions(points, answer.place(0)) == pytest.approx(positions(points, moved), abs=20e-6)


def test_what_cannot_be_placed_is_refused(scene):
    image, lung, _, view, _ = scene
    with pytest.raises(DarklungError, match="channels: 'dark_field' is not known; known: attenuation"):
        place([view], image, lung, Question(AXES, ("dark_field",)))
    with pytest.raises(DarklungError, match="volume: no lung in it"):
        place([view], image, np.zeros_like(lung), Question(AXES, ("attenuation",)))
    with pytest.raises(DarklungError, match="numbers: wanted 1, got"):
        place([view], image, lung, Question(AXES, ("attenuation",), (1, 2)))

"""Features, sampling, poses, bending and agreement, each against arithmetic or another way to the same."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, stats

sys.path.insert(0, str(Path(__file__).parent))
from blobs import AXES, section, volume

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.register.agreement import agreement
from darklung.register.bend import bent
from darklung.register.features import SectionView, feature_of, section_level, view_section, volume_level
from darklung.register.fit import Problem, Target, seen
from darklung.register.pose import OWN, SHARED, Frame, make_prior
from darklung.register.sampling import grid_of
from darklung.register.transform import Bending, PlaneMap
from darklung.steps.register import Parameters, landmarks_of, task
from darklung.steps.sections import _flipped
from darklung.study.histology import SectionPart


def test_stripes_have_the_share_and_the_changes_that_were_drawn():
    lung = np.zeros((400, 400), bool)
    lung[40:360, 40:360] = True
    tissue = np.broadcast_to((np.arange(400) // 5) % 2 == 0, lung.shape) & lung  # along columns a change every 5 pixels
    view = view_section("a", lung=lung, tissue=tissue, pixel_m=8e-6, origin_m=(-1.5e-3, -1.5e-3), coarse_m=160e-6)
    inner = view.lung == 1
    assert inner.sum() == 16**2
    assert view.pixel_m == pytest.approx(160e-6)
    assert view.shown["tissue"][inner] == pytest.approx(0.5)
    assert view.shown["interface"][inner].mean() == pytest.approx(0.5 / 40e-6, rel=0.02)  # none along the rows
    assert view.middle_m() == pytest.approx([-1.5e-3 + 199.5 * 8e-6] * 2, abs=1e-9)
    assert view.origin_m == pytest.approx((-1.5e-3 + 9.5 * 8e-6,) * 2)
    turned = view.mirrored()
    assert turned.middle_m() == pytest.approx(view.middle_m() * [1, -1], abs=1e-9)


def test_what_channels_look_like_is_known():
    assert [feature_of(n) for n in ("attenuation", "dark_field", "dark_field_22.5")] == ["tissue", "interface", "interface"]
    with pytest.raises(DarklungError, match="channels: 'phase' is not known; known: attenuation, dark_field"):
        feature_of("phase")


def test_a_section_without_lung_is_refused():
    with pytest.raises(DarklungError, match="empty: no lung in the section"):
        SectionView("empty", np.zeros((4, 4), np.float32), {}, 1e-4, (0.0, 0.0))


def test_sampling_is_scipys_and_its_slopes_are_its_differences():
    rng = np.random.default_rng(0)
    direction = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    image = Image(
        np.zeros((1, 6, 7, 8)), ("a",), ("1",), (1e-4, 2e-4, 3e-4), (1e-3, 0.0, -1e-3), "LPS", tuple(map(tuple, direction))
    )
    values = rng.standard_normal((2, 6, 7, 8)).astype(np.float32)
    grid = grid_of(image, values)
    index = rng.uniform(0.1, 4.9, (40, 3))
    places = np.array([image.position_m(i) for i in index])
    found, slopes = grid.at(places)
    for f in range(2):
        assert found[:, f] == pytest.approx(ndimage.map_coordinates(values[f], index.T, order=1, output=float), abs=1e-5)
    step = 1e-9
    for axis in range(3):
        ahead, behind = (grid.at(places + s * step * np.eye(3)[axis])[0] for s in (1, -1))
        assert slopes[:, :, axis] == pytest.approx((ahead - behind) / (2 * step), rel=1e-3, abs=1e-2)


def test_a_pose_is_what_its_numbers_say():
    frame = Frame(AXES, np.array([[1e-3, 2e-3]]), np.zeros(1))
    numbers = np.zeros(frame.count)
    numbers[6:9] = (3e-3, 4e-3, 5e-3)
    place = frame.map_of(numbers, 0)
    middle = place[:3] + 1e-3 * place[3:6] + 2e-3 * place[6:9]
    assert middle == pytest.approx([3e-3, 4e-3, 5e-3])  # the lung's middle is put at the centre
    assert place[3:6] == pytest.approx([1, 0, 0])
    assert place[6:9] == pytest.approx([0, 0, 1])
    numbers[0] = 0.1  # the rows lean out of the plane, the columns do not
    leaned = frame.map_of(numbers, 0)
    assert leaned[3:6] == pytest.approx([np.cos(0.1), np.sin(0.1), 0])
    assert leaned[6:9] == pytest.approx([0, 0, 1])


def test_a_stack_shares_its_tilt_and_its_sections_lie_apart():
    frame = Frame(AXES, np.zeros((3, 2)), np.array([-1.5, -0.5, 2.0]))
    numbers = np.zeros(frame.count)
    numbers[:3], numbers[SHARED.index("scale")], numbers[SHARED.index("spacing")] = (0.1, -0.2, 0.05), 0.2, 1e-3
    maps = np.stack([frame.map_of(numbers, i) for i in range(3)])
    assert np.ptp(maps[:, 3:], axis=0).max() < 1e-15
    normal = np.cross(maps[0, 3:6], maps[0, 6:9])
    normal /= np.linalg.norm(normal)
    assert np.abs(maps[:, :3] @ normal - normal @ maps[0, :3]) == pytest.approx([0, 1e-3, 3.5e-3], abs=1e-12)
    assert np.linalg.norm(maps[0, 3:6]) == pytest.approx(np.exp(0.2))
    assert frame.count == len(SHARED) + 3 * len(OWN)


def target_of(view, sigma=0.2e-3):
    level = section_level(view, ("attenuation",), sigma_m=sigma, scale=1.0)
    chosen = view.lung > 0.2
    chosen[::2] = chosen[:, ::2] = False
    values = np.moveaxis(level.values, 0, -1)[chosen].astype(float)
    return Target(view.points_m()[chosen], values, 0.4, np.zeros(chosen.sum(), int))


def test_a_known_spacing_counts_alike_whichever_way_a_stack_runs():
    frame = Frame(AXES, np.zeros((3, 2)), np.array([-1.0, 0.0, 1.0]))
    prior = make_prior(frame, shrinkage=(0, 1), spacing_m=(0.9e-3, 0.09e-3), tilt_rad=1, turn_rad=1, stretch=1)
    at = SHARED.index("spacing")
    for spacing in (0.9e-3, 0.8e-3):
        one, other = np.zeros(frame.count), np.zeros(frame.count)
        one[at], other[at] = spacing, -spacing
        assert prior.cost(one) == prior.cost(other) == pytest.approx(((spacing - 0.9e-3) / 0.09e-3) ** 2 / 2)
        np.testing.assert_array_equal(prior.away(one), -prior.away(other))


def test_slopes_of_the_cost_are_its_differences():
    image, lung = volume()
    frame = Frame(AXES, np.zeros((1, 2)), np.zeros(1))
    true = np.concatenate([np.zeros(3), [1, 0, 0], [0, 0, 1]])
    view = section(true)
    grid = grid_of(image, volume_level(image, lung, ("attenuation",), sigma_m=0.2e-3).values)
    prior = make_prior(frame, shrinkage=(0, 1), spacing_m=(0, 1), tilt_rad=1, turn_rad=1, stretch=1)
    problem = Problem([target_of(view)], grid, frame, prior)
    numbers = np.zeros(frame.count)
    numbers[:3], numbers[6:9] = (0.03, -0.02, 0.04), (1e-4, 2e-4, -1e-4)
    at, looks = problem.judged(numbers)
    _, slope = problem.normal(at, looks)
    for k in (0, 1, 2, 3, 4, 5, 6, 7, 8):
        step = np.zeros(frame.count)
        step[k] = 1e-6
        costs = []
        for sign in (1, -1):
            # Gain, offset and spread are held, as Gauss and Newton do.
            look = seen(problem.targets[0], grid, frame.map_of(numbers + sign * step, 0))
            z = np.abs(look.residual) / at.sd
            costs.append(0.4 * np.where(z < 2.5, z**2 / 2, 2.5 * z - 2.5**2 / 2).sum() + prior.cost(numbers + sign * step))
        assert slope[k] == pytest.approx((costs[0] - costs[1]) / 2e-6, rel=0.05, abs=0.02 * np.abs(slope).max())


def test_a_smooth_displacement_is_found():
    image, lung = volume()
    plane = PlaneMap("one", "scanner", np.zeros(3), AXES[:, :2])
    true = Bending((-6e-3, -6e-3), 3e-3, 0.12e-3 * np.random.default_rng(4).uniform(-1, 1, (5, 5, 2)))
    view = section(np.concatenate([np.zeros(3), [1, 0, 0], [0, 0, 1]]))
    target = target_of(view)
    points = plane.point_m(PlaneMap("one", "scanner", np.zeros(3), AXES[:, :2], true).position_m(target.points_m))[0]
    moved = section_moved(view, true)
    grid = grid_of(image, volume_level(image, lung, ("attenuation",), sigma_m=0.2e-3).values)
    found = bent(plane, target_of(moved), grid, np.array([0.1, 0.2]))
    before = np.linalg.norm(points - target.points_m, axis=1)
    after = np.linalg.norm(found.position_m(target.points_m) - plane.position_m(points), axis=1)
    assert np.sqrt((after**2).mean()) < 0.5 * np.sqrt((before**2).mean())
    assert 0 < found.rest_m < 100e-6


def section_moved(view, bending):
    """A picture whose point p shows what lay at p + d(p)."""
    points = view.points_m() + bending.at(view.points_m())
    index = np.moveaxis((points - view.origin_m[0]) / view.pixel_m, -1, 0)
    lung, tissue = (ndimage.map_coordinates(v, index, order=1) for v in (view.lung, view.shown["tissue"]))
    return SectionView("moved", lung, {"tissue": tissue}, view.pixel_m, view.origin_m)


def test_agreement_is_scipys_and_the_limits_hold_their_share():
    rng = np.random.default_rng(3)
    x = rng.normal(0.4, 0.1, 4000)
    y = x + 0.05 + rng.normal(0, 0.02, x.size)
    found = agreement(x, y)
    interval = stats.pearsonr(x, y).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    line = stats.linregress(x, y)
    assert (found.slope, found.offset) == pytest.approx((line.slope, line.intercept))
    assert found.bias == pytest.approx(0.05, abs=0.002)
    assert np.mean((y - x > found.limit_low) & (y - x < found.limit_high)) == pytest.approx(0.95, abs=0.01)
    few = agreement(np.array([1, 2, np.nan, 3, 4, 5.0]), np.array([1, 2, 3, 4, 4, np.nan]))
    assert few.count == 4
    with pytest.raises(DarklungError, match="wanted at least 4 pairs of values, got 3"):
        agreement(np.arange(3.0), np.arange(3.0))
    with pytest.raises(DarklungError, match="the same everywhere"):
        agreement(np.ones(5), np.arange(5.0))


def test_landmarks_are_mirrored_with_their_picture(tmp_path):
    """They are marked in the picture's file, as outlines are drawn there."""
    table = tmp_path / "marks.csv"
    rows = [f"{name},1.5,-0.5,1,2,3,{use}" for name in ("a", "b", "c") for use in ("fit", "check")]
    table.write_text("\n".join(["section,row_mm,col_mm,z_mm,y_mm,x_mm,use", *rows]) + "\n")
    flips = {"a": "no", "b": "left-right", "c": "up-down"}
    given = {"subject": "s", "animal": "s", "volume": "v.nrrd", "landmarks": str(table), "names": tuple(flips)}
    sections = tuple(SectionPart(file=f"{n}.tif", flip=flip) for n, flip in flips.items())
    found = landmarks_of(Parameters(**given, numbers=(1, 2, 3), positions=(None,) * 3, sections=sections))
    picture = np.zeros((40, 20), bool)
    for use in ("fit", "check"):
        for name, flip in flips.items():
            picture[:] = False
            picture[20 + 15, 10 - 5] = True  # of 0.1 mm, whose middle is a corner
            at = (np.argwhere(_flipped(picture, flip))[0] + 0.5 - (20, 10)) * 1e-4
            np.testing.assert_allclose(found[use][name].points_m[0], at, atol=0.6e-4)
            np.testing.assert_array_equal(found[use][name].places_m, [[1e-3, 2e-3, 3e-3]])


@pytest.mark.parametrize("known", [(1e-3, None, 3e-3), (None, None, 1e-3)])
def test_places_of_some_sections_alone_are_refused(tmp_path, known):
    sections = tuple(SectionPart(file=tmp_path / f"{n}.tif") for n in "abc")
    given = {"subject": "s", "animal": "s", "volume": "v.nrrd", "names": ("a", "b", "c"), "numbers": (1, 2, 3)}
    told = rf"wanted the position of each \(or a spacing\), or of none; got those of {3 - known.count(None)} of 3"
    with pytest.raises(DarklungError, match=told):
        task(Parameters(**given, positions=known, sections=sections))
    for every in ((None,) * 3, (1e-3, 2e-3, 4e-3)):
        task(Parameters(**given, positions=every, sections=sections))

"""Each map of the table against what it must be: symmetries, analytic truth, errors, and nothing from outside the lung."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.special import erf

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.features.layers import Layer, Place, continued, kernels_of, local_mean
from darklung.features.mirror import mirror, mirror_plane
from darklung.features.ratios import difference, ratio
from darklung.features.recipe import make_channels
from darklung.features.shapes import blobness, vesselness
from darklung.features.tissue import interface_density, tissue_fraction
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import two_phase

VOXEL = 2e-4
LOCAL = (
    "ratio",
    "difference(dark_field_0, dark_field_90)",
    "anisotropy",
    "contrast(dark_field, 0.8 mm)",
    "contrast(attenuation, 0.6 mm, 1.2 mm)",
    "blobness(attenuation, 0.8 mm)",
    "blobness(attenuation, 0.6 mm, 1.2 mm)",
    "vesselness(attenuation, 0.6 mm)",
    "valid(dark_field)",
    "ratio_noise",
    "dark_field_noise",
    "contrast(dark_field, 0.8 mm)_noise",
    "valid(ratio)",
)
TISSUE = ("tissue_fraction", "interface_density", "interface_density_noise", "contrast(tissue_fraction, 0.8 mm)")
RNG = np.random.default_rng(2)


def subject(dims, seed=0, side=14):
    """Random channels with an irregular lung, some voxels without a value, and a region that is wider."""
    rng = np.random.default_rng(seed)
    shape = (side, side + 2, side + 4)[-dims:]
    fields = ndimage.gaussian_filter(rng.normal(size=(5, *shape)), (0, *(1.0,) * dims))
    distance = np.sqrt(sum(((np.indices(shape)[a] - n / 2.2) / n) ** 2 for a, n in enumerate(shape)))
    lung = distance + 0.2 * fields[4] < 0.38
    data = np.stack([6 + 3 * fields[0], 60 + 40 * fields[1], 80 + 40 * fields[2], *(1 + 0.2 * np.abs(fields[:3]))])
    data = np.concatenate([data, data[1:3].mean(axis=0, keepdims=True)])
    names = (
        "attenuation",
        "dark_field_0",
        "dark_field_90",
        "attenuation_noise",
        "dark_field_0_noise",
        "dark_field_90_noise",
    )
    image = Image(data, (*names, "dark_field"), ("1/m",) * 7, (VOXEL,) * dims)
    place = Place(lung, ndimage.binary_dilation(lung), (VOXEL,) * dims, 1, 70.0, 3e-6)
    return image, place


def turned(array, axes, flips):
    """A rotation or mirror of the last axes."""
    lead = array.ndim - len(axes)
    moved = array.transpose(*range(lead), *(lead + a for a in axes))
    return np.flip(moved, [lead + a for a, f in enumerate(flips) if f])


@settings(max_examples=12)
@given(st.sampled_from([2, 3]), st.data())
def test_rotations_and_mirrors_move_every_map(dims, data):
    axes = data.draw(st.permutations(range(dims)))
    flips = data.draw(st.lists(st.booleans(), min_size=dims, max_size=dims))
    image, place = subject(dims)
    names = LOCAL + (TISSUE if dims == 3 else ())
    before = make_channels(image, names, place)
    other = replace(image, data=turned(image.data, axes, flips), origin_m=())
    moved = replace(place, lung=turned(place.lung, axes, flips), region=turned(place.region, axes, flips))
    for name, layer, found in zip(names, before, make_channels(other, names, moved)):
        scale = np.nanstd(layer.values) + 1e-12
        np.testing.assert_allclose(
            found.values, turned(layer.values, axes, flips), atol=1e-9 * scale, rtol=1e-7, err_msg=name
        )


@settings(max_examples=6)
@given(st.sampled_from([2, 3]), st.tuples(*(st.integers(0, 4),) * 3))
def test_translations_move_every_map(dims, steps):
    image, place = subject(dims)
    pad = [(s, 5 - s) for s in steps[-dims:]]
    wide = np.pad(image.data, [(0, 0), *pad], constant_values=np.nan)
    inside = tuple(slice(a, a + n) for (a, _), n in zip(pad, image.shape))
    names = LOCAL + (TISSUE if dims == 3 else ())
    moved = replace(place, lung=np.pad(place.lung, pad), region=np.pad(place.region, pad))
    shifted = make_channels(Image(wide, image.names, image.units, image.spacing_m), names, moved)
    for name, layer, found in zip(names, make_channels(image, names, place), shifted):
        part = found.values[inside]
        close = place.inside
        np.testing.assert_allclose(part[close], layer.values[close], rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("dims", [2, 3])
def test_directions_that_change_places(dims):
    image, place = subject(dims)
    swap = [0, 2, 1, 3, 5, 4, 6]
    other = image.with_data(image.data[swap])
    name = "difference(dark_field_0, dark_field_90)"
    (one,), (two,) = make_channels(image, (name,), place), make_channels(other, (name,), place)
    np.testing.assert_allclose(two.values, -one.values)
    np.testing.assert_allclose(two.noise, one.noise)


@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_outside_lung_and_region_is_looked_at(dims):
    image, place = subject(dims)
    names = LOCAL + (TISSUE if dims == 3 else ())
    data = image.data.copy()
    data[:, ~place.inside] = np.where(RNG.random(data[:, ~place.inside].shape) < 0.5, np.nan, 1e6)
    before = make_channels(image, names, place)
    after = make_channels(image.with_data(data), names, place)
    for name, layer, found in zip(names, before, after):
        np.testing.assert_array_equal(found.values[place.inside], layer.values[place.inside], err_msg=name)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_constant_subject(dims):
    image, place = subject(dims)
    flat = image.with_data(np.full_like(image.data, 5.0))
    for name in ("contrast(dark_field, 0.8 mm)", "difference(dark_field_0, dark_field_90)", "anisotropy"):
        assert np.abs(make_channels(flat, (name,), place)[0].values[place.inside]).max() < 1e-6, name
    for name in ("blobness(attenuation, 0.8 mm)", "vesselness(attenuation, 0.6 mm)"):
        assert np.abs(make_channels(flat, (name,), place)[0].values[place.inside]).max() < 1e-3, name
    assert (make_channels(flat, ("ratio",), place)[0].values[place.inside] == 1).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_without_any_value(dims):
    image, place = subject(dims)
    none = image.with_data(np.full_like(image.data, np.nan))
    names = [n for n in (*LOCAL, "mirror(attenuation)") if n not in ("anisotropy", "valid(dark_field)", "valid(ratio)")]
    for name, layer in zip(names, make_channels(none, names, place)):
        assert not layer.known.any(), name
    assert not make_channels(none, ("valid(dark_field)",), place)[0].values.any()


def test_sparse_values_are_used_as_they_are():
    image, place = subject(3)
    data = image.data.copy()
    gone = RNG.random(image.shape) < 0.5
    data[:, gone] = np.nan
    found = make_channels(image.with_data(data), ("contrast(dark_field, 1.6 mm)", "ratio", "valid(ratio)"), place)
    assert found[0].known[place.lung].mean() > 0.99
    np.testing.assert_array_equal(found[1].known[place.lung], ~gone[place.lung])
    np.testing.assert_array_equal(found[2].values > 0, place.inside & ~gone)


def test_local_means_against_brute_force():
    values, where = RNG.normal(size=(7, 8, 6)), RNG.random((7, 8, 6)) < 0.6
    kernels = kernels_of(2.5e-4, (2e-4, 1e-4, 3e-4))
    mean, weight = local_mean(values, where, kernels)
    places = np.argwhere(where)
    for at in np.argwhere(np.ones((7, 8, 6), bool))[::17]:
        off = places - at
        near = [np.abs(off[:, a]) <= len(k) // 2 for a, k in enumerate(kernels)]
        keep = np.logical_and.reduce(near)
        w = np.prod([k[off[keep, a] + len(k) // 2] for a, k in enumerate(kernels)], axis=0)
        assert weight[tuple(at)] == pytest.approx(w.sum(), rel=1e-9)
        assert mean[tuple(at)] == pytest.approx((w * values[tuple(places[keep].T)]).sum() / w.sum(), rel=1e-9)


def test_continued_values_have_no_edge():
    where = np.zeros((20, 20), bool)
    where[5:12, 4:9] = True
    out = continued(np.where(where, 3.0, 1e9), where, (VOXEL, VOXEL))
    np.testing.assert_allclose(out, 3.0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "name",
    ["ratio", "difference(dark_field_0, dark_field_90)", "contrast(dark_field, 0.8 mm)", "mirror(attenuation)", *TISSUE[:2]],
)
def test_stated_errors_are_true(dims, name):
    """Pulls of maps of noisy images against the map of the image without noise."""
    if dims == 2 and name in TISSUE:
        pytest.skip("defined in volumes alone")
    image, place = subject(dims, side=16 if dims == 3 else 40)
    if name.startswith("mirror") and dims == 3:
        lung, _ = lungs()
        image, place = (
            Image(np.zeros((6, *lung.shape)), image.names[:6], ("1/m",) * 6, image.spacing_m),
            replace(place, lung=lung, region=lung),
        )
    smooth = np.stack([np.full(image.shape, v) for v in (6.0, 60.0, 70.0)])
    sigma = np.array([0.3, 4.0, 6.0]).reshape(3, *(1,) * dims) * np.exp(
        0.3 * ndimage.gaussian_filter(RNG.normal(size=image.shape), 1)
    )
    pulls = []
    (exact,) = make_channels(stack(image, smooth, sigma), (name,), place)
    for _ in range(20 if dims == 2 else 6):
        noisy = stack(image, smooth + sigma * RNG.normal(size=smooth.shape), sigma)
        (found,) = make_channels(noisy, (name,), place)
        pulls.append(((found.values - exact.values) / found.noise)[place.lung & exact.known])
    assert np.std(np.concatenate(pulls)) == pytest.approx(1.0, abs=0.05)


def stack(image, values, errors):
    mean, error = values[1:3].mean(axis=0), np.sqrt((errors[1:3] ** 2).sum(axis=0)) / 2
    names = (*image.names[:6], "dark_field", "dark_field_noise")
    data = np.concatenate([values, errors, mean[None], error[None]])
    return Image(data, names, ("1/m",) * 8, image.spacing_m)


@pytest.mark.parametrize("dims", [2, 3])
def test_blobs_answer_at_their_middle_and_size(dims):
    shape = (31,) * dims
    away = np.sqrt(sum((i - 15) ** 2 for i in np.indices(shape))) * VOXEL
    everywhere = np.ones(shape, bool)
    place = Place(everywhere, everywhere, (VOXEL,) * dims)
    ball = Layer(2.0 * (away < 8e-4) - 1.0, "1/m")
    answers = {d: float(blobness(ball, d * 1e-3, place=place).values[(15,) * dims]) for d in (1.0, 1.6, 2.4)}
    assert max(answers, key=lambda d: answers[d]) == 1.6
    found = blobness(ball, 1.6e-3, place=place).values
    assert np.unravel_index(found.argmax(), shape) == (15,) * dims
    several = blobness(ball, 1e-3, 2.4e-3, place=place).values
    assert several[(15,) * dims] >= 0.93 * answers[1.6]
    np.testing.assert_allclose(blobness(Layer(-ball.values), 1.6e-3, place=place).values, -found, atol=1e-12)
    assert vesselness(ball, 1.6e-3, place=place).values[(15,) * dims] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("dims", [2, 3])
def test_vessels_answer_as_vessels(dims):
    shape = (25,) * dims
    across = [np.indices(shape)[a] - 12 for a in range(1, dims)]
    away = np.sqrt(sum(a**2 for a in across)) * VOXEL
    everywhere = np.ones(shape, bool)
    place = Place(everywhere, everywhere, (VOXEL,) * dims)
    tube = Layer((away < 4e-4).astype(float))
    vessel, blob = (f(tube, 8e-4, place=place).values for f in (vesselness, blobness))
    middle = (12,) * dims
    assert vessel[middle] > 0.2
    assert vessel[middle] == pytest.approx(vessel.max(), rel=1e-6)
    assert abs(blob[middle]) < 0.02 * vessel[middle]


def share_in_ball(radius_sd):
    """Of a Gaussian in three dimensions, within a ball of so many standard deviations about its middle."""
    return erf(radius_sd / np.sqrt(2)) - np.sqrt(2 / np.pi) * radius_sd * np.exp(-(radius_sd**2) / 2)


def test_contrast_of_a_ball_against_lung():
    shape = (31, 31, 31)
    away = np.sqrt(sum((i - 15) ** 2 for i in np.indices(shape))) * VOXEL
    image, everywhere = np.where(away < 6e-4, 9.0, 5.0), np.ones(shape, bool)
    place = Place(everywhere, everywhere, (VOXEL,) * 3)
    data = Image(image[None], ("attenuation",), ("1/m",), (VOXEL,) * 3)
    spot, narrow = (make_channels(data, (f"contrast(attenuation, {d} mm)",), place)[0].values for d in (1.2, 0.4))
    assert spot[15, 15, 15] == pytest.approx(4 * (share_in_ball(6e-4 / 3e-4) - share_in_ball(6e-4 / 9e-4)), rel=0.08)
    assert spot[15, 15, 15] > narrow[15, 15, 15]
    assert abs(spot[2, 2, 2]) < 0.02
    with pytest.raises(DarklungError, match=r"wanted the smaller size first, got 0\.8 mm and 0\.5 mm"):
        make_channels(data, ("contrast(attenuation, 0.8 mm, 0.5 mm)",), place)


def lungs(shape=(24, 30, 36), lean=0.0, turn=0.0):
    """Two lungs, each other's mirror image across a plane, narrow in front and wide at the back."""
    half = [(n - 1) / 2 for n in shape]
    z, y, x = (np.indices(shape)[a] - h for a, h in enumerate(half))
    u = np.cos(lean) * (np.cos(turn) * x + np.sin(turn) * y) + np.sin(lean) * z
    v = np.cos(turn) * y - np.sin(turn) * x
    w = np.cos(lean) * z - np.sin(lean) * (np.cos(turn) * x + np.sin(turn) * y)
    return ((np.abs(u) - 7) / (4 + 0.3 * v)) ** 2 + ((v - 1) / 9) ** 2 + (w / 10) ** 2 < 1, u


@pytest.mark.parametrize(("lean", "turn"), [(0.0, 0.0), (0.15, 0.0), (0.1, 0.5), (-0.1, 1.5)])
def test_the_mirror_plane_is_found(lean, turn):
    lung, _ = lungs(lean=lean, turn=turn)
    plane = mirror_plane(lung, (VOXEL,) * 3)
    truth = np.array([np.sin(lean), np.cos(lean) * np.sin(turn), np.cos(lean) * np.cos(turn)])
    assert plane.trusted
    assert abs(truth @ plane.normal) > np.cos(0.02)
    middle = np.array([(n - 1) / 2 * VOXEL for n in lung.shape])
    assert abs(float(np.asarray(plane.normal) @ middle) - plane.offset_m) < 0.25 * VOXEL
    assert plane.overlap > 0.9


def test_no_plane_where_several_are_as_good_or_none_is():
    away = np.sqrt(sum((i - 12) ** 2 for i in np.indices((25, 25, 25))))
    assert not mirror_plane(away < 9, (VOXEL,) * 3).trusted
    z, y, x = np.indices((25, 25, 25)) - 12
    spiral = (np.abs(z) < 9) & (np.abs(np.arctan2(y, x) - 0.25 * z) < 0.6) & (np.hypot(x, y) > 3)
    plane = mirror_plane(spiral, (VOXEL,) * 3)
    assert not plane.trusted
    made = mirror(Layer(np.ones((25, 25, 25))), place=Place(spiral, spiral, (VOXEL,) * 3))
    assert not made.known.any()


@pytest.mark.parametrize("flips", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_the_other_side_moves_with_the_animal(flips):
    lung, _ = lungs(lean=0.1, turn=0.3)
    values = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=lung.shape), 2)
    axes = (0, 2, 1) if flips == (0, 0, 0) else (0, 1, 2)
    one = mirror(Layer(values), place=Place(lung, lung, (VOXEL,) * 3)).values
    other = turned(lung, axes, flips)
    two = mirror(Layer(turned(values, axes, flips)), place=Place(other, other, (VOXEL,) * 3)).values
    back = np.flip(two, [a for a, f in enumerate(flips) if f]).transpose(axes)
    both = lung & np.isfinite(one) & np.isfinite(back)
    assert both.sum() > 0.85 * lung.sum()
    assert np.abs(one - back)[both].max() < 0.05 * one[both].std()


def test_symmetric_lungs_differ_from_their_mirror_image_by_the_lesion_alone():
    lung, u = lungs(turn=0.3)
    values = 5 + 0.05 * np.abs(u)
    at = np.argwhere(lung & (u > 5))[200]
    lesion = np.sqrt(sum((i - a) ** 2 for i, a in zip(np.indices(lung.shape), at))) < 2.2
    place = Place(lung, lung, (VOXEL,) * 3)
    plain = mirror(Layer(values), 4e-4, place=place)
    marked = mirror(Layer(values + 3 * lesion), 4e-4, place=place)
    known = lung & plain.known
    assert known.sum() > 0.9 * lung.sum()
    assert np.percentile(np.abs(plain.values[known]), 99) < 0.1
    assert marked.values[tuple(at)] == pytest.approx(3, abs=0.2)
    assert np.median(marked.values[known & (u < 0)]) == pytest.approx(0, abs=0.05)
    assert marked.values[known & (u < 0)].min() < -2


def test_ratio_and_difference_by_hand():
    place = Place(np.ones((2, 2), bool), np.ones((2, 2), bool), (VOXEL,) * 2)
    upper, lower = Layer(np.array([[4.0, 6], [8, 1]]), "1", np.full((2, 2), 0.4)), np.array([[2.0, 2], [4, 0.1]])
    made = ratio(upper, Layer(lower, "1", np.full((2, 2), 0.1)), place=place)
    np.testing.assert_allclose(made.values, [[2, 3], [2, np.nan]])
    assert made.noise[0, 0] == pytest.approx(np.hypot(0.4 / 2, 4 * 0.1 / 4))
    assert difference(upper, upper, place=place).noise[0, 0] == pytest.approx(0.4 * np.sqrt(2))


@settings(max_examples=30)
@given(st.floats(0.05, 0.9), st.floats(1e4, 1e5), st.floats(30, 90), st.floats(0.5e-6, 3e-6))
def test_fraction_and_interface_come_back(phi, area, energy, xi):
    contrast = float(delta("soft_tissue", 1.05, energy))
    if xi > 4 * phi * (1 - phi) / area:  # beyond the rising side
        return
    mu, epsilon = (
        phi * float(linear_attenuation("soft_tissue", 1.05, energy)),
        float(two_phase(phi, area, contrast, energy, xi)),
    )
    whole = np.ones((3, 3, 3))
    place = Place(whole > 0, whole > 0, (VOXEL,) * 3, 1, energy, xi)
    fraction = tissue_fraction(Layer(mu * whole, "1/m"), place=place)
    surface = interface_density(Layer(epsilon * whole, "1/m"), Layer(mu * whole, "1/m"), place=place)
    assert fraction.values[1, 1, 1] == pytest.approx(phi, rel=1e-9)
    assert surface.values[1, 1, 1] == pytest.approx(area, rel=2e-4)


def test_more_scattering_than_the_model_has_is_not_valid():
    whole = np.ones((3, 3, 3))
    place = Place(whole > 0, whole > 0, (VOXEL,) * 3, 1, 70.0, 3e-6)
    mu = 0.3 * float(linear_attenuation("soft_tissue", 1.05, 70.0))
    for epsilon, attenuation in ((1e4, mu), (80.0, 0.0), (80.0, 5 * mu)):
        assert not interface_density(Layer(epsilon * whole), Layer(attenuation * whole), place=place).known.any()


MADE = ("difference(attenuation, attenuation)", "tissue_fraction", "attenuation_copy", "ratio(attenuation, attenuation)")


@pytest.mark.parametrize("name", [*MADE, "contrast(attenuation, 0.6 mm)", "mirror(attenuation)"])
def test_what_has_no_value_has_no_error(name):
    """A cube has no mirror plane; half of the other lungs has no value of its own."""
    shape, lung = (12, 12, 12), np.zeros((12, 12, 12), bool)
    lung[2:10, 2:10, 2:10] = True
    data = np.stack([RNG.normal(20, 1, shape), np.full(shape, 0.5), np.indices(shape)[0] % 2, np.ones(shape)])
    names = ("attenuation", "attenuation_noise", "valid(attenuation)", "valid(attenuation_noise)")
    image = Image(data, names, ("1/m", "1/m", "1", "1"), (VOXEL,) * 3)
    value, noise = make_channels(image, (name, f"noise({name})"), Place(lung, lung, image.spacing_m, energy_kev=70.0))
    assert value.known.any() == (not name.startswith("mirror"))
    assert np.array_equal(noise.known & ~value.known, np.zeros(shape, bool))


@pytest.mark.parametrize("none", [np.nan, np.inf, "valid"])
@pytest.mark.parametrize("name", ["contrast(attenuation, 0.6 mm)", "mirror(attenuation)", "tissue_fraction"])
def test_what_is_made_of_voxels_that_tell_no_error_tells_none(name, none):
    """Left out of the sum of variances they would make the error of a mean smaller, as if they were certain."""
    lung, _ = lungs()
    shape, blind = lung.shape, tuple(np.argwhere(lung)[lung.sum() // 3])
    data = np.stack([RNG.normal(20, 1, shape), np.full(shape, 0.5), np.ones(shape)])
    names = ("attenuation", "attenuation_noise", "valid(attenuation_noise)")
    place = Place(lung, lung, (VOXEL,) * 3, energy_kev=70.0)

    def error(data):
        return make_channels(Image(data, names, ("1/m", "1/m", "1"), (VOXEL,) * 3), (f"noise({name})",), place)[0]

    known = error(data)
    changed = data.copy()
    changed[2 if none == "valid" else 1][blind] = 0 if none == "valid" else none
    found = error(changed)
    lost = known.known & ~found.known
    assert lost.any()
    assert lost.sum() < known.known.sum() / 2
    assert np.array_equal(found.values[found.known], known.values[found.known])  # and nowhere smaller

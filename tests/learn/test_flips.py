"""Flips keep a directional channel what its name says: a mirrored animal, scanned, is the mirror image of the scan."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from darklung.core.geometry import ParallelGeometry
from darklung.core.types import Image
from darklung.features.directions import anisotropy
from darklung.learn.data import Case, Normalisation
from darklung.learn.patches import draw_batch, flip_groups, make_source, turn_axes
from darklung.learn.settings import AugmentationPart
from darklung.tomo.fbp import fbp
from darklung.tomo.projector import Projector
from darklung.tomo.tensor import _PAIRS, COMPONENTS, TensorProjector

SIZE, VIEWS = 16, 180


def scanned(tensor, degrees):
    g = ParallelGeometry(np.arange(VIEWS) * np.pi / VIEWS, SIZE, SIZE, 1e-3)
    operator = TensorProjector(Projector(g, (SIZE,) * 3, 1e-3), np.radians([degrees]))
    return fbp(operator.forward(tensor)[0], g)


@pytest.fixture(scope="module")
def tensor():
    """Smooth random scattering of every orientation, with nothing at the border."""
    rng = np.random.default_rng(5)
    field = ndimage.gaussian_filter(rng.normal(size=(6, SIZE, SIZE, SIZE)), (0, 2, 2, 2))
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, SIZE),) * 3, indexing="ij")
    return (field * (z**2 + y**2 + x**2 < 0.6)).astype(np.float32)


def mirrored(tensor, axes):
    signs = np.array([-1.0 if axis in axes else 1.0 for axis in range(3)], np.float32)
    turned = np.stack([signs[i] * signs[j] * part for (i, j), part in zip(_PAIRS, tensor)])
    return np.flip(turned, tuple(1 + a for a in axes))


@pytest.mark.parametrize("degrees", [0, 45, 90])
def test_exactly_the_allowed_flips_commute_with_the_scan(tensor, degrees):
    groups = flip_groups(["attenuation", f"dark_field_{degrees}"], 3)
    allowed = {sum(chosen, ()) for n in range(4) for chosen in itertools.combinations(groups, n)}
    plain = scanned(tensor, degrees)
    for n in range(4):
        for axes in itertools.combinations(range(3), n):
            error = np.linalg.norm(scanned(mirrored(tensor, axes), degrees) - np.flip(plain, axes)) / np.linalg.norm(plain)
            # One view, at angle 0, has no partner at 180 degrees.
            assert error < 0.03 if axes in allowed else error > 0.3, axes


@pytest.mark.parametrize("directions", [(45,), (0, 45), (45, 135), (135, 45), (0, 60, 120), (0, 90)])
def test_what_is_made_of_all_directions_flips_where_their_mirror_images_are_among_them(tensor, directions):
    def made(animal):
        each = np.stack([scanned(animal, d) for d in directions])
        ratio = {} if len(directions) < 2 else {"anisotropy": anisotropy(each, directions_rad=np.radians(directions))}
        return {"dark_field": each.mean(axis=0), **ratio}

    plain = made(tensor)
    for name, values in plain.items():
        groups = flip_groups([name], 3, directions)
        assert flip_groups(["attenuation", f"contrast({name}, 0.8 mm)"], 3, directions)[1:] == groups[1:]
        for axes in ((0,), (0, 1), (2,)):
            away = np.linalg.norm(made(mirrored(tensor, axes))[name] - np.flip(values, axes)) / np.linalg.norm(values)
            chosen = {sum(c, ()) for n in (1, 2) for c in itertools.combinations(groups, n)}
            # One view, at angle 0, has no partner at 180 degrees; a quotient makes more of it than a mean.
            assert axes not in chosen or away < (0.05 if name == "dark_field" else 0.25), (name, axes)
            # An oblique first direction besides its mirror image is refused alone.
            assert axes in chosen or away > 0.3, (name, axes)


def test_radiographs_and_channels_without_direction():
    assert flip_groups(["attenuation", "dark_field", "dark_field_0", "dark_field_90"], 2) == ((0,), (1,))
    assert flip_groups(["dark_field_45"], 2) == ((0, 1),)
    assert flip_groups(["dark_field_0", "dark_field_-45", "anisotropy"], 3) == ((0, 1), (2,))


@pytest.mark.parametrize("part", COMPONENTS)
def test_exactly_the_flips_that_keep_a_component_of_a_tensor(tensor, part):
    groups = flip_groups([f"tensor_{part}"], 3)
    number = COMPONENTS.index(part)
    for axis in range(3):
        kept = np.array_equal(mirrored(tensor, (axis,))[number], np.flip(tensor[number], axis))
        assert ((axis,) in groups) == kept, (part, axis)


def test_refraction_is_not_mirrored_along_itself():
    rng = np.random.default_rng(0)
    phase = ndimage.gaussian_filter(rng.normal(size=(12, 14)), 2)
    for degrees, axis in ((0, 0), (90, 1)):
        groups = flip_groups(["attenuation", f"refraction_{degrees}"], 2)
        for other in range(2):
            slopes = np.gradient(np.flip(phase, other))[axis]
            assert ((other,) in groups) == np.allclose(slopes, np.flip(np.gradient(phase)[axis], other))
    assert flip_groups(["refraction_45"], 2) == flip_groups(["refraction"], 3) == ()
    assert flip_groups(["refraction_90"], 3) == ((0,),)
    assert flip_groups(["contrast(refraction_0, 0.8 mm)", "refraction_90_noise"], 3) == ((1,), (2,))
    assert flip_groups(["tensor_in_plane_angle", "tensor_anisotropy"], 3) == ((0,),)
    assert flip_groups(["tensor_main_axis_z"], 3) == ()


def test_quarter_turns_are_about_the_axis_of_volumes_whose_channels_allow_them():
    cube, flat = (3e-4,) * 3, (3e-4,) * 2
    assert turn_axes(("attenuation", "dark_field", "dark_field_0", "dark_field_90_noise"), cube) == (1, 2)
    assert turn_axes(("attenuation", "dark_field_45"), cube) == ()
    assert turn_axes(("attenuation", "tensor_zz"), cube) == turn_axes(("known_yy",), cube) == ()
    assert turn_axes(("dark_field",), cube, (0.0, 45.0)) == turn_axes(("anisotropy",), cube, (45.0, 135.0)) == ()
    assert turn_axes(("dark_field", "anisotropy"), cube, (0.0, 90.0)) == (1, 2)
    assert turn_axes(("attenuation",), (3e-4, 3e-4, 2e-4)) == ()
    assert turn_axes(("attenuation",), (2e-4, 3e-4, 3e-4)) == (1, 2)
    assert turn_axes(("attenuation",), flat) == ()


def test_a_turned_patch_is_the_patch_of_a_turned_animal_in_every_row():
    rng = np.random.default_rng(0)
    shape = (8, 8, 8)
    image = Image(rng.normal(size=(1, *shape)).astype(np.float32), ("attenuation",), ("1",), (3e-4,) * 3)
    case = Case("m", image, (rng.random(shape) < 0.05).astype(np.uint8), np.ones(shape, bool))
    plain = Normalisation(("attenuation",), (0.0,), (1.0,))
    source = make_source(case=case, normalisation=plain, patch=shape, detection=True)
    still = AugmentationPart(flips=False, turns=True, gain=0, offset=0)
    wanted = {k: (np.rot90(source.data, k, (2, 3)), np.rot90(source.truth, k, (2, 3))) for k in range(4)}
    seen = set()
    for seed in range(12):
        cut = draw_batch(sources=[source], patch=shape, batch=1, rng=np.random.default_rng(seed), augmentation=still)
        (turn,) = (k for k, (data, _) in wanted.items() if np.array_equal(cut.data[0], data))
        assert all(np.array_equal(a[0, 0], b) for a, b in zip(cut.truth.values(), wanted[turn][1]))
        seen.add(turn)
    assert seen == {0, 1, 2, 3}

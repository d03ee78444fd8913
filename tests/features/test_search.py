"""Lung and search region together: of any grey scale and grid, on bodies with ribs, on simulated mice and a real scan."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.features.labels import instances_on_grid
from darklung.features.lung import find_lungs, lung_region, search_around, search_region
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.subject import make_phantom
from darklung.physics.materials import mass_attenuation

pytestmark = pytest.mark.slow(60)

DATA = Path(os.environ.get("DARKLUNG_DATA", Path(__file__).parents[3] / "shared" / "data")) / "mouse_ct_invivo"
MM = 1e-3
FINE = 2


def ellipsoid(grid, centre, semi):
    """Relative radius, 1 on the surface."""
    return np.sqrt(sum(((g - c) / s) ** 2 for g, c, s in zip(grid, centre, semi)))


def chest(spacing, *, nodules=(), lung=6.0, noise=0.8, size=(15 * MM, 20.4 * MM, 23.4 * MM)):
    """Attenuation [1/m] of a body with ribs, spine, trachea and two ellipsoidal lungs, and the true lungs, nodules included.

    Voxels are means over finer ones, so that surfaces are blurred as in a scan. `nodules` are (centre, radius).
    """
    shape = [round(s / d) for s, d in zip(size, spacing)]
    axes = [(np.arange(n * FINE) - (n * FINE - 1) / 2) * d / FINE for n, d in zip(shape, spacing)]
    grid = z, y, x = np.meshgrid(*[a.astype(np.float32) for a in axes], indexing="ij", sparse=True)
    values = np.where(ellipsoid((y, x), (0, 0), (9.5 * MM, 11 * MM)) < 1, 20.0, 0.0) + 0 * z
    rings = np.abs(ellipsoid((y, x), (0, 0), (6.7 * MM, 8.4 * MM)) - 1) < 0.03
    values[rings & (np.abs((z % (1.8 * MM)) - 0.9 * MM) < 0.25 * MM)] = 60.0
    values[(ellipsoid((y, x), (6.2 * MM, 0), (1.5 * MM, 1.5 * MM)) < 1) & (z == z)] = 60.0
    true = np.zeros(values.shape, bool)
    for side in (-1, 1):
        true |= ellipsoid(grid, (0, 0, 4 * side * MM), (7 * MM, 5.5 * MM, 3.4 * MM)) < 1
    values[true] = lung
    for centre, radius in nodules:
        values[(ellipsoid(grid, centre, (radius,) * 3) < 1) & true] = 20.0
    values[(ellipsoid((y, x), (-6 * MM, 0), (0.7 * MM, 0.7 * MM)) < 1) & (z > -2 * MM)] = 0.0
    share, mean = (v.reshape(*(k for n in shape for k in (n, FINE))).mean(axis=(1, 3, 5)) for v in (true, values))
    mean += noise * np.random.default_rng(3).standard_normal(shape)
    return Image(mean[None].astype(np.float32), ("attenuation",), ("1/m",), spacing), share >= 0.5


def dice(a, b):
    return 2 * np.sum(a & b) / (np.sum(a) + np.sum(b))


def rescaled(image, gain, offset):
    return replace(image, data=gain * image.data + offset, units=("a.u.",))


@pytest.mark.parametrize(
    ("spacing", "least"),
    [
        ((1.5e-4,) * 3, 0.98),
        ((3e-4,) * 3, 0.97),
        ((4e-4,) * 3, 0.95),
        ((4e-4, 2e-4, 2e-4), 0.965),
        ((2e-4, 2e-4, 4e-4), 0.955),
    ],
)
def test_on_any_grid_lung_is_found_and_searched_with_little_around_it(spacing, least):
    image, truth = chest(spacing)
    found = find_lungs(image)
    assert dice(found.lung, truth) > least
    assert (found.lung <= found.search).all()
    assert found.search.sum() < 1.3 * truth.sum()


@pytest.mark.parametrize(("gain", "offset"), [(430.0, 8100.0), (1e-3, -5.0), (50.0, -1000.0)])
def test_gain_and_offset_change_nothing(gain, offset):
    image, truth = chest((3e-4,) * 3)
    plain, scaled = find_lungs(image), find_lungs(rescaled(image, gain, offset))
    assert dice(scaled.lung, truth) > 0.97
    # Levels come from histograms, whose bins round.
    assert dice(scaled.lung, plain.lung) > 0.999
    assert dice(scaled.search, plain.search) > 0.999


def test_air_is_found_beside_a_fill_value_and_in_what_a_crop_leaves():
    image, truth = chest((3e-4,) * 3)
    grey = rescaled(image, 430.0, 8100.0)
    _, rows, cols = image.shape
    y, x = np.ogrid[:rows, :cols]
    outside = ((y - rows / 2) / (rows / 2)) ** 2 + ((x - cols / 2) / (cols / 2)) ** 2 > 1
    for value in (0.0, np.nan):
        data = grey.data.copy()
        data[:, :, outside] = value
        assert dice(find_lungs(replace(grey, data=data)).lung, truth) > 0.97
    cropped = replace(image, data=image.data[:, :, 3:-3, 2:-2].copy(), origin_m=())
    assert dice(find_lungs(cropped).lung, truth[:, 3:-3, 2:-2]) > 0.97


def test_what_has_no_value_is_in_neither_region():
    image, _ = chest((3e-4,) * 3)
    data = image.data.copy()
    data[:, :, :, :24] = np.nan
    found = find_lungs(replace(image, data=data))
    assert found.lung.any()
    assert not found.search[:, :, :24].any()
    assert not found.lung[:, :, :24].any()


@pytest.mark.parametrize("end", [slice(0, 26), slice(24, None)])
def test_an_animal_cut_by_an_end_in_z(end):
    image, truth = chest((3e-4,) * 3)
    cut = replace(image, data=image.data[:, end].copy(), origin_m=())
    assert dice(find_lungs(cut).lung, truth[end]) > 0.97


@pytest.mark.parametrize("radius", [0.6 * MM, 1.0 * MM, 1.4 * MM])
@pytest.mark.parametrize("place", [(0, 0.5, 7.0), (1.0, 4.6, 4.6), (4.5, 0.0, 5.2)])
def test_nodules_on_the_pleura_as_dense_as_the_wall(radius, place):
    centre = tuple(p * MM for p in place)
    image, truth = chest((2e-4,) * 3, nodules=[(centre, radius)])
    grid = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * 2e-4 for n in image.shape], indexing="ij")
    nodule = (ellipsoid(grid, centre, (radius,) * 3) < 1) & truth
    found = find_lungs(image)
    assert (nodule & found.search).sum() > 0.85 * nodule.sum()
    assert dice(found.lung, truth) > 0.97


def test_a_consolidation_that_lung_encloses_is_lung_and_the_trachea_is_not():
    image, truth = chest((2e-4,) * 3, nodules=[((0, 0, 4 * MM), 1.6 * MM)])
    found = find_lungs(image)
    middle = [round((p * MM) / 2e-4 + (n - 1) / 2) for p, n in zip((0, 0, 4), image.shape)]
    assert found.lung[tuple(slice(m - 5, m + 6) for m in middle)].all()
    trachea = [round((p * MM) / 2e-4 + (n - 1) / 2) for p, n in zip((2, -6, 0), image.shape)]
    assert not found.lung[tuple(trachea)]
    assert dice(found.lung, truth) > 0.975


def test_the_doors_agree_and_the_image_stays_as_it_is():
    image, _ = chest((3e-4,) * 3)
    kept = image.data.copy()
    assert (search_region(image) == find_lungs(image).search).all()
    assert (lung_region(image) == find_lungs(image).lung).all()
    assert (image.data == kept).all()


def test_the_search_region_around_a_lung_that_is_given():
    image, truth = chest((3e-4,) * 3)
    around = search_around(truth, spacing_m=image.spacing_m)
    assert (truth <= around).all()
    assert around.sum() < 1.2 * truth.sum()
    with pytest.raises(DarklungError, match="lung: wanted voxels"):
        search_around(np.zeros((4, 4, 4), bool), spacing_m=(1e-3,) * 3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: np.where((v > 2) & (v < 13), 20.0, v), "no lung found"),
        (lambda v: np.full_like(v, np.nan), "none that is finite"),
        (lambda v: np.full_like(v, 7.0), "nothing attenuates"),
        (lambda v: np.random.default_rng(0).standard_normal(v.shape), "lung"),
    ],
)
def test_what_has_no_lung_is_refused_in_one_line(change, told):
    image, _ = chest((3e-4,) * 3, noise=0.0)
    with pytest.raises(DarklungError, match=told) as raised:
        find_lungs(replace(image, data=change(image.data)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("variant", ["A", "B", "C"])
def test_simulated_mice_keep_their_lesions(variant):
    """Mass as attenuation at 70 keV with a scan's blur and noise: near what the chain of a study gives, and fast."""
    tissues = ("solid", "filled", "papillary", "lepidic")
    wanted = [
        LesionRequest(t, d * MM, where, 0.6 * MM)
        for t, d in zip(tissues, (2.0, 1.5, 1.2, 0.9))
        for where in ("any", "pleura")
    ]
    mouse = make_phantom(seed=5, voxel_m=3e-4, variant=variant, lesions=wanted, mimics=2)
    mu = sum(rho * 1000 * float(mass_attenuation(m, 70.0)) for rho, m in zip(mouse.density, mouse.materials))
    noise = 1.2 * np.random.default_rng(1).standard_normal(mu.shape)
    image = Image(
        (ndimage.gaussian_filter(mu, 0.5) + noise)[None].astype(np.float32), ("attenuation",), ("1/m",), (3e-4,) * 3
    )
    found = find_lungs(image)
    assert dice(found.lung, mouse.lobes > 0) > 0.95
    assert found.search.sum() < 1.4 * (mouse.lobes > 0).sum()  # 1.2 on average over mice, see benchmarks/lung.py
    instances = instances_on_grid(mouse, image)
    shares = [found.search[instances == i.number].mean() for i in mouse.insertions if i.kind == "lesion"]
    assert min(shares) > 0.5
    assert found.search[mouse.lesion_mask()].mean() > 0.9


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the scan of a living mouse is not at {DATA} (set DARKLUNG_DATA)")
def test_a_living_mouse():
    from darklung.io.volumes import read_volume

    image = read_volume(DATA)
    image = replace(image, data=image.data[:1], names=("attenuation",), units=image.units[:1])
    found = find_lungs(image)
    ml = found.lung.sum() * np.prod(image.spacing_m) * 1e6
    assert 0.42 < ml < 0.6  # integrated by hand-drawn contours: about 0.47
    assert found.search.sum() < 1.3 * found.lung.sum()
    _, cols = np.nonzero(found.lung.any(axis=0))
    middle = (cols.min() + cols.max()) // 2
    left, right = found.lung[:, :, :middle].sum(), found.lung[:, :, middle:].sum()
    assert 0.5 < left / right < 2.0
    # Cranial parts of both lungs, which were missed once, and the trachea between them.
    assert found.lung[184, 95, 85]
    assert found.lung[184, 95, 163]
    assert not found.lung[184, 86, 126]

"""A mouse: inside its field of view, with lungs, trees, fields and insertions that are what was asked for."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.phantom.families import FINER, draw_anatomy, family
from darklung.phantom.grid import make_grid
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.microstructure import textured
from darklung.phantom.subject import make_phantom
from darklung.phantom.thorax import build_thorax
from darklung.phantom.trees import grow_lung_trees
from darklung.physics.lung import CLASSES, HEALTHY

pytestmark = pytest.mark.slow(60)

VOXEL_M = 2e-4
ML = 1e-6


def test_the_body_lies_inside_the_field_of_view(mouse, diseased):
    for phantom in (mouse, diseased):
        mass = phantom.density.sum(axis=0)
        assert max(mass[:, 0].max(), mass[:, -1].max(), mass[:, :, 0].max(), mass[:, :, -1].max()) == 0


class Drawn(NamedTuple):
    """What is asked of a thorax on coarse voxels; the thorax itself is large."""

    rim_m: float  # distance to the body of the sides of the grid
    volume_ml: float
    depth_m: float  # of the lung that is nearest to the skin
    ends: bool  # whether lung lies in the first or last slice
    shares: tuple[float, ...]  # of the lobes


@cache
def drawn(variant: str, seed: int) -> Drawn:
    grid = make_grid((18e-3, 24e-3), 4e-4)
    thorax = build_thorax(grid, draw_anatomy(variant, seed), seed)
    body, inside = thorax.body, thorax.lung < 0
    return Drawn(
        min(body[:, 0].min(), body[:, -1].min(), body[:, :, 0].min(), body[:, :, -1].min()),
        inside.sum() * grid.voxel_m**3 / ML,
        -body[inside].max(),
        bool(inside[0].any() or inside[-1].any()),
        tuple(np.mean(thorax.lungs.lobe[inside] == k) for k in range(1, 6)),
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("variant", ["A", "B", "C"])
def test_every_drawn_body_fits(seed, variant):
    found = drawn(variant, seed)
    assert found.rim_m > 0.1e-3
    assert 0.42 < found.volume_ml < 0.75  # micro-CT of healthy mice: 0.554 (10.3390/jimaging8080204)
    assert found.depth_m > 1.5e-3
    assert not found.ends


def test_a_field_of_view_that_cuts_the_body_is_refused():
    with pytest.raises(DarklungError, match=r"field_of_view_m: the body is .* wider"):
        make_phantom(seed=1, voxel_m=4e-4, field_of_view_m=(10e-3, 16e-3))


def test_five_lobes_and_the_left_lung_is_the_largest(healthy):
    volume = [np.count_nonzero(healthy.lobes == k) * VOXEL_M**3 / ML for k in range(1, 6)]
    assert min(volume) > 0.005
    assert volume[0] == max(volume)
    x = np.argwhere(healthy.lobes == 1)[:, 2]
    assert x.min() > healthy.lobes.shape[2] // 2 - 8  # +x is the animal's left


@pytest.mark.parametrize("variant", ["A", "B", "C"])
def test_lobes_have_their_published_shares_of_the_lungs(variant):
    shares = [drawn(variant, seed).shares for seed in range(6)]
    published = np.array([0.354, 0.173, 0.114, 0.244, 0.115])  # Hoang et al. 2018, table 1: 10.1111/joa.12773
    deviation = np.array([0.062, 0.023, 0.013, 0.038, 0.031])
    assert (np.abs(np.mean(shares, axis=0) - published) < 2 * deviation).all()


def test_lung_fields_have_physical_values(healthy):
    pure = (healthy.lobes > 0) & (healthy.interface_density_per_m > 400e2)
    phi = healthy.tissue_fraction[healthy.lobes > 0]
    assert 0.22 < np.median(phi) < 0.36
    mean_density = healthy.density.sum(axis=0)[healthy.lobes > 0].mean()
    assert 0.26 < mean_density / HEALTHY.tissue_density < 0.40
    surface = healthy.interface_density_per_m[pure] / 100
    assert 500 < np.median(surface) < 802
    aspect = healthy.aspect[pure]
    assert aspect.min() >= 1.03
    assert aspect.max() <= 1.21
    np.testing.assert_allclose(np.sum(healthy.axis**2, axis=0), 1, atol=1e-3)


@pytest.mark.parametrize(("variant", "finer"), [("A", 1.0), ("C", FINER)])
def test_the_mean_of_a_lung_is_the_described_one(variant, finer):
    """Texture, sag and the rim under the pleura add no tissue and no interface: 2 % over 8 mice, 6 % for one of them."""
    relative = []
    for seed in range(8):
        phantom, a = make_phantom(seed=seed, voxel_m=4e-4, variant=variant), draw_anatomy(variant, seed)
        phi, surface = phantom.tissue_fraction, phantom.interface_density_per_m
        mass = phantom.density[0] / HEALTHY.tissue_density
        pure = (phantom.lobes > 0) & (surface > 0) & (np.abs(mass / np.maximum(phi, 1e-6) - 1) < 0.01)
        breath = 1.03 - 0.06 * a.breath
        relative.append((phi[pure].mean() / (breath * a.tissue_fraction), surface[pure].mean() / a.interface_density_per_m))
    np.testing.assert_allclose(np.mean(relative, axis=0), 1, atol=0.02)
    np.testing.assert_allclose(relative, 1, atol=0.06)
    ranges = family(variant).ranges
    assert np.mean(ranges["tissue_fraction"]) == pytest.approx(HEALTHY.tissue_fraction)
    assert np.mean(ranges["interface_density_per_m"]) == pytest.approx(finer * HEALTHY.interface_density_per_m)


def test_every_field_is_in_its_physical_range(mouse, diseased):
    for phantom in (mouse, diseased):
        for values, high in ((phantom.density, 2.0), (phantom.tissue_fraction, 1.0), (phantom.interface_density_per_m, 2e5)):
            assert np.isfinite(values).all()
            assert values.min() >= 0
            assert values.max() <= high
            assert values.dtype == np.float32
        assert phantom.aspect.min() >= 1
        assert phantom.density.sum(axis=0).max() < 2.0


def test_outside_the_lungs_nothing_scatters(healthy):
    grid = make_grid((18e-3, 24e-3), VOXEL_M)
    outside = build_thorax(grid, draw_anatomy("A", 11), 11).lung > 0.51 * VOXEL_M
    assert healthy.interface_density_per_m[outside].max() == 0
    assert healthy.tissue_fraction[outside].max() == 0


def test_the_rim_under_the_pleura_is_denser():
    grid = make_grid((18e-3, 24e-3), 2e-4)
    phantom = make_phantom(seed=4, voxel_m=2e-4)
    depth = -build_thorax(grid, draw_anatomy("A", 4), 4).lung
    pure = phantom.interface_density_per_m > 480e2
    rim, core = pure & (depth > 0.15e-3) & (depth < 0.3e-3), pure & (depth > 1e-3)
    assert phantom.tissue_fraction[rim].mean() > 1.03 * phantom.tissue_fraction[core].mean()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_vessels_fill_three_to_eight_percent_of_the_lungs(seed):
    grid = make_grid((18e-3, 24e-3), 2e-4)
    anatomy = draw_anatomy("A", seed)
    thorax = build_thorax(grid, anatomy, seed)
    trees = grow_lung_trees(grid, thorax.lungs, anatomy, "A", seed)
    lung = np.clip(0.5 - thorax.lung / grid.voxel_m, 0, 1)
    share = (trees.vessels.drawn(grid) * lung).sum() / lung.sum()
    assert 0.03 < share < 0.08
    assert trees.vessels.radius_m.min() < 0.06e-3 < 0.25e-3 < trees.vessels.radius_m.max() < 0.9e-3


def test_labels_lie_inside_the_lungs_and_sizes_agree_within_a_voxel(mouse):
    assert (mouse.lobes[mouse.instances > 0] > 0).all()
    for insertion in mouse.insertions:
        mask = mouse.instances == insertion.number
        if insertion.kind == "sham":
            assert not mask.any()
            continue
        measured = np.cbrt(mask.sum() * 6 / np.pi) * VOXEL_M
        assert abs(measured - insertion.diameter_m) < VOXEL_M
        assert len(np.unique(mouse.lobes[mask])) == 1
    assert {i.kind for i in mouse.insertions} == {"lesion", "sham", "mimic"}
    lesions = [i.number for i in mouse.insertions if i.kind == "lesion"]
    np.testing.assert_array_equal(mouse.lesion_mask(), np.isin(mouse.instances, lesions))


def test_tissue_of_each_class_is_in_its_range(mouse):
    own = draw_anatomy("A", 11).interface_density_per_m
    density = mouse.density.sum(axis=0)
    for insertion in mouse.insertions:
        core = (mouse.instances == insertion.number) & (
            np.abs(density / HEALTHY.tissue_density - mouse.tissue_fraction) < 0.02
        )
        for axis in range(3):
            core &= np.roll(mouse.instances, 1, axis) == insertion.number
            core &= np.roll(mouse.instances, -1, axis) == insertion.number
        if insertion.kind == "sham" or insertion.tissue in ("vessel_cluster", "pneumonia") or not core.any():
            continue
        tissue = CLASSES[insertion.tissue]
        phi = np.median(density[core]) / HEALTHY.tissue_density
        surface = np.median(mouse.interface_density_per_m[core]) / own
        assert tissue.fraction[0] - 0.06 <= phi <= tissue.fraction[1] + 0.08, insertion
        assert tissue.surface[0] * 0.85 - 0.01 <= surface <= tissue.surface[1] * 1.1, insertion


def test_the_same_seed_gives_the_same_mouse_and_another_another(healthy):
    again = make_phantom(seed=11, voxel_m=VOXEL_M)
    other = make_phantom(seed=12, voxel_m=VOXEL_M)
    for name in ("density", "tissue_fraction", "interface_density_per_m", "aspect", "axis", "lobes", "instances"):
        np.testing.assert_array_equal(getattr(healthy, name), getattr(again, name))
    assert np.abs(healthy.density - other.density).mean() > 1e-3


def test_a_shorter_field_of_view_shows_the_same_animal(healthy):
    short = make_phantom(seed=11, voxel_m=VOXEL_M, field_of_view_m=(6e-3, 24e-3))
    middle = slice(30, 60)
    bone = short.density[2] - healthy.density[2, middle]
    assert np.abs(bone[2:-2]).max() < 1e-5
    pure = (short.interface_density_per_m > 480e2) & (healthy.interface_density_per_m[middle] > 480e2)
    ratio = short.tissue_fraction[pure] / healthy.tissue_fraction[middle][pure]
    assert np.median(np.abs(ratio - 1)) < 0.01


def test_the_same_animal_at_another_voxel_size(healthy):
    fine = make_phantom(seed=11, voxel_m=1e-4, field_of_view_m=(4e-3, 24e-3))
    coarse = fine.density.sum(axis=0).reshape(20, 2, 120, 2, 120, 2).mean(axis=(1, 3, 5))
    there = healthy.density.sum(axis=0)[35:55]
    body = there > 0.9
    assert abs(coarse[body].mean() / there[body].mean() - 1) < 0.01
    lung = (healthy.lobes[35:55] > 0) & (there < 0.5)
    assert abs(coarse[lung].mean() / there[lung].mean() - 1) < 0.05
    assert np.corrcoef(coarse.ravel(), there.ravel())[0, 1] > 0.98


def test_a_lesion_changes_the_mouse_only_near_itself(healthy):
    request = LesionRequest("filled", 1e-3)
    ill = make_phantom(seed=11, voxel_m=VOXEL_M, lesions=[request])
    changed = np.argwhere(np.abs(ill.density - healthy.density).sum(axis=0) > 0)
    centre = np.array([(c / VOXEL_M) + (n - 1) / 2 for c, n in zip(ill.insertions[0].center_m, ill.lobes.shape)])
    assert len(changed) > 50
    assert np.linalg.norm(changed - centre, axis=1).max() * VOXEL_M < 1.3e-3


def test_mass_that_a_lesion_adds_follows_from_its_tissue(healthy):
    ill = make_phantom(seed=11, voxel_m=VOXEL_M, lesions=[LesionRequest("solid", 2e-3)])
    added = (ill.density - healthy.density).sum() * VOXEL_M**3 * 1e6  # g
    volume_ml = np.pi / 6 * 0.2**3
    assert 0.5 * volume_ml < added < 1.3 * volume_ml  # (0.97 − 0.3) of its volume, and the rim


def test_shams_leave_no_label_and_keep_the_statistics(healthy):
    requests = [LesionRequest("solid", 2e-3)] * 3
    sham = make_phantom(seed=11, voxel_m=VOXEL_M, shams=requests)
    assert sham.instances.max() == 0
    assert len(sham.insertions) == 3
    different = np.abs(sham.tissue_fraction - healthy.tissue_fraction) > 1e-4
    assert 100 < different.sum() < 4000
    pure = different & (healthy.interface_density_per_m > 450e2)
    before, after = healthy.tissue_fraction[pure], sham.tissue_fraction[pure]
    assert abs(after.mean() / before.mean() - 1) < 0.05
    assert 0.7 < after.std() / before.std() < 1.4


def test_the_held_out_family_differs_in_kind(healthy, diseased):
    def spread(phantom):
        pure = np.abs(phantom.density[0] / (HEALTHY.tissue_density * np.maximum(phantom.tissue_fraction, 1e-3)) - 1) < 0.01
        values = phantom.tissue_fraction[(phantom.lobes > 0) & pure]
        return values.std() / values.mean()

    assert spread(diseased) > 1.25 * spread(healthy)
    holes = (diseased.lobes > 0) & (diseased.tissue_fraction < 0.2) & (diseased.interface_density_per_m > 200e2)
    assert holes.sum() / (diseased.lobes > 0).sum() > 0.03


@pytest.mark.parametrize("variant", ["A", "C"])
def test_lesions_lie_at_the_pleura_or_an_airway_when_asked(variant):
    requests = [
        LesionRequest("solid", 1.6e-3, "pleura"),
        LesionRequest("filled", 1.2e-3, "airway"),
        LesionRequest("lepidic", 1e-3),
    ]
    phantom = make_phantom(seed=21, voxel_m=VOXEL_M, variant=variant, lesions=requests)
    anatomy = draw_anatomy(variant, 21)
    thorax = build_thorax(make_grid((18e-3, 24e-3), VOXEL_M), anatomy, 21)
    for insertion in phantom.insertions:
        core = phantom.instances == insertion.number
        assert abs(np.cbrt(core.sum() * 6 / np.pi) * VOXEL_M - insertion.diameter_m) < VOXEL_M
        assert len(np.unique(phantom.lobes[core])) == 1
    at_pleura, at_airway, _ = (-thorax.lung[phantom.instances == i.number] for i in phantom.insertions)
    assert at_pleura.min() < VOXEL_M  # it touches the lung's surface
    lumen = grow_lung_trees(make_grid((18e-3, 24e-3), VOXEL_M), thorax.lungs, anatomy, variant, 21).lumen
    centre = np.array(phantom.insertions[1].center_m)
    nearest = np.linalg.norm(0.5 * (lumen.start_m + lumen.end_m) - centre, axis=1).min()
    assert nearest < 1.2e-3
    assert at_airway.min() > -VOXEL_M


def test_families_grow_trees_of_different_kinds():
    spread = {}
    for variant in ("A", "C"):
        grid, anatomy = make_grid((18e-3, 24e-3), 3e-4), draw_anatomy(variant, 5)
        thorax = build_thorax(grid, anatomy, 5)
        radius = grow_lung_trees(grid, thorax.lungs, anatomy, variant, 5).vessels.radius_m
        spread[variant] = radius.max() / np.median(radius)
    assert spread["C"] > 1.2 * spread["A"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "Z"}, "variant: 'Z' is not known; known: A"),
        ({"voxel_m": -1.0}, "voxel_m: wanted a finite number > 0"),
        ({"voxel_m": 0.01}, "voxel_m: wanted 8 to 2000 voxels"),
        ({"lesions": [LesionRequest("solid", 9e-3)]}, "lesion: no lobe has room for solid of 9 mm"),
        ({"lesions": [LesionRequest("solid", 3e-3)] * 60}, "lesion: no lobe has room for solid of 3 mm beside what is"),
        ({"lesions": [LesionRequest("solid", 9e-3, "pleura")]}, "no lobe has room for solid of 9 mm at the pleura"),
        ({"lesions": [LesionRequest("emphysema", 1e-3)]}, "lesions: 'emphysema' is a mimic, not a lesion"),
        ({"mimics": [LesionRequest("solid", 1e-3)]}, "mimics: 'solid' is a lesion, not a mimic"),
        ({"shams": -1}, "shams: wanted 0 to 100, got -1"),
        ({"field_of_view_m": (0.05, 0.024)}, "field_of_view_m: wanted at most"),
    ],
)
def test_bad_requests_end_in_one_clear_line(change, message):
    with pytest.raises(DarklungError, match=message) as caught:
        make_phantom(**{"seed": 1, "voxel_m": 4e-4, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tissue", "size"), [("granite", 1e-3), ("solid", 0.0), ("solid", -1e-3), ("solid", float("nan")), ("solid", 0.5)]
)
def test_bad_lesion_requests(tissue, size):
    with pytest.raises(DarklungError):
        LesionRequest(tissue, size)


@pytest.mark.parametrize("variant", ["A", "B", "C"])
def test_no_voxel_has_more_tissue_than_room_for_it(variant):
    """Textures are logarithmic and have no bound: of lung that is dense already their tail was above 1."""
    grid, anatomy = make_grid((8e-3, 8e-3), 2e-4), draw_anatomy(variant, 3)
    dense, thin = (textured(np.full(grid.shape, v, np.float32), grid, anatomy, variant, 3) for v in (0.85, 0.17))
    assert (dense[0] == 1).sum() > 100
    assert (dense[0] <= 1).all()
    assert thin[0].max() < 1
    # Of the same noise, five times as dense where there is room.
    np.testing.assert_allclose(dense[0], np.minimum(5 * thin[0], 1), rtol=1e-5)

"""Insertions in a volume lie in the lung, have their size, and cast shadows that conserve what they change."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry, centred_axis
from darklung.insert.bank import Host, interface_of
from darklung.insert.shadow import make_solid, refraction, shadow_of
from darklung.insert.volume import contrast_of, place_insertions, volume_changes
from darklung.phantom.grid import Grid
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import two_phase

VOXEL_M, SHAPE = 2e-4, (40, 60, 60)
CONTRAST = float(delta("soft_tissue", 1.05, 70.0))
HOST = Host(float(linear_attenuation("soft_tissue", 1.05, 70.0)), 6.5e4, CONTRAST, 70.0, 3e-6)
PHI, EPSILON = 0.3, float(two_phase(0.3, 6.5e4, CONTRAST, 70.0, 3e-6))
WANTED = (("lesion", "solid"), ("lesion", "lepidic"), ("mimic", "emphysema"), ("sham", "filled"))


@pytest.fixture(scope="module")
def lung():
    axes = [centred_axis(n, VOXEL_M) for n in SHAPE]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    region = (z / 3.6e-3) ** 2 + (y / 5e-3) ** 2 + (x / 4.6e-3) ** 2 < 1
    noise = np.random.default_rng(0).standard_normal((3, *SHAPE))
    attenuation = np.where(region, PHI, 1.0) * HOST.tissue_per_m * (1 + 0.05 * noise[0])
    scattering = [np.where(region, EPSILON * k, 0) * (1 + 0.1 * n) for k, n in zip((1.0, 0.9), noise[1:])]
    return attenuation, scattering, region, Grid(VOXEL_M, *axes)


def placed(lung, seed, **changes):
    options = {"wanted": WANTED, "diameter_m": (0.8e-3, 1.6e-3), "host": HOST, "seed": seed, **changes}
    return place_insertions(*lung, **options)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.sampled_from("ABC"))
def test_labels_lie_in_the_lung_and_have_their_size(lung, seed, variant):
    _, _, region, grid = lung
    found = placed(lung, seed, variant=variant)
    changes = volume_changes(found, grid, region, host=HOST)
    assert not (changes.share > 0)[~region].any()
    assert not (np.abs(changes.attenuation) > 0)[~region].any()
    assert set(np.unique(changes.instances)) - {0} == {1, 2, 3}  # the sham has no label
    for one in found[:3]:
        alone = volume_changes([one], grid, region, host=HOST)
        size = np.cbrt(alone.share.sum() * VOXEL_M**3 * 6 / np.pi)
        assert size == pytest.approx(one.insertion.diameter_m, abs=VOXEL_M / 2)
        counted = np.cbrt((alone.instances > 0).sum() * VOXEL_M**3 * 6 / np.pi)
        assert counted == pytest.approx(one.insertion.diameter_m, abs=VOXEL_M)


@pytest.mark.parametrize("across", [False, True])
def test_every_view_sees_all_that_was_changed(lung, across):
    """∫∫ shadow = ∫∫∫ change, in every view and for attenuation, dark field and path."""
    _, _, region, grid = lung
    found = placed(lung, 5, at_edge=across)
    changes = volume_changes(found, grid, region, host=HOST)
    geometry = ParallelGeometry(np.linspace(0, np.pi, 5), SHAPE[0], SHAPE[2], VOXEL_M)
    cut = region if across else None
    solids = [make_solid(one, geometry, host=HOST, region=cut, grid=grid) for one in found]
    volume = VOXEL_M**3
    for view in range(geometry.views):
        shadow = shadow_of(solids, geometry, view)
        pairs = [(shadow.attenuation, changes.attenuation), (shadow.path_m, changes.share)]
        pairs += list(zip(shadow.scattering, changes.scattering))
        for seen, there in pairs:
            assert seen.sum() * VOXEL_M**2 == pytest.approx(there.sum() * volume, rel=0.12 if across else 0.02)
        assert abs(refraction(shadow, 0.3, per_tissue=1.0).sum()) < 0.02 * np.abs(shadow.slopes).sum()
    if across:
        assert {one.place for one in found} == {"across edge"}
    else:
        assert {one.place for one in found} <= {"inside", "near edge"}


def test_contrast_is_that_of_the_class(lung):
    for one in placed(lung, 3)[:2]:
        mu, epsilon = contrast_of(one, HOST)
        low, high = {"solid": (2.9, 3.5), "lepidic": (1.25, 1.9)}[one.insertion.tissue]
        assert low < mu < high
        assert (epsilon < 0.1) if one.insertion.tissue == "solid" else (0.7 < epsilon < 1.2)


def test_the_hosts_interface_follows_from_its_dark_field():
    for density in (4e4, 6.5e4, 8e4):
        measured = float(two_phase(PHI, density, CONTRAST, 70.0, 3e-6))
        assert interface_of(measured, PHI, HOST).interface_density_per_m == pytest.approx(density, rel=0.01)


def test_places_depend_on_the_seed_alone(lung):
    one, other = placed(lung, 8), placed(lung, 8)
    assert [p.insertion for p in one] == [p.insertion for p in other]
    assert placed(lung, 9)[0].insertion.center_m != one[0].insertion.center_m


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"diameter_m": (8e-3, 8e-3)}, r"insertion 1 of 4 \(lesion, solid\): no room in the region for 8 to 8 mm"),
        ({"wanted": [("lesion", "solid")] * 40, "diameter_m": (3e-3, 3e-3)}, "of 40"),
        ({"diameter_m": (1e-3, 5e-4)}, "diameter_m"),
        ({"variant": "Z"}, "'Z'"),
    ],
)
def test_wishes_that_cannot_be_met(lung, changes, message):
    with pytest.raises(DarklungError, match=message) as caught:
        placed(lung, 1, **changes)
    assert "\n" not in str(caught.value)

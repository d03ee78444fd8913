"""Lines and points against what is known of plates, discs and random sheets; errors against the true spread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.histology.stereology import Counts, Measured, combined, count, measured, standard_errors, strips
from darklung.histology.tissue import Sight, without_specks
from darklung.phantom.realisation import realise_sheets

PIXEL = 1e-6


def all_of(mask):
    return np.ones(mask.shape, bool)


def disc(radius, size=401):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(y, x) < radius


@pytest.mark.parametrize("radius", [40, 90, 150])
def test_a_disc_has_its_area_and_its_circumference(radius):
    mask = disc(radius)
    found = count(mask, all_of(mask), pixel_m=PIXEL, every=1)
    area = mask.size
    assert found.tissue_points / found.points == pytest.approx(np.pi * radius**2 / area, rel=0.01)
    # Boundary length per area is (pi/2) crossings per length (Buffon), in any direction for a disc.
    boundary = np.pi / 2 * found.crossings / found.length_m
    assert boundary == pytest.approx(2 * np.pi * radius / area / PIXEL, rel=0.02)


@given(st.floats(0, np.pi), st.integers(1, 9))
def test_plates_of_any_direction_on_average(angle, every):
    """Four directions sample |cos| well: 8 % at worst for plates that all lie one way."""
    y, x = np.mgrid[:300, :300].astype(float)
    mask = ((x * np.cos(angle) + y * np.sin(angle)) % 40) < 15
    found = count(mask, all_of(mask), pixel_m=PIXEL, every=every)
    assert np.pi / 2 * found.crossings / found.length_m == pytest.approx(2 / 40 / PIXEL, rel=0.11)


def test_sheets_of_known_surface():
    made = realise_sheets(tissue_fraction=0.3, interface_density_per_m=65e3, voxel_m=1.5e-6, voxels=160, seed=4)
    slices = [count(s > 0.5, all_of(s), pixel_m=1.5e-6, every=4) for s in made.tissue[::8]]
    total = slices[0]
    for one in slices[1:]:
        total = total + one
    found, error = measured(total), standard_errors(slices)
    assert found.tissue_fraction == pytest.approx(0.3, abs=4 * error.tissue_fraction)
    assert found.interface_density_per_m == pytest.approx(65e3, abs=4 * error.interface_density_per_m)
    assert found.intercept_m == pytest.approx(4 * 0.7 / 65e3, rel=0.1)
    assert found.septum_m == pytest.approx(2 * 0.3 / 65e3, rel=0.1)


def test_only_the_reference_counts():
    mask = np.zeros((100, 100), bool)
    mask[:, 50:] = True
    left = np.zeros_like(mask)
    left[:, :50] = True
    found = count(mask, left, pixel_m=PIXEL, every=5)
    assert (found.tissue_points, found.crossings) == (0, 0)  # the border of the reference is no interface
    assert found.points == 20 * 10
    nothing = measured(count(mask, np.zeros_like(mask), pixel_m=PIXEL, every=5))
    assert np.isnan(nothing.tissue_fraction)


def test_standard_errors_are_those_of_repeating_it():
    rng = np.random.default_rng(0)

    def tiles():
        share = rng.normal(0.3, 0.05, 30)
        return [Counts(400, 400 * s, 1.0, rng.poisson(60)) for s in share]

    repeats = [(measured(sum(t[1:], t[0])), standard_errors(t)) for t in (tiles() for _ in range(300))]
    for name in ("tissue_fraction", "interface_density_per_m", "intercept_m"):
        spread = np.std([getattr(m, name) for m, _ in repeats])
        told = np.mean([getattr(e, name) for _, e in repeats])
        assert told == pytest.approx(spread, rel=0.12), name
    assert np.isnan(standard_errors([Counts(1, 1, 1, 1)]).septum_m)


def test_a_bias_that_grows_with_the_square_is_told():
    def at(h):
        return Measured(0.3, 65e3 * (1 - 0.01 * h**2), 40e-6, 9e-6)

    still = Measured(0.0, 0.0, 0.0, 0.0)
    told = combined(still, at(1), at(2)).interface_density_per_m
    assert told == pytest.approx(65e3 - at(1).interface_density_per_m)


def test_shrinkage_is_undone():
    before = Measured(0.3, 60e3, 40e-6, 10e-6).before_shrinkage(0.2)
    assert (before.tissue_fraction, before.interface_density_per_m) == (0.3, 48e3)
    assert (before.intercept_m, before.septum_m) == pytest.approx((50e-6, 12.5e-6))
    with pytest.raises(DarklungError, match=r"shrinkage: wanted 0 to 0\.6, got 0\.9"):
        Measured(0.3, 60e3, 40e-6, 10e-6).before_shrinkage(0.9)


def test_parts_of_a_tile_are_the_tile():
    mask = disc(90)
    parts = strips(mask, all_of(mask), pixel_m=PIXEL, every=1)
    assert len(parts) == 16
    assert sum(p.points for p in parts) == mask.size


def test_specks_and_pinholes_go_and_what_touches_the_border_stays():
    mask = np.zeros((60, 60), bool)
    mask[20:40, 20:40] = True
    mask[28:31, 28:31] = False
    mask[5:8, 5:8] = True
    mask[:2, 50:52] = True
    found = without_specks(mask, pixel_m=PIXEL, least_area_m2=50e-12)
    assert found[28:31, 28:31].all()
    assert not found[5:8, 5:8].any()
    assert found[:2, 50:52].all()
    assert Sight().halo(PIXEL) > 4


@pytest.mark.parametrize(
    ("change", "told"), [({"every": 0}, "every: wanted at least 1"), ({"reference": None}, "reference")]
)
def test_what_makes_no_sense(change, told):
    mask = disc(10, 31)
    given = {"reference": all_of(mask), "pixel_m": PIXEL, "every": 2, **change}
    if given["reference"] is None:
        given["reference"] = np.ones((3, 3), bool)
    with pytest.raises(DarklungError, match=told):
        count(mask, **given)

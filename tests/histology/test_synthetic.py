"""Synthetic sections have the phantom's φ and S_V, fit together box by box, and are torn and folded where they say."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from sections import cut, uniform

from darklung.core.checks import DarklungError
from darklung.histology.plane import Handling, Line
from darklung.histology.stain import grey_density, optical_density, plateau_of, threshold_between
from darklung.histology.stereology import count, measured
from darklung.histology.synthetic import lesions_at, render, truth_at
from darklung.histology.tissue import Sight, density_at, without_specks


def counted(rgb, pixel_m):
    plateau = plateau_of(grey_density(optical_density(rgb)))
    density = density_at(rgb, pixel_m=pixel_m, sight=Sight(), plateau=plateau)
    tissue = density > threshold_between(density, plateau)
    tissue = without_specks(tissue, pixel_m=pixel_m, least_area_m2=Sight().least_area_m2)
    return measured(count(tissue, np.ones_like(tissue), pixel_m=pixel_m, every=5))


@pytest.mark.parametrize(("fraction", "surface"), [(0.3, 65e3), (0.2, 45e3), (0.45, 70e3), (0.6, 50e3)])
def test_stereology_finds_the_phantoms_numbers(fraction, surface):
    """Over 12 mm², so that the texture's own spread is below the 5 % that are wanted."""
    made = [cut(uniform(fraction, surface), pixels=1000, seed=seed) for seed in range(3)]
    found = [counted(render(one, (0, 0, 1000, 1000)), 2e-6) for one in made]
    assert np.mean([f.tissue_fraction for f in found]) == pytest.approx(fraction, rel=0.05)
    assert np.mean([f.interface_density_per_m for f in found]) == pytest.approx(surface, rel=0.05)


def test_shrinkage_makes_everything_smaller_and_is_undone():
    handling = Handling(shrinkage=0.2)
    found = counted(render(cut(uniform(0.3, 65e3), pixels=1000, handling=handling), (0, 0, 1000, 1000)), 2e-6)
    assert found.interface_density_per_m == pytest.approx(65e3 / 0.8, rel=0.06)
    assert found.before_shrinkage(0.2).interface_density_per_m == pytest.approx(65e3, rel=0.06)


def test_boxes_fit_together():
    made = cut(uniform(0.3, 65e3), handling=Handling(shrinkage=0.1, tears=(Line((0, 0), 0.6, 4e-4, 6e-5),)))
    whole = render(made, (0, 0, 600, 600)).astype(int)
    part = render(made, (200, 150, 210, 330)).astype(int)
    # The slope of the field is one-sided at a box's edge, so that shares there differ a little.
    difference = np.abs(whole[200:410, 150:480] - part)[2:-2, 2:-2]
    assert np.mean(difference > 2) < 2e-3


def test_a_tear_is_glass_and_a_fold_is_darker():
    line = Line((0.0, 0.0), 0.0, 5e-3, 100e-6)
    torn = render(cut(uniform(0.5, 60e3), handling=Handling(tears=(line,))), (0, 0, 600, 600))
    assert grey_density(optical_density(torn[290:310])).max() < 0.05
    fold = render(cut(uniform(0.5, 60e3), handling=Handling(folds=(line,))), (0, 0, 600, 600))
    density = grey_density(optical_density(fold))
    assert density[302:348].mean() == pytest.approx(3 * density[:250].mean(), rel=0.2)


def test_what_varies_in_the_phantom_varies_in_the_section():
    fraction = np.linspace(0.15, 0.6, 24)[:, None] * np.ones((24, 24, 24))  # along y: rows
    made = cut(uniform(fraction, 55e3), pixels=1000)
    rgb = render(made, (0, 0, 1000, 1000))
    _, truth, surface, _ = truth_at(made, made.places(*np.meshgrid([200.0, 800.0], [500.0], indexing="ij")))
    for rows, wanted in ((slice(0, 400), truth[0, 0]), (slice(600, 1000), truth[1, 0])):
        found = counted(rgb[rows], 2e-6)
        assert found.tissue_fraction == pytest.approx(float(wanted), rel=0.08)
        assert found.interface_density_per_m == pytest.approx(55e3, rel=0.08)
    assert surface[0, 0] == pytest.approx(55e3)


def test_lesions_lie_where_the_phantom_has_them():
    phantom = uniform(0.3, 65e3)
    phantom.instances[:, 12:, :] = 7
    made = cut(phantom)
    found = lesions_at(made, made.places(*np.meshgrid([50.0, 550.0], [300.0], indexing="ij")))
    assert found[:, 0].tolist() == [0, 7]


def test_a_phantom_without_lung_and_a_pixel_that_is_none():
    phantom = uniform(0.3, 65e3)
    phantom.lobes[:] = 0
    with pytest.raises(DarklungError, match="phantom: has no lung"):
        cut(phantom)
    with pytest.raises(DarklungError, match="pixel_m: wanted 2e-07 to 4e-06"):
        cut(uniform(0.3, 65e3), pixel_m=2e-3)

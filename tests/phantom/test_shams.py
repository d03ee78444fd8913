"""Shams cannot be told from untouched lung; the same observer does find lesions and a texture pasted with an edge.

More mice make the interval narrower: ``DARKLUNG_SHAM_MICE=60 pytest -s tests/phantom/test_shams.py``.
"""

import os

import numpy as np
import pytest
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from darklung.core.types import Phantom
from darklung.phantom.grid import make_grid
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.subject import make_phantom

VOXEL_M, VIEW_M = 3e-4, (11.1e-3, 24e-3)
MICE, EACH = int(os.environ.get("DARKLUNG_SHAM_MICE", "8")), 4
REQUEST = LesionRequest("lepidic", 1.8e-3)

pytestmark = pytest.mark.slow(40)


def features(phantom: Phantom, centre_m: tuple[float, float, float]) -> list[float]:
    """Mean and spread of φ, S_V and their gradients inside, just inside, just outside and around the outline."""
    grid = make_grid(VIEW_M, VOXEL_M)
    box = grid.box_around(centre_m, 1.5 * REQUEST.diameter_m)
    z, y, x = (axis - c for axis, c in zip(grid.box(box).mesh(), centre_m))
    away = np.sqrt(z**2 + y**2 + x**2) / REQUEST.diameter_m
    surface = phantom.interface_density_per_m[box] / 6e4
    pure = (surface > 0.6) & (phantom.lobes[box] > 0)
    numbers = []
    for field in (phantom.tissue_fraction[box] / 0.3, surface):
        slope = ndimage.gaussian_gradient_magnitude(field, 0.7)
        for low, high in ((0, 0.3), (0.3, 0.45), (0.45, 0.6), (0.6, 1.0)):
            shell = pure & (away >= low) & (away < high)
            values = [field[shell], slope[shell]] if shell.sum() > 3 else [np.zeros(1)] * 2
            numbers += [v.mean() for v in values] + [v.std() for v in values]
    return [float(n) for n in numbers]


def auroc(one: list[list[float]], other: list[list[float]]) -> float:
    """Cross-validated by mouse."""
    data = np.array(one + other)
    label = np.repeat([1, 0], [len(one), len(other)])
    mouse = np.concatenate([np.arange(len(part)) // EACH + k * MICE for k, part in enumerate((one, other))])
    model = RandomForestClassifier(200, min_samples_leaf=3, random_state=0, n_jobs=1)
    score = cross_val_predict(model, data, label, groups=mouse, cv=GroupKFold(7), method="predict_proba")[:, 1]
    return float(roc_auc_score(label, score))


def pasted(phantom: Phantom, centre_m: tuple[float, float, float], rng: np.random.Generator) -> Phantom:
    """The naive way: texture from elsewhere, cut out and pasted."""
    grid = make_grid(VIEW_M, VOXEL_M)
    z, y, x = (axis - c for axis, c in zip(grid.mesh(), centre_m))
    inside = (np.sqrt(z**2 + y**2 + x**2) < 0.5 * REQUEST.diameter_m) & (phantom.interface_density_per_m > 4e4)
    pool = np.flatnonzero((phantom.lobes > 0) & (phantom.interface_density_per_m > 4e4))
    taken = rng.choice(pool, inside.sum())
    for values in (phantom.tissue_fraction, phantom.interface_density_per_m):
        values[inside] = values.ravel()[taken]
    return phantom


@pytest.fixture(scope="module")
def observed() -> dict[str, list[list[float]]]:
    rows: dict[str, list[list[float]]] = {"sham": [], "untouched": [], "lesion": [], "pasted": []}
    for k in range(MICE):
        made = {"seed": 500 + k, "voxel_m": VOXEL_M, "field_of_view_m": VIEW_M}
        sham = make_phantom(**made, shams=[REQUEST] * EACH)
        rows["sham"] += [features(sham, i.center_m) for i in sham.insertions]
        made["seed"] += 1000  # other mice
        where = make_phantom(**made, lesions=[REQUEST] * EACH)
        untouched = make_phantom(**made)
        rows["lesion"] += [features(where, i.center_m) for i in where.insertions]
        rows["untouched"] += [features(untouched, i.center_m) for i in where.insertions]
        for insertion in where.insertions:
            pasted(untouched, insertion.center_m, np.random.default_rng(k))
        rows["pasted"] += [features(untouched, i.center_m) for i in where.insertions]
    return rows


def test_an_observer_cannot_tell_shams_from_untouched_lung(observed):
    count = MICE * EACH
    interval = 1.96 * np.sqrt((2 * count + 1) / (12 * count**2))  # of the rank statistic without any difference
    value = auroc(observed["sham"], observed["untouched"])
    print(f"sham against untouched: AUROC {value:.3f}, 95 % interval of chance ±{interval:.3f}")
    assert abs(value - 0.5) < 1.3 * interval  # 1 % of chance


def test_the_same_observer_finds_lesions_and_pasted_texture(observed):
    lesions, seam = auroc(observed["lesion"], observed["untouched"]), auroc(observed["pasted"], observed["untouched"])
    print(f"lepidic against untouched: AUROC {lesions:.3f}; pasted against untouched: {seam:.3f}")
    assert lesions > 0.9
    assert seam > 0.6

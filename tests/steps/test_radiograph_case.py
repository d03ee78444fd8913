"""Radiographs of a simulated animal beside its CT: from the same phantom, its lesions where they are projected."""

import numpy as np
import pytest
from scipy import ndimage

from darklung.core.geometry import ConeGeometry, ParallelGeometry, centred_axis
from darklung.core.seams import resolve
from darklung.core.types import Image
from darklung.core.views import seen_at, shadow_of, view_of
from darklung.features.labels import hard_negatives, lesion_labels, truth_of_phantom
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.io.hdf5 import save
from darklung.io.images import load_image
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.subject import make_phantom
from darklung.pipeline import Context
from darklung.steps import radiograph
from darklung.study.processing import ProcessingPart
from darklung.study.sources import SimulatedSource

VOXEL_M = 6e-4
ANGLES = (0.6,)


@pytest.fixture(scope="module")
def animal(tmp_path_factory):
    """A phantom with two lesions and its CT as a case, whose region is the lung; with its folder."""
    folder = tmp_path_factory.mktemp("animal")
    made = make_phantom(seed=4, voxel_m=VOXEL_M, lesions=[LesionRequest("solid", 3e-3), LesionRequest("solid", 2.4e-3)])
    shape = made.instances.shape
    grid = Image(np.zeros((1, *shape), np.float32), ("attenuation",), ("1/m",), (VOXEL_M,) * 3)
    labels, instances, insertions = truth_of_phantom(made, grid)
    lung = made.lobes > 0
    hard = hard_negatives(insertions, instances, grid)
    assert (labels == lesion_labels(instances, insertions)).all()
    save_case(folder / "ct", LabelledCase(grid, labels, lung, lung, instances, hard, insertions, CaseFacts("m", "m")))
    save(folder / "phantom.h5", made)
    return made, folder


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("distance", ["", "60 mm"])
def test_a_lesion_is_in_the_radiograph_where_its_middle_is_projected(animal, tmp_path, angle, distance):
    made, folder = animal
    scan = {"supersampling": 1, "directions": ["0 deg"], **({"source_axis": distance} if distance else {})}
    part = {"from": "simulation", "body": {"voxel": "600 um"}, "scan": scan, "radiographs": {"angles": [f"{angle} rad"]}}
    source = SimulatedSource.model_validate(part)
    about = {"subject": "m.x0", "animal": "m", "source": "mice", "synthetic": True}
    one = {"name": "m", "site": ""}
    task = radiograph.task(source, one, ProcessingPart(), 1, angle_rad=source.radiographs.angles[0], about=about)
    assert task.inputs == {"phantom": ("phantom/m",), "case": ("cases/m",)}
    inputs = {"phantom": (folder,), "case": (folder / "ct",)}
    resolve("task", task.function, {})(Context(tmp_path, tmp_path, inputs, task.parameters, task.files, lambda *_: None))
    case, truth = load_case(tmp_path), load_image(tmp_path / "truth.ome.zarr")
    geometry = view_of(case.about.provenance["view"])
    assert isinstance(geometry, ConeGeometry if distance else ParallelGeometry)
    assert geometry.angles_rad[0] == pytest.approx(angle)
    axes = [centred_axis(n, VOXEL_M) for n in made.instances.shape]
    for insertion, put in zip(case.insertions, made.insertions):
        where = ndimage.center_of_mass(made.instances == put.number)
        middle = np.array([[a[0] + VOXEL_M * w for a, w in zip(axes, where)]])
        (at,) = seen_at(geometry, case.channels, middle)
        seen = case.instances == put.number
        assert seen.any()
        assert np.hypot(*(np.argwhere(seen) - at).T).min() <= 1
        (placed,) = seen_at(geometry, case.channels, np.array([put.center_m]))
        np.testing.assert_allclose(case.channels.index_of(insertion.center_on(2)), placed, atol=1e-6)
    path = truth.channel("lesion_path")
    middles = [np.argwhere(made.instances == i.number).mean(axis=0) for i in made.insertions]
    sizes = [np.count_nonzero(made.instances == i.number) for i in made.insertions]
    middle = np.array([[a[0] + VOXEL_M * m for a, m in zip(axes, np.average(middles, axis=0, weights=sizes))]])
    (at,) = seen_at(geometry, truth, middle)
    centroid = [(path * n).sum() / path.sum() for n in np.indices(path.shape)]
    assert np.abs(at - centroid).max() < (1.0 if distance else 0.05)  # a cone beam magnifies the nearer lesion more
    whole = shadow_of(made.lobes > 0, load_case(folder / "ct").channels, geometry, case.channels)
    np.testing.assert_array_equal(case.region, whole)
    assert (truth.channel("lung_path") > 0).sum() >= case.region.sum() * 0.9

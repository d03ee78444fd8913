"""Every reconstruction method as a study's choice: its channels reach the case, its options are checked at the door."""

import json
import sys
import textwrap

import numpy as np
import pytest
import yaml
from scipy import ndimage

from darklung.core.channel import Channel
from darklung.core.checks import DarklungError
from darklung.core.types import Phantom
from darklung.flow.expected import expected_images
from darklung.flow.plan import plan
from darklung.io.hdf5 import load
from darklung.io.images import load_image
from darklung.pipeline import run_tasks, task_keys
from darklung.study.study import read_study

MICE = {
    "from": "simulation",
    "cohort": {"animals": 3, "test_animals": 0, "lesion_free": 1.0, "mimics": [0, 0]},
    "body": {"voxel": "400 um"},
    "scan": {"supersampling": 1, "views": 40, "counts": 5e8},
}
CHOICES = {
    "fbp": {"filter": "hann", "cutoff": 0.8},
    "cgls": {"iterations": 8},
    "pwls_tv": {"iterations": 4, "subsets": 4},
    "tensor": {"iterations": 10},
}


def tasks_of(folder, scan=None, **part):
    path = folder / "study.yaml"
    mice = {**MICE, "scan": {**MICE["scan"], **(scan or {})}}
    path.write_text(yaml.safe_dump({"name": "one", "sources": {"mice": mice}, "processing": {"reconstruction": part}}))
    return plan(read_study(path)).tasks


def compute(folder, scan=None, **part):
    return run_tasks(tasks_of(folder, scan, **part), folder=folder, targets=["cases/train-0001"], workers=1, about={})


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """(lung voxels, {method: reconstructed image}) of one animal; the scan is shared, so each method adds two tasks."""
    folder = tmp_path_factory.mktemp("methods")
    images, computed, channels = {}, {}, {}
    for method, options in CHOICES.items():
        computed[method] = compute(folder, method=method, options=options)
        images[method] = load_image(folder / "reconstruct/train-0001/volume.ome.zarr")
        channels[method] = load_image(folder / "cases/train-0001/channels.ome.zarr").names
    notes = json.loads((folder / "reconstruct/train-0001/summary.json").read_text())["slab_notes"]
    compute(folder, {"arc": "360 deg", "source_axis": "150 mm"}, method="fbp")
    images["fbp, cone beam"] = load_image(folder / "reconstruct/train-0001/volume.ome.zarr")
    lungs = load(folder / "phantom/train-0001/phantom.h5", Phantom).lobes > 0
    return ndimage.binary_erosion(lungs, iterations=2), images, computed, channels, notes


def test_methods_agree_in_the_lung(found):
    lungs, images, *_ = found
    for name in ("attenuation", "dark_field_0"):
        values = {method: np.median(image.channel(name)[lungs]) for method, image in images.items()}
        for method, value in values.items():
            assert value == pytest.approx(values["fbp"], rel=0.15), (name, method)


def test_a_method_changes_only_what_comes_after_it(found):
    *_, computed, _, _ = found
    assert list(computed.values())[1:] == [5, 5, 5]  # all but the phantom: the large files of the scan are gone


def test_tensor_images_become_channels(found):
    _, images, _, channels, notes = found
    assert {"tensor_mean", "tensor_zz", "tensor_yx", "tensor_anisotropy", "tensor_in_plane_angle"} <= set(channels["tensor"])
    values = tuple(name for name in channels["fbp"] if Channel.parse(name).role == "value")
    assert set(channels["fbp"]) - set(values) == {f"{n}_noise" for n in ("attenuation", "dark_field_0", "dark_field_90")}
    assert channels["tensor"][: len(values)] == values
    tensor = images["tensor"]
    assert np.array_equal(tensor.channel("tensor_zz"), tensor.channel("dark_field_0"))
    assert all(0.1 < slab["support_share"] < 1 for slab in notes)
    assert notes


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"method": "fbb"}, "'fbb' is not known; known: cgls, fbp, pwls_tv, tensor"),
        (
            {"method": "fbp", "options": {"strength": 1.0}},
            "'strength' is not known; known: cutoff, device, filter, noise, padding, phase",
        ),
        ({"method": "fbp", "options": {"cutoff": "low"}}, "option cutoff of fbp: wanted a value such as 1.0, got 'low'"),
        ({"method": "pwls_tv", "options": {"subsets": True}}, "option subsets of pwls_tv: wanted a value such as 8"),
    ],
)
def test_what_is_not_known_is_refused_with_the_known(tmp_path, part, message):
    with pytest.raises(DarklungError, match="reconstruction") as caught:
        tasks_of(tmp_path, **part)
    assert message in str(caught.value)


def test_editing_ones_own_method_computes_anew(tmp_path, monkeypatch):
    source = """
        import numpy as np
        from darklung.tomo.methods import Volumes
        def nothing(projections, *, level: float = 0.0, progress=None):
            g = projections.geometry
            flat = np.full((g.rows, g.cols, g.cols), level, np.float32)
            return Volumes(flat, np.stack([flat] * len(projections.directions_rad)))
    """
    place = tmp_path / "own_method.py"
    place.write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_method", raising=False)
    part = {"method": "own_method:nothing", "options": {"level": 2.0}}
    first = task_keys(tasks_of(tmp_path, **part))["reconstruct/train-0001"]
    place.write_text(place.read_text() + "\n# edited\n")
    assert task_keys(tasks_of(tmp_path, **part))["reconstruct/train-0001"] != first


@pytest.mark.parametrize("method", CHOICES)
def test_the_door_expects_exactly_the_channels_that_come(found, tmp_path, method):
    tasks_of(tmp_path, method=method, options=CHOICES[method])
    (expected,) = expected_images(read_study(tmp_path / "study.yaml"), "mice")
    assert sorted(expected.channels or ()) == sorted(found[3][method])

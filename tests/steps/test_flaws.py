"""A study may ask for the flaws of a real scan and for what mends them; the lung keeps its values."""

import numpy as np
import yaml

from darklung.core.types import Phantom
from darklung.flow.plan import plan
from darklung.io.hdf5 import load
from darklung.io.images import load_image
from darklung.pipeline import run_tasks
from darklung.study.study import read_study

MICE = {
    "from": "simulation",
    "cohort": {"animals": 3, "test_animals": 0, "lesion_free": 1.0, "mimics": [0, 0]},
    "body": {"voxel": "400 um"},
    "scan": {"supersampling": 1, "views": 40, "counts": 1e10},  # so many that photon noise hides nothing
}
FLAWS = {"step_error": "10 deg", "dose_jitter": 0.05, "phase_drift": "90 deg", "visibility_drift": -0.2}


def lung(folder, *, effects=None, retrieval=None):
    """Dark field of the lung's core (voxel,), reconstructed."""
    path = folder / "study.yaml"
    folder.mkdir()
    mice = {**MICE, "effects": effects or {}}
    study = {"name": "one", "sources": {"mice": mice}, "processing": {"retrieval": retrieval or {}}}
    path.write_text(yaml.safe_dump(study))
    tasks = plan(read_study(path)).tasks
    run_tasks(tasks, folder=folder, targets=["reconstruct/train-0001"], workers=1, about={})
    lobes = load(folder / "phantom/train-0001/phantom.h5", Phantom).lobes > 0
    return load_image(folder / "reconstruct/train-0001/volume.ome.zarr").channel("dark_field_90")[lobes]


def test_flaws_are_mended_by_interpolated_flats_and_estimated_steps(tmp_path):
    clean = lung(tmp_path / "clean")
    mended = lung(tmp_path / "mended", effects=FLAWS, retrieval={"reference": "interpolate", "steps": "estimate"})
    left = lung(tmp_path / "left", effects=FLAWS)
    error = [float(np.sqrt(np.mean((other - clean) ** 2))) for other in (mended, left)]
    off = float(np.median(mended) / np.median(clean) - 1)
    print(f"lung eps off by {100 * off:.2f} %; scatter about the clean scan {error[0]:.3g} (left: {error[1]:.3g}) per m")
    assert abs(off) < 0.015
    assert error[0] < 0.7 * error[1]

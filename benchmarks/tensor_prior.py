"""What the prior makes of a simulated mouse in the tensor method: mean in the lungs, direction by direction, and anisotropy.

    python benchmarks/tensor_prior.py

One animal at 0.3 mm, three grating directions, noise of the default dose, scanned and corrected like in a study. Filtered
back-projection of each direction is unbiased on the average over a homogeneous lung, and is the yardstick here.
"""

import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from darklung.core.types import Phantom
from darklung.flow.plan import plan
from darklung.io.hdf5 import load
from darklung.io.projections import open_projections
from darklung.pipeline import run_tasks
from darklung.study.study import Study
from darklung.tomo.methods import fbp_method
from darklung.tomo.tensor_method import tensor_method

MICE = {
    "from": "simulation",
    "cohort": {"animals": 3, "test_animals": 0, "lesion_free": 1.0, "mimics": [0, 0]},
    "body": {"voxel": "300 um"},
    "scan": {"supersampling": 1, "views": 90, "directions": ["0 deg", "45 deg", "90 deg"], "keep_frames": True},
}
ROWS = slice(24, 36)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = plan(Study.model_validate({"name": "one", "sources": {"mice": MICE}})).tasks
        run_tasks(tasks, folder=folder, targets=["correct/train-0001"], workers=1, about={})
        projections = open_projections(folder / "correct/train-0001/projections.h5").read(ROWS)
        lobes = load(folder / "phantom/train-0001/phantom.h5", Phantom).lobes
    lung = ndimage.binary_erosion(lobes > 0, iterations=2)[ROWS]
    print("method, smoothness, isotropy: mean dark field in the lungs [1/m] at 0, 45, 90 degrees; median anisotropy")
    plain = fbp_method(projections).dark_field
    print(f"{'fbp':20}" + "".join(f"{d[lung].mean():8.1f}" for d in plain))
    for smoothness, isotropy in ((0.1, 1e-3), (0.03, 0.03), (0.03, 0.1), (0.1, 0.1), (0.1, 1.0)):
        found = tensor_method(projections, smoothness=smoothness, isotropy=isotropy)
        row = "".join(f"{d[lung].mean():8.1f}" for d in found.dark_field)
        print(f"tensor {smoothness:5} {isotropy:6} {row}{np.median(found.extras['tensor_anisotropy'][1][lung]):8.3f}")


if __name__ == "__main__":
    main()

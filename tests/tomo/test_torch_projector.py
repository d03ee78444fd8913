"""The torch projector against the numba one, and its derivative. Where there is a GPU, there too."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from tomo_shapes import geometry, relative

from darklung.core.checks import DarklungError
from darklung.core.geometry import ConeGeometry
from darklung.tomo.cone import ConeProjector
from darklung.tomo.projector import Projector
from darklung.tomo.torch_cone import TorchConeProjector
from darklung.tomo.torch_projector import TorchProjector


def cone(**kwargs):
    return ConeGeometry(0.3 + np.arange(7) * 0.9, 8, 30, 1e-3, 0.1, **kwargs)


def pair(g, shape, voxel, **kwargs):
    """The torch projector, by default computing on a CPU what a GPU would, and the numba one of a geometry."""
    kwargs = {"compiled": False, **kwargs}
    if isinstance(g, ConeGeometry):
        level = 1.3e-3
        return TorchConeProjector(g, shape, voxel, level, **kwargs), ConeProjector(g, shape, voxel, level_m=level)
    return TorchProjector(g, shape, voxel, **kwargs), Projector(g, shape, voxel)


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CASES = {
    "half turn": (geometry(views=13, rows=5, cols=32), (5, 32, 32), 1e-3),
    "full turn, axis off": (geometry(views=14, arc=2 * np.pi, rows=3, cols=30, axis_col=11.3), (3, 27, 31), 1e-3),
    "fine voxels": (geometry(views=9, rows=3, cols=20), (11, 40, 36), 0.4e-3),
    "coarse voxels": (geometry(views=9, rows=8, cols=40, start=0.3), (3, 14, 16), 2.7e-3),
    "cone": (cone(), (9, 24, 20), 1e-3),
    "cone, detector moved and turned": (cone(axis_col=9.7, axis_row=2.2, tilt_rad=0.08), (6, 14, 16), 2.7e-3),
    "cone, fine voxels": (cone(), (11, 24, 20), 0.4e-3),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 2e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize("case", CASES)
def test_the_same_matrix_as_the_numba_projector(case, dtype, limit, device):
    g, shape, voxel = CASES[case]
    rng = np.random.default_rng(1)
    ours, theirs = pair(g, shape, voxel)
    volume = rng.normal(size=shape).astype(dtype)
    projections = rng.normal(size=ours.projection_shape).astype(dtype)
    there = ours.forward(torch.from_numpy(volume).to(device)).cpu().numpy()
    back = ours.adjoint(torch.from_numpy(projections).to(device)).cpu().numpy()
    assert there.dtype == back.dtype == dtype
    assert relative(there, theirs.forward(volume)) < limit
    assert relative(back, theirs.adjoint(projections)) < limit
    left, right = np.vdot(there.astype(float), projections.astype(float)), np.vdot(volume.astype(float), back.astype(float))
    size = np.linalg.norm(there.astype(float)) * np.linalg.norm(projections.astype(float))
    assert abs(left - right) / size < (1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("g", [geometry(views=3, rows=2, cols=7, start=0.2), ConeGeometry(np.arange(3.0), 2, 7, 1e-3, 0.05)])
@pytest.mark.parametrize("compiled", [False, True])
def test_autograd_gives_the_gradient(g, compiled, device):
    projector = pair(g, (3, 5, 6), 0.8e-3, compiled=compiled)[0]
    volume = torch.randn(3, 5, 6, dtype=torch.float64, device=device, requires_grad=True)
    projections = torch.randn(3, 2, 7, dtype=torch.float64, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: 1e3 * projector.forward(v), (volume,))
    assert torch.autograd.gradcheck(lambda p: 1e3 * projector.adjoint(p), (projections,))


@pytest.mark.parametrize(("case", "module"), [("half turn", "torch_projector"), ("cone", "torch_cone")])
def test_slabs_do_not_change_the_result(case, module, monkeypatch):
    g, shape, voxel = CASES[case]
    volume = torch.randn(shape, dtype=torch.float64)
    projector = pair(g, shape, voxel)[0]
    whole = projector.forward(volume)
    back = projector.adjoint(whole)
    monkeypatch.setattr(f"darklung.tomo.{module}._CHUNK_NUMBERS", 2 * 32 * 32)
    assert torch.allclose(projector.forward(volume), whole, rtol=1e-12, atol=1e-14)
    assert torch.allclose(projector.adjoint(whole), back, rtol=1e-12, atol=1e-14)


def test_wrong_tensors_are_told():
    projector = TorchProjector(geometry(), (4, 64, 64), 1e-3)
    with pytest.raises(DarklungError, match=r"volume: wanted \(z, y, x\) = \(4, 64, 64\), got \(4, 64, 63\)"):
        projector.forward(torch.zeros(4, 64, 63))
    with pytest.raises(DarklungError, match=r"volume: wanted float32 or float64, got torch\.int64"):
        projector.forward(torch.zeros(4, 64, 64, dtype=torch.int64))


def test_reconstruction_does_not_load_torch():
    code = "import sys, darklung.tomo.fbp, darklung.tomo.cone, darklung.tomo.tensor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

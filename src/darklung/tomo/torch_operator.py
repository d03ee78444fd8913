"""The torch projectors behind arrays of numpy, for methods of reconstruction that are asked to compute on a GPU.

Imported by `darklung.tomo.beams` and `darklung.tomo.fbp` when another device is wanted: torch takes seconds to load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darklung.core.checks import DarklungError
from darklung.core.geometry import ConeGeometry, Geometry
from darklung.tomo.projector import as_floating
from darklung.tomo.torch_cone import TorchConeProjector
from darklung.tomo.torch_projector import TorchProjector, back_project_columns


@dataclass(frozen=True)
class TorchOperator:
    """Line integrals and their transpose as `darklung.tomo.projector.Projector` gives them, computed by torch on a device.

    What `cgls`, `pwls_tv` and `reconstruct_tensor` ask of a projector. Arrays travel to the device and back at each call.

    Parameters
    ----------
    geometry : ParallelGeometry or ConeGeometry
    shape : (z, y, x) tuple of int
    voxel_m : float
    device : {"cuda", "torch-cpu"}
    level_m : float, optional
        In a cone beam: height of the volume's middle above the plane of the source.
    threads : int, optional
        For what is computed beside the projections; 0 takes `darklung.tomo.projector.default_threads`.

    Raises
    ------
    DarklungError
        As the projectors, and where the device has too little memory.
    """

    geometry: Geometry
    shape: tuple[int, int, int]
    voxel_m: float
    device: str
    level_m: float = 0.0
    threads: int = 0
    _projector: TorchProjector | TorchConeProjector = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        g = self.geometry
        made = (
            TorchConeProjector(g, self.shape, self.voxel_m, self.level_m, compiled=False)
            if isinstance(g, ConeGeometry)
            else TorchProjector(g, self.shape, self.voxel_m, compiled=False)
        )
        object.__setattr__(self, "_projector", made)

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        """(view, row, col)."""
        return self._projector.projection_shape

    @property
    def scale_m(self) -> float:
        """voxel_m² / pixel_m: the path in metres that a voxel adds to a pixel which catches its whole shadow."""
        return self.voxel_m**2 / self.geometry.pixel_m

    def forward(self, volume: NDArray) -> NDArray:
        """Line integrals (view, row, col) [m × value] of `volume` (z, y, x)."""
        return on_device(self._projector.forward, volume, self.device)

    def adjoint(self, projections: NDArray) -> NDArray:
        """The transpose applied to `projections` (view, row, col): a volume (z, y, x) [m × value]."""
        return on_device(self._projector.adjoint, projections, self.device)


def on_device(function: Callable[[Tensor], Tensor], array: NDArray, device: str) -> NDArray:
    """`function` of an array, computed on ``"cuda"`` or ``"torch-cpu"`` without derivatives."""
    try:
        with torch.no_grad():
            there = torch.from_numpy(np.ascontiguousarray(as_floating(array))).to(device.removeprefix("torch-"))
            found: NDArray = function(there).cpu().numpy()
    except torch.cuda.OutOfMemoryError as error:
        told = str(error).splitlines()[0]
        raise DarklungError(
            f"device: too little memory on {device} for these slabs ({told}); --memory makes them smaller"
        ) from None
    return found


def back_project_on(projections: NDArray, placement: NDArray, taps: int, shape_yx: tuple[int, int], device: str) -> NDArray:
    """`darklung.tomo.projector.back_project` on a device."""
    places = torch.from_numpy(placement)
    return on_device(lambda seen: back_project_columns(seen, places, taps, shape_yx), projections, device)


@lru_cache(maxsize=1)
def cuda_name() -> str:
    """The CUDA device's name; "" if there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""

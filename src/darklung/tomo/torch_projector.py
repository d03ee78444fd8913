"""The parallel-beam projector in torch: the matrix of `darklung.tomo.projector` on the device of the tensor, with autograd.

Imported by those who ask for it only: torch takes seconds to load.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from darklung.core.checks import DarklungError, require
from darklung.core.geometry import ParallelGeometry
from darklung.tomo.projector import Projector, check_grid, row_shares, view_placement

# Numbers that one view's temporaries may take: voxels of a plane × slices × footprint columns.
_CHUNK_NUMBERS = 2**27


@dataclass(frozen=True)
class TorchProjector:
    """Line integrals in parallel beam as a differentiable torch operation, and the exact transpose.

    Same matrix, axes and units as `darklung.tomo.projector.Projector`; `forward` and `adjoint` are each other's derivative,
    so a projector may sit inside a network or a loss. The tensor's device computes; for a tensor on the CPU the numba
    kernels do. Footprints are computed in float64, volumes are float32 or float64.

    Not modelled: as in `Projector`. On CUDA the forward sum runs in any order, so that two runs agree to rounding only.

    Parameters
    ----------
    geometry : ParallelGeometry
    shape : (z, y, x) tuple of int
    voxel_m : float
    compiled : bool, optional
        Use the numba kernels for tensors on the CPU; False computes there what a GPU would.

    Raises
    ------
    DarklungError
        Empty shape, voxel size not positive, tensors of another shape or type than announced.
    """

    geometry: ParallelGeometry
    shape: tuple[int, int, int]
    voxel_m: float
    compiled: bool = True
    _placement: Tensor = field(init=False, repr=False, compare=False)
    _taps: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_grid(self.shape, self.voxel_m)
        placement, taps = view_placement(self.geometry, self.shape, self.voxel_m)
        object.__setattr__(self, "_placement", torch.from_numpy(placement))
        object.__setattr__(self, "_taps", taps)

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        """(view, row, col)."""
        return self.geometry.views, self.geometry.rows, self.geometry.cols

    @property
    def scale_m(self) -> float:
        """voxel_m² / pixel_m: the path in metres that a voxel adds to a pixel which catches its whole shadow."""
        return self.voxel_m**2 / self.geometry.pixel_m

    def forward(self, volume: Tensor) -> Tensor:
        """Line integrals (view, row, col) [m × value] of `volume` (z, y, x), differentiable."""
        check_tensor("volume", volume, "z, y, x", self.shape)
        return ForwardFunction.apply(volume, self)

    def adjoint(self, projections: Tensor) -> Tensor:
        """The transpose applied to `projections` (view, row, col): a volume (z, y, x) [m × value], differentiable."""
        check_tensor("projections", projections, "view, row, col", self.projection_shape)
        return AdjointFunction.apply(projections, self)

    def _numba(self) -> Projector:
        return Projector(self.geometry, self.shape, self.voxel_m)

    def _shares(self, like: Tensor) -> Tensor | None:
        shares = row_shares(self.geometry, self.shape[0], self.voxel_m)
        return None if shares is None else torch.from_numpy(shares).to(like)

    def project(self, volume: Tensor) -> Tensor:
        """What `forward` computes, without its derivative."""
        if self.compiled and volume.device.type == "cpu":
            return torch.from_numpy(self._numba().forward(volume.detach().numpy()))
        shares = self._shares(volume)
        seen = volume if shares is None else torch.tensordot(shares, volume, dims=1)
        rows, cols, plane_yx = self.geometry.rows, self.geometry.cols, (self.shape[1], self.shape[2])
        out = volume.new_zeros(self.geometry.views, cols + 2 * self._taps, rows)
        for slab in _slabs(rows, plane_yx):
            plane = seen[slab].reshape(seen[slab].shape[0], -1).T.contiguous()
            for v in range(self.geometry.views):
                first, weight = _footprints(self._placement[v], plane_yx, cols, self._taps, volume)
                part = out[v, :, slab]
                for k in range(self._taps):
                    part.index_add_(0, first + k, weight[k, :, None] * plane)
        inside = out[:, self._taps : self._taps + cols]
        return inside.transpose(1, 2).contiguous() * self.scale_m

    def back_project(self, projections: Tensor) -> Tensor:
        """What `adjoint` computes, without its derivative."""
        if self.compiled and projections.device.type == "cpu":
            return torch.from_numpy(self._numba().adjoint(projections.detach().numpy()))
        plane_yx = (self.shape[1], self.shape[2])
        volume = back_project_columns(projections, self._placement, self._taps, plane_yx) * self.scale_m
        shares = self._shares(projections)
        return volume.contiguous() if shares is None else torch.tensordot(shares.T, volume, dims=1)


class ForwardFunction(torch.autograd.Function):
    """`project` of a projector, whose derivative is its `adjoint`."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor, projector: Any) -> Tensor:
        ctx.projector = projector
        return projector.project(volume)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.projector.adjoint(gradients[0]), None


class AdjointFunction(torch.autograd.Function):
    """`back_project` of a projector, whose derivative is its `forward`."""

    @staticmethod
    def forward(ctx: Any, projections: Tensor, projector: Any) -> Tensor:
        ctx.projector = projector
        return projector.back_project(projections)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.projector.forward(gradients[0]), None


def back_project_columns(projections: Tensor, placement: Tensor, taps: int, shape_yx: tuple[int, int]) -> Tensor:
    """`darklung.tomo.projector.back_project` in torch: (view, row, col) -> (row, y, x)."""
    views, rows, cols = projections.shape
    padded = torch.nn.functional.pad(projections, (taps, taps)).transpose(1, 2).contiguous()
    stack = projections.new_zeros(shape_yx[0] * shape_yx[1], rows)
    for slab in _slabs(rows, shape_yx):
        for v in range(views):
            first, weight = _footprints(placement[v], shape_yx, cols, taps, projections)
            for k in range(taps):
                stack[:, slab] += weight[k, :, None] * padded[v, :, slab][first + k]
    return stack.T.reshape(rows, *shape_yx)


def _footprints(view: Tensor, shape_yx: tuple[int, int], cols: int, taps: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """First padded column (voxel of the plane) and shares (tap, voxel) of every column of voxels in a view."""
    start, dx, dy, wide, thin = (float(v) for v in view)
    y = torch.arange(shape_yx[0], dtype=torch.float64, device=like.device)[:, None]
    x = torch.arange(shape_yx[1], dtype=torch.float64, device=like.device)[None, :]
    centre = (start + y * dy + x * dx).reshape(-1)
    low = torch.floor(centre + 0.5 - 0.5 * (wide + thin))
    first = low.clamp(-taps, cols).long() + taps
    edges = low + 0.5 - centre + torch.arange(taps, dtype=torch.float64, device=like.device)[:, None]
    below = _trapezoid_below(edges, wide, thin)
    below[-1] = 1.0
    return first, torch.diff(below, dim=0, prepend=torch.zeros_like(below[:1])).to(like.dtype)


def _slabs(rows: int, shape_yx: tuple[int, int]) -> list[slice]:
    depth = max(1, _CHUNK_NUMBERS // (shape_yx[0] * shape_yx[1]))
    return [slice(i, min(i + depth, rows)) for i in range(0, rows, depth)]


def _trapezoid_below(x: Tensor, wide: float, thin: float) -> Tensor:
    """Share of a footprint, a box of width `wide` convolved with one of width `thin`, that lies below x."""

    def rises(t: Tensor) -> Tensor:  # integral of a ramp from −thin/2 to thin/2
        u = (t + 0.5 * thin).clamp(0, thin)
        return 0.5 * u * u / thin + (t - 0.5 * thin).clamp(min=0)

    return ((rises(x + 0.5 * wide) - rises(x - 0.5 * wide)) / wide).clamp(0, 1)


def check_tensor(name: str, tensor: Tensor, axes: str, shape: tuple[int, ...]) -> None:
    """Raise unless `tensor` has this shape and is float32 or float64."""
    require(tuple(tensor.shape) == tuple(shape), f"{name}: wanted ({axes}) = {tuple(shape)}, got {tuple(tensor.shape)}")
    if tensor.dtype not in (torch.float32, torch.float64):
        raise DarklungError(f"{name}: wanted float32 or float64, got {tensor.dtype}")

"""The cone-beam projector in torch: the matrix of `darklung.tomo.cone` on the device of the tensor, with autograd.

Imported by those who ask for it only: torch takes seconds to load.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darklung.core.geometry import ConeGeometry
from darklung.tomo.cone import ConeProjector
from darklung.tomo.torch_projector import AdjointFunction, ForwardFunction, check_tensor

# Numbers of a temporary (voxel columns × rows) that are worked on at once.
_CHUNK_NUMBERS = 2**25


@dataclass(frozen=True)
class TorchConeProjector:
    """Line integrals in a circular cone beam as a differentiable torch operation, and the exact transpose.

    Same matrix, axes and units as `darklung.tomo.cone.ConeProjector`; `forward` and `adjoint` are each other's derivative.
    The tensor's device computes; for a tensor on the CPU the numba kernels do. Shadows are computed in float64.

    Not modelled: as in `ConeProjector`. On CUDA the forward sum runs in any order: two runs agree to rounding only.

    Parameters
    ----------
    geometry : ConeGeometry
    shape : (z, y, x) tuple of int
    voxel_m : float
    level_m : float, optional
    compiled : bool, optional
        Use the numba kernels for tensors on the CPU; False computes there what a GPU would.

    Raises
    ------
    DarklungError
        As `ConeProjector`, and tensors of another shape or type than announced.
    """

    geometry: ConeGeometry
    shape: tuple[int, int, int]
    voxel_m: float
    level_m: float = 0.0
    compiled: bool = True

    def __post_init__(self) -> None:
        self._numba()

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        """(view, row, col)."""
        return self.geometry.views, self.geometry.rows, self.geometry.cols

    def forward(self, volume: Tensor) -> Tensor:
        """Line integrals (view, row, col) [m × value] of `volume` (z, y, x), differentiable."""
        check_tensor("volume", volume, "z, y, x", self.shape)
        return ForwardFunction.apply(volume, self)

    def adjoint(self, projections: Tensor) -> Tensor:
        """The transpose applied to `projections` (view, row, col): a volume (z, y, x) [m × value], differentiable."""
        check_tensor("projections", projections, "view, row, col", self.projection_shape)
        return AdjointFunction.apply(projections, self)

    def _numba(self) -> ConeProjector:
        return ConeProjector(self.geometry, self.shape, self.voxel_m, level_m=self.level_m)

    def _slopes(self, like: Tensor) -> Tensor:
        return torch.from_numpy(self._numba().slopes(torch.empty(0, dtype=like.dtype).numpy().dtype)).to(like.device)

    def _chunks(self, rows: int) -> list[slice]:
        size = max(1, _CHUNK_NUMBERS // (rows + 1))
        count = self.shape[1] * self.shape[2]
        return [slice(i, min(i + size, count)) for i in range(0, count, size)]

    def project(self, volume: Tensor) -> Tensor:
        """What `forward` computes, without its derivative."""
        if self.compiled and volume.device.type == "cpu":
            return torch.from_numpy(self._numba().forward(volume.detach().numpy()))
        taps, g = self._numba().taps(), self.geometry
        out = volume.new_zeros(g.views, g.cols + 2 * taps, g.rows)
        columns = volume.reshape(self.shape[0], -1).T
        for rows, views in self._numba().bands():
            count = rows.stop - rows.start
            edges = torch.arange(count + 1, dtype=torch.float64, device=volume.device)
            for part in self._chunks(max(count, self.shape[0])):
                total = torch.nn.functional.pad(columns[part].double().cumsum(1), (1, 0))
                for v in range(g.views):
                    first, weight, start, step = self._place(views[v].tolist(), part, taps, volume)
                    seen = step[:, None] * _sample(total, (edges - start[:, None]) / step[:, None]).diff(dim=1)
                    for k in range(taps):
                        out[v, :, rows].index_add_(0, first + k, (weight[k, :, None] * seen).to(volume.dtype))
        return out[:, taps : taps + g.cols].transpose(1, 2).contiguous() * self._slopes(volume)

    def back_project(self, projections: Tensor) -> Tensor:
        """What `adjoint` computes, without its derivative."""
        if self.compiled and projections.device.type == "cpu":
            return torch.from_numpy(self._numba().adjoint(projections.detach().numpy()))
        taps = self._numba().taps()
        nz, ny, nx = self.shape
        scaled = torch.nn.functional.pad(projections * self._slopes(projections), (taps, taps))
        out = torch.zeros(ny * nx, nz, dtype=torch.float64, device=projections.device)
        levels = torch.arange(nz + 1, dtype=torch.float64, device=projections.device)
        for rows, views in self._numba().bands():
            for v in range(self.geometry.views):
                total = torch.nn.functional.pad(scaled[v, rows].double().cumsum(0), (0, 0, 1, 0)).T
                for part in self._chunks(max(rows.stop - rows.start, nz)):
                    first, weight, start, step = self._place(views[v].tolist(), part, taps, projections)
                    line = weight[0, :, None] * total[first]
                    for k in range(1, taps):
                        line += weight[k, :, None] * total[first + k]
                    out[part] += _sample(line, start[:, None] + levels * step[:, None]).diff(dim=1)
        return out.T.reshape(nz, ny, nx).to(projections.dtype).contiguous()

    def _place(self, view: list[float], part: slice, taps: int, like: Tensor) -> tuple[Tensor, ...]:
        """First padded column and weights (tap, voxel column) of shadows, their lowest row edge, and a voxel's height."""
        cos, sin, source, edge, shift, middle_row, turn_cos, turn_sin, level = view
        nz, ny, nx = self.shape
        number = torch.arange(part.start, part.stop, dtype=torch.float64, device=like.device)
        y = (torch.div(number, nx, rounding_mode="floor") - 0.5 * (ny - 1)) * edge
        x = (torch.remainder(number, nx) - 0.5 * (nx - 1)) * edge
        s, t = x * cos + y * sin, source + y * cos - x * sin
        dc, ds = 0.5 * edge * cos, 0.5 * edge * sin
        corners = [(s + a * dc + b * ds) / (t + b * dc - a * ds) for a in (-1, 1) for b in (-1, 1)]
        c0, c1, c2, c3 = (source / turn_cos * torch.stack(corners)).sort(dim=0).values
        plane = edge * torch.hypot(t, s) / torch.maximum((s * cos - t * sin).abs(), (s * sin + t * cos).abs())
        low = torch.floor(c0 + shift + 0.5)
        upper = low + 0.5 - shift + torch.arange(-1, taps, dtype=torch.float64, device=like.device)[:, None]
        weight = plane * (_rises(upper - c0, c1 - c0) - _rises(upper - c2, c3 - c2)).diff(dim=0)
        first = low.clamp(-taps, self.geometry.cols).long() + taps
        magnification = source / t
        step = edge * magnification * turn_cos
        start = middle_row + 0.5 + magnification * (level * turn_cos - s * turn_sin) - 0.5 * nz * step
        return first, weight, start, step


def _rises(x: Tensor, wide: Tensor) -> Tensor:
    """Integral up to x of a ramp that is 0 before 0 and 1 after `wide`."""
    wide = wide.clamp(min=1e-9)
    inside = torch.minimum(x.clamp(min=0), wide)
    return 0.5 * inside * inside / wide + (x - wide).clamp(min=0)


def _sample(values: Tensor, at: Tensor) -> Tensor:
    """Each row of `values` at the positions `at`, linear in between, constant beyond the ends."""
    at = at.clamp(0, values.shape[1] - 1)
    index = at.floor().long().clamp(max=values.shape[1] - 2)
    low = values.gather(1, index)
    return low + (at - index) * (values.gather(1, index + 1) - low)

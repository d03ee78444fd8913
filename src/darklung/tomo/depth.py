"""Projection of dark field whose strength depends on the depth in the beam, since the correlation length does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_positive, require
from darklung.core.geometry import ParallelGeometry, centred_axis
from darklung.tomo.projector import Projector


def depth_slope(*, exponent: float, distance_m: float) -> float:
    """Relative change of ε per metre along the beam [1/m], to first order: −exponent / distance.

    The correlation length at a point is ξ = λ d / p2, d its distance to the analyser grating G2 (sample between G1 and G2),
    so that ξ falls along the beam as 1 − t / distance_m, and ε ∝ ξ^exponent as (1 − t / distance_m)^exponent.

    Parameters
    ----------
    exponent : float
        d ln ε / d ln ξ at the axis: 2 for structures much larger than ξ up to logarithms, 0 for much smaller ones.
    distance_m : float
        From the rotation axis to G2.
    """
    check_finite("exponent", np.asarray(exponent))
    return -float(exponent) / check_positive("distance_m", distance_m)


@dataclass(frozen=True)
class DepthProjector:
    """Line integrals ∫ ε(r) (1 + slope_per_m · t) dl, t = r·n the depth along the beam, and the exact transpose.

    Takes the place of `Projector` in `cgls` and `pwls_tv`; the result is ε as it would be seen at the rotation axis.
    Filtered back-projection of a full turn needs none of this to first order, since opposite views see opposite depths; of
    a half turn it does.

    Not modelled: terms of second order in t, an exponent that differs from place to place, divergence of the rays.

    Parameters
    ----------
    geometry, shape, voxel_m, threads
        As in `Projector`.
    slope_per_m : float
        From `depth_slope`.
    """

    geometry: ParallelGeometry
    shape: tuple[int, int, int]
    voxel_m: float
    slope_per_m: float
    threads: int = 0

    def __post_init__(self) -> None:
        reach = 0.5 * self.voxel_m * float(np.hypot(*self.shape[1:]))
        weakest = 1 - abs(self.slope_per_m) * reach
        require(
            weakest > 0.5, f"slope_per_m: first order holds for changes below 50 % over the volume, got {1 - weakest:.0%}"
        )

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        """(view, row, col)."""
        return self._plain().projection_shape

    def forward(self, volume: NDArray) -> NDArray:
        """Line integrals (view, row, col) of `volume` (z, y, x)."""
        plain, (y, x), (cos, sin) = self._plain(), self._places(), self._turns()
        depth = cos * plain.forward(volume * y) - sin * plain.forward(volume * x)
        return plain.forward(volume) + np.float32(self.slope_per_m) * depth

    def adjoint(self, projections: NDArray) -> NDArray:
        """The transpose applied to `projections` (view, row, col): a volume (z, y, x)."""
        plain, (y, x), (cos, sin) = self._plain(), self._places(), self._turns()
        depth = y * plain.adjoint(cos * projections) - x * plain.adjoint(sin * projections)
        return plain.adjoint(projections) + np.float32(self.slope_per_m) * depth

    def _plain(self) -> Projector:
        return Projector(self.geometry, self.shape, self.voxel_m, self.threads)

    def _places(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        y, x = (centred_axis(n, self.voxel_m).astype(np.float32) for n in self.shape[1:])
        return y[:, None], x[None, :]

    def _turns(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        angles = self.geometry.angles_rad[:, None, None]
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

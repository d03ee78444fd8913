"""Projection of dark field whose strength depends on the depth in the beam, since the correlation length does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_positive, require
from darklung.core.geometry import ConeGeometry, ParallelGeometry, centred_axis
from darklung.tomo.cone import ConeProjector
from darklung.tomo.projector import Projector

if TYPE_CHECKING:
    from darklung.tomo.torch_operator import TorchOperator


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
    """Line integrals ∫ ε(r) (1 + slope_per_m · t) dl, t = r·n the depth along the central ray, and the exact transpose.

    Takes the place of the projector that it is made of in `cgls` and `pwls_tv`; the result is ε as it would be seen at the
    rotation axis. In a cone beam too ξ is the same in every plane parallel to the gratings, so that t is the depth. Filtered
    back-projection of a full turn needs none of this to first order, since opposite views see opposite depths (in a cone
    beam, about so); of a half turn or a short scan it does.

    Not modelled: terms of second order in t, an exponent that differs from place to place.

    Parameters
    ----------
    projector : Projector, ConeProjector or TorchOperator
    slope_per_m : float
        From `depth_slope`.
    """

    projector: Projector | ConeProjector | TorchOperator
    slope_per_m: float

    def __post_init__(self) -> None:
        reach = 0.5 * self.projector.voxel_m * float(np.hypot(*self.shape[1:]))
        weakest = 1 - abs(self.slope_per_m) * reach
        require(
            weakest > 0.5, f"slope_per_m: first order holds for changes below 50 % over the volume, got {1 - weakest:.0%}"
        )

    @property
    def geometry(self) -> ParallelGeometry | ConeGeometry:
        """That of the projector."""
        return self.projector.geometry

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.projector.shape

    @property
    def threads(self) -> int:
        """Those of the projector."""
        return self.projector.threads

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        """(view, row, col)."""
        return self.projector.projection_shape

    def forward(self, volume: NDArray) -> NDArray:
        """Line integrals (view, row, col) of `volume` (z, y, x)."""
        (y, x), (cos, sin) = self._places(), self._turns()
        depth = cos * self.projector.forward(volume * y) - sin * self.projector.forward(volume * x)
        return self.projector.forward(volume) + np.float32(self.slope_per_m) * depth

    def adjoint(self, projections: NDArray) -> NDArray:
        """The transpose applied to `projections` (view, row, col): a volume (z, y, x)."""
        (y, x), (cos, sin) = self._places(), self._turns()
        depth = y * self.projector.adjoint(cos * projections) - x * self.projector.adjoint(sin * projections)
        return self.projector.adjoint(projections) + np.float32(self.slope_per_m) * depth

    def _places(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        y, x = (centred_axis(n, self.projector.voxel_m).astype(np.float32) for n in self.shape[1:])
        return y[:, None], x[None, :]

    def _turns(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        angles = self.geometry.angles_rad[:, None, None]
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

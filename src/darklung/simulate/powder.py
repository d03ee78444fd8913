"""Matter with its own isotropic scattering law: suspensions and powders of spheres, beside the lung model of a phantom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_shape, require
from darklung.core.types import Phantom

Law = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

_STRETCHES = 9  # correlation lengths, relative to that of the axis, at which a law is evaluated


@dataclass(frozen=True)
class Powder:
    """Where a powder is and how it scatters.

    Parameters
    ----------
    share : (z, y, x) float32
        Part of each voxel that it fills, 0 to 1.
    coefficient : callable
        ``coefficient(energy_kev, correlation_length_m)`` -> ε [1/m] of the full powder; arrays of the same shape.
    """

    share: NDArray[np.float32]
    coefficient: Law

    def __post_init__(self) -> None:
        check_shape("share", self.share, "z, y, x", (None, None, None))
        least, most = float(self.share.min()), float(self.share.max())
        require(least >= 0 and most <= 1 + 1e-5, f"share: wanted 0 to 1, got {least:g} to {most:g}")


@dataclass(frozen=True)
class Scene:
    """What stands in the beam: a phantom, and matter that scatters by laws of its own."""

    phantom: Phantom
    powders: tuple[Powder, ...] = ()

    def __post_init__(self) -> None:
        for powder in self.powders:
            check_shape("powder share", powder.share, "z, y, x", self.phantom.tissue_fraction.shape)


@dataclass(frozen=True)
class PowderColumns:
    """A powder's voxels gathered in columns along z, and its law at the energies that are projected.

    Parameters
    ----------
    columns_yx : (column, 2) int64
    share : (column, z) float32
    stretches : (stretch,)
        Rising factors on ξ.
    coefficients : (stretch, node)
        ε [1/m] at each.
    """

    columns_yx: NDArray[np.int64]
    share: NDArray[np.float32]
    stretches: NDArray[np.float64]
    coefficients: NDArray[np.float64]

    def values(self, stretch: NDArray[np.float64]) -> NDArray[np.float32]:
        """ε [1/m] of every voxel at the nodes' energies, (column, node, z); `stretch` is a factor on ξ of each column."""
        nodes = self.coefficients.shape[1]
        at = np.stack([np.interp(stretch, self.stretches, self.coefficients[:, node]) for node in range(nodes)], axis=1)
        return np.asarray(at[:, :, None] * self.share[:, None, :], dtype=np.float32)


def powder_columns(
    powder: Powder, *, node_kev: NDArray[np.float64], correlation_length_m: NDArray[np.float64], reach: float
) -> PowderColumns:
    """Gather a powder; `reach` is the largest relative change of ξ over the volume, 0 where depth is ignored."""
    y, x = np.nonzero((powder.share > 0).any(axis=0))
    stretches = np.linspace(1 - reach, 1 + reach, _STRETCHES) if reach > 0 else np.ones(1)
    require(float(stretches[0]) > 0, "distance_m: the object reaches the analyser grating")
    xi = stretches[:, None] * correlation_length_m
    coefficients = powder.coefficient(np.broadcast_to(node_kev, xi.shape), xi)
    return PowderColumns(
        columns_yx=np.stack([y, x], axis=1).astype(np.int64),
        share=np.ascontiguousarray(powder.share[:, y, x].T, dtype=np.float32),
        stretches=stretches,
        coefficients=np.asarray(coefficients, dtype=np.float64),
    )

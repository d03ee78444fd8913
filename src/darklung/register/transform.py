"""Where a point of a section's picture lies in a volume, and back: a plane, what shrank, and how it was bent.

x = c + M (p + d(p)): p is the point of the picture [m] from its middle (row, col), M (3 × 2) turns, tilts and undoes the
shrinkage, d is a cubic B-spline in the picture's plane, so that nothing is bent out of the section. The inverse of a
place is a point and a height over the plane.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_finite, check_positive, check_shape, require

Points = NDArray[np.float64]
STEEPEST = 0.6
"""Of a bending: differences of neighbouring coefficients over their spacing; below 1 no place is met twice."""
CLOSE_M = 1e-13
_MOST_STEPS = 200


@dataclass(frozen=True)
class Bending:
    """A smooth displacement in the plane of a picture; beyond its knots the last ones go on.

    Parameters
    ----------
    origin_m : (row, col)
        Of the first knot, in the picture's frame.
    spacing_m : float
        From knot to knot.
    coefficients_m : (row, col, 2) float64
        Of a cubic B-spline.

    Raises
    ------
    DarklungError
        Coefficients that would fold the picture.
    """

    origin_m: tuple[float, float]
    spacing_m: float
    coefficients_m: NDArray[np.float64]

    def __post_init__(self) -> None:
        check_positive("bending: spacing_m", self.spacing_m)
        check_shape("bending: coefficients_m", self.coefficients_m, "row, col, 2", (None, None, 2))
        check_finite("bending: coefficients_m", self.coefficients_m)
        steep = self.steepness()
        require(steep < STEEPEST, f"bending: wanted slopes below {STEEPEST:g}, got {steep:.3g}: it would fold the section")

    def steepness(self) -> float:
        """Bound of the displacement's slope: the sum over both axes of the largest difference between neighbours."""
        c = self.coefficients_m
        slopes = [np.linalg.norm(np.diff(c, axis=a), axis=-1).max(initial=0.0) for a in (0, 1)]
        return float(sum(slopes)) / self.spacing_m

    def at(self, points: Points) -> Points:
        """Displacement [m] at points of the picture, (..., 2)."""
        from scipy.ndimage import map_coordinates

        index = ((points - np.asarray(self.origin_m)) / self.spacing_m).reshape(-1, 2).T
        each = np.moveaxis(self.coefficients_m, -1, 0)
        parts = [map_coordinates(c, index, order=3, prefilter=False, mode="nearest") for c in each]
        return np.stack(parts, axis=-1).reshape(points.shape)


@dataclass(frozen=True)
class PlaneMap:
    """The way from a section's picture into a volume, and back.

    Parameters
    ----------
    section : str
        Name of the section; its points are told in the frame ``section`` (from the picture's middle, row, col).
    frame : str
        Of the volume.
    centre_m : (3,) float64
        Where the picture's middle lies, before bending.
    along : (3, 2) float64
        Metres in the animal for a metre of the picture's rows and columns.
    bending : Bending, optional
    covariance : (9, 9) float64, optional
        Of centre_m and along, columns one after the other; zeros where nothing is known.
    rest_m : float
        Standard deviation of what neither plane nor bending explain, along each axis in the plane.
    """

    section: str
    frame: str
    centre_m: NDArray[np.float64]
    along: NDArray[np.float64]
    bending: Bending | None = None
    covariance: NDArray[np.float64] = field(default_factory=lambda: np.zeros((9, 9)))
    rest_m: float = 0.0

    def __post_init__(self) -> None:
        check_shape(f"{self.section}: centre_m", self.centre_m, "zyx", (3,))
        check_shape(f"{self.section}: along", self.along, "zyx, picture", (3, 2))
        check_shape(f"{self.section}: covariance", self.covariance, "parameter, parameter", (9, 9))
        for name in ("centre_m", "along", "covariance"):
            check_finite(f"{self.section}: {name}", getattr(self, name))
        require(
            bool(np.isfinite(self.rest_m)) and self.rest_m >= 0, f"{self.section}: rest_m: wanted >= 0, got {self.rest_m!r}"
        )
        area = self.area_ratio()
        require(area > 1e-3, f"{self.section}: along: wanted two directions of a plane, got {self.along.tolist()}")

    def normal(self) -> NDArray[np.float64]:
        """Unit vector of the plane: rows × columns."""
        across = np.cross(self.along[:, 0], self.along[:, 1])
        return np.asarray(across / np.linalg.norm(across))

    def area_ratio(self) -> float:
        """Area in the animal over area on the slide, without bending."""
        return float(np.linalg.norm(np.cross(self.along[:, 0], self.along[:, 1])))

    def position_m(self, points: Points) -> Points:
        """Places in the volume's frame, (..., 3), of points of the picture, (..., 2)."""
        moved = points if self.bending is None else points + self.bending.at(points)
        return np.asarray(self.centre_m + moved @ self.along.T)

    def point_m(self, position_m: Points) -> tuple[Points, NDArray[np.float64]]:
        """Points of the picture, (..., 2), below places (..., 3), and how high these lie over the plane [m].

        Raises
        ------
        DarklungError
            A bending that has no inverse.
        """
        away = position_m - self.centre_m
        height = away @ self.normal()
        flat = away @ np.linalg.pinv(self.along).T
        return self._unbent(flat), height

    def error_m(self, points: Points) -> NDArray[np.float64]:
        """Standard deviation of the place of each point, along (rows, columns, normal): (..., 3) [m]."""
        axes = np.stack([*(self.along / np.linalg.norm(self.along, axis=0)).T, self.normal()])
        factors = np.stack([np.ones(points.shape[:-1]), points[..., 0], points[..., 1]], axis=-1)
        blocks = self.covariance.reshape(3, 3, 3, 3)
        each = np.einsum("...i,...j,iajb,ka,kb->...k", factors, factors, blocks, axes, axes, optimize=True)
        rest = np.array([1.0, 1.0, 0.0]) * self.rest_m**2
        return np.asarray(np.sqrt(np.maximum(each, 0) + rest))

    def _unbent(self, flat: Points) -> Points:
        if self.bending is None:
            return flat
        found = flat
        for _ in range(_MOST_STEPS):
            moved = flat - self.bending.at(found)
            step = float(np.abs(moved - found).max(initial=0.0))
            found = moved
            if step < CLOSE_M:
                return found
        raise DarklungError(f"{self.section}: bending: has no inverse")


def as_plain(one: PlaneMap) -> dict[str, Any]:
    """A map as JSON holds it."""
    bending = one.bending
    told = None
    if bending is not None:
        told = {
            "origin_m": list(bending.origin_m),
            "spacing_m": bending.spacing_m,
            "coefficients_m": bending.coefficients_m.tolist(),
        }
    return {
        "section": one.section,
        "frame": one.frame,
        "centre_m": one.centre_m.tolist(),
        "along": one.along.tolist(),
        "bending": told,
        "covariance": one.covariance.tolist(),
        "rest_m": one.rest_m,
    }

"""Scan geometry and the coordinate conventions (docs/conventions.md; every line there has a test)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_positive, check_shape, require


@dataclass(frozen=True)
class ParallelGeometry:
    """Parallel beam turning about z; detector rows are z, columns are s.

    At angle θ (from +x towards +y) the detector's column direction is e_s = (x: cos θ, y: sin θ) and the beam runs along
    n = (x: −sin θ, y: cos θ). A radiograph is the case of one view.

    Parameters
    ----------
    angles_rad : (view,) array
    rows, cols : int
    pixel_m : float
        Detector pixel, referred to the rotation axis.
    axis_col : float, optional
        Column (0-based, may be fractional) onto which the rotation axis falls; the middle, (cols − 1)/2, by default.
    """

    angles_rad: NDArray[np.float64]
    rows: int
    cols: int
    pixel_m: float
    axis_col: float = -1.0

    def __post_init__(self) -> None:
        angles = np.atleast_1d(np.asarray(self.angles_rad, dtype=np.float64))
        check_shape("angles_rad", angles, "view", (None,))
        check_finite("angles_rad", angles)
        require(self.rows > 0 and self.cols > 0, f"rows, cols: wanted > 0, got {self.rows}, {self.cols}")
        check_positive("pixel_m", self.pixel_m)
        object.__setattr__(self, "angles_rad", angles)
        if self.axis_col < 0:
            object.__setattr__(self, "axis_col", (self.cols - 1) / 2)

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.angles_rad)

    def beam(self) -> NDArray[np.float64]:
        """Unit vectors n along the beam, (view, 3) in the order (z, y, x)."""
        a = self.angles_rad
        return np.stack([np.zeros_like(a), np.cos(a), -np.sin(a)], axis=1)

    def sensitivity(self, direction_rad: float) -> NDArray[np.float64]:
        """Unit vectors u of the gratings' sensitivity, (view, 3) as (z, y, x).

        `direction_rad` is α, measured from the rotation axis: u = cos α ẑ + sin α e_s.
        """
        a = self.angles_rad
        sin, cos = np.sin(direction_rad), np.cos(direction_rad)
        return np.stack([np.full_like(a, cos), sin * np.sin(a), sin * np.cos(a)], axis=1)


def centred_axis(count: int, spacing_m: float) -> NDArray[np.float64]:
    """Coordinates [m] of `count` samples centred on zero: voxel i lies at (i − (count − 1)/2) · spacing."""
    return np.asarray((np.arange(count) - (count - 1) / 2) * spacing_m, dtype=np.float64)

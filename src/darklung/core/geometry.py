"""Scan geometry and the coordinate conventions (docs/conventions.md; every line there has a test)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_finite, check_positive, check_range, check_shape, require

MOST_TILT_RAD = 0.2
"""A detector that is turned more in its own plane was mounted another way round."""


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
        Column (0-based, may be fractional) onto which the rotation axis falls; the middle, (cols − 1)/2, by default (−1).

    Raises
    ------
    DarklungError
        Angles that are not finite, sizes that are not positive, an axis that does not fall onto the detector.
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
        if self.axis_col == -1.0:
            object.__setattr__(self, "axis_col", (self.cols - 1) / 2)
        check_range("axis_col", self.axis_col, 0, self.cols - 1)

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
        return grating_directions(self.angles_rad, direction_rad)


def is_full_turn(angles_rad: NDArray[np.float64]) -> bool:
    """Whether views come from all sides: no gap in 360° is wider than three steps, and none a quarter of a turn."""
    angles = np.sort(np.mod(angles_rad, 2 * np.pi))
    gaps = np.diff(angles, append=angles[0] + 2 * np.pi)
    distinct = gaps[gaps > 0.25 * 2 * np.pi / len(gaps)]
    return bool(gaps.max() < np.pi / 2 and gaps.max() <= 3 * distinct.mean())


def turn_shares(angles_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of 360° [rad] that each view of a turn stands for, half of the distance to its two neighbours; they sum to 2π.

    A last view that is the first again shares its part with it, and those beside a gap have more.
    """
    turn = np.mod(np.asarray(angles_rad, dtype=np.float64), 2 * np.pi)
    order = np.argsort(turn, kind="stable")
    gaps = np.diff(turn[order], append=turn[order[0]] + 2 * np.pi)
    shares = np.empty_like(turn)
    shares[order] = 0.5 * (gaps + np.roll(gaps, 1))
    return shares


def field_width(geometry: ParallelGeometry | ConeGeometry) -> int:
    """Voxels of one pixel across what the detector sees: as wide as it is, or twice its longer side from the axis.

    The latter where it stands aside by more than a pixel and the object turns by 360°, so that views complete each other;
    a cone beam's detector that stands aside is taken to be turned around.
    """
    left, right = float(geometry.axis_col or 0.0), geometry.cols - 1 - float(geometry.axis_col or 0.0)
    aside = abs(right - left) >= 2 and (isinstance(geometry, ConeGeometry) or is_full_turn(geometry.angles_rad))
    return int(np.ceil(2 * max(left, right))) + 1 if aside else geometry.cols


def grating_directions(angles_rad: NDArray[np.float64], direction_rad: float) -> NDArray[np.float64]:
    """u = cos α ẑ + sin α e_s for each view, (view, 3) as (z, y, x); the gratings turn with the detector in any beam."""
    sin, cos = np.sin(direction_rad), np.cos(direction_rad)
    return np.stack([np.full_like(angles_rad, cos), sin * np.sin(angles_rad), sin * np.cos(angles_rad)], axis=1)


def centred_axis(count: int, spacing_m: float) -> NDArray[np.float64]:
    """Coordinates [m] of `count` samples centred on zero: voxel i lies at (i − (count − 1)/2) · spacing."""
    return np.asarray((np.arange(count) - (count - 1) / 2) * spacing_m, dtype=np.float64)


@dataclass(frozen=True)
class ConeGeometry:
    """Circular cone beam with a flat detector; angles, signs and axes are those of `ParallelGeometry`.

    The detector is described where it would stand if it went through the rotation axis: `pixel_m` is its pixel over the
    magnification. The source is at −`source_axis_m` · n. A point at (s, z) across the beam and t along it is seen at
    u = s R/(R + t), w = z R/(R + t) with R = `source_axis_m`, that is at

        col = axis_col + (u cos τ + w sin τ) / pixel_m,    row = axis_row + (w cos τ − u sin τ) / pixel_m.

    Parameters
    ----------
    angles_rad : (view,) array
    rows, cols : int
    pixel_m : float
        Detector pixel, referred to the rotation axis.
    source_axis_m : float
        R, distance from the source to the rotation axis.
    axis_col, axis_row : float, optional
        Pixel (0-based, may be fractional) onto which the ray from the source perpendicular to the axis falls; the middle of
        the detector by default. An `axis_col` off the middle is a detector moved sideways.
    tilt_rad : float, optional
        τ, the detector turned in its own plane.
    """

    angles_rad: NDArray[np.float64]
    rows: int
    cols: int
    pixel_m: float
    source_axis_m: float
    axis_col: float | None = None
    axis_row: float | None = None
    tilt_rad: float = 0.0

    def __post_init__(self) -> None:
        flat = ParallelGeometry(self.angles_rad, self.rows, self.cols, self.pixel_m)
        check_positive("source_axis_m", self.source_axis_m)
        object.__setattr__(self, "angles_rad", flat.angles_rad)
        for name, count in (("axis_col", self.cols), ("axis_row", self.rows)):
            value = (count - 1) / 2 if getattr(self, name) is None else getattr(self, name)
            check_finite(name, np.asarray(value))
            object.__setattr__(self, name, float(value))
        check_range("tilt_rad", self.tilt_rad, -MOST_TILT_RAD, MOST_TILT_RAD)

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.angles_rad)

    def sensitivity(self, direction_rad: float) -> NDArray[np.float64]:
        """Unit vectors u of the gratings' sensitivity, (view, 3) as (z, y, x): the same for all rays, for flat gratings."""
        return grating_directions(self.angles_rad, direction_rad)


Geometry = ParallelGeometry | ConeGeometry


def pixels_of(geometry: Geometry, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row and column (0-based, fractional) onto which points fall in each view, (view, point, 2).

    Parameters
    ----------
    geometry : Geometry
    points_m : (point, 3)
        (z, y, x) in the frame of reconstructed volumes: z = 0 is level with the middle of the detector rows, x = y = 0 is
        the rotation axis.
    """
    z, y, x = np.asarray(points_m, dtype=np.float64).reshape(-1, 3).T
    cos, sin = np.cos(geometry.angles_rad)[:, None], np.sin(geometry.angles_rad)[:, None]
    across, along, middle = x * cos + y * sin, y * cos - x * sin, (geometry.rows - 1) / 2
    if isinstance(geometry, ParallelGeometry):
        col = geometry.axis_col + across / geometry.pixel_m
        return np.stack([np.broadcast_to(middle + z / geometry.pixel_m, col.shape), col], axis=-1)
    axis_row, tilt = float(geometry.axis_row or 0.0), geometry.tilt_rad
    seen = geometry.source_axis_m / (geometry.source_axis_m + along)
    u, w = across * seen, (z + (middle - axis_row) * geometry.pixel_m) * seen
    col = float(geometry.axis_col or 0.0) + (u * np.cos(tilt) + w * np.sin(tilt)) / geometry.pixel_m
    return np.stack([axis_row + (w * np.cos(tilt) - u * np.sin(tilt)) / geometry.pixel_m, col], axis=-1)


def sphere_diameter_m(size: float, spatial: int = 3) -> float:
    """Diameter of the sphere of a volume [m³], or of the disc of an area [m²] where `spatial` is 2."""
    return float(np.cbrt(6 * size / np.pi) if spatial == 3 else np.sqrt(4 * size / np.pi))


def parallel_only(geometry: Geometry) -> ParallelGeometry:
    """The geometry, for what is right in a parallel beam only; raises in a cone beam."""
    if not isinstance(geometry, ParallelGeometry):
        raise DarklungError("geometry: wanted a parallel beam for this, got a cone beam")
    return geometry

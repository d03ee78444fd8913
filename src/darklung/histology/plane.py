"""The plane of a section in an animal, and what handling does to it: shrinkage, compression, tears and folds.

A point of the picture is told in metres from its middle, (row, col). `Handling.source` says which point of the plane lies
there, `Pose.position_m` where that is in the animal: so a picture, a mask or a landmark goes into the volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from darklung.core.checks import check_fields, check_one_of, check_range, require
from darklung.core.random import stream

Points = NDArray[np.float64]
PLANES: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {"axial": (1, 2, 0), "coronal": (0, 2, 1), "sagittal": (0, 1, 2)}
)
"""Plane -> axes of (z, y, x) along which rows, columns and the normal run."""
_REACH = 4.0
"""Of a tear: over so many times its width the tissue beside it gives way."""


@dataclass(frozen=True)
class Pose:
    """A plane in an animal's frame.

    Parameters
    ----------
    centre_m : (z, y, x)
        Where the picture's middle lies.
    rows_along, cols_along : (z, y, x)
        Orthonormal.
    """

    centre_m: tuple[float, float, float]
    rows_along: tuple[float, float, float]
    cols_along: tuple[float, float, float]

    def position_m(self, points: Points) -> Points:
        """Points of the plane (..., 2) in the animal's frame (..., 3)."""
        return np.asarray(np.asarray(self.centre_m) + points @ np.array([self.rows_along, self.cols_along]))


def make_pose(
    plane: str = "axial",
    *,
    at_m: float = 0.0,
    tilt_rad: tuple[float, float] = (0.0, 0.0),
    turn_rad: float = 0.0,
) -> Pose:
    """A plane near one of `PLANES`.

    Parameters
    ----------
    plane : str
    at_m : float
        Along the untilted plane's normal, from the middle of the frame.
    tilt_rad : (about the columns' axis, about the rows' axis)
        How far the normal leans.
    turn_rad : float
        Of the picture in its own plane, before the tilt.
    """
    axes = np.eye(3)[list(PLANES[check_one_of("plane", plane, PLANES)])]
    for name, value in zip(("tilt", "tilt", "turn"), (*tilt_rad, turn_rad)):
        check_range(f"{name} [rad]", value, -np.pi, np.pi)
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    rows, cols = cos * axes[0] + sin * axes[1], -sin * axes[0] + cos * axes[1]
    normal, centre = axes[2], at_m * axes[2]
    rows, normal = _leaned(rows, normal, tilt_rad[0])
    cols, normal = _leaned(cols, normal, tilt_rad[1])
    return Pose(*(tuple(float(v) for v in one) for one in (centre, rows, cols)))  # type: ignore[arg-type]


def _leaned(one: Points, other: Points, angle: float) -> tuple[Points, Points]:
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * one + sin * other, -sin * one + cos * other


@dataclass(frozen=True)
class Line:
    """Where tissue is torn or folded: a straight piece with its middle, direction and greatest width.

    Parameters
    ----------
    at_m : (row, col)
        On the plane, before shrinkage.
    angle_rad : float
        Of its direction from the columns' axis.
    half_length_m, width_m : float
        A tear opens by the width, a fold hides twice the width.
    """

    at_m: tuple[float, float]
    angle_rad: float
    half_length_m: float
    width_m: float

    def across(self, points: Points) -> tuple[Points, Points]:
        """Signed distance from the line, and the share of the width that is left at that place along it."""
        away = points - np.asarray(self.at_m)
        along = np.array([np.sin(self.angle_rad), np.cos(self.angle_rad)])
        s, t = away @ along, away @ self.normal()
        return t, np.sqrt(np.maximum(1 - (s / self.half_length_m) ** 2, 0))

    def normal(self) -> Points:
        """Unit vector across the line."""
        return np.array([np.cos(self.angle_rad), -np.sin(self.angle_rad)])


@dataclass(frozen=True)
class Handling:
    """What happened between animal and slide.

    Parameters
    ----------
    shrinkage : float
        All lengths become 1 − shrinkage of what they were.
    compression : float
        Rows, along which the knife went, become shorter by this share on top of it.
    tears, folds : tuple of Line
    """

    shrinkage: Annotated[float, Interval(ge=0, le=0.5)] = 0.0
    compression: Annotated[float, Interval(ge=0, le=0.5)] = 0.0
    tears: tuple[Line, ...] = ()
    folds: tuple[Line, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    def scale(self) -> Points:
        """Length on the slide over length in the animal, along rows and columns."""
        kept = 1 - self.shrinkage
        return np.array([kept * (1 - self.compression), kept])

    def source(self, points: Points) -> tuple[Points, NDArray[np.bool_]]:
        """Points of the plane at points of the picture (..., 2), the uppermost of a fold; and where nothing lies."""
        found = points / self.scale()
        torn = np.zeros(points.shape[:-1], dtype=bool)
        for tear in self.tears:
            distance, left = tear.across(found)
            half = tear.width_m * left / 2
            away = np.abs(distance)
            torn |= away < half
            gives = half * np.exp(-np.maximum(away - half, 0) / (_REACH * tear.width_m))
            found = found - (np.sign(distance) * np.minimum(gives, away))[..., None] * tear.normal()
        for fold in self.folds:
            distance, left = fold.across(found)
            found = found + (2 * fold.width_m * left * (distance > 0))[..., None] * fold.normal()
        return found, torn

    def layers(self, points: Points) -> list[tuple[NDArray[np.bool_], Points]]:
        """Further tissue under folds: where, and which points of the plane; two layers of each fold."""
        base, found = points / self.scale(), []
        for fold in self.folds:
            distance, left = fold.across(base)
            width = fold.width_m * left
            under = (distance > 0) & (distance < width)
            back = base + (2 * (width - distance))[..., None] * fold.normal()
            found += [(under, base), (under, back)]
        return found


def draw_handling(
    *,
    seed: int,
    extent_m: tuple[float, float],
    shrinkage: float = 0.0,
    compression: float = 0.0,
    tears: int = 0,
    folds: int = 0,
) -> Handling:
    """Tears and folds at random places of a picture of the extent; sizes are those of mouse sections, chosen here."""
    for name, value in (("tears", tears), ("folds", folds)):
        require(0 <= value <= 50, f"{name}: wanted 0 to 50, got {value}")

    def lines(name: str, count: int, widths: tuple[float, float]) -> tuple[Line, ...]:
        rng = stream(seed, "handling", name)
        found = []
        for _ in range(count):
            row, col = (float(rng.uniform(-0.35, 0.35) * e) for e in extent_m)
            half = float(rng.uniform(0.1, 0.25) * min(extent_m))
            found.append(Line((row, col), float(rng.uniform(0, np.pi)), half, float(rng.uniform(*widths))))
        return tuple(found)

    cracks, pleats = lines("tears", tears, (40e-6, 150e-6)), lines("folds", folds, (40e-6, 100e-6))
    return Handling(shrinkage, compression, cracks, pleats)

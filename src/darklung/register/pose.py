"""Numbers that place sections: a common plane's tilt, shrinkage and spacing, and each section's own turn and shift.

A section's map is affine, so all that least squares needs of it is how its 12 numbers (here 9: centre and two columns of a
3 × 2 matrix) change with the parameters; pictures are looked at once, whatever the number of parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_shape

Vector = NDArray[np.float64]
SHARED = ("tilt rows", "tilt cols", "turn", "scale", "stretch", "shear", "z", "y", "x", "spacing")
OWN = ("turn", "row shift", "col shift", "height")
_SPACING = SHARED.index("spacing")
_STEP = 1e-6


@dataclass(frozen=True)
class Frame:
    """What the parameters start from.

    Parameters
    ----------
    axes : (3, 3) float64
        Columns: rows, columns and normal of the untilted plane in the volume's frame.
    middles_m : (section, 2) float64
        Point of each picture that is put at its centre: the lung's centre of gravity.
    numbers : (section,) float64
        Place of each section in the stack, from the stack's middle.
    """

    axes: NDArray[np.float64]
    middles_m: NDArray[np.float64]
    numbers: Vector

    def __post_init__(self) -> None:
        check_shape("axes", self.axes, "zyx, axis", (3, 3))
        check_shape("middles_m", self.middles_m, "section, 2", (len(self.numbers), 2))

    @property
    def count(self) -> int:
        """Of all parameters."""
        own = 0 if len(self.numbers) == 1 else len(OWN) * len(self.numbers)
        return len(SHARED) + own

    def own(self, section: int) -> slice:
        """Where the parameters of a section lie; empty for a single one, whose pose the shared ones say."""
        if len(self.numbers) == 1:
            return slice(0, 0)
        start = len(SHARED) + len(OWN) * section
        return slice(start, start + len(OWN))

    def map_of(self, parameters: Vector, section: int) -> Vector:
        """Centre (3) and the columns of M (3, 3) of one section's picture, as one vector of 9."""
        return np.asarray(self._placed(self._used(parameters, section)[None], section)[0])

    def jacobian(self, parameters: Vector, section: int) -> NDArray[np.float64]:
        """Change of `map_of` with each parameter, (9, parameter), by central differences."""
        used, own = self._used(parameters, section), self.own(section)
        steps = _STEP * np.eye(len(used))
        maps = self._placed(np.concatenate([used + steps, used - steps]), section)
        change = (maps[: len(used)] - maps[len(used) :]).T / (2 * _STEP)
        found = np.zeros((9, self.count))
        found[:, : len(SHARED)] = change[:, : len(SHARED)]
        found[:, own] = change[:, len(SHARED) : len(SHARED) + own.stop - own.start]
        return found

    def _placed(self, used: NDArray[np.float64], section: int) -> NDArray[np.float64]:
        """Maps (n, 9) of many vectors of `SHARED` and `OWN` parameters at once."""
        axes = self.axes @ _rotations(used[:, :3])
        along = axes[:, :, :2] @ _turns(used[:, 10]) @ _stretches(used[:, 3:6])
        away = self.numbers[section] * used[:, 9] + used[:, 13]
        shift = np.stack([used[:, 11], used[:, 12], away], axis=-1)
        centre = used[:, 6:9] + (axes @ shift[:, :, None])[:, :, 0] - along @ self.middles_m[section]
        return np.concatenate([centre, along[:, :, 0], along[:, :, 1]], axis=1)

    def _used(self, parameters: Vector, section: int) -> Vector:
        """Shared parameters and the section's own, which are 0 for a single one."""
        used = np.zeros(len(SHARED) + len(OWN))
        used[: len(SHARED)] = parameters[: len(SHARED)]
        own = parameters[self.own(section)]
        used[len(SHARED) : len(SHARED) + len(own)] = own
        return used


@dataclass(frozen=True)
class Prior:
    """What is thought of the parameters before a picture is looked at: independent Gaussians.

    Parameters
    ----------
    mean, sd : (parameter,) float64
    """

    mean: Vector
    sd: Vector

    def away(self, parameters: Vector) -> Vector:
        """By how many standard deviations parameters differ; a stack may run either way, so the spacing goes by its size."""
        mean = self.mean.copy()
        mean[_SPACING] = np.copysign(mean[_SPACING], parameters[_SPACING])
        return np.asarray((parameters - mean) / self.sd)

    def cost(self, parameters: Vector) -> float:
        """Half the sum of squares."""
        return float((self.away(parameters) ** 2).sum() / 2)


def make_prior(
    frame: Frame,
    *,
    shrinkage: tuple[float, float],
    spacing_m: tuple[float, float],
    tilt_rad: float,
    turn_rad: float,
    stretch: float,
) -> Prior:
    """Prior of a section or a stack.

    Parameters
    ----------
    frame : Frame
    shrinkage : (mean, sd)
    spacing_m : (mean, sd)
        In the animal; any sd for a single section.
    tilt_rad, turn_rad : float
        Standard deviations.
    stretch : float
        Of the ratio of rows to columns, and of shear.
    """
    mean, sd = np.zeros(frame.count), np.empty(frame.count)
    mean[3] = -np.log(1 - shrinkage[0])
    mean[9] = spacing_m[0]
    sd[: len(SHARED)] = (tilt_rad, tilt_rad, turn_rad, shrinkage[1], stretch, stretch, 1.0, 1.0, 1.0, spacing_m[1])
    if len(frame.numbers) > 1:
        sd[len(SHARED) :] = np.tile((0.2, 0.5e-3, 0.5e-3, 40e-6), len(frame.numbers))
    return Prior(mean, sd)


def _matrices(rows: list[list[Any]], count: int) -> NDArray[np.float64]:
    """Matrices (n, row, column) from entries that are numbers or vectors (n,)."""
    found = np.empty((count, len(rows), len(rows[0])))
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            found[:, i, j] = value
    return found


def _rotations(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn in the plane, then lean about its columns and its rows."""
    (ca, cb, _), (sa, sb, _), count = np.cos(angles).T, np.sin(angles).T, len(angles)
    about_cols = _matrices([[ca, 0, -sa], [0, 1, 0], [sa, 0, ca]], count)
    about_rows = _matrices([[1, 0, 0], [0, cb, -sb], [0, sb, cb]], count)
    flat = np.zeros((count, 3, 3))
    flat[:, :2, :2], flat[:, 2, 2] = _turns(angles[:, 2]), 1
    return np.asarray(about_cols @ about_rows @ flat)


def _turns(angles: Vector) -> NDArray[np.float64]:
    cos, sin = np.cos(angles), np.sin(angles)
    return _matrices([[cos, -sin], [sin, cos]], len(angles))


def _stretches(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Symmetric growth: a common factor, the ratio of rows to columns, and shear."""
    scale, ratio, shear = logs.T
    grown = _matrices([[np.exp(ratio / 2), shear], [shear, np.exp(-ratio / 2)]], len(logs))
    return np.asarray(np.exp(scale)[:, None, None] * grown)

"""Numbers that place sections: a common plane's tilt, shrinkage and spacing, and each section's own turn and shift.

A section's map is affine, so all that least squares needs of it is how its 12 numbers (here 9: centre and two columns of a
3 × 2 matrix) change with the parameters; pictures are looked at once, whatever the number of parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_shape

Vector = NDArray[np.float64]
SHARED = ("tilt rows", "tilt cols", "turn", "scale", "stretch", "shear", "z", "y", "x", "spacing")
OWN = ("turn", "row shift", "col shift", "height")
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
        shared, own = parameters[: len(SHARED)], parameters[self.own(section)]
        turn, row, col, height = own if len(own) else (0.0, 0.0, 0.0, 0.0)
        axes = self.axes @ _rotation(shared[:3])
        plane = axes[:, :2] @ _turn(turn)
        along = plane @ _stretch(shared[3:6])
        away = self.numbers[section] * shared[9] + height
        centre = shared[6:9] + axes[:, :2] @ np.array([row, col]) + away * axes[:, 2]
        return np.concatenate([centre - along @ self.middles_m[section], along[:, 0], along[:, 1]])

    def jacobian(self, parameters: Vector, section: int) -> NDArray[np.float64]:
        """Change of `map_of` with each parameter, (9, parameter), by central differences."""
        found = np.zeros((9, self.count))
        own = self.own(section)
        for k in (*range(len(SHARED)), *range(own.start, own.stop)):
            step = np.zeros(self.count)
            step[k] = _STEP
            found[:, k] = (self.map_of(parameters + step, section) - self.map_of(parameters - step, section)) / (2 * _STEP)
        return found


@dataclass(frozen=True)
class Prior:
    """What is thought of the parameters before a picture is looked at: independent Gaussians.

    Parameters
    ----------
    mean, sd : (parameter,) float64
    """

    mean: Vector
    sd: Vector

    def cost(self, parameters: Vector) -> float:
        """Half the sum of squares."""
        return float((((parameters - self.mean) / self.sd) ** 2).sum() / 2)


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


def _rotation(angles: Vector) -> NDArray[np.float64]:
    """Turn in the plane, then lean about its columns and its rows."""
    first, second, turn = angles
    cos, sin = np.cos((first, second)), np.sin((first, second))
    about_cols = np.array([[cos[0], 0, -sin[0]], [0, 1, 0], [sin[0], 0, cos[0]]])
    about_rows = np.array([[1, 0, 0], [0, cos[1], -sin[1]], [0, sin[1], cos[1]]])
    flat = np.eye(3)
    flat[:2, :2] = _turn(turn)
    return np.asarray(about_cols @ about_rows @ flat)


def _turn(angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _stretch(logs: Vector) -> NDArray[np.float64]:
    """Symmetric growth: a common factor, the ratio of rows to columns, and shear."""
    scale, ratio, shear = logs
    return np.exp(scale) * np.array([[np.exp(ratio / 2), shear], [shear, np.exp(-ratio / 2)]])

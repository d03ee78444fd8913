"""What is left after the plane: a smooth displacement of each picture in its own plane, held back by its own stiffness."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from darklung.register.fit import HUBER, Seen, Target, seen
from darklung.register.pose import Vector
from darklung.register.sampling import Grid
from darklung.register.transform import STEEPEST, Bending, PlaneMap

SIZE_M = 60e-6
"""Standard deviation of a coefficient: what tears, folds and the knife leave."""
STIFF_M = 25e-6
"""Of a second difference of neighbouring coefficients."""
KNOTS_M = 1.2e-3
_STEPS, _SAFE = 6, 0.9


@dataclass(frozen=True)
class Knots:
    """A grid of knots over a picture's points."""

    origin_m: NDArray[np.float64]
    shape: tuple[int, int]
    spacing_m: float

    def weights(self, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much each coefficient counts at each point, (point, knot)."""
        parts = []
        for axis in (0, 1):
            at = (points_m[:, axis] - self.origin_m[axis]) / self.spacing_m
            parts.append(_cubic(at[:, None] - np.arange(self.shape[axis])))
        return np.asarray((parts[0][:, :, None] * parts[1][:, None, :]).reshape(len(points_m), -1))

    def stiffness(self) -> NDArray[np.float64]:
        """Inverse covariance of the coefficients, (knot, knot)."""
        rows, cols = (np.diff(np.eye(n), n=2, axis=0) for n in self.shape)
        bends = [np.kron(rows, np.eye(self.shape[1])), np.kron(np.eye(self.shape[0]), cols)]
        flat = np.eye(self.shape[0] * self.shape[1]) / SIZE_M**2
        return np.asarray(flat + sum(b.T @ b for b in bends) / STIFF_M**2)

    def bending(self, coefficients: NDArray[np.float64]) -> Bending:
        """The displacement of coefficients (knot, 2)."""
        row, col = (float(v) for v in self.origin_m)
        return Bending((row, col), self.spacing_m, coefficients.reshape(*self.shape, 2))


def bent(plane: PlaneMap, target: Target, grid: Grid, sd: Vector) -> PlaneMap:
    """The map with the bending that fits a picture best, and what stays unexplained as its `rest_m`.

    Parameters
    ----------
    plane : PlaneMap
        Without bending.
    target : Target
    grid : Grid
    sd : (feature,) float64
        Of the residuals after the plane.
    """
    knots = _knots(target.points_m)
    basis, stiff = knots.weights(target.points_m), knots.stiffness()
    state = np.zeros((basis.shape[1], 2))
    for _ in range(_STEPS):
        look = _seen_bent(plane, target, grid, basis @ state)
        second, slope = _normal(look, target, plane, basis, sd)
        second += np.kron(stiff, np.eye(2))
        slope += (stiff @ state).ravel()
        move = -np.linalg.solve(second, slope).reshape(-1, 2)
        state = _held(knots, state + move)
    inverse = np.linalg.inv(second)
    spread = np.sqrt(np.mean([((basis @ inverse[a::2, a::2]) * basis).sum(axis=1) for a in (0, 1)]))
    rest = float(spread) * float(np.sqrt(plane.area_ratio()))
    return replace(plane, bending=knots.bending(state), rest_m=rest)


def _knots(points_m: NDArray[np.float64]) -> Knots:
    low, high = points_m.min(axis=0) - KNOTS_M, points_m.max(axis=0) + KNOTS_M
    rows, cols = (int(np.ceil(e / KNOTS_M)) + 1 for e in high - low)
    return Knots(low, (rows, cols), KNOTS_M)


def _cubic(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic B-spline."""
    x = np.abs(at)
    return np.where(x < 1, 2 / 3 - x**2 + x**3 / 2, np.where(x < 2, (2 - np.minimum(x, 2)) ** 3 / 6, 0.0))


def _seen_bent(plane: PlaneMap, target: Target, grid: Grid, moved: NDArray[np.float64]) -> Seen:
    place = np.concatenate([plane.centre_m, plane.along[:, 0], plane.along[:, 1]])
    return seen(replace(target, points_m=target.points_m + moved), grid, place)


def _normal(
    look: Seen, target: Target, plane: PlaneMap, basis: NDArray[np.float64], sd: Vector
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Second derivative and slope of the cost with the coefficients (knot, 2), as one vector."""
    z = np.abs(look.residual) / sd
    weight = target.weight * np.minimum(1, HUBER / np.maximum(z, 1e-9)) / sd**2
    flat = look.slope @ plane.along
    weighted = flat * weight[:, :, None]
    moved = weighted.transpose(0, 2, 1) @ flat
    pulled = (weighted * look.residual[:, :, None]).sum(axis=1)
    count = basis.shape[1]
    second = np.empty((count, 2, count, 2))
    for a in (0, 1):
        for b in (0, 1):
            second[:, a, :, b] = basis.T @ (basis * moved[:, a, b, None])
    return second.reshape(2 * count, 2 * count), (basis.T @ pulled).ravel()


def _held(knots: Knots, state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients scaled down where they would fold the picture."""
    c = state.reshape(*knots.shape, 2)
    slopes = [np.linalg.norm(np.diff(c, axis=a), axis=-1).max(initial=0.0) for a in (0, 1)]
    steep = float(sum(slopes)) / knots.spacing_m
    return state if steep < _SAFE * STEEPEST else state * (_SAFE * STEEPEST / steep)

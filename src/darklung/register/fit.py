"""Least squares of a section's or a stack's pose: pictures and volume compared, by Gauss and Newton with damping.

The features of a picture are a line in those of the volume (gain and offset by least squares each time); what is left has a
standard deviation of its own for each feature, so that the sum of their logarithms is minimal (the likelihood of Gaussian
errors of unknown size). Residuals beyond `HUBER` standard deviations count linearly: tears and folds fit nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from darklung.register.pose import Frame, Prior, Vector
from darklung.register.sampling import Grid

HUBER = 2.5
LEAST_SD = 0.05
"""Of a feature's residual, relative to the feature: nothing fits better than this."""
_MOST_TRIES = 6
Normal = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Target:
    """A picture's features at points.

    Parameters
    ----------
    points_m : (point, 2) float64
    values : (point, feature) float64
    weight : float
        Independent points in one of these: neighbours share the smoothing.
    block : (point,) int64
        Part of the picture in which each point lies.
    landmarks : (mark, 2), (mark, 3), sd
        Points of the picture whose place in the volume is known.
    """

    points_m: NDArray[np.float64]
    values: NDArray[np.float64]
    weight: float
    block: NDArray[np.int64]
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64], float] = field(
        default_factory=lambda: (np.zeros((0, 2)), np.zeros((0, 3)), 1.0)
    )


@dataclass(frozen=True)
class Seen:
    """How one picture compares with the volume at a pose.

    Parameters
    ----------
    residual : (point, feature)
    slope : (point, feature, 3)
        Of the residual with the place in the volume.
    explained : (feature,)
        Share of the picture's variance that the volume explains.
    """

    residual: NDArray[np.float64]
    slope: NDArray[np.float64]
    explained: NDArray[np.float64]


def seen(target: Target, grid: Grid, place: Vector) -> Seen:
    """Compare a picture with the volume under a map of 9 numbers."""
    position = positions(target.points_m, place)
    values, slopes = grid.at(position)
    residual, slope = np.empty_like(values), np.empty_like(slopes)
    residual[:, 0], slope[:, 0] = target.values[:, 0] - values[:, 0], -slopes[:, 0]
    explained = [_explained(residual[:, 0], target.values[:, 0])]
    for f in range(1, values.shape[1]):
        base = np.stack([values[:, f], values[:, 0]], axis=1)
        normal = base.T @ base + 1e-9 * np.eye(2) * len(base)
        gain = np.linalg.solve(normal, base.T @ target.values[:, f])
        gain[0] = max(gain[0], 0.05)
        residual[:, f] = target.values[:, f] - base @ gain
        slope[:, f] = -(gain[0] * slopes[:, f] + gain[1] * slopes[:, 0])
        explained.append(_explained(residual[:, f], target.values[:, f]))
    return Seen(residual, slope, np.asarray(explained))


def positions(points_m: NDArray[np.float64], place: Vector) -> NDArray[np.float64]:
    """Places of points under a map of 9 numbers, without bending."""
    return np.asarray(place[:3] + points_m[:, :1] * place[3:6] + points_m[:, 1:] * place[6:9])


def _explained(residual: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    total = float(((values - values.mean()) ** 2).sum())
    return 1 - float((residual**2).sum()) / total if total > 0 else 0.0


@dataclass(frozen=True)
class Matched:
    """A pose with what it fits.

    Parameters
    ----------
    parameters : (parameter,)
    cost : float
        Negative logarithm of likelihood and prior; smaller is better.
    sd : (feature,)
        Of the residuals.
    explained : (section, feature)
    """

    parameters: Vector
    cost: float
    sd: Vector
    explained: NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Pictures, the volume they are compared with, and what is thought of the pose."""

    targets: Sequence[Target]
    grid: Grid
    frame: Frame
    prior: Prior

    def judged(self, parameters: Vector) -> tuple[Matched, list[Seen]]:
        """How good a pose is."""
        looks = [seen(t, self.grid, self.frame.map_of(parameters, i)) for i, t in enumerate(self.targets)]
        count = sum(len(t.points_m) for t in self.targets)
        squares = sum((s.residual**2).sum(axis=0) for s in looks)
        sizes = sum((t.values**2).sum(axis=0) for t in self.targets)
        sd = np.sqrt(np.maximum(squares, LEAST_SD**2 * sizes) / count)
        cost = self.prior.cost(parameters)
        for i, (t, s) in enumerate(zip(self.targets, looks)):
            z = np.abs(s.residual) / sd
            robust = np.where(z < HUBER, z**2 / 2, HUBER * z - HUBER**2 / 2)
            cost += t.weight * float((robust + np.log(sd)).sum()) + self._marks_cost(t, self.frame.map_of(parameters, i))
        explained = np.stack([s.explained for s in looks])
        return Matched(parameters, cost, sd, explained), looks

    def normal(self, at: Matched, looks: Sequence[Seen]) -> Normal:
        """Second derivative (Gauss–Newton) and slope of the cost."""
        second, slope = np.diag(1 / self.prior.sd**2), self.prior.away(at.parameters) / self.prior.sd
        for i, (t, s) in enumerate(zip(self.targets, looks)):
            inner, own = _inner(t, s, at.sd)
            marks = self._marks(t, self.frame.map_of(at.parameters, i))
            change = self.frame.jacobian(at.parameters, i)
            second = second + change.T @ (inner + marks[0]) @ change
            slope = slope + change.T @ (own.sum(axis=0) + marks[1])
        return second, slope

    def covariance(self, at: Matched) -> NDArray[np.float64]:
        """Of the parameters, from how the slopes of parts of the pictures differ (a sandwich over blocks)."""
        _, looks = self.judged(at.parameters)
        second, _ = self.normal(at, looks)
        middle = np.diag(1 / self.prior.sd**2)
        for i, (t, s) in enumerate(zip(self.targets, looks)):
            _, own = _inner(t, s, at.sd)
            sums = np.zeros((int(t.block.max()) + 1, 9))
            np.add.at(sums, t.block, own)
            change = self.frame.jacobian(at.parameters, i)
            middle = middle + change.T @ (sums.T @ sums + self._marks(t, self.frame.map_of(at.parameters, i))[0]) @ change
        inverse = np.linalg.pinv(second, hermitian=True)
        return np.asarray(inverse @ middle @ inverse)

    def _marks(self, target: Target, place: Vector) -> Normal:
        points, wanted, sd = target.landmarks
        if not len(points):
            return np.zeros((9, 9)), np.zeros(9)
        factors = np.column_stack([np.ones(len(points)), points])
        off = positions(points, place) - wanted
        second = np.kron(factors.T @ factors, np.eye(3)) / sd**2
        return second, (factors.T @ off).ravel() / sd**2

    def _marks_cost(self, target: Target, place: Vector) -> float:
        points, wanted, sd = target.landmarks
        return float((((positions(points, place) - wanted) / sd) ** 2).sum() / 2) if len(points) else 0.0


def _inner(target: Target, look: Seen, sd: Vector) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Second derivative with the 9 numbers of the map, and the slope that each point gives, (point, 9)."""
    z = np.abs(look.residual) / sd
    weight = target.weight * np.minimum(1, HUBER / np.maximum(z, 1e-9)) / sd**2
    factors = np.column_stack([np.ones(len(target.points_m)), target.points_m])
    weighted = look.slope * weight[:, :, None]
    moved = weighted.transpose(0, 2, 1) @ look.slope
    pulled = (weighted * look.residual[:, :, None]).sum(axis=1)
    pairs = (factors[:, :, None] * factors[:, None, :]).reshape(-1, 9)
    second = (pairs.T @ moved.reshape(-1, 9)).reshape(3, 3, 3, 3).transpose(0, 2, 1, 3).reshape(9, 9)
    own = (factors[:, :, None] * pulled[:, None, :]).reshape(-1, 9)
    return second, own


def solve(problem: Problem, start: Vector, *, steps: int, close: float) -> Matched:
    """The nearest best pose, by damped Gauss–Newton steps from a start.

    Parameters
    ----------
    problem : Problem
    start : (parameter,) float64
    steps : int
        At most.
    close : float
        It ends where a step gains less than this, in log-likelihood.
    """
    at, looks = problem.judged(start)
    damping = 1e-2
    for _ in range(steps):
        second, slope = problem.normal(at, looks)
        better = None
        for _ in range(_MOST_TRIES):
            move = np.linalg.solve(second + damping * np.diag(np.diag(second)), -slope)
            better, found = problem.judged(at.parameters + move)
            if better.cost < at.cost:
                break
            damping *= 8
            better = None
        if better is None:
            break
        gained = at.cost - better.cost
        at, looks, damping = better, found, max(damping / 8, 1e-8)
        if gained < close:
            break
    return at

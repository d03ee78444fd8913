"""The pose of a section or a stack in a volume: many starts on coarse features, the best refined, the winner chosen late.

A start is a place along the plane's normal, two tilts, a turn and, for a stack, a spacing and which way it runs. Starts are
compared at a coarse smoothness, the best ones are fitted with the size alone free, then with stretch and shear, and only
then the winner is chosen and fitted to finer features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_one_of, require
from darklung.core.types import Image
from darklung.register.features import SectionView, section_level, volume_level
from darklung.register.fit import Matched, Problem, Target, seen, solve
from darklung.register.pose import Frame, Prior, Vector, make_prior
from darklung.register.sampling import grid_of

SIGMAS_M = (0.35e-3, 0.2e-3, 0.12e-3)
"""Smoothness of the features, from coarse to fine; never below the volume's voxel."""
STEP_M, MARGIN_M, BLOCK_M = 1.0e-3, 0.6e-3, 1.2e-3
TILTS_RAD = (-0.17, 0.0, 0.17)
KEPT = (40, 10, 3)
"""Starts that are fitted by size, by stretch, and finely."""
UNKNOWN_SHRINKAGE, KNOWN_SD = (0.15, 0.08), 0.03
UNKNOWN_SPACINGS_M = (0.3e-3, 0.6e-3, 1.0e-3, 1.5e-3, 2.2e-3)
APART_M = 1.0e-3
"""Poses farther apart than this are not the same."""
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Question:
    """What is known before.

    Parameters
    ----------
    axes : (3, 3) float64
        Columns: along which rows, columns and the normal run in the volume's frame, before any tilt.
    channels : tuple of str
        Of the volume that are compared beside the outline.
    numbers : tuple of float
        Place of each section in its block, in steps.
    spacing_m : float, optional
        A step in the animal; None where nobody knows.
    shrinkage : float, optional
        By how much lengths shrank; None where nobody knows.
    turns_rad : tuple of float
        Of the picture in its plane, at which the search begins.
    landmarks : mapping
        Section's place in the list -> points (mark, 2) and places (mark, 3).
    landmark_sd_m : float
    """

    axes: NDArray[np.float64]
    channels: tuple[str, ...]
    numbers: tuple[float, ...] = (1.0,)
    spacing_m: float | None = None
    shrinkage: float | None = None
    turns_rad: tuple[float, ...] = (0.0,)
    landmarks: Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)
    landmark_sd_m: float = 0.1e-3


@dataclass(frozen=True)
class Answer:
    """The best pose and how safe it is.

    Parameters
    ----------
    problem : Problem
        The finest.
    matched : Matched
    covariance : (parameter, parameter)
    rivals : tuple of (float, float)
        Of other optima: how far away [m], and how much worse (in units of log-likelihood), the best first.
    """

    problem: Problem
    matched: Matched
    covariance: NDArray[np.float64]
    rivals: tuple[tuple[float, float], ...]

    def place(self, section: int) -> Vector:
        """Map of a section's picture, 9 numbers."""
        return self.problem.frame.map_of(self.matched.parameters, section)

    def place_covariance(self, section: int) -> NDArray[np.float64]:
        """Of the 9 numbers."""
        change = self.problem.frame.jacobian(self.matched.parameters, section)
        return np.asarray(change @ self.covariance @ change.T)


def search(
    views: Sequence[SectionView], image: Image, lung: NDArray[np.bool_], question: Question, progress: Progress
) -> Answer:
    """Find the pose.

    Parameters
    ----------
    views : sequence of SectionView
    image : Image
        (z, y, x) with the channels that are compared.
    lung : (z, y, x) bool
    question : Question
    progress : function
        Called with a share and a word.

    Raises
    ------
    DarklungError
        No channel in common, no lung, no start at which section and lung overlap.
    """
    for name in question.channels:
        check_one_of("channels", name, image.names)
    require(bool(lung.any()), "volume: no lung in it")
    frame = _frame(views, question)
    sigmas = [max(s, f * max(image.spacing_m)) for s, f in zip(SIGMAS_M, (2.0, 1.5, 0.9))]
    problems = [_problem(views, image, lung, question, frame, s) for s in sigmas]
    starts = _starts(problems[0], image, lung, question)
    progress(0.2, f"{len(starts)} starts")
    found = _narrowed(problems, starts, progress)
    finest = found[0]
    rivals = _rivals(problems[-1], found)
    return Answer(problems[-1], finest, problems[-1].covariance(finest), rivals)


def _narrowed(problems: Sequence[Problem], starts: Sequence[Vector], progress: Progress) -> list[Matched]:
    """From all starts to the best few, finely fitted, the best first."""
    stiff = replace(problems[0], prior=_stiffened(problems[0].prior))
    first = _best([stiff.judged(s)[0] for s in starts], KEPT[0])
    sized = _distinct(stiff, [solve(stiff, one.parameters, steps=8, close=1.0) for one in first], KEPT[1])
    progress(0.5, "size fitted")
    middle = [solve(problems[1], one.parameters, steps=12, close=0.2) for one in sized]
    progress(0.75, "stretch fitted")
    fine = [solve(problems[2], one.parameters, steps=15, close=0.01) for one in _distinct(problems[1], middle, KEPT[2])]
    progress(0.95, "fine features fitted")
    return _best(fine, len(fine))


def _best(found: Sequence[Matched], count: int) -> list[Matched]:
    return sorted(found, key=lambda one: one.cost)[:count]


def _distinct(problem: Problem, found: Sequence[Matched], count: int) -> list[Matched]:
    """The best ones that are not the same pose."""
    kept: list[Matched] = []
    for one in _best(found, len(found)):
        if all(_apart(problem, one, other) > APART_M / 3 for other in kept):
            kept.append(one)
        if len(kept) == count:
            break
    return kept


def _apart(problem: Problem, one: Matched, other: Matched) -> float:
    """Root mean square of how far places of the pictures lie apart under two poses [m]."""
    squares = []
    for i, target in enumerate(problem.targets):
        maps = [problem.frame.map_of(m.parameters, i) for m in (one, other)]
        few = target.points_m[:: max(1, len(target.points_m) // 50)]
        factors = np.column_stack([np.ones(len(few)), few])
        squares.append(((factors @ (maps[0] - maps[1]).reshape(3, 3)) ** 2).sum(axis=1).mean())
    return float(np.sqrt(np.mean(squares)))


def _rivals(problem: Problem, found: Sequence[Matched]) -> tuple[tuple[float, float], ...]:
    gaps = [(_apart(problem, one, found[0]), one.cost - found[0].cost) for one in found[1:]]
    return tuple(g for g in gaps if g[0] > APART_M)


def _stiffened(prior: Prior) -> Prior:
    """Without stretch, shear and heights of their own."""
    sd = prior.sd.copy()
    sd[4:6] = 1e-3
    sd[13::4] = 1e-6
    return Prior(prior.mean, sd)


def _frame(views: Sequence[SectionView], question: Question) -> Frame:
    require(len(question.numbers) == len(views) > 0, f"numbers: wanted {len(views)}, got {question.numbers}")
    numbers = np.asarray(question.numbers, dtype=np.float64)
    return Frame(question.axes, np.stack([v.middle_m() for v in views]), numbers - numbers.mean())


def _problem(
    views: Sequence[SectionView], image: Image, lung: NDArray[np.bool_], question: Question, frame: Frame, sigma_m: float
) -> Problem:
    kept = 1 - (UNKNOWN_SHRINKAGE[0] if question.shrinkage is None else question.shrinkage)
    grid = grid_of(image, volume_level(image, lung, question.channels, sigma_m=sigma_m).values)
    targets = [_target(i, v, question, sigma_m, kept) for i, v in enumerate(views)]
    return Problem(targets, grid, frame, _prior(frame, question))


def _prior(frame: Frame, question: Question) -> Prior:
    shrinkage = UNKNOWN_SHRINKAGE if question.shrinkage is None else (question.shrinkage, KNOWN_SD)
    spacing = (1.0e-3, 3e-3) if question.spacing_m is None else (question.spacing_m, 0.1 * question.spacing_m)
    turn = 0.35
    return make_prior(frame, shrinkage=shrinkage, spacing_m=spacing, tilt_rad=0.25, turn_rad=turn, stretch=0.06)


def _target(number: int, view: SectionView, question: Question, sigma_m: float, kept: float) -> Target:
    """Points about a smoothing apart, in the lung and a margin around it."""
    from scipy.ndimage import distance_transform_edt

    level = section_level(view, question.channels, sigma_m=sigma_m, scale=kept)
    step = max(1, round(sigma_m * kept / view.pixel_m))
    near = distance_transform_edt(view.lung <= 0.5) * view.pixel_m < MARGIN_M
    thin = np.zeros_like(near)
    thin[step // 2 :: step, step // 2 :: step] = True
    chosen = near & thin
    points = view.points_m()[chosen]
    density = 1 / (step * view.pixel_m) ** 2
    weight = min(1.0, 1 / (density * 4 * np.pi * (sigma_m * kept) ** 2))
    blocks = np.unique(np.floor(points / BLOCK_M).astype(int), axis=0, return_inverse=True)[1].ravel()
    marks = question.landmarks.get(number)
    pinned = (np.zeros((0, 2)), np.zeros((0, 3))) if marks is None else marks
    values = np.moveaxis(level.values, 0, -1)[chosen].astype(np.float64)
    return Target(points, values, weight, blocks, (*pinned, question.landmark_sd_m))


def _starts(problem: Problem, image: Image, lung: NDArray[np.bool_], question: Question) -> list[Vector]:
    """Parameters of all starts: the lung's middle in each plane is put under the section's."""
    voxels = np.argwhere(lung)[:: max(1, int(lung.sum()) // 20000)]
    steps = np.asarray(image.direction) * np.asarray(image.spacing_m)
    places = np.asarray(image.origin_m) + voxels @ steps.T
    normal = question.axes[:, 2]
    heights = places @ normal
    low, high = np.percentile(heights, [2, 98])
    found = []
    for height, tilts, turn, spacing in product(
        np.arange(low, high, STEP_M), product(TILTS_RAD, TILTS_RAD), question.turns_rad, _spacings(question, high - low)
    ):
        one = np.array(problem.prior.mean)
        one[:3] = (*tilts, turn)
        close = np.abs(heights - height) < STEP_M
        one[6:9] = places[close].mean(axis=0) + normal * (height - heights[close].mean())
        one[9] = spacing
        found.append(one)
    require(bool(found), "search: no start; the lung is too thin along the normal of this plane")
    return found


def _spacings(question: Question, extent_m: float) -> tuple[float, ...]:
    """Spacings to begin with, running either way."""
    span = max(question.numbers) - min(question.numbers)
    if span == 0:
        return (0.0,)
    known = UNKNOWN_SPACINGS_M if question.spacing_m is None else (question.spacing_m,)
    fit = [s for s in known if s * span < 1.2 * extent_m] or [min(known)]
    return tuple(sign * s for s in fit for sign in (1.0, -1.0))


def overlap(problem: Problem, matched: Matched) -> NDArray[np.float64]:
    """Dice of each section's outline and the volume's lung under a pose, at half of the smoothed outline."""
    found = []
    for i, target in enumerate(problem.targets):
        look = seen(target, problem.grid, problem.frame.map_of(matched.parameters, i))
        mine = target.values[:, 0] > 0.5
        other = target.values[:, 0] - look.residual[:, 0] > 0.5
        found.append(2 * float((mine & other).sum()) / max(1, int(mine.sum() + other.sum())))
    return np.asarray(found)

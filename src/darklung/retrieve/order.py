"""Whether frames are in the order that is declared: a stepping curve, and the views of a turn, tell when they are not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.types import Projections, Scan

# What another order must leave of what the declared one leaves beyond noise, and pixels that are looked at.
_LEFT, _PIXELS = 0.25, 20_000
# The excess over the noise of a fit, in its standard errors, from which it is looked into.
_SURE = 10.0
# The third of the curves' directions over the second, from which fringes of all phases are in view.
_FRINGES = 0.02
# Frames are few where steps are, views many: of more than these the search among neighbours would take long.
_LEAST_STEPS, _LEAST_VIEWS, _MOST_VIEWS = 5, 24, 4000


def step_order(curves: ArrayLike, phases_rad: ArrayLike) -> tuple[int, ...] | None:
    """The order in which frames fit their sinusoids much better than as they are; None where there is none.

    Curves of many pixels lie in the space spanned by 1, cos θ and sin θ at the steps. Where fringes of all phases are in
    view, the space that the counts themselves span tells the steps' places on the circle, and so their order, up to turns
    and mirror images, which change no fit. Where the phase is the same everywhere that cannot be told; then the order of
    numbers sorted as text (1, 10, 11, 2, ...) is tried.

    Parameters
    ----------
    curves : (step, pixel) array
        Counts. A constant in each pixel, such as a dark frame, does not matter.
    phases_rad : (step,) array
        As declared.

    Returns
    -------
    tuple of int, optional
        Number of the frame that belongs to each declared phase, counted from 0.
    """
    counts, phases = np.asarray(curves, dtype=np.float64), np.asarray(phases_rad, dtype=np.float64)
    if len(counts) < _LEAST_STEPS or counts.shape[1] < len(counts):
        return None
    dose = counts.mean(axis=1, keepdims=True)
    even = [counts / dose] if (dose > 0).all() else []  # without what the dose of a step adds; fringes remain
    return next((found for values in (counts, *even) if (found := _better(values, phases)) is not None), None)


def _better(counts: NDArray[np.float64], phases: NDArray[np.float64]) -> tuple[int, ...] | None:
    steps, pixels = counts.shape
    scatter = counts @ counts.T
    values, vectors = np.linalg.eigh(scatter)
    noise = max(float(values[:-3].sum()), 0.0)
    basis = np.linalg.qr(np.stack([np.ones(steps), np.cos(phases), np.sin(phases)], axis=1))[0]

    def excess(order: NDArray[np.intp]) -> float:
        return float(np.trace(scatter) - np.trace(basis.T @ scatter[np.ix_(order, order)] @ basis)) - noise

    declared = excess(np.arange(steps))
    fringes = values[-3] > _FRINGES * values[-2]
    tried = [*(_along_circle(vectors[:, -3:], phases) if fringes else ()), *_as_text(steps)]
    sure = declared > _SURE * noise * np.sqrt(2 / (pixels * (steps - 3)))
    best = min(map(excess, tried))
    if not sure or best >= _LEFT * declared:
        return None
    # Turns and mirror images fit alike: the one that moves the frames least.
    alike = [order for order in tried if excess(order) <= best + 1e-3 * declared]
    return tuple(int(n) for n in min(alike, key=lambda order: int(np.abs(order - np.arange(steps)).sum())))


def _along_circle(space: NDArray[np.float64], phases: NDArray[np.float64]) -> Iterator[NDArray[np.intp]]:
    """Orders in which the frames' places on the circle follow the declared phases: every turn, both ways round."""
    steps = len(phases)
    flat = space - np.outer(np.ones(steps), space.mean(axis=0))
    u, _, _ = np.linalg.svd(flat, full_matrices=False)
    found = np.argsort(np.arctan2(u[:, 1], u[:, 0]))
    ranks = np.argsort(np.argsort(np.mod(phases, 2 * np.pi), kind="stable"))
    for way in (found, found[::-1]):
        for turn in range(steps):
            yield np.roll(way, turn)[ranks]


def _as_text(count: int) -> Iterator[NDArray[np.intp]]:
    """Where each frame lies if numbers from 0, or from 1, were sorted as text."""
    for first in (0, 1):
        names = sorted(range(first, first + count), key=str)
        yield np.argsort(names)


def view_order(profiles: ArrayLike, angles_rad: ArrayLike) -> bool:
    """Whether the views of a turn follow each other much better in another order than in that of their angles.

    A small turn changes a projection little. The squared steps between neighbours are compared with those on a path that
    always goes on to the nearest view, and on that of numbers sorted as text.

    Parameters
    ----------
    profiles : (view, point) array
        Something of each view, such as −ln T of each column.
    angles_rad : (view,) array
    """
    angles = np.asarray(angles_rad, dtype=np.float64)
    place = np.argsort(angles, kind="stable")
    values = np.asarray(profiles, dtype=np.float64)
    values = values - values.mean(axis=1, keepdims=True)  # what a view's dose adds
    if not _LEAST_VIEWS <= len(values) <= _MOST_VIEWS or np.ptp(angles) == 0 or not np.isfinite(values).all():
        return False
    values = values[place]

    def length(order: NDArray[np.intp]) -> float:
        return float((np.diff(values[order], axis=0) ** 2).sum())

    declared = length(np.arange(len(values)))
    return min(length(o) for o in (_nearest(values), *_as_text(len(values)))) < _LEFT * declared


def _nearest(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """A path from view 0 that always goes to the nearest view not yet visited."""
    left = np.ones(len(values), dtype=bool)
    path = [0]
    left[0] = False
    for _ in range(len(values) - 1):
        far = ((values - values[path[-1]]) ** 2).sum(axis=1)
        far[~left] = np.inf
        path.append(int(np.argmin(far)))
        left[path[-1]] = False
    return np.asarray(path)


def order_findings(scan: Scan) -> tuple[str, ...]:
    """What speaks against the order of a scan's frames: in its flats and in its first view, direction by direction."""
    found = []
    for direction in range(len(scan.directions_rad)):
        for name, stack in (("flats", scan.flats), ("frames", scan.frames)):
            curve = np.asarray(stack[direction, 0])
            order = step_order(_chosen(curve, scan.bad_pixels), scan.step_phase_rad[direction])
            if order is not None:
                told = ", ".join(str(n + 1) for n in order)
                found.append(
                    f"the steps of the {name} (direction {direction + 1}) fit much better in another order ({told}): "
                    "look at the order of the files"
                )
    return tuple(found)


def views_findings(projections: Projections) -> tuple[str, ...]:
    """What speaks against the order of the views of a turn; nothing of fewer than 24."""
    known = np.where(projections.valid[0], projections.attenuation[0], 0.0)
    if not view_order(known.mean(axis=1), projections.geometry.angles_rad):
        return ()
    return (
        "the views follow each other much better in another order than in that of their angles: look at the order of the files",
    )


def _chosen(curve: NDArray[np.generic], bad: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """(step, pixel) of evenly chosen good pixels."""
    good = np.ones(curve.shape[1:], dtype=bool) if bad is None else ~np.asarray(bad, dtype=bool)
    values = curve[:, good].astype(np.float64)
    return values[:, :: max(1, values.shape[1] // _PIXELS)]

"""Contrast against the other side: the mirror plane of the lungs, found in their own mask, and the difference across it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from darklung.core.checks import check_positive
from darklung.features.contrast import DIAMETER_SD
from darklung.features.layers import LEAST_WEIGHT, Layer, Mask, Place, Values, convolved, kernels_of, local_mean, variance_of

# Found on voxels merged until the lung has no more than so many; directions tried first; how far the plane may lean.
MOST_VOXELS, STARTS, LEAN_RAD = 8000, 24, 0.35
# Less overlap of the lung with its mirror image is no symmetry; so near another plane's it does not say which is meant.
LEAST_OVERLAP, LEAST_LEAD, OTHER_RAD = 0.6, 0.01, 0.5
_REFINED = 3


@dataclass(frozen=True)
class MirrorPlane:
    """Points x with normal · x = offset, in metres from the grid's first voxel, along the grid's axes.

    Parameters
    ----------
    normal : tuple of float
        Unit vector, one number an axis.
    offset_m : float
    overlap : float
        Share of the lung whose mirror image is lung.
    trusted : bool
        False where the overlap is less than 0.6, or that of another plane as good: then no plane is told.
    """

    normal: tuple[float, ...]
    offset_m: float
    overlap: float
    trusted: bool

    def mirrored(self, points_m: Values) -> Values:
        """Points (axis, ...) on the other side."""
        normal = np.asarray(self.normal).reshape(-1, *(1,) * (points_m.ndim - 1))
        return points_m - 2 * normal * ((normal * points_m).sum(axis=0) - self.offset_m)


def mirror(layer: Layer, size_m: float = 1e-3, *, place: Place) -> Layer:
    """A voxel less the mean of the lung around its mirror image, in the channel's unit.

    The mean is a Gaussian one over a spot of diameter `size_m`, wide enough for two sides that are no exact mirror images.
    NaN everywhere without a plane (`mirror_plane`), and where there is no lung on the other side: in the heart, and where
    one lung reaches further than the other. The error is that of independent voxels, and there is none where a voxel of the
    mean tells none.

    Parameters
    ----------
    layer : Layer
    size_m : float
        Diameter [m].
    place : Place
    """
    kernels = kernels_of(check_positive("mirror: size", size_m) / DIAMETER_SD, place.spacing_m)
    plane = mirror_plane(place.lung, place.spacing_m)
    if not plane.trusted:
        return Layer(np.full(layer.values.shape, np.nan), layer.unit, layer.noise)
    used = place.lung & layer.known
    at = _elsewhere(plane, layer.values.shape, place.spacing_m)
    mean, weight = local_mean(layer.values, used, kernels)
    found = layer.values - _sampled(mean, weight, at)
    if layer.noise is None:
        return Layer(found, layer.unit)
    each = np.where(used, variance_of(layer.noise), 0.0)
    variance = convolved(each, [k**2 for k in kernels]) / np.where(weight > LEAST_WEIGHT, weight, np.nan) ** 2
    return Layer(found, layer.unit, np.sqrt(layer.noise**2 + _sampled(variance, weight, at)))


def mirror_plane(lung: Mask, spacing_m: tuple[float, ...]) -> MirrorPlane:
    """The plane across which the lungs are most like their mirror image.

    The first axis is the animal's long one and lies nearly in the plane (it may lean by 20°): that is so in a scanner that
    turns about it, and in radiographs from the front or back. 24 directions are tried, the best three refined. Nothing but
    the mask is looked at.

    Known failures: lungs that are as symmetric front to back (or an excised lobe, a lateral radiograph), told by `trusted`
    where two planes are equally good; a lung that has collapsed or lies outside the field of view pulls the plane its way.

    Parameters
    ----------
    lung : (*spatial) bool
    spacing_m : tuple of float
    """
    if lung.sum() < 2:
        return MirrorPlane((0.0,) * (lung.ndim - 1) + (1.0,), 0.0, 0.0, False)
    shares, start, spacing = _merged(lung, spacing_m)
    points = np.stack([a * d for a, d in zip(np.nonzero(shares > 0), spacing)])
    middle = np.average(points, axis=1, weights=shares[shares > 0])
    score = _Score(shares, points, spacing, middle)
    tried = sorted((_tried(lung.ndim, turn) for turn in range(STARTS if lung.ndim == 3 else 1)), key=score.loss)
    results = [_refined(score, guess) for guess in _apart(tried)]
    best, *others = sorted(results, key=lambda r: float(r.fun))
    normal = _normal(best.x)
    rivals = [float(-r.fun) for r in others if _angle(_normal(r.x), normal) > OTHER_RAD]
    overlap = float(-best.fun)
    trusted = overlap >= LEAST_OVERLAP and all(overlap - rival >= LEAST_LEAD for rival in rivals)
    offset = float(normal @ (middle + start)) + 1e-3 * float(best.x[-1])
    return MirrorPlane(tuple(float(n) for n in normal), offset, overlap, trusted)


def _refined(score: _Score, guess: NDArray[np.float64]) -> Any:
    """The best plane near one that was tried; steps of a tenth of a radian and 0.3 mm begin."""
    steps = np.diag([0.1] * (len(guess) - 1) + [0.3])
    simplex = np.vstack([guess, guess + steps])
    options = {"xatol": 1e-4, "fatol": 1e-6, "maxiter": 300, "initial_simplex": simplex}
    return optimize.minimize(score.loss, guess, method="Nelder-Mead", options=options)


@dataclass(frozen=True)
class _Score:
    """How much of the lung lies on lung when it is mirrored; parameters are a plane's turn, lean and offset [mm]."""

    shares: Values
    points: Values
    spacing_m: tuple[float, ...]
    middle_m: Values

    def loss(self, parameters: NDArray[np.float64]) -> float:
        """Minus the overlap; a plane that leans too far has none."""
        if abs(parameters[-2]) > LEAN_RAD:
            return 0.0
        normal = _normal(parameters)
        plane = MirrorPlane(tuple(normal), float(normal @ self.middle_m) + 1e-3 * float(parameters[-1]), 0.0, False)
        index = plane.mirrored(self.points) / np.asarray(self.spacing_m)[:, None]
        there = ndimage.map_coordinates(self.shares, index, order=1, mode="constant")
        own = self.shares[self.shares > 0]
        return -float(np.minimum(own, there).sum() / own.sum())


def _normal(parameters: NDArray[np.float64]) -> Values:
    """Of turn about the first axis and lean towards it; of a radiograph the lean alone."""
    if len(parameters) == 2:
        return np.array([np.sin(parameters[0]), np.cos(parameters[0])])
    turn, lean = parameters[:2]
    return np.array([np.sin(lean), np.cos(lean) * np.sin(turn), np.cos(lean) * np.cos(turn)])


def _tried(dims: int, number: int) -> NDArray[np.float64]:
    return np.zeros(2) if dims == 2 else np.array([np.pi * number / STARTS, 0.0, 0.0])


def _apart(tried: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """The best of those tried, none of them beside a better one."""
    kept: list[NDArray[np.float64]] = []
    for one in tried:
        if all(_angle(_normal(one), _normal(other)) > OTHER_RAD for other in kept):
            kept.append(one)
    return kept[:_REFINED]


def _angle(first: Values, second: Values) -> float:
    """Between two planes [rad], 0 to π/2."""
    return float(np.arccos(min(1.0, abs(float(first @ second)))))


def _merged(lung: Mask, spacing_m: tuple[float, ...]) -> tuple[Values, Values, tuple[float, ...]]:
    """Shares of lung in merged voxels of its box, where the first one's centre lies [m], and their spacing [m]."""
    found = ndimage.find_objects(lung.astype(np.uint8))[0]
    count = max(1.0, float(lung.sum()) / MOST_VOXELS)
    edge = max(max(spacing_m), (count * float(np.prod(spacing_m))) ** (1 / lung.ndim))
    step = [max(1, round(edge / d)) for d in spacing_m]
    lengths = lung[found].shape
    before = [s + (-n % s) // 2 for n, s in zip(lengths, step)]
    after = [s + (-n % s) - (-n % s) // 2 for n, s in zip(lengths, step)]
    padded = np.pad(lung[found].astype(np.float64), list(zip(before, after)))
    shape = [axis for n, s in zip(padded.shape, step) for axis in (n // s, s)]
    shares = padded.reshape(shape).mean(axis=tuple(range(1, 2 * lung.ndim, 2)))
    start = np.array([(f.start - b + (s - 1) / 2) * d for f, b, s, d in zip(found, before, step, spacing_m)])
    return shares, start, tuple(s * d for s, d in zip(step, spacing_m))


def _elsewhere(plane: MirrorPlane, shape: tuple[int, ...], spacing_m: tuple[float, ...]) -> Values:
    """Index of each voxel's mirror image, (axis, *spatial)."""
    axes = [np.arange(n) * d for n, d in zip(shape, spacing_m)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"))
    return plane.mirrored(points) / np.asarray(spacing_m).reshape(-1, *(1,) * len(shape))


def _sampled(mean: Values, weight: Values, at: Values) -> Values:
    """Means between voxels, by the weight that each rests on; NaN where there is less than half of a neighbourhood."""
    total = ndimage.map_coordinates(np.where(weight > LEAST_WEIGHT, mean * weight, 0.0), at, order=1, mode="constant")
    rests = ndimage.map_coordinates(weight, at, order=1, mode="constant")
    return np.where(rests > 0.5, total / np.where(rests > 0.5, rests, 1.0), np.nan)

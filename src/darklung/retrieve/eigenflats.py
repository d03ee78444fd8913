"""Flats whose structure moves: the patterns that the flats share, and how much of each a view needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.retrieve.harmonic import Harmonics

LEAST_FLATS, MOST_PATTERNS = 3, 6
# An eigenvalue counts if it is above the largest that noise alone makes by this factor.
_ABOVE_NOISE = 1.05
# Pairs of pixels whose difference is looked at: so far apart [pixel], and so many of each at most.
_LAGS, _MOST_PAIRS = (1, 2, 4, 8), 6000
# Differences beyond so many errors are edges of the object and count by their sign only.
_HUBER, _ROUNDS, _SETTLED = 1.5, 20, 1e-3


@dataclass(frozen=True)
class EigenFlats:
    """Patterns of one map, ln a0 or ln V, by which the flats of a direction differ.

    Parameters
    ----------
    patterns : (pattern, row, col) float64
        Added to the map of the mean flat, times a weight that each view has for itself.
    shares : (pattern, flat) float64
        Of the flats' maps in each pattern; they sum to 0.
    variance : (row, col) float64
        Of one flat's map.
    """

    patterns: NDArray[np.float64]
    shares: NDArray[np.float64]
    variance: NDArray[np.float64]

    def change(
        self, values: NDArray, errors: NDArray, valid: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What is to be added to a view's map (−ln T or −ln D) and to its variance, (row, col) each.

        The weights are those for which neighbouring pixels differ least: the sum of Huber's function of the differences over
        their errors, between pixels 1, 2, 4 and 8 apart along rows and columns. As a logarithm is corrected, the problem
        is convex and has one solution. Edges of the object count little.
        """
        if not len(self.patterns) or not valid.any():
            return np.zeros(values.shape), np.zeros(values.shape)
        weights = _smoothest(self.patterns, np.asarray(values, np.float64), np.asarray(errors, np.float64), valid)
        flats = weights @ self.shares
        return np.tensordot(weights, self.patterns, 1), (flats @ flats) * self.variance


def eigenflats(flats: list[Harmonics], name: str) -> EigenFlats:
    """The patterns of one direction's flats.

    Principal components of the flats' logarithms, weighted by their errors; as many as stand out of what photon noise makes
    of a matrix of this size (Marchenko–Pastur). A flat's own overall level is no pattern: doses are `normalise_flux`'s.

    Parameters
    ----------
    flats : list of Harmonics
        Each flat's own fit, (row, col).
    name : {"amplitude", "visibility"}

    Notes
    -----
    Not modelled: phase of the fringes; structure that moves while a curve is stepped; patterns that no flat shows: what is
    left of them is measured in air (`darklung.correct.flux`).

    References
    ----------
    V. Van Nieuwenhove et al., Opt. Express 23, 27975 (2015), doi:10.1364/OE.23.027975: eigen flat fields, with weights of
    least total variation of the quotient. Here the logarithm is corrected and patterns are chosen by their noise.
    """
    count = len(flats)
    require(count >= LEAST_FLATS, f"reference: eigenflats wants {LEAST_FLATS} flats or more in each direction, got {count}")
    usable = np.all([f.usable for f in flats], axis=0)
    shape, pixels = usable.shape, int(usable.sum())
    maps = np.log(np.stack([np.where(usable, getattr(f, name), 1.0)[usable] for f in flats]))
    each = [getattr(f, f"log_{name}_variance")[usable] for f in flats]
    variance = np.mean(each, axis=0)
    # Of a flat of less dose more is noise.
    noise = pixels * max(float((one / np.maximum(variance, 1e-30)).mean()) for one in each)
    weights = 1 / np.maximum(variance, 1e-30)
    maps = maps - (maps * weights).sum(axis=1, keepdims=True) / weights.sum()
    products = (maps * weights) @ maps.T
    values, vectors = _standing_out(products, pixels, noise)
    shares = (vectors * np.sqrt(pixels / values)).T
    patterns = np.zeros((len(shares), *shape))
    patterns[:, usable] = shares @ maps
    full = np.zeros(shape)
    full[usable] = variance
    return EigenFlats(patterns, shares, full)


def _standing_out(
    products: NDArray[np.float64], pixels: int, noise: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues (pattern,) and vectors (flat, pattern) of the centred products that noise does not explain."""
    count = len(products)
    centre = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(centre @ products @ centre)
    # Correlated noise has larger eigenvalues than independent pixels; most flats' are noise if there are enough of them.
    level = max(noise, float(np.median(values[1:]))) if count >= 2 * LEAST_FLATS else noise
    limit = _ABOVE_NOISE * level * (1 + np.sqrt(count / pixels)) ** 2
    kept = np.flatnonzero(values > limit)[::-1][: min(MOST_PATTERNS, count - 2)]
    return values[kept], vectors[:, kept]


def _smoothest(
    patterns: NDArray[np.float64], values: NDArray[np.float64], errors: NDArray[np.float64], valid: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Weights (pattern,) for which ``values + weights · patterns`` changes least from pixel to pixel."""
    first, second = _pairs(valid)
    scale = 1 / np.sqrt(errors.ravel()[first] ** 2 + errors.ravel()[second] ** 2)
    steps = (values.ravel()[first] - values.ravel()[second]) * scale
    flat = patterns.reshape(len(patterns), -1)
    changes = (flat[:, first] - flat[:, second]) * scale
    weights: NDArray[np.float64] = np.zeros(len(patterns))
    for _ in range(_ROUNDS):
        trust = 1 / np.maximum(np.abs(steps + weights @ changes) / _HUBER, 1.0)
        normal = (changes * trust) @ changes.T
        before = weights
        weights = np.asarray(-np.linalg.lstsq(normal, (changes * trust) @ steps, rcond=1e-10)[0], dtype=np.float64)
        if np.abs(weights - before).max() < _SETTLED * np.abs(weights).max():
            break
    return weights


def _pairs(valid: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Flat indices of pixels that are compared."""
    number = np.arange(valid.size).reshape(valid.shape)
    found = []
    for axis in (0, 1):
        numbers, good = np.moveaxis(number, axis, 0), np.moveaxis(valid, axis, 0)
        for lag in _LAGS:
            if lag < len(numbers):
                both = np.flatnonzero(good[lag:] & good[:-lag])
                chosen = both[:: max(1, len(both) // _MOST_PAIRS)]
                found.append((numbers[lag:].ravel()[chosen], numbers[:-lag].ravel()[chosen]))
    return np.concatenate([one for one, _ in found]), np.concatenate([two for _, two in found])

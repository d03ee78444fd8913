"""A linear observer trained on some backgrounds and tested on others, without the bias of few: d′ in clutter.

The signal is known exactly, the background statistically (SKE/BKS). Barrett & Myers 2004, ch. 13; Gallas & Barrett 2003,
10.1364/JOSAA.20.001725; Fukunaga & Hayes 1989, 10.1109/34.31448.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from darklung.core.checks import check_shape, require
from darklung.evaluate.observers import LEVEL, Detectability

Array = NDArray[np.float64]
SPLITS = 60
BLOCKS = 12


@dataclass(frozen=True)
class HeldOut:
    """d′ in clutter.

    Parameters
    ----------
    found : Detectability
        Of an observer that knows the covariance, extrapolated from two sizes of training set; 95 % jackknife over animals.
    two_fold : float
        Of the observer that half of the animals trained, tested on the other half: what it reaches, too low.
    """

    found: Detectability
    two_fold: float


@dataclass(frozen=True)
class _Sums:
    """Counts, sums and sums of squares of each group."""

    counts: Array
    sums: Array
    squares: Array

    def covariance(self, members: Array) -> Array:
        """Of the groups with weight 1, (split, output, output); `members` is (split, group)."""
        n = (members @ self.counts)[:, None, None]
        sums = members @ self.sums
        squares = np.tensordot(members, self.squares, axes=1)
        return np.asarray((squares - sums[:, :, None] * sums[:, None, :] / n) / (n - 1))


def least_backgrounds(outputs: int) -> int:
    """How many of twelve animals are wanted: two of them train the smallest observer, when one is left out."""
    return 6 * (outputs + 3)


def held_out(signal: Array, samples: Array, groups: NDArray[np.int64], generator: np.random.Generator) -> HeldOut:
    """d′ of the Hotelling observer of a signal known exactly, from backgrounds of several animals.

    In each of 60 splits half of the animals, and a quarter, train a template w = S⁻¹δ; the other half tests it: the
    variance of wᵀg with wᵀδ = 1. d′² = 1/mean variance grows with the training set as d′²∞ (1 − c/n) (exactly so in
    normal noise), so that 2 d′²(half) − d′²(quarter) is without bias in first order, also where backgrounds of an animal are
    alike.

    Parameters
    ----------
    signal : (output,) array
    samples : (background, output) array
        Outputs of the channels, background and noise.
    groups : (background,) int array
        The animal of each.

    Raises
    ------
    DarklungError
        Fewer than four animals, or too few backgrounds for so many outputs.
    """
    check_shape("samples", samples, "background, output", (None, len(signal)))
    check_shape("groups", groups, "background", (len(samples),))
    names = np.unique(groups)
    require(len(names) >= 4, f"animals: wanted at least 4, got {len(names)}")
    # Far values change nothing of d′ but the digits that are left
    centred = samples - samples.mean(axis=0)
    members = [centred[groups == name] for name in names]
    sums = _Sums(
        np.array([float(len(m)) for m in members]),
        np.stack([m.sum(axis=0) for m in members]),
        np.stack([m.T @ m for m in members]),
    )
    order = np.stack([generator.permutation(len(names)) for _ in range(SPLITS)])
    whole, two_fold = _extrapolated(signal, sums, order, np.ones(len(names)))
    blocks = np.array_split(np.arange(len(names)), min(BLOCKS, len(names)))
    parts = []
    for block in blocks:
        kept = np.ones(len(names))
        kept[block] = 0
        parts.append(_extrapolated(signal, sums, order, kept)[0])
    return HeldOut(_interval(whole, np.log(np.array(parts))), two_fold)


def _interval(value: float, without: Array) -> Detectability:
    """Jackknife of the logarithm, so that no end is below 0."""
    count = len(without)
    error = float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))
    reach = float(np.exp(stats.t.ppf((1 + LEVEL) / 2, count - 1) * error))
    return Detectability(value, value / reach, value * reach)


def _extrapolated(signal: Array, sums: _Sums, order: NDArray[np.int64], kept: Array) -> tuple[float, float]:
    """d′ without bias, and that of two folds; of groups that are not kept nothing is used."""
    half = order.shape[1] // 2
    quarter = max(half // 2, 1)
    tested = _members(order[:, half:], kept)
    trained = _members(order[:, :quarter], kept)
    few = int((trained @ sums.counts).min())
    least = len(signal) + 2
    require(few > least, f"backgrounds: wanted over {least} of a quarter of the animals for {least - 2} outputs, got {few}")
    squares = [_square(signal, sums, members, tested) for members in (_members(order[:, :half], kept), trained)]
    # what the sizes are in backgrounds; animals may have different numbers of them
    sizes = [float((_members(order[:, :n], kept) @ sums.counts).mean()) for n in (half, quarter)]
    slope = (squares[0] - squares[1]) / (1 / sizes[1] - 1 / sizes[0])
    return float(np.sqrt(max(squares[0] + slope / sizes[0], squares[0]))), float(np.sqrt(squares[0]))


def _members(chosen: NDArray[np.int64], kept: Array) -> Array:
    """(split, group) weights: 1 of those chosen and kept."""
    members = np.zeros((len(chosen), len(kept)))
    np.put_along_axis(members, chosen, 1.0, axis=1)
    return members * kept


def _square(signal: Array, sums: _Sums, trained: Array, tested: Array) -> float:
    """d′² = 1/(mean variance of the tested template's output), the template with gain 1."""
    template = np.linalg.solve(sums.covariance(trained), signal[:, None])[..., 0]
    template /= (template @ signal)[:, None]
    spread = np.einsum("si,sij,sj->s", template, sums.covariance(tested), template)
    return float(1 / spread.mean())

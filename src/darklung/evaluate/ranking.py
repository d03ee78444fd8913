"""How stable a ranking is: the rank of each entry in every bootstrap replicate of the animals.

Wiesenfarth et al. 2021, 10.1038/s41598-021-82017-6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_shape, require


@dataclass(frozen=True)
class Ranking:
    """Ranks of entries in one metric.

    Parameters
    ----------
    ranks : (entry,) int64
        By the values themselves, 1 the best; entries of one value share the better rank.
    shares : (entry, rank) float64
        Of the replicates in which an entry has rank 1, 2, ...; rows sum to 1. Ties share the better rank there too.
    used : int
        Replicates in which the metric is defined for every entry.
    """

    ranks: NDArray[np.int64]
    shares: NDArray[np.float64]
    used: int


def ranking(*, values: NDArray, replicates: NDArray, higher_is_better: bool) -> Ranking:
    """Rank entries by their values, and again in every replicate.

    Parameters
    ----------
    values : (entry,) float64
    replicates : (entry, replicate) float64
        In one column all entries saw the same animals. A column with a NaN counts for no entry.
    higher_is_better : bool

    Raises
    ------
    DarklungError
        A value that is not defined, or no replicate in which all are.
    """
    count = len(values)
    check_shape("replicates", replicates, "entry, replicate", (count, None))
    require(bool(np.isfinite(values).all()), "values: wanted a number of every entry")
    defined = replicates[:, np.isfinite(replicates).all(axis=0)]
    require(defined.shape[1] > 0, "replicates: the metric is defined for all entries in none of them")
    ranks = _ranks(defined, higher_is_better)
    shares = np.stack([(ranks == k).mean(axis=1) for k in range(1, count + 1)], axis=1)
    return Ranking(_ranks(np.asarray(values)[:, None], higher_is_better)[:, 0], shares, defined.shape[1])


def _ranks(values: NDArray, higher_is_better: bool) -> NDArray[np.int64]:
    """1 + how many entries are better, (entry, replicate)."""
    signed = values if higher_is_better else -values
    return np.asarray(1 + (signed[None] > signed[:, None]).sum(axis=1), dtype=np.int64)

"""Standard errors on another grid: variances through the weights of what made the new values.

A new voxel is Σ_k w_k x_k, w the smoothing and the interpolation of `darklung.core.resample`, which fall into one factor an
axis. With errors σ that hardly change within the few voxels of these weights its variance is

    σ'² = F Σ_k w_k σ_k²,   F = Σ_kl w_k w_l ρ(k − l) = Σ_ij A_y[i] A_x[j] ρ[i, j] · A_z[0],   A[i] = Σ_k w_k w_(k+i),

so that F is a product of small matrices for all new voxels at once: it depends on where a new voxel lies between the old.
Not modelled: noise that is correlated along other axes than the last two, and σ that changes within the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_REACH = 1e-6  # weights below are not looked at


def error_factors(
    old: tuple[int, ...],
    new: tuple[int, ...],
    scale: NDArray[np.float64],
    offset: NDArray[np.float64],
    sigma: NDArray[np.float64],
    *,
    moved: Callable[..., NDArray[np.float32]],
    correlation: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """F of each new voxel, (*new).

    Parameters
    ----------
    old, new : shape
    scale, offset, sigma : (axis,) arrays
        Index in the old grid = scale · index in the new + offset; smoothing [old voxels].
    moved : callable
        ``moved(array, matrix, offset, shape, sigma)`` brings an array to the new grid.
    correlation : (side, side) array, optional
        ρ along the last two axes; noise of different voxels is independent without it.
    """
    lags = []
    for axis, (n, m) in enumerate(zip(old, new)):
        # The weights of an axis are what the same code makes of single voxels along it, borders included.
        one = np.eye(n, dtype=np.float32)
        matrix, start = np.array([[scale[axis], 0.0], [0.0, 1.0]]), np.array([offset[axis], 0.0])
        lags.append(_lags(moved(one, matrix, start, (m, n), np.array([sigma[axis], 0.0]))))
    *others, rows, cols = lags if len(lags) > 1 else [np.ones((1, 1)), *lags]
    near = np.zeros((rows.shape[1], cols.shape[1]))
    near[0, 0] = 1.0
    if correlation is not None:
        known = np.asarray(correlation, dtype=np.float64)[: near.shape[0], : near.shape[1]]
        near[: known.shape[0], : known.shape[1]] = known
    factor = (rows @ near @ cols.T).reshape(*new[-2:])
    for axis, other in enumerate(others):
        factor = factor * other[:, 0].reshape(-1, *[1] * (len(new) - 1 - axis))
    return np.maximum(factor, 0.0)


def _lags(weights: NDArray[Any]) -> NDArray[np.float64]:
    """(new, lag): Σ_k w_k w_(k+lag), twice for all lags but 0, since ρ is even."""
    w = weights.astype(np.float64)
    used = np.abs(w) > _REACH
    first, last = used.argmax(axis=1), w.shape[1] - used[:, ::-1].argmax(axis=1)
    reach = int((last - first).max(initial=1))
    found = [(w[:, : w.shape[1] - lag] * w[:, lag:]).sum(axis=1) * (2 if lag else 1) for lag in range(reach)]
    return np.stack(found, axis=1)


def known_mean(
    values: NDArray[np.float32], moved: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weighted mean of the values that are known (not NaN), and their share of the weight."""
    known = np.isfinite(values)
    if known.all():
        return moved(values), np.ones((), np.float32)
    weight = moved(known.astype(np.float32))
    with np.errstate(divide="ignore", invalid="ignore"):
        return moved(np.where(known, values, 0).astype(np.float32)) / weight, weight


def resampled_error(
    errors: NDArray[Any],
    factors: NDArray[np.float64],
    inside: NDArray[np.bool_],
    moved: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Standard errors of the new values; where some old voxels have none, the others are fewer (F over their share)."""
    values = np.asarray(errors, dtype=np.float32)
    unit = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0  # squares of 1/m errors leave single precision's best range
    variance, weight = known_mean((values / np.float32(unit)) ** 2, moved)
    keep = inside & (weight >= 0.5)
    told = np.where(keep, variance, 0.0) * factors / np.where(keep, weight, 1.0)
    return np.where(keep, unit * np.sqrt(np.maximum(told, 0.0)), np.nan).astype(np.float32)

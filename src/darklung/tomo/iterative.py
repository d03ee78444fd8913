"""Iterative reconstruction: weighted least squares (CGLS), and with total variation (PWLS-TV)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_positive, check_shape, require
from darklung.tomo.cone import ConeProjector
from darklung.tomo.depth import DepthProjector
from darklung.tomo.projector import Projector
from darklung.tomo.total_variation import denoise, total_variation

if TYPE_CHECKING:
    from darklung.tomo.torch_operator import TorchOperator

    Operator = Projector | ConeProjector | DepthProjector | TorchOperator
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Solution:
    """What an iteration ended with.

    Parameters
    ----------
    volume : (z, y, x) float32
    chi_square : tuple of float
        Σ (A x − p)² / variance over the valid pixels, divided by their number: one value an iteration, taken before it.
    stopped : {"noise", "converged", "iterations"}
        Data explained to within their noise, no more change, or the allowed number of iterations.
    """

    volume: NDArray[np.float32]
    chi_square: tuple[float, ...]
    stopped: str


def inverse_variance(variance: NDArray, valid: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Weights 1/variance; zero where `valid` is False. For dark field the variance is (2/V² − 1)/N plus the flat's.

    Raises
    ------
    DarklungError
        A valid pixel whose variance is not a finite number > 0.
    """
    good = np.ones(variance.shape, bool) if valid is None else np.asarray(valid, bool)
    check_shape("valid", good, "view, row, col", variance.shape)
    usable = np.isfinite(variance) & (variance > 0)
    require(bool(usable[good].all()), f"variance: wanted numbers > 0 where valid, got {int((good & ~usable).sum())} others")
    weights = np.zeros(variance.shape, np.float32)
    np.divide(1.0, variance, out=weights, where=good, casting="unsafe")
    return weights


def cgls(
    projector: Operator,
    projections: NDArray,
    *,
    weights: NDArray[np.float32] | None = None,
    iterations: int = 30,
    tolerance: float = 1e-3,
    start: NDArray | None = None,
    progress: Progress | None = None,
) -> Solution:
    """Minimise Σ weights (A x − p)² by conjugate gradients on the normal equations.

    Early stopping is the regularisation: with weights it ends when χ² per valid pixel falls to 1 ("noise").

    Parameters
    ----------
    projector : Projector, ConeProjector, DepthProjector or TorchOperator
    projections : (view, row, col) array
        Values where the weight is zero are not looked at.
    weights : (view, row, col) float32, optional
        From `inverse_variance`; 1 everywhere, and no stop at the noise, by default.
    iterations : int
    tolerance : float
        Ends when the gradient has fallen by this factor ("converged").
    start : (z, y, x) array, optional
        Zero by default.
    progress : callable, optional
        Called with the iteration and χ² per pixel.

    References
    ----------
    Björck 1996, Numerical Methods for Least Squares Problems, doi:10.1137/1.9781611971484.
    """
    data, w, count = _weighted(projector, projections, weights)
    x = np.zeros(projector.shape, np.float32) if start is None else np.array(start, np.float32)
    check_shape("start", x, "z, y, x", projector.shape)
    residual = data - projector.forward(x)
    direction = gradient = projector.adjoint(w * residual)
    size = first = _dot(gradient, gradient)
    chi, stopped = [], "iterations"
    for i in range(iterations):
        chi.append(_dot(w * residual, residual) / count)
        if progress is not None:
            progress(i, chi[-1])
        if (weights is not None and chi[-1] <= 1) or size <= tolerance**2 * first:
            stopped = "noise" if weights is not None and chi[-1] <= 1 else "converged"
            break
        seen = projector.forward(direction)
        step = np.float32(size / _dot(w * seen, seen))
        x += step * direction
        residual -= step * seen
        gradient = projector.adjoint(w * residual)
        size, before = _dot(gradient, gradient), size
        direction = gradient + np.float32(size / before) * direction
    return Solution(x, tuple(chi), stopped)


def pwls_tv(
    projector: Operator,
    projections: NDArray,
    *,
    weights: NDArray[np.float32],
    strength: float,
    iterations: int = 40,
    subsets: int = 1,
    nonnegative: bool = False,
    start: NDArray | None = None,
    tolerance: float = 1e-4,
    progress: Progress | None = None,
) -> Solution:
    """Minimise ½ Σ weights (A x − p)² + strength Σ |∇x|: penalised weighted least squares with total variation.

    Proximal gradient steps with momentum in the metric Aᵀ W A 1 (which bounds the Hessian), restarted when momentum points
    uphill. With `subsets` > 1 each step uses part of the views: far faster at first, but it would circle near the minimum or
    even diverge. So the number is halved, down to one, whenever a pass does not lower the objective by 0.3 %, and a pass
    that raises it is taken back. "converged" is only said of passes with one subset (docs/decisions/066).

    Parameters
    ----------
    projector : Projector, ConeProjector, DepthProjector or TorchOperator
    projections : (view, row, col) array
    weights : (view, row, col) float32
        From `inverse_variance`; pixels of weight zero are not looked at.
    strength : float
        Weight of the total variation [m], >= 0: a difference of d [1/m] between neighbours costs strength · d.
    iterations : int
        Passes over all views.
    subsets : int
        Interleaved groups of views to begin with, at most the number of views.
    nonnegative : bool
        Only where physics says so: attenuation may be, the dark field of noisy data must not be forced.
    start : (z, y, x) array, optional
        Such as the filtered back-projection; zero by default.
    tolerance : float
        Ends when a pass changes the volume by less than this, relative to its norm ("converged").
    progress : callable, optional
        Called with the pass and χ² per pixel.

    References
    ----------
    Beck, Teboulle 2009, SIAM J Imaging Sci 2:183, doi:10.1137/080716542; Kim, Ramani, Fessler 2015, IEEE Trans Med
    Imaging 34:167, doi:10.1109/TMI.2014.2350962 (ordered subsets with momentum).
    """
    require(strength >= 0, f"strength: wanted >= 0, got {strength}")
    data, w, count = _weighted(projector, projections, weights)
    parts = _subsets(projector, subsets)
    metric = projector.adjoint(w * projector.forward(np.ones(projector.shape, np.float32)))
    metric = np.maximum(metric, 0.01 * metric.max())
    x = np.zeros(projector.shape, np.float32) if start is None else np.array(start, np.float32)
    check_shape("start", x, "z, y, x", projector.shape)
    state, last, chi, stopped = _State(x, x), np.inf, [], "iterations"
    if len(parts) > 1:
        residual = projector.forward(x) - data
        last = 0.5 * _dot(w * residual, residual) + strength * total_variation(x)
    for i in range(iterations):
        with np.errstate(over="ignore", invalid="ignore"):  # a pass of too many subsets may explode; it is taken back
            following, misfit = _pass(state, parts, data, w, metric, strength, nonnegative)
        objective = 0.5 * misfit + strength * total_variation(following.x)
        chi.append(misfit / count)
        if progress is not None:
            progress(i, chi[-1])
        moved, size = _dot(following.x - state.x, following.x - state.x), _dot(following.x, following.x)
        still = moved <= tolerance**2 * size
        if still and len(parts) == 1:
            state, stopped = following, "converged"
            break
        worse = len(parts) > 1 and not objective <= last
        if len(parts) > 1 and (still or not objective < 0.997 * last):
            parts = _subsets(projector, len(parts) // 2)
            following = _State(following.x, following.x, following.dual)  # the momentum was that of the larger steps
        if worse:
            state = _State(state.x, state.x, state.dual)
        else:
            state, last = following, objective
    return Solution(state.x, tuple(chi), stopped)


@dataclass(frozen=True)
class _State:
    """Where an accelerated iteration is: the volume, where the next step starts, the dual of the penalty, the momentum."""

    x: NDArray[np.float32]
    ahead: NDArray[np.float32]
    dual: NDArray[np.float32] | None = None
    momentum: float = 1.0


def _pass(
    state: _State,
    parts: list[tuple[Operator, slice]],
    data: NDArray[np.float32],
    weights: NDArray[np.float32],
    metric: NDArray[np.float32],
    strength: float,
    nonnegative: bool,
) -> tuple[_State, float]:
    """One look at all views, and Σ weights (A x − p)² summed along the way."""
    x, ahead, dual, momentum, total = state.x, state.ahead, state.dual, state.momentum, 0.0
    for part, views in parts:
        residual = part.forward(ahead) - data[views]
        pull = weights[views] * residual
        total += _dot(pull, residual)
        noisy = ahead - np.float32(len(parts)) * part.adjoint(pull) / metric
        new, dual = denoise(noisy, metric, strength, nonnegative=nonnegative, dual=dual, threads=part.threads)
        momentum = 1.0 if _dot(ahead - new, new - x) > 0 else momentum
        following = 0.5 + 0.5 * np.sqrt(1 + 4 * momentum**2)
        ahead = new + np.float32((momentum - 1) / following) * (new - x)
        x, momentum = new, following
    return _State(x, ahead, dual, momentum), total


def largest_singular_value(projector: Operator, *, iterations: int = 20) -> float:
    """Norm of the projector [m], from below, by power iteration (A has no negative entry, so a uniform start suffices)."""
    require(iterations >= 1, f"iterations: wanted >= 1, got {iterations}")
    x = np.ones(projector.shape, np.float32)
    size = 0.0
    for _ in range(iterations):
        x /= np.float32(np.sqrt(_dot(x, x)))
        seen = projector.forward(x)
        size = float(np.sqrt(_dot(seen, seen)))
        x = projector.adjoint(seen)
    return size


def _weighted(
    projector: Operator, projections: NDArray, weights: NDArray | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    check_shape("projections", projections, "view, row, col", projector.projection_shape)
    w = np.ones(projections.shape, np.float32) if weights is None else np.asarray(weights, np.float32)
    check_shape("weights", w, "view, row, col", projections.shape)
    check_finite("weights", w)
    require(bool((w >= 0).all()), "weights: wanted numbers >= 0, got negative ones")
    count = int(np.count_nonzero(w))
    check_positive("weights: pixels that count", count)
    data = np.where(w > 0, projections, 0).astype(np.float32)
    check_finite("projections", data)
    return data, w, count


def _subsets(projector: Operator, count: int) -> list[tuple[Operator, slice]]:
    views = projector.geometry.views
    require(1 <= count <= views, f"subsets: wanted 1 to {views} (the views), got {count}")
    bits = max(count - 1, 1).bit_length()
    order = sorted(range(count), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))  # neighbours in time far apart in angle
    cuts = [slice(i, None, count) for i in order]
    return [(_of_views(projector, c), c) for c in cuts]


def _of_views(projector: Operator, views: slice) -> Operator:
    if isinstance(projector, DepthProjector):
        inner: Any = _of_views(projector.projector, views)
        return replace(projector, projector=inner)
    geometry: Any = projector.geometry
    return replace(projector, geometry=replace(geometry, angles_rad=geometry.angles_rad[views]))


def _dot(a: NDArray, b: NDArray) -> float:
    return float(np.einsum("i,i->", a.ravel(), b.ravel(), dtype=np.float64))

"""Sphere models fitted to powders: at one effective energy, or with the beam's spectrum; which one is the best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import f as fisher

from darklung.calibrate.beam_fits import Belief, PowderRows, fit_beam, fit_with_evidence
from darklung.calibrate.sphere_models import FILL, MODELS, SphereShape
from darklung.calibrate.spheres import DILUTE, SphereCalibration
from darklung.core.checks import check_finite, check_shape, require


def fit_spheres(
    *,
    diameter_m: ArrayLike,
    signal: ArrayLike,
    thickness_m: ArrayLike,
    offset: bool = True,
    shape: SphereShape = DILUTE,
    setting: str = "",
    filters: tuple[str, ...] = (),
) -> SphereCalibration:
    """Fit a sphere model at one effective energy, with one free scale and a free ξ, to measured −ln D.

    −ln D = thickness · scale · ξ · h(D/ξ) + offset. Ordinary least squares: the scatter about the curve (packing, humidity,
    polydispersity) is larger than photon noise and is taken to be equal for all spheres.

    Parameters
    ----------
    diameter_m, signal : (row,)
        At least one diameter more than the 2 or 3 parameters.
    thickness_m : float or (row,)
    offset : bool
        Also fit a signal that depends neither on the diameter nor on the thickness.
    shape : SphereShape
        Model and volume fraction; nothing of it is fitted.
    filters : (row,) tuple of str
        One and the same; for several `fit_powders` needs the beam.

    Raises
    ------
    DarklungError
        Too few spheres, all of one diameter, or values that make no sense.
    """
    diameter, measured = (np.asarray(v, dtype=np.float64) for v in (diameter_m, signal))
    free = 3 if offset else 2
    check_shape("diameter_m", diameter, "row", (None,))
    check_shape("signal", measured, "row", diameter.shape)
    thickness = np.broadcast_to(np.asarray(thickness_m, dtype=np.float64), diameter.shape)
    check_finite("signal", measured)
    require(bool((thickness > 0).all()), "thickness_m: wanted numbers > 0")
    require(bool((diameter > 0).all()), "diameter_m: wanted numbers > 0")
    different = len(np.unique(diameter))
    require(different > free, f"diameter_m: {free} parameters need at least {free + 1} different diameters, got {different}")

    def best_of(xi: float) -> tuple[NDArray[np.float64], float]:
        return _best(xi, diameter, measured, thickness, free, shape)

    # For a given ξ scale and offset follow, so only ξ is searched: first on a grid, then about its best point.
    grid = np.geomspace(0.05 * diameter.min(), 2 * diameter.max(), 90)
    best = int(np.argmin([best_of(xi)[1] for xi in grid]))
    bounds = np.log(grid[max(best - 1, 0)]), np.log(grid[min(best + 1, len(grid) - 1)])
    refined = minimize_scalar(lambda x: best_of(np.exp(x))[1], bounds=bounds, method="bounded", options={"xatol": 1e-9})
    xi = float(np.exp(refined.x))
    found, cost = best_of(xi)
    require(found[0] > 0, "signal: does not follow the sphere model with a positive scale for any correlation length")
    base = float(found[1]) if free == 3 else 0.0
    residual = float(np.sqrt(cost / (len(diameter) - free)))
    start = SphereCalibration(
        diameter,
        measured,
        thickness,
        float(found[0]),
        xi,
        base,
        np.zeros((3, 3)),
        residual,
        shape,
        setting,
        filters,
        free=float(free),
    )
    return replace(start, covariance=_covariance(start, free))


def fit_powders(
    rows: PowderRows,
    *,
    shape: SphereShape = DILUTE,
    offset: bool = True,
    belief: Belief | None = None,
    setting: str = "",
) -> SphereCalibration:
    """`fit_spheres`, or with a `Belief` in the beam `fit_beam`, which needs no offset."""
    if belief is not None:
        return fit_beam(rows, belief, shape=shape, setting=setting)
    data: dict[str, Any] = {"diameter_m": rows.diameter_m, "signal": rows.signal, "thickness_m": rows.thickness_m}
    return fit_spheres(**data, offset=offset, shape=shape, setting=setting, filters=rows.filters)


def leave_one_out(
    rows: PowderRows, *, offset: bool = True, shape: SphereShape = DILUTE, belief: Belief | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Each row's signal predicted by a fit to all rows of other diameters, and whether its diameter lies between theirs.

    The smallest and the largest are extrapolated here, for this test alone; `SphereCalibration.predict` would refuse.
    """
    count = len(rows.diameter_m)
    predicted, inside = np.empty(count), np.empty(count, dtype=bool)
    for d in np.unique(rows.diameter_m):
        left = rows.diameter_m == d
        fit = fit_powders(rows.part(~left), offset=offset, shape=shape, belief=belief)
        for number in np.flatnonzero(left):
            predicted[number] = fit.signal_of(d, float(rows.thickness_m[number]), rows.filters[number])
        inside[left] = fit.range_m[0] <= d <= fit.range_m[1]
    return predicted, inside


@dataclass(frozen=True)
class ModelRow:
    """One sphere model fitted to a series, for comparison with others.

    Parameters
    ----------
    fit : SphereCalibration
    offset : bool
        Whether an offset was fitted.
    score : float
        Akaike's criterion with the correction for few data, with a beam −2 ln of the evidence; up to a constant. The lowest
        is the best; 2 is little, 10 much.
    left_out : float
        Root mean square error of predicting the inner diameters left out one by one.
    offset_p : float
        F-test of the offset: probability of so large a gain if there were none; NaN without an offset.
    """

    fit: SphereCalibration
    offset: bool
    score: float
    left_out: float
    offset_p: float


def compare_models(rows: PowderRows, *, fill: float = FILL, belief: Belief | None = None) -> list[ModelRow]:
    """All models, the best first: without and with an offset, or with the beam. Needs 6 spheres of different diameters.

    AICc = n ln(Σr²/n) + 2k + 2k(k + 1)/(n − k − 1), k parameters with the variance [1]_. With a beam the parameters have
    priors, and the evidence (Laplace's approximation) takes its place.

    References
    ----------
    .. [1] K. P. Burnham & D. R. Anderson, Sociol. Methods Res. 33, 261 (2004), doi:10.1177/0049124104268644 [M].
    """
    require(len(np.unique(rows.diameter_m)) >= 6, "diameter_m: wanted at least 6 different diameters to compare models")
    found = []
    for model in MODELS:
        shape = SphereShape(model, min(fill, 0.5) if model == "hard" else fill)
        found += [_with_beam(rows, shape, belief)] if belief else _effective(rows, shape)
    return sorted(found, key=lambda row: row.score)


def _with_beam(rows: PowderRows, shape: SphereShape, belief: Belief) -> ModelRow:
    fit, evidence = fit_with_evidence(rows, belief, shape=shape)
    return ModelRow(fit, False, -2 * evidence, _left_out(rows, False, shape, belief), float("nan"))


def _effective(rows: PowderRows, shape: SphereShape) -> list[ModelRow]:
    found, squares, n = [], {}, len(rows.diameter_m)
    for offset in (False, True):
        fit = fit_powders(rows, offset=offset, shape=shape)
        free = 3 if offset else 2
        squares[offset] = max(fit.residual**2 * (n - free), 1e-300)
        k = free + 1
        aicc = n * np.log(squares[offset] / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
        gain = (squares[False] - squares[True]) / (squares[True] / (n - 3)) if offset else np.nan
        p = float(fisher.sf(max(gain, 0.0), 1, n - 3))
        found.append(ModelRow(fit, offset, float(aicc), _left_out(rows, offset, shape, None), p))
    return found


def _left_out(rows: PowderRows, offset: bool, shape: SphereShape, belief: Belief | None) -> float:
    predicted, inside = leave_one_out(rows, offset=offset, shape=shape, belief=belief)
    return float(np.sqrt(np.mean((predicted - rows.signal)[inside] ** 2)))


def _best(
    xi: float,
    diameter_m: NDArray[np.float64],
    measured: NDArray[np.float64],
    thickness_m: NDArray[np.float64],
    free: int,
    shape: SphereShape,
) -> tuple[NDArray[np.float64], float]:
    """Best (scale, offset) for one ξ and the sum of squares; a scale below 0 counts as a bad fit."""
    columns = np.stack([thickness_m * xi * shape(diameter_m / xi), np.ones_like(diameter_m)], axis=1)[:, : free - 1]
    size = np.linalg.norm(columns, axis=0)
    found = np.linalg.lstsq(columns / size, measured, rcond=None)[0] / size
    if found[0] <= 0:
        return found, float(((measured - measured.mean()) ** 2).sum() + (measured**2).sum())
    return found, float(((columns @ found - measured) ** 2).sum())


def _covariance(fit: SphereCalibration, free: int) -> NDArray[np.float64]:
    """Of the first `free` parameters, from the scatter about the curve."""
    slopes = np.stack([fit.slopes(d, float(t)) for d, t in zip(fit.diameter_m, fit.thickness_m)])[:, :free]
    # Columns differ by twenty orders of magnitude (1/m², m, 1): scale before inverting.
    size = np.linalg.norm(slopes, axis=0)
    size = np.where(size > 0, size, 1.0)
    covariance = np.zeros((3, 3))
    inverse = np.linalg.pinv((slopes / size).T @ (slopes / size))
    covariance[:free, :free] = fit.residual**2 * inverse / np.outer(size, size)
    return covariance

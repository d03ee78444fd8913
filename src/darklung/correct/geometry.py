"""Where the sample really was: axis, tilt, shifts from view to view, magnification; found in the data, taken out at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import least_squares

from darklung.core.checks import check_finite, check_positive, check_range, check_shape, require
from darklung.core.circle import wrapped
from darklung.core.geometry import MOST_TILT_RAD
from darklung.core.types import Projections
from darklung.correct.invalid import filled_attenuation
from darklung.tomo.sinogram import estimate_axis

_INTERPOLATED = ("attenuation_variance", "dark_field_variance", "phase_variance", "visibility", "flat_visibility")


@dataclass(frozen=True)
class Alignment:
    """How the detector saw what an aligned one would have seen; lengths in pixels.

    A point that an aligned detector sees u columns from the axis and w rows from the middle row is seen in view v at

        col = axis_col + magnification (u cos τ + w sin τ) + shifts[v, 1]
        row = middle + magnification (w cos τ − u sin τ) + shifts[v, 0].

    Parameters
    ----------
    axis_col : float
        Column of the rotation axis in the middle row, (rows − 1)/2.
    tilt_rad : float
        τ, the detector turned in its own plane (the axis leans by it).
    shifts : (view, 2) float64
        Rows and columns by which the sample (or the detector) was displaced in each view.
    magnification : float
        Relative to what `pixel_m` of the geometry says.
    axis_error, tilt_error_rad : float
        Standard errors of an estimate, from how well the rows agree; NaN if they are not known.
    """

    axis_col: float
    tilt_rad: float
    shifts: NDArray[np.float64]
    magnification: float = 1.0
    axis_error: float = float("nan")
    tilt_error_rad: float = float("nan")

    def __post_init__(self) -> None:
        check_shape("shifts", self.shifts, "view, 2", (None, 2))
        check_finite("shifts", self.shifts)
        check_range("tilt_rad", self.tilt_rad, -MOST_TILT_RAD, MOST_TILT_RAD)
        check_positive("magnification", self.magnification)


def estimate_tilt(projections: Projections, *, direction: int = 0, pairs: int = 10) -> Alignment:
    """Axis and tilt from opposite views: one is the other's mirror image about the axis, turned by 2τ.

    For each of some pairs, (τ, axis) is sought by least squares of p_θ(place of (u, w)) = p_θ+π(place of (−u, w)); the
    median over the pairs is taken, and errors from how they differ. Last of all the axis is found anew in all upright rows
    (`estimate_axis`). A pair that is off by an angular step gives a tilt that is off by about a quarter of that step.
    Invalid pixels count as `fill_invalid` has them: as they are, dead ones would pull the axis towards their own place. Not
    modelled: an axis that leans towards the source (parallel beams hardly see it), a sample that moves.

    Parameters
    ----------
    direction : int
        Whose attenuation is looked at.
    pairs : int
        Most pairs to look at; views that are opposite to within one angular step count. A single pair gives no errors (NaN).

    Raises
    ------
    DarklungError
        No opposite views, or nothing to be seen in them.
    """
    g = projections.geometry
    require(pairs >= 1, f"pairs: wanted at least 1, got {pairs}")
    values = filled_attenuation(projections, direction)
    chosen = opposite_views(g.angles_rad)
    require(bool(chosen), "angles_rad: a tilt shows in opposite views (θ and θ + 180°), and there are none")
    chosen = [chosen[n] for n in np.unique(np.linspace(0, len(chosen) - 1, pairs).astype(int))]
    found = np.array([_mirror(values[one], values[other]) for one, other in chosen])
    tilt, axis = np.median(found, axis=0)
    spread = 1.2533 * found.std(axis=0, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.full(2, np.nan)
    first = Alignment(float(axis), float(tilt), np.zeros((g.views, 2)))
    upright = np.stack([_sample(view, _places(g.rows, g.cols, first), 3) for view in values])
    return replace(
        first,
        axis_col=estimate_axis(upright, g),
        axis_error=float(spread[1]),
        tilt_error_rad=float(spread[0]),
    )


def opposite_views(angles_rad: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of views that look at each other: exactly if there are such, else to within half or one (small) angular step."""
    turn = np.sort(np.mod(angles_rad, 2 * np.pi))
    step = float(np.median(np.diff(turn))) if len(turn) > 1 else 0.0
    apart = np.mod(angles_rad[:, None] + np.pi - angles_rad + np.pi, 2 * np.pi) - np.pi
    nearest = [(one, int(np.abs(apart[one]).argmin())) for one in range(len(angles_rad))]
    pairs = {pair: abs(float(apart[pair])) for pair in nearest if pair[0] < pair[1]}
    limits = (0.02, 0.5, 1.01) if step < 0.2 else (0.02,)
    within = ([pair for pair, off in pairs.items() if off <= limit * step + 1e-9] for limit in limits)
    return next((found for found in within if found), [])


def _mirror(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Tilt and axis column for which `other` is the mirror image of `one`; (row, col) each."""
    rows, cols = one.shape
    scale = float(np.ptp(one))
    require(scale > 0, "attenuation: a view without an object")
    # Correlation with the mirror image: where the axis lies to within a pixel, for no tilt.
    seen, mirrored = one.sum(axis=0), other.sum(axis=0)
    start = int(np.convolve(seen, mirrored).argmax()) / 2
    found = np.array([0.0, start])
    for blur in (3.0, 1.0):  # coarse first, so that fine structure does not trap it
        blurred = [ndimage.gaussian_filter(view, blur) / scale for view in (one, other)]

        def left(x: NDArray[np.float64], pair: list[NDArray[np.float64]] = blurred) -> NDArray[np.float64]:
            w, u = np.arange(rows)[:, None] - (rows - 1) / 2, np.arange(cols)[None, :] - start
            cos, sin = np.cos(x[0]), np.sin(x[0])
            a = np.stack([(rows - 1) / 2 + w * cos - u * sin, x[1] + u * cos + w * sin])
            b = np.stack([(rows - 1) / 2 + w * cos + u * sin, x[1] - u * cos + w * sin])
            inside = np.ones((rows, cols), bool)
            for place in (a, b):
                inside &= (place[0] >= 0) & (place[0] <= rows - 1) & (place[1] >= 0) & (place[1] <= cols - 1)
            return np.where(inside, _sample(pair[0], a, 1) - _sample(pair[1], b, 1), 0.0).ravel()

        result = least_squares(left, found, x_scale=[0.01, 1.0], diff_step=[1e-3, 1e-3], bounds=([-0.19, 0], [0.19, cols]))
        found = result.x
    return float(found[0]), float(found[1])


def estimate_shifts(projections: Projections, *, direction: int = 0) -> NDArray[np.float64]:
    """Rows and columns by which the sample was displaced in each view, (view, 2) [pixels].

    Rows: the mass of each row is the same in every view (parallel beam), so a view's profile is the mean profile, moved.
    Columns: the centre of mass goes as axis + a cos θ + b sin θ, and what is left is the shift. A shift that itself goes
    like that, or is constant, cannot be told from where the sample lies, and is not looked for.

    The sample must not be truncated in columns, and its end or some structure must be seen in rows.
    """
    g = projections.geometry
    require(g.views >= 6, f"views: wanted at least 6, got {g.views}")
    values = filled_attenuation(projections, direction)
    total = values.sum(axis=(1, 2))
    require(bool((total > 0).all()), "attenuation: a view without an object")
    centre = values.sum(axis=1) @ np.arange(g.cols) / total
    angles = g.angles_rad
    orbit = np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], axis=1)
    cols = centre - orbit @ np.linalg.lstsq(orbit, centre, rcond=None)[0]
    profiles = values.sum(axis=2)
    rows = np.zeros(g.views)
    for _ in range(3):
        moved = np.stack([ndimage.shift(p, -r, order=3, mode="nearest") for p, r in zip(profiles, rows)])
        mean = moved.mean(axis=0)
        slope = np.gradient(mean)
        require(float((slope**2).sum()) > 0, "attenuation: rows without structure do not tell where they are")
        rows -= (moved - mean) @ slope / (slope**2).sum()
        rows -= rows.mean()
    return np.stack([rows, cols], axis=1)


def estimate_magnification(
    first: NDArray[Any], second: NDArray[Any], *, middle: tuple[float, float] | None = None
) -> tuple[float, float, float]:
    """Magnification of `second` over `first` and its shift (rows, columns) [pixels]; two maps (row, col) of one object.

    Least squares of ``first(middle + w, middle + u) = second(middle + m (w, u) + shift)``; for two grating directions, two
    distances, or the same view before and after. The maps must overlap well; not modelled: rotation, parallax.

    Parameters
    ----------
    middle : (row, col), optional
        The point that does not move with the magnification; the middle of the map by default.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    check_shape("second", two, "row, col", one.shape)
    check_finite("first", one)
    check_finite("second", two)
    centre = [(n - 1) / 2 for n in one.shape] if middle is None else list(middle)
    grid = np.meshgrid(*(np.arange(n) for n in one.shape), indexing="ij")
    scale = float(np.ptp(one)) or 1.0

    def left(x: NDArray[np.float64], blur: float) -> NDArray[np.float64]:
        places = [c + x[0] * (at - c) + s for c, at, s in zip(centre, grid, x[1:])]
        moved = ndimage.map_coordinates(ndimage.gaussian_filter(two, blur), places, order=3, mode="nearest")
        return ((moved - ndimage.gaussian_filter(one, blur)) / scale).ravel()

    found = np.array([1.0, 0.0, 0.0])
    for blur in (4.0, 1.0):  # coarse first, so that fine structure does not trap it
        result = least_squares(left, found, args=(blur,), x_scale=[0.01, 1.0, 1.0], diff_step=1e-4)
        found = result.x
    return float(found[0]), float(found[1]), float(found[2])


def align(projections: Projections, alignment: Alignment) -> Projections:
    """What an aligned detector would have seen: every map is resampled once; the axis keeps its column.

    Splines for attenuation and dark field, phase by its sine and cosine, the rest linear; a pixel is valid where all those
    around its place are (invalid ones must hold values, see `fill_invalid`). Variances are those of the places: that
    interpolation averages noise and correlates neighbours is not in them. The differential phase's own change with
    magnification and tilt is not modelled (first order in both).
    """
    g = projections.geometry
    check_shape("shifts", alignment.shifts, "view, 2", (g.views, 2))
    place = _places(g.rows, g.cols, alignment)

    def moved(values: NDArray[Any], order: int) -> NDArray[np.float32]:
        result = np.empty(values.shape, np.float32)
        for direction, view in np.ndindex(values.shape[:2]):
            there = place + alignment.shifts[view][:, None, None]
            result[direction, view] = _sample(np.asarray(values[direction, view], np.float32), there, order)
        return result

    p = projections
    for name in ("attenuation", "dark_field", "phase"):
        check_finite(name, getattr(p, name))
    values: dict[str, Any] = {name: moved(getattr(p, name), 3) for name in ("attenuation", "dark_field")}
    values["phase"] = wrapped(np.arctan2(moved(np.sin(p.phase), 3), moved(np.cos(p.phase), 3)))
    values |= {name: moved(getattr(p, name), 1) for name in _INTERPOLATED if np.isfinite(getattr(p, name)).all()}
    there = place + alignment.shifts[:, :, None, None]
    inside = ((there >= 0) & (there <= np.array([g.rows - 1, g.cols - 1])[:, None, None])).all(axis=1)
    valid = (moved(p.valid.astype(np.float32), 1) > 0.999) & inside
    return replace(p, valid=valid, geometry=replace(g, axis_col=alignment.axis_col), **values)


def _places(rows: int, cols: int, alignment: Alignment) -> NDArray[np.float64]:
    """Where an aligned detector's pixels lie on the real one, shifts left out; (2, row, col)."""
    w, u = np.arange(rows)[:, None] - (rows - 1) / 2, np.arange(cols)[None, :] - alignment.axis_col
    m, cos, sin = alignment.magnification, np.cos(alignment.tilt_rad), np.sin(alignment.tilt_rad)
    return np.stack([(rows - 1) / 2 + m * (w * cos - u * sin), alignment.axis_col + m * (u * cos + w * sin)])


def _sample(view: NDArray[Any], places: NDArray[np.float64], order: int) -> NDArray[Any]:
    return np.asarray(ndimage.map_coordinates(view, places, order=order, mode="nearest"))

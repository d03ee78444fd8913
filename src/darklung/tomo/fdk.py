"""Cone-beam reconstruction by weighted filtered back-projection (Feldkamp, Davis, Kress)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_shape, require
from darklung.core.geometry import ConeGeometry, turn_shares
from darklung.tomo.cone import check_clear_of_source, detector_places, over_rows, view_numbers, whole_field
from darklung.tomo.fbp import filter_columns, filter_kernel, half_fan, neighbour_covariance, short_side
from darklung.tomo.fdk_kernels import back_project_rows
from darklung.tomo.projector import check_grid, default_threads
from darklung.tomo.tilt import untilt

_VIEWS = 32


def fdk(
    projections: NDArray,
    geometry: ConeGeometry,
    *,
    shape: tuple[int, int, int] | None = None,
    voxel_m: float | None = None,
    level_m: float = 0.0,
    filter: str = "ramp",
    cutoff: float = 1.0,
    padding: str = "zero",
    threads: int = 0,
) -> NDArray[np.float32]:
    """Reconstruct a volume from cone-beam line integrals over a full turn or a short scan.

    f(r) = Σ_views Δβ (R/(R + t))² [h * (w · cos · p)](u(r), w(r)): exact in the plane of the source, approximate off it.
    A full turn sees every ray of that plane twice; `redundancy_weights` shares them out, also for a short scan (Parker) and
    for a detector moved sideways over a full turn.

    Parameters
    ----------
    projections : (view, row, col) array
        Line integrals, such as −ln T or −ln D (the latter if ε does not depend on the place, see docs/reconstruction.md).
    geometry : ConeGeometry
        Views at even steps, in order.
    shape : (z, y, x) tuple, optional
        That of `whole_field` by default.
    level_m : float
        Height of the volume's middle above the plane of the source.
    voxel_m, filter, cutoff, padding, threads
        As in `fbp`.

    Returns
    -------
    (z, y, x) float32 [unit of projections / m]
        Nothing is clipped.

    Raises
    ------
    DarklungError
        Uneven views, an arc of less than 180° plus the fan, values that are not finite, a volume that reaches the source.

    Notes
    -----
    Not modelled: cone-beam artefacts far off the mid-plane. The projections of a tilted detector are turned upright first
    (`untilt`). Voxels much coarser than the pixel are sampled at their middles, which wastes counts.

    References
    ----------
    Feldkamp, Davis, Kress 1984, J Opt Soc Am A 1:612, doi:10.1364/JOSAA.1.000612.
    """
    plan = _plan(projections, geometry, (shape, voxel_m, level_m), filter, cutoff)
    none = np.empty((0, 0, 0), np.float32)
    out = np.zeros((*plan.shape[1:], plan.shape[0]), np.float32)
    for views in plan.parts():
        weighted = plan.pad(_upright(projections[views], geometry) * plan.weights(views))
        steps, workers = np.full(len(weighted), plan.step), threads or default_threads()
        filtered = filter_columns(weighted, plan.response, steps, workers, padding=padding)
        framed = np.pad(filtered.transpose(0, 2, 1), ((0, 0), (1, 1), (1, 1)))
        over_rows(back_project_rows, out, (framed, none, plan.numbers[views]), threads)
    return np.ascontiguousarray(np.moveaxis(out, 2, 0))


def fdk_variance(
    variance: NDArray,
    geometry: ConeGeometry,
    *,
    shape: tuple[int, int, int] | None = None,
    voxel_m: float | None = None,
    level_m: float = 0.0,
    filter: str = "ramp",
    cutoff: float = 1.0,
    threads: int = 0,
) -> NDArray[np.float32]:
    """Voxel variances of `fdk` for noise that is independent from pixel to pixel and from view to view.

    Exact for that noise (weights, filter, interpolation along rows and columns), save that a tilted detector's variances are
    turned like values. Parameters are those of `fdk`, with variances in place of values.

    Not modelled: correlated noise, as in `fbp_variance`.

    Returns
    -------
    (z, y, x) float32 [unit of variance / m²]
    """
    require(bool((np.asarray(variance) >= 0).all()), "variance: wanted values >= 0, got negative ones")
    plan = _plan(variance, geometry, (shape, voxel_m, level_m), filter, cutoff)
    out = np.zeros((*plan.shape[1:], plan.shape[0]), np.float32)
    for views in plan.parts():
        weighted = plan.pad(_upright(variance[views], geometry, order=1) * plan.weights(views) ** 2)
        squares = np.full(len(weighted), plan.step**2)
        lagged = neighbour_covariance(weighted, plan.response, squares, lags=2, pad=1)
        framed = np.pad(lagged.transpose(2, 0, 1, 3), ((0, 0), (0, 0), (0, 0), (1, 1)))
        over_rows(back_project_rows, out, (framed[0], framed[1], plan.numbers[views]), threads)
    return np.ascontiguousarray(np.moveaxis(out, 2, 0))


@dataclass(frozen=True)
class _Plan:
    """What every view of a scan needs: the grid, the filter, weights, and columns to fill up on either side."""

    shape: tuple[int, int, int]
    response: NDArray[np.float64]
    step: float
    cosine: NDArray[np.float32]
    redundancy: NDArray[np.float32]
    sides: tuple[int, int]
    numbers: NDArray[np.float64]

    def parts(self) -> list[slice]:
        return [slice(i, i + _VIEWS) for i in range(0, len(self.redundancy), _VIEWS)]

    def weights(self, views: slice) -> NDArray[np.float32]:
        return self.cosine[None] * self.redundancy[views, None, :]

    def pad(self, seen: NDArray) -> NDArray:
        return np.pad(seen, ((0, 0), (0, 0), self.sides))


def _plan(
    projections: NDArray,
    geometry: ConeGeometry,
    grid: tuple[tuple[int, int, int] | None, float | None, float],
    filter: str,
    cutoff: float,
) -> _Plan:
    g = replace(geometry, tilt_rad=0.0)
    check_shape("projections", projections, "view, row, col", (g.views, g.rows, g.cols))
    check_finite("projections", projections)
    shape = grid[0] or whole_field(g)[0]
    voxel_m = g.pixel_m if grid[1] is None else grid[1]
    check_grid(shape, voxel_m)
    check_clear_of_source(g, shape, voxel_m)
    u, w = detector_places(g)
    cosine = g.source_axis_m / np.sqrt(g.source_axis_m**2 + u**2 + w**2)
    step, redundancy = redundancy_weights(g)
    # A detector moved sideways: the filtered values reach beyond its short side, so that side is filled up with zeros.
    sides = short_side(u[0])
    padded = replace(g, cols=g.cols + sum(sides), axis_col=float(g.axis_col or 0.0) + sides[0])
    return _Plan(
        shape,
        filter_kernel(padded.cols, g.pixel_m, filter, cutoff),
        step,
        cosine.astype(np.float32),
        redundancy.astype(np.float32),
        sides,
        view_numbers(padded, voxel_m, grid[2]),
    )


def _upright(projections: NDArray, geometry: ConeGeometry, order: int = 3) -> NDArray[np.float32]:
    seen = np.asarray(projections, np.float32)
    if geometry.tilt_rad == 0.0:
        return seen
    middle = (float(geometry.axis_row or 0.0), float(geometry.axis_col or 0.0))
    return untilt(seen, tilt_rad=geometry.tilt_rad, middle=middle, order=order)


def redundancy_weights(geometry: ConeGeometry) -> tuple[float, NDArray]:
    """Step of the views [rad] and the weight of each ray, (view, col): weights of rays along one line sum to 1.

    The ray at view angle β and fan angle γ = arctan(u / R) is seen again at (β + π − 2γ, −γ).

    Raises
    ------
    DarklungError
        Uneven views, too short an arc, or a short scan with the axis off the middle of the detector.

    References
    ----------
    Parker 1982, Med Phys 9:254, doi:10.1118/1.595078 (short scan).
    """
    require(geometry.views >= 3, f"angles_rad: wanted at least 3 views for a reconstruction, got {geometry.views}")
    steps = np.diff(geometry.angles_rad)
    step = float(steps.mean())
    require(step != 0 and bool((abs(steps / step - 1) < 1e-3).all()), "angles_rad: wanted views in even steps and in order")
    u = (np.arange(geometry.cols) - float(geometry.axis_col or 0.0)) * geometry.pixel_m
    fan = np.arctan2(u, geometry.source_axis_m)
    arc = abs(step) * geometry.views
    if abs(arc - 2 * np.pi) < 1.5 * abs(step):
        return abs(step), turn_shares(geometry.angles_rad)[:, None] / abs(step) * half_fan(u)
    widest = float(abs(fan).max())
    require(
        np.pi + 2 * widest <= arc + abs(step) < 2 * np.pi,
        f"angles_rad: wanted a full turn or at least 180° and the fan, {180 + np.degrees(2 * widest):.1f}°, "
        f"got {np.degrees(arc):.1f}°",
    )
    off = abs(u[0] + u[-1]) / geometry.pixel_m
    require(off < 4, f"axis_col: a short scan needs the axis near the middle of the detector, got {off / 2:.1f} off")
    return abs(step), _parker(np.arange(geometry.views) * abs(step), np.sign(step) * fan, (arc - abs(step) - np.pi) / 2)


def _parker(beta: NDArray, fan: NDArray, margin: float) -> NDArray:
    """Smooth weights (view, col) of a short scan over π + 2 `margin`."""
    b, g = beta[:, None], fan[None, :]
    rise = np.sin(0.25 * np.pi * b / np.maximum(margin + g, 1e-9)) ** 2
    fall = np.sin(0.25 * np.pi * (np.pi + 2 * margin - b) / np.maximum(margin - g, 1e-9)) ** 2
    out = np.where(b < 2 * (margin + g), rise, np.where(b > np.pi + 2 * g, fall, 1.0))
    return np.asarray(np.where(b > np.pi + 2 * margin, 0.0, out))

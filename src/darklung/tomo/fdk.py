"""Cone-beam reconstruction by weighted filtered back-projection (Feldkamp, Davis, Kress)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_shape, require
from darklung.core.geometry import ConeGeometry
from darklung.tomo.cone import check_clear_of_source, over_rows, view_numbers
from darklung.tomo.cone_kernels import back_project_rows
from darklung.tomo.fbp import filter_columns, filter_kernel
from darklung.tomo.projector import check_grid, default_threads


def fdk(
    projections: NDArray,
    geometry: ConeGeometry,
    *,
    shape: tuple[int, int, int] | None = None,
    voxel_m: float | None = None,
    filter: str = "ramp",
    cutoff: float = 1.0,
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
    shape, voxel_m, filter, cutoff, threads
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
    Not modelled: objects that the detector does not cover on either side, cone-beam artefacts far off the mid-plane. The
    filter runs along detector rows; a tilt is undone in the back-projection only, which is right to first order.

    References
    ----------
    Feldkamp, Davis, Kress 1984, J Opt Soc Am A 1:612, doi:10.1364/JOSAA.1.000612.
    """
    g = geometry
    check_shape("projections", projections, "view, row, col", (g.views, g.rows, g.cols))
    check_finite("projections", projections)
    shape = shape or (g.rows, g.cols, g.cols)
    voxel_m = g.pixel_m if voxel_m is None else voxel_m
    check_grid(shape, voxel_m)
    check_clear_of_source(g, shape, voxel_m)
    u = (np.arange(g.cols) - float(g.axis_col or 0.0)) * g.pixel_m
    w = (np.arange(g.rows) - float(g.axis_row or 0.0)) * g.pixel_m
    cosine = g.source_axis_m / np.sqrt(g.source_axis_m**2 + u[None, :] ** 2 + w[:, None] ** 2)
    step, weights = redundancy_weights(geometry)
    weighted = np.asarray(projections, np.float32) * (cosine[None] * weights[:, None, :]).astype(np.float32)
    # A detector moved sideways: the filtered values reach beyond its short side, so that side is filled up with zeros.
    left, right = _short_side(u)
    weighted = np.pad(weighted, ((0, 0), (0, 0), (left, right)))
    kernel = filter_kernel(g.cols + left + right, g.pixel_m, filter, cutoff)
    filtered = filter_columns(weighted, kernel, np.full(g.views, step), threads or default_threads())
    seen = np.ascontiguousarray(filtered.transpose(0, 2, 1))
    padded = replace(g, cols=g.cols + left + right, axis_col=float(g.axis_col or 0.0) + left)
    return over_rows(back_project_rows, seen, view_numbers(padded, voxel_m), shape, threads)


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
        return abs(step), np.tile(_half_fan(u), (geometry.views, 1))
    widest = float(abs(fan).max())
    require(
        np.pi + 2 * widest <= arc + abs(step) < 2 * np.pi,
        f"angles_rad: wanted a full turn or at least 180° and the fan, {180 + np.degrees(2 * widest):.1f}°, "
        f"got {np.degrees(arc):.1f}°",
    )
    off = abs(u[0] + u[-1]) / geometry.pixel_m
    require(off < 4, f"axis_col: a short scan needs the axis near the middle of the detector, got {off / 2:.1f} off")
    return abs(step), _parker(np.arange(geometry.views) * abs(step), np.sign(step) * fan, (arc - abs(step) - np.pi) / 2)


def _short_side(u: NDArray) -> tuple[int, int]:
    """Columns that the left and the right side lack to be as wide as the other."""
    lack = round(abs(u[0] + u[-1]) / (u[1] - u[0]))
    if lack < 2:
        return 0, 0
    return (lack, 0) if u[-1] > -u[0] else (0, lack)


def _half_fan(u: NDArray) -> NDArray:
    """Weights over a full turn: ½ where both u and −u are on the detector, rising to 1 where only u is."""
    reach = min(-u[0], u[-1])
    if abs(u[0] + u[-1]) < 2 * abs(u[1] - u[0]) or reach <= 0:
        return np.full(len(u), 0.5)
    side = 1.0 if u[-1] > -u[0] else -1.0
    return np.asarray(0.5 * (1 + np.sin(0.5 * np.pi * np.clip(side * u / reach, -1, 1))))


def _parker(beta: NDArray, fan: NDArray, margin: float) -> NDArray:
    """Smooth weights (view, col) of a short scan over π + 2 `margin`."""
    b, g = beta[:, None], fan[None, :]
    rise = np.sin(0.25 * np.pi * b / np.maximum(margin + g, 1e-9)) ** 2
    fall = np.sin(0.25 * np.pi * (np.pi + 2 * margin - b) / np.maximum(margin - g, 1e-9)) ** 2
    out = np.where(b < 2 * (margin + g), rise, np.where(b > np.pi + 2 * g, fall, 1.0))
    return np.asarray(np.where(b > np.pi + 2 * margin, 0.0, out))

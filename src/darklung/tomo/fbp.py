"""Filtered back-projection of parallel-beam line integrals, and of their variances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_one_of, check_range, check_shape, require
from darklung.core.geometry import ParallelGeometry, is_full_turn, turn_shares
from darklung.tomo.footprint import square_block
from darklung.tomo.projector import (
    back_project,
    check_grid,
    default_threads,
    row_shares,
    run_tasks,
    share_slices,
    view_placement,
)

FILTERS = ("ramp", "shepp-logan", "hann")
PADDINGS = ("zero", "edge")
_CHUNK = 8
_EDGE = 4  # columns whose mean is taken for the edge
_WIDENED = 1.007  # footprints are as noisy as linear interpolation then (docs/decisions/120)


def fbp(
    projections: NDArray,
    geometry: ParallelGeometry,
    *,
    shape: tuple[int, int, int] | None = None,
    voxel_m: float | None = None,
    filter: str = "ramp",
    cutoff: float = 1.0,
    padding: str = "zero",
    threads: int = 0,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Reconstruct a volume from line integrals over 180° or 360°.

    f(r) = Σ_views w_view (h * p_view)(s(r)), with the band-limited ramp h sampled in space (so that the mean is right), zero
    padding to at least twice the columns, and w_view the share of 180° that the view stands for: half of the distance to
    its two neighbours modulo 180°. Half and full turns, with or without the end point, and uneven steps need no option. In a
    full turn the detector may stand aside of the axis: lines that only one view sees count twice (`half_fan`).

    Parameters
    ----------
    projections : (view, row, col) array
        Line integrals, such as −ln T or −ln D.
    geometry : ParallelGeometry
    shape : (z, y, x) tuple, optional
        ``(rows, cols, cols)`` by default, centred on the rotation axis.
    voxel_m : float, optional
        The detector pixel by default.
    filter : {"ramp", "shepp-logan", "hann"}
        Window of the ramp.
    cutoff : float
        Where the window ends, as a fraction of the Nyquist frequency 1 / (2 pixel_m), in (0, 1].
    padding : {"zero", "edge"}
        What lies beside the detector: nothing, or for an object wider than the detector (truncated projections) the edge's
        values, fading to zero over half the detector's width. The inside then keeps its contrast; its level stays uncertain.
    threads : int, optional
        0 takes all cores. The result does not depend on it.
    device : {"cpu", "cuda", "torch-cpu"}
        Where back-projection is computed, from `darklung.tomo.device.find_device`.

    Returns
    -------
    (z, y, x) float32 [unit of projections / m]
        Nothing is clipped. Voxels that leave the field of view in some views lack those views' part.

    Raises
    ------
    DarklungError
        A radiograph, values that are not finite, unknown filter, or angles that leave a gap in 180°.

    Notes
    -----
    Not modelled: weights for noise. For missing angles use an iterative reconstruction.

    References
    ----------
    Kak, Slaney 1988, Principles of Computerized Tomographic Imaging, ch. 3, doi:10.1137/1.9780898719277.
    """
    shape, voxel_m = _grid(projections, geometry, shape, voxel_m)
    projections, geometry, weights = _completed(projections, geometry)
    kernel = filter_kernel(geometry.cols, geometry.pixel_m, filter, cutoff)
    filtered = filter_columns(projections, kernel, weights, threads or default_threads(), padding=padding)
    placement, taps = _smooth_placement(geometry, shape, voxel_m)
    if device == "cpu":
        rows = back_project(filtered, placement, taps, shape[1:], threads)
    else:
        from darklung.tomo.torch_operator import back_project_on

        rows = back_project_on(filtered, placement, taps, shape[1:], device)
    return share_slices(rows, _slice_mean(geometry, shape[0], voxel_m))


def fbp_gradient(
    gradients: NDArray,
    geometry: ParallelGeometry,
    *,
    shape: tuple[int, int, int] | None = None,
    voxel_m: float | None = None,
    threads: int = 0,
) -> NDArray[np.float32]:
    """Reconstruct f from the derivatives of its line integrals across the beam, ∂/∂s ∫ f dl, by Hilbert filtering.

    Differential phase φ of a grating interferometer of period p2 at distance d is (2π d / p2) ∂/∂s ∫ δ dl, up to the sign of
    the stepping: ``fbp_gradient(φ * p2 / (2π d), ...)`` gives δ. Columns run along s (core/geometry.py).

    Parameters and errors are those of `fbp`; offsets of whole views should be removed first, since they do not average out
    at the border of the field.

    Returns
    -------
    (z, y, x) float32 [unit of gradients]

    References
    ----------
    Pfeiffer et al. 2007, Phys Rev Lett 98:108105, doi:10.1103/PhysRevLett.98.108105.
    """
    shape, voxel_m = _grid(gradients, geometry, shape, voxel_m)
    gradients, geometry, weights = _completed(gradients, geometry)
    length = 2 * (len(filter_kernel(geometry.cols, geometry.pixel_m)) - 1)
    lag = np.arange(length)
    lag = np.where(lag > length // 2, lag - length, lag)
    odd = (lag % 2 == 1) & (abs(lag) < length // 2)
    kernel = np.zeros(length)
    kernel[odd] = 1 / (np.pi**2 * lag[odd])
    filtered = filter_columns(gradients, scipy.fft.rfft(kernel), weights, threads or default_threads())
    placement, taps = _smooth_placement(geometry, shape, voxel_m)
    rows = back_project(filtered, placement, taps, shape[1:], threads)
    return share_slices(rows, _slice_mean(geometry, shape[0], voxel_m))


def fbp_variance(
    variance: NDArray,
    geometry: ParallelGeometry,
    *,
    shape: tuple[int, int, int] | None = None,
    voxel_m: float | None = None,
    filter: str = "ramp",
    cutoff: float = 1.0,
    threads: int = 0,
) -> NDArray[np.float32]:
    """Voxel variances of `fbp` for noise that is independent from pixel to pixel and from view to view.

    Exact for that noise: var f = Σ_views w² Σ_j (Σ_k share_k h[k − j])² var_j, computed from the covariances that the
    filter makes between neighbouring columns. Parameters are those of `fbp`, with variances in place of values.

    Not modelled: correlated noise (detector blur, shared flats), which makes the true variance larger or smaller.

    Returns
    -------
    (z, y, x) float32 [unit of variance / m²]
    """
    shape, voxel_m = _grid(variance, geometry, shape, voxel_m)
    require(bool((variance >= 0).all()), "variance: wanted values >= 0, got negative ones")
    variance, geometry, weights = _completed(variance, geometry, power=2)
    kernel, weights = filter_kernel(geometry.cols, geometry.pixel_m, filter, cutoff), weights**2
    placement, taps = _smooth_placement(geometry, shape, voxel_m)
    out = np.zeros((*shape[1:], geometry.rows), np.float32)
    for lo in range(0, geometry.views, _CHUNK):
        part = slice(lo, lo + _CHUNK)
        lagged = neighbour_covariance(variance[part], kernel, weights[part], lags=taps, pad=taps)
        square_rows(out, lagged, placement[part], geometry.cols, threads or default_threads())
    rows = np.ascontiguousarray(out.transpose(2, 0, 1))
    return share_slices(rows, _slice_mean(geometry, shape[0], voxel_m, 2))


def square_rows(out: NDArray, lagged: NDArray, placement: NDArray, cols: int, threads: int) -> None:
    """`square_block` over tiles of image rows."""
    starts = range(0, len(out), 8)

    def task(i: int) -> None:
        shifted = placement.copy()
        shifted[:, 0] += starts[i] * placement[:, 2]
        square_block(out[starts[i] : starts[i] + 8], lagged, shifted, cols)

    run_tasks(task, len(starts), threads)


def view_weights(angles_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of 180° [rad] that each view stands for; they sum to π. Raises if the angles leave a gap."""
    angles = np.mod(np.asarray(angles_rad, dtype=np.float64), np.pi)
    require(len(angles) > 1, "angles_rad: a reconstruction needs more than one view; a radiograph is not reconstructed")
    order = np.argsort(angles, kind="stable")
    gaps = np.diff(angles[order], append=angles[order[0]] + np.pi)
    distinct = gaps[gaps > 0.25 * np.pi / len(gaps)]
    require(
        bool(distinct.max() <= 3 * distinct.mean()) and len(distinct) > 1,
        f"angles_rad: {len(angles)} views leave a gap of {np.degrees(gaps.max()):.4g}° of 180°; "
        "filtered back-projection wants a half or a full turn",
    )
    weights = np.empty_like(angles)
    weights[order] = 0.5 * (gaps + np.roll(gaps, 1))
    return weights


def short_side(u: NDArray) -> tuple[int, int]:
    """Columns that the left and the right side lack to be as wide as the other."""
    lack = round(abs(u[0] + u[-1]) / (u[1] - u[0]))
    if lack < 2:
        return 0, 0
    return (lack, 0) if u[-1] > -u[0] else (0, lack)


def half_fan(u: NDArray) -> NDArray:
    """Weights over a full turn: ½ where both u and −u are on the detector, rising to 1 where only u is."""
    reach = min(-u[0], u[-1])
    if abs(u[0] + u[-1]) < 2 * abs(u[1] - u[0]):
        return np.full(len(u), 0.5)
    if reach <= 0:  # the axis at the detector's edge or beyond: nothing is seen twice
        return np.where(u == 0, 0.5, 1.0)
    side = 1.0 if u[-1] > -u[0] else -1.0
    return np.asarray(0.5 * (1 + np.sin(0.5 * np.pi * np.clip(side * u / reach, -1, 1))))


def _completed(
    values: NDArray, geometry: ParallelGeometry, power: int = 1
) -> tuple[NDArray[np.float32], ParallelGeometry, NDArray[np.float64]]:
    """Values, geometry and the weight of each view; a detector aside in a full turn gets its short side filled with zeros.

    Both views of a line weigh one half; where only one of them sees it that one counts whole. So the views then stand for
    parts of 360° and not, with their opposites, of 180°.
    """
    u = np.arange(geometry.cols) - geometry.axis_col
    sides = short_side(u)
    if sides == (0, 0) or not is_full_turn(geometry.angles_rad):
        return values, geometry, view_weights(geometry.angles_rad)
    weighted = np.asarray(values, np.float32) * ((2 * half_fan(u)) ** power).astype(np.float32)
    padded = replace(geometry, cols=geometry.cols + sum(sides), axis_col=geometry.axis_col + sides[0])
    return np.pad(weighted, ((0, 0), (0, 0), sides)), padded, turn_shares(geometry.angles_rad) / 2


def filter_kernel(cols: int, pixel_m: float, filter: str = "ramp", cutoff: float = 1.0) -> NDArray[np.float64]:
    """Frequency response of the band-limited ramp for zero-padded rows of `cols` pixels (real FFT order) [1/m]."""
    check_one_of("filter", filter, FILTERS)
    check_range("cutoff", cutoff, 0.0, 1.0)
    require(cutoff > 0, "cutoff: wanted a fraction of the Nyquist frequency > 0, got 0")
    length = scipy.fft.next_fast_len(2 * cols, real=True)
    length += length % 2
    lag = np.arange(length)
    lag = np.minimum(lag, length - lag)
    ramp = np.zeros(length)
    ramp[0] = 0.25
    ramp[lag % 2 == 1] = -1.0 / (np.pi * lag[lag % 2 == 1]) ** 2
    response = scipy.fft.rfft(ramp).real / pixel_m
    share = np.linspace(0, 1, len(response)) / cutoff
    window = np.ones_like(share)
    if filter == "shepp-logan":
        window = np.sinc(share / 2)
    elif filter == "hann":
        window = 0.5 + 0.5 * np.cos(np.pi * share)
    return np.asarray(np.where(share <= 1 + 1e-12, response * window, 0.0))


def filter_columns(
    projections: NDArray, response: NDArray, weights: NDArray[np.float64], threads: int = 1, padding: str = "zero"
) -> NDArray[np.float32]:
    """Convolve every row with the kernel of `response` and multiply each view by its weight; `padding` as in `fbp`."""
    check_one_of("padding", padding, PADDINGS)
    views, _, cols = projections.shape
    length = 2 * (len(response) - 1)
    out = np.empty(projections.shape, np.float32)

    def task(i: int) -> None:
        part = slice(i * _CHUNK, (i + 1) * _CHUNK)
        seen = np.asarray(projections[part], np.float32)
        spectrum = scipy.fft.rfft(seen if padding == "zero" else _beyond_edges(seen, length), length, axis=2)
        spectrum *= (weights[part, None, None] * response).astype(np.complex64 if np.iscomplexobj(response) else np.float32)
        out[part] = scipy.fft.irfft(spectrum, length, axis=2)[:, :, :cols]

    run_tasks(task, -(-views // _CHUNK), threads)
    return out


def _beyond_edges(seen: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Rows continued to `length`, on the right and, around the end, on the left: edges that fade over half the width."""
    cols = seen.shape[2]
    width, fade = min(_EDGE, cols), min(cols // 2, (length - cols) // 2)
    falling = (0.5 + 0.5 * np.cos(np.pi * (np.arange(fade) + 1) / (fade + 1))).astype(np.float32)
    out = np.zeros((*seen.shape[:2], length), np.float32)
    out[..., :cols] = seen
    out[..., cols : cols + fade] = seen[..., -width:].mean(axis=2, keepdims=True) * falling
    out[..., length - fade :] = seen[..., :width].mean(axis=2, keepdims=True) * falling[::-1]
    return out


def neighbour_covariance(
    variance: NDArray, response: NDArray, weights: NDArray, *, lags: int, pad: int
) -> NDArray[np.float32]:
    """Covariances of filtered columns, (view, padded col, lag, row): C[j, m] = w Σ_i h[j − i] h[j + m − i] var_i."""
    views, rows, cols = variance.shape
    length = 2 * (len(response) - 1)
    kernel = scipy.fft.irfft(response, length)
    spectrum = scipy.fft.rfft(np.asarray(variance, np.float32), length, axis=2)
    out = np.zeros((views, cols + 2 * pad, lags, rows), np.float32)
    for m in range(lags):
        product = scipy.fft.rfft(kernel * np.roll(kernel, -m)).astype(np.complex64)
        covariance = scipy.fft.irfft(spectrum * product, length, axis=2)[:, :, : cols - m]
        covariance *= weights[:, None, None].astype(np.float32)
        out[:, pad : pad + cols - m, m] = covariance.transpose(0, 2, 1)
    return out


def _smooth_placement(geometry: ParallelGeometry, shape: tuple[int, int, int], voxel_m: float) -> tuple[NDArray, int]:
    # Voxels finer than the pixel read a footprint of one pixel, which interpolates instead of repeating columns.
    return view_placement(geometry, shape, voxel_m, footprint_m=_WIDENED * max(voxel_m, geometry.pixel_m))


def _slice_mean(geometry: ParallelGeometry, slices: int, voxel_m: float, power: int = 1) -> NDArray[np.float64] | None:
    """Mean over the rows that a slice covers, (z, row), to a power; zero where there is none, None if row = slice."""
    shares = row_shares(geometry, slices, voxel_m)
    if shares is None:
        return None
    return np.asarray(shares.T / np.maximum(shares.T.sum(axis=1, keepdims=True), 1e-30)) ** power


def _grid(
    projections: NDArray, geometry: ParallelGeometry, shape: tuple[int, int, int] | None, voxel_m: float | None
) -> tuple[tuple[int, int, int], float]:
    check_shape("projections", projections, "view, row, col", (geometry.views, geometry.rows, geometry.cols))
    check_finite("projections", projections)
    shape = shape or (geometry.rows, geometry.cols, geometry.cols)
    voxel_m = geometry.pixel_m if voxel_m is None else voxel_m
    check_grid(shape, voxel_m)
    return shape, voxel_m

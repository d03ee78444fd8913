"""Visibility lost inside a pixel, where the fringe bends more than a pixel tells: at rims and in gentle bends.

The path through a rounded body rises from its rim as a chord of a circle, 2 Δδ √(s (2R − s)), and its slope, the
refraction, is without bound there. Pixels know only the mean path of each; but beside a flat background they tell the
rim's place within its pixel, the radius R and Δδ (`darklung.simulate.rims`), and with these the mean of e^{iφ} over each
pixel is known. Elsewhere the phase is taken to change evenly across a pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darklung.simulate.rim_kernels import STRENGTHS, bend_at_rims
from darklung.simulate.rims import defects, discs, rim_table
from darklung.simulate.rods import on_lines

Map = NDArray[np.float64]

_TRANSPOSED = [1, 0, 3, 2, 4, 5]
_MIXED = np.deg2rad(10.0)


def refraction_within(
    path: Map, *, directions_rad: tuple[float, ...], scales: Map, blur: tuple[float, float], rods: Map | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Loss of visibility by refraction within each pixel, and what it adds to the mean phase there.

    Parameters
    ----------
    path : (row, col)
        Line integral of δ times the fringe phase per refraction angle, over the pixel: its difference between neighbours
        is a fringe phase [rad].
    directions_rad : tuple of float
        α, from the rows' axis.
    scales : (node,)
        δ over that of `path` at the energies wanted.
    blur : (float, float)
        Half-width along the rows' and the columns' axis of the triangle [pixels] by which the voxels' shadows blur a rim,
        beside the pixel's own width: see `shadow_blur`.
    rods : (piece, 6), optional
        Thin rods whose place and width the volume tells: see `darklung.simulate.rods.Rods.seen`.

    Returns
    -------
    loss : (direction, node, row, col) float32
        −ln of the modulus of the mean of e^{i(φ − mean φ)}.
    turn : (direction, row, col) float32
        Mean phase less the central difference of `path` [rad], for scale 1.

    Notes
    -----
    A rim that crosses the pixels' axes is seen along the axis nearer to its normal (at 45° half along either), smeared by
    the pixel's other side. Not modelled: two rims in one pixel that are not of one body (each is taken by itself),
    attenuation within a pixel, bodies thinner than 1.25 pixels (they lose more than is said here), faces along the beam,
    and rims within three pixels of the detector's border. How wide a body is that is thinner than five voxels and not
    square to them is known only roughly, unless it is one of `rods`.
    """
    mean = np.ones((*path.shape, len(directions_rad), len(scales)), dtype=np.complex128)
    bend = np.zeros((*path.shape, len(directions_rad)))
    rim = np.zeros(path.shape, dtype=np.bool_)
    alpha = np.asarray(directions_rad)
    weights = np.stack([np.cos(alpha), np.sin(alpha)])
    strengths, lost = np.log(STRENGTHS), defects()
    rods = np.empty((0, 6)) if rods is None else rods
    lines, turned = on_lines(rods, path.shape[0]), on_lines(rods[:, _TRANSPOSED], path.shape[1])
    bend_at_rims(
        path, *lines, weights[1], weights[0], scales, rim_table(blur[1]), *discs(blur[1]), strengths, lost, mean, bend, rim
    )
    across = (mean.transpose(1, 0, 2, 3), bend.transpose(1, 0, 2), rim.T)
    bend_at_rims(
        path.T, *turned, weights[0], weights[1], scales, rim_table(blur[0]), *discs(blur[0]), strengths, lost, *across
    )
    even = np.where(rim, 0.0, _even_bend(path, weights))
    loss, turn = even[:, None] * scales[:, None, None] ** 2, np.ascontiguousarray(bend.transpose(2, 0, 1))
    bent, middle = mean[rim], len(scales) // 2
    with np.errstate(divide="ignore"):
        loss[..., rim] = np.moveaxis(np.log(bent.real**2 + bent.imag**2), 0, -1) / -2
    turn[:, rim] += np.angle(bent[..., middle]).T / scales[middle]
    return loss.astype(np.float32), turn.astype(np.float32)


def shadow_blur(angle_rad: float, fan_rad: float = 0.0) -> float:
    """Half-width [pixels] of the triangle that a voxel's own share and its shadow make, seen at `angle_rad` from its side.

    0 square to the pixels, where voxels lie behind each other; else their shadows fall anywhere, and 1, with square roots
    between (a body of some voxels' depth mixes their places at a few degrees, as do rays that diverge by `fan_rad`). In
    quarters, so that tables can be kept.
    """
    square = abs((angle_rad + np.pi / 4) % (np.pi / 2) - np.pi / 4)
    return round(4 * min(1.0, (max(square, fan_rad) / _MIXED) ** 0.5)) / 4


def _even_bend(path: Map, weights: Map) -> Map:
    """Half the variance of a phase that changes evenly across the pixel: (its change along rows² + along columns²)/24."""
    rows, cols = _gentle(path.T).T, _gentle(path)
    mixed = np.gradient(np.gradient(path, axis=1), axis=0) if len(path) > 1 else np.zeros_like(path)
    bends = [(cos * rows + sin * mixed) ** 2 + (cos * mixed + sin * cols) ** 2 for cos, sin in weights.T]
    return np.stack(bends) / 24


def _gentle(path: Map) -> Map:
    """Second differences along lines, 0 at the ends; at most twice the larger neighbour of their sign.

    For a face along the beam is no bend.
    """
    padded = np.pad(np.diff(path, 2, axis=1), ((0, 0), (2, 2)))
    near = np.maximum(padded[:, 2:] * np.sign(padded[:, 1:-1]), padded[:, :-2] * np.sign(padded[:, 1:-1]))
    gentle = np.sign(padded[:, 1:-1]) * np.minimum(np.abs(padded[:, 1:-1]), 2 * np.maximum(near, 0))
    return np.asarray(gentle[:, : path.shape[1]])

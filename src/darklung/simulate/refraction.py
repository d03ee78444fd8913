"""Visibility lost inside a pixel, where the fringe bends more than a pixel tells: at rims and in gentle bends.

The path through a rounded body rises from its rim as a chord of a circle, 2 Δδ √(s (2R − s)), and its slope, the
refraction, is without bound there. Pixels know only the mean path of each; but beside a flat background they tell the
rim's place within its pixel, the radius R and Δδ (`darklung.simulate.rims`), and with these the mean of e^{iφ} over each
pixel is known. Elsewhere the phase is taken to change evenly across a pixel.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from darklung.simulate.rims import FAINTEST, MISFIT, added, discs, fit_rim, is_best, lean_of, refine, rim_table

Map = NDArray[np.float64]

_STRENGTHS, _ANGLES = np.geomspace(1e-4, 30, 80), np.geomspace(2e-3, np.pi / 2, 80)
_MIXED = np.deg2rad(10.0)
_FIRST, _STEP = float(np.log(_ANGLES[0])), float(np.log(_ANGLES[1] / _ANGLES[0]))
_STRAIGHT = 0.02  # what leans less is not smeared
_SMEARED = 5  # places across the smear at which it is worked out


def refraction_within(
    path: Map, *, directions_rad: tuple[float, ...], scales: Map, blur: tuple[float, float]
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
    square to them is known only roughly.
    """
    shape = (len(directions_rad), len(scales), *path.shape)
    mean = np.ones(shape, dtype=np.complex128)
    turn = np.zeros((shape[0], *path.shape))
    rim = np.zeros(path.shape, dtype=np.bool_)
    alpha = np.asarray(directions_rad)
    weights = np.stack([np.cos(alpha), np.sin(alpha)])
    strengths, defects = np.log(_STRENGTHS), _defects()
    _rims(path, weights[1], weights[0], scales, rim_table(blur[1]), *discs(blur[1]), strengths, defects, mean, turn, rim)
    across = (mean.transpose(0, 1, 3, 2), turn.transpose(0, 2, 1), rim.T)
    _rims(path.T, weights[0], weights[1], scales, rim_table(blur[0]), *discs(blur[0]), strengths, defects, *across)
    loss, bent = np.zeros(shape), (mean != 1).any(axis=(0, 1))
    with np.errstate(divide="ignore"):
        loss[..., bent] = -np.log(np.abs(mean[..., bent]))
    middle = len(scales) // 2
    turn[..., bent] += np.angle(mean[:, middle][..., bent]) / scales[middle]
    even = np.where(rim, 0.0, _even_bend(path, weights))
    return (loss + even[:, None] * scales[:, None, None] ** 2).astype(np.float32), turn.astype(np.float32)


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
    rows, cols = _gentle(np.diff(path, 2, axis=0).T).T, _gentle(np.diff(path, 2, axis=1))
    mixed = np.gradient(np.gradient(path, axis=1), axis=0) if len(path) > 1 else np.zeros_like(path)
    bends = [(cos * rows + sin * mixed) ** 2 + (cos * mixed + sin * cols) ** 2 for cos, sin in weights.T]
    return np.stack(bends) / 24


def _gentle(change: Map) -> Map:
    """Second differences, at most twice the larger neighbour of their sign: a face along the beam is no bend.

    (line, pixel − 2), with zeros for the two ends in the answer.
    """
    padded = np.pad(change, ((0, 0), (2, 2)))
    near = np.maximum(padded[:, 2:] * np.sign(padded[:, 1:-1]), padded[:, :-2] * np.sign(padded[:, 1:-1]))
    return np.asarray(np.sign(padded[:, 1:-1]) * np.minimum(np.abs(padded[:, 1:-1]), 2 * np.maximum(near, 0)))


@lru_cache(maxsize=1)
def _defects() -> NDArray[np.complex128]:
    """What a disc's half takes off the mean, ∫₀^θ (1 − e^{i t cot θ'}) sin θ' dθ' / t², (t, θ) over their logarithms."""
    edges = np.concatenate([np.zeros(1), np.geomspace(1e-6, np.pi / 2, 20001)])
    middle = np.sqrt(np.maximum(edges[1:], 1e-12) * np.maximum(edges[:-1], 1e-12))
    weight = np.diff(edges) * np.sin(middle)
    table = []
    for t in _STRENGTHS:
        running = np.cumsum((1 - np.exp(1j * t / np.tan(middle))) * weight)
        table.append((np.interp(_ANGLES, edges[1:], running.real) + 1j * np.interp(_ANGLES, edges[1:], running.imag)) / t**2)
    return np.array(table)


@njit(cache=True, error_model="numpy")
def _rims(path, along, across, scales, table, discs, lengths, strengths, defects, mean, turn, rim):  # type: ignore[no-untyped-def]
    """Find the rims on each line of `path`, and take them off `mean`, (direction, node, line, pixel)."""
    lines, count = path.shape
    fits, spots = np.full((2, count, 5), np.inf), np.empty((3, _SMEARED))
    for line in range(lines):
        found = False
        for side in range(2):
            for e in range(3, count - 3):
                fit_rim(path[line], e, 1 - 2 * side, table, fits[side, e])
                if fits[side, e, 0] < MISFIT:
                    found, step = True, 1 - 2 * side
                    refine(path[line], e, step, lean_of(path, line, e, step), discs, lengths, fits[side, e])
        if not found:
            continue
        for side in range(2):
            for e in range(3, count - 3):
                if fits[side, e, 0] < MISFIT and is_best(fits, side, e):
                    step, fit = 1 - 2 * side, fits[side, e].copy()
                    lean = lean_of(path, line, e, step)
                    weight = min(0.5 + 2.5 * (1 - abs(lean)), 1.0)  # at 45° half comes from either axis
                    if weight > 0:
                        moved = int(np.floor(fit[1]))
                        at, fit[1] = min(max(e - step * moved, 3), count - 4), fit[1] - moved
                        rim[line, at - 1 : at + 2] = True
                        _angles(fit, lean, spots)
                        for d in range(len(along)):
                            share = along[d] + lean * across[d]
                            _take(path[line], at, step, fit, weight * share, turn[d, line])
                            for k in range(len(scales)):
                                strength = share * scales[k]
                                _bend(at, step, fit, strength, weight, spots, strengths, defects, mean[d, k, line])


@njit(cache=True)
def _take(line, e, step, fit, share, turn):  # type: ignore[no-untyped-def]
    """Take the central difference of what the rim adds off `turn`, in its pixel and either neighbour."""
    q0, q1, q2 = added(line, e, step, 0), added(line, e, step, 1), added(line, e, step, 2)
    width = int(np.ceil(2 * fit[2] - fit[1]))  # pixels to the other rim, which takes its own
    inner = 1.0 if width > 2 else (0.5 if width == 2 else 0.0)
    for j, difference in ((-1, q0), (0, q1), (1, inner * (q2 - q0))):
        turn[e + j * step] -= share * step * difference / 2


@njit(cache=True, error_model="numpy")
def _angles(fit, lean, spots):  # type: ignore[no-untyped-def]
    """Where on the table's axis of angles the inner sides of the pixels about a rim lie, smeared by their other side.

    (pixel, place) from the pixel before the rim's; −1 outside the disc. What does not lean has one place, then NaN.
    """
    smear = min(abs(lean), 1.0)
    places = _SMEARED if smear > _STRAIGHT else 1
    spots[:] = np.nan
    for j in range(3):
        for n in range(places):
            depth = fit[1] + j - 1 + smear * ((n + 0.5) / places - 0.5)
            angle = np.arccos(1 - min(max(depth, 0.0) / fit[2], 1.0))
            spots[j, n] = max((np.log(angle) - _FIRST) / _STEP, 0.0) if angle > 0 else -1.0


@njit(cache=True, error_model="numpy")
def _bend(e, step, fit, scale, weight, spots, strengths, defects, mean):  # type: ignore[no-untyped-def]
    """Take the rim's half of a disc off the mean of e^{iφ} in its pixel, the next, and that before if it is smeared."""
    strength = 2 * abs(fit[3] * scale)
    if strength < FAINTEST / 10:
        return
    row = (np.log(strength) - strengths[0]) / (strengths[1] - strengths[0])
    i = min(max(int(row), 0), len(strengths) - 2)
    part = min(max(row - i, 0.0), 1.0)
    before, amount = 0j, weight * fit[2] * strength**2
    for j in range(3):
        running = amount * _running(spots[j], defects[i], defects[i + 1], part)
        lost = running - before
        before = running
        mean[e + (j - 1) * step] -= lost if step * fit[3] * scale > 0 else np.conj(lost)


@njit(cache=True, error_model="numpy")
def _running(spots, weaker, stronger, part):  # type: ignore[no-untyped-def]
    """What the rim's half of a disc takes off up to a pixel's inner side: the mean over the places that it has."""
    total, count = 0j, 0
    for spot in spots:
        if np.isnan(spot):
            break
        count += 1
        if spot >= 0:
            k = min(int(spot), len(weaker) - 2)
            b = min(spot - k, 1.0)
            total += (1 - part) * ((1 - b) * weaker[k] + b * weaker[k + 1])
            total += part * ((1 - b) * stronger[k] + b * stronger[k + 1])
    return total / count

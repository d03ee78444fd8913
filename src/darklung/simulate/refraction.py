"""Visibility lost inside a pixel, where the fringe bends more than a pixel tells: at rims and in gentle bends.

The path through a rounded body rises from its rim as a chord of a circle, 2 Δδ √(s (2R − s)), and its slope, the
refraction, is without bound there. Pixels know only the mean path of each; but four of them beside a flat background
tell the rim's place within its pixel, the radius R and Δδ, and with these the mean of e^{iφ} over each pixel is known.
Elsewhere the phase is taken to change evenly across a pixel.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.interpolate import griddata

Map = NDArray[np.float64]

LEAST_RADIUS = 0.625
"""Pixels. What is thinner does not show its width, and is taken as 1.25 pixels wide."""
_RADII = np.geomspace(LEAST_RADIUS, 1e3, 48)
_SHARES = np.linspace(0, 1, 41)
_GRID = 65  # nodes of the table of rims along either ratio
_RATIOS = ((0.0, 0.9), (0.3, 1.0))
_STRENGTHS, _ANGLES = np.geomspace(1e-4, 30, 80), np.geomspace(2e-3, np.pi / 2, 80)
_MISFIT = 0.3  # of what a rim adds to three pixels: more, and it is none
_MIXED = np.deg2rad(10.0)
_SPARSE = 0.015  # between the discs of the table
_APART = 1.5  # pixels: of nearer rims only the best is one; twice that for one that rises and one that falls
_FIRST, _STEP = float(np.log(_ANGLES[0])), float(np.log(_ANGLES[1] / _ANGLES[0]))
_FAINTEST = 1e-3  # rad: what refracts less loses less than 1e-5


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
    A rim that crosses the pixels' axes is seen along the axis nearer to its normal (at 45° half along either), and its
    smear over the pixel's other side is left out. Not modelled: two rims in one pixel that are not of one body (each is
    taken by itself), attenuation within a pixel, bodies thinner than 1.25 pixels (they lose more than is said here), faces
    along the beam, and rims within three pixels of the detector's border.
    """
    shape = (len(directions_rad), len(scales), *path.shape)
    mean = np.ones(shape, dtype=np.complex128)
    turn = np.zeros((shape[0], *path.shape))
    rim = np.zeros(path.shape, dtype=np.bool_)
    alpha = np.asarray(directions_rad)
    weights = np.stack([np.cos(alpha), np.sin(alpha)])
    strengths, defects = np.log(_STRENGTHS), _defects()
    _rims(path, weights[1], weights[0], scales, rim_table(blur[1]), strengths, defects, mean, turn, rim)
    across = (mean.transpose(0, 1, 3, 2), turn.transpose(0, 2, 1), rim.T)
    _rims(path.T, weights[0], weights[1], scales, rim_table(blur[0]), strengths, defects, *across)
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


def _area(depth: Map, radius: Map) -> Map:
    """Part of a disc between its rim and a chord at `depth`."""
    cut = np.clip(depth, 0, 2 * radius)
    inner = radius - cut
    return np.asarray(radius**2 * np.arccos(np.clip(inner / radius, -1, 1)) - inner * np.sqrt(cut * (2 * radius - cut)))


@lru_cache(maxsize=8)
def rim_table(blur: float) -> NDArray[np.float64]:
    """Rims by what they add to the first three pixels q0, q1, q2, (5, node, node).

    Axes: q0/(q0 + q1) and (q0 + q1)/(q0 + q1 + q2). Values: the rim's distance from its pixel's inner side, 1/R, the sum of
    the three for 2 Δδ = 2/√R, q3 over the sum, and how far the nearest disc's ratios are off.
    """
    share, radius = (part.ravel() for part in np.meshgrid(_SHARES, _RADII, indexing="ij"))
    offsets = np.arange(-4, 5) / 5
    kernel = (1 - np.abs(offsets)) / (1 - np.abs(offsets)).sum()
    inside = [sum(w * _area(share + j + blur * o, radius) for o, w in zip(offsets, kernel)) for j in range(-3, 4)]
    pixels = np.diff(np.stack(inside), axis=0)  # −2 to 3
    first = pixels[1]
    q0, q1, q2, q3 = (pixels[2 + j] - first - (j + 1) * (first - pixels[0]) for j in range(4))
    total = q0 + q1 + q2
    told = (2 * radius > 1 + share) | (radius < 1.01 * LEAST_RADIUS)  # of what fits into two pixels, the thinnest
    known = np.stack([q0 / (q0 + q1), (q0 + q1) / total], axis=1)[told]
    values = np.stack([share, 1 / radius, total / np.sqrt(radius), q3 / total, 0 * total], axis=1)[told]
    axes = [np.linspace(low, high, _GRID) for low, high in _RATIOS]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    found = griddata(known, values, nodes, method="linear")
    near = griddata(known, np.column_stack([values, known]), nodes, method="nearest")
    found = np.where(np.isnan(found), near[..., :5], found)
    found[..., 4] = np.maximum(np.hypot(*np.moveaxis(near[..., 5:] - nodes, -1, 0)) - _SPARSE, 0)
    return np.ascontiguousarray(np.moveaxis(found, -1, 0))


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
def _rims(path, along, across, scales, table, strengths, defects, mean, turn, rim):  # type: ignore[no-untyped-def]
    """Find the rims on each line of `path`, and take them off `mean`, (direction, node, line, pixel)."""
    lines, count = path.shape
    fits = np.full((2, count, 5), np.inf)
    for line in range(lines):
        found = False
        for side in range(2):
            for e in range(3, count - 3):
                _fit(path[line], e, 1 - 2 * side, table, fits[side, e])
                found = found or fits[side, e, 0] < _MISFIT
        if not found:
            continue
        for side in range(2):
            for e in range(3, count - 3):
                if fits[side, e, 0] < _MISFIT and _best(fits, side, e):
                    step = 1 - 2 * side
                    lean = _lean(path, line, e, step)
                    weight = min(0.5 + 2.5 * (1 - abs(lean)), 1.0)  # at 45° half comes from either axis
                    if weight > 0:
                        rim[line, e - 1 : e + 2] = True
                        for d in range(len(along)):
                            share = along[d] + lean * across[d]
                            _take(path[line], e, step, fits[side, e], weight * share, turn[d, line])
                            for k in range(len(scales)):
                                strength = share * scales[k]
                                _bend(e, step, fits[side, e], strength, weight, strengths, defects, mean[d, k, line])


@njit(cache=True)
def _added(line, e, step, j):  # type: ignore[no-untyped-def]
    """What stands on the straight continuation of the two pixels before pixel e, j pixels on."""
    first = line[e - step]
    return line[e + j * step] - first - (j + 1) * (first - line[e - 2 * step])


@njit(cache=True)
def _between(values, i, j, a, b):  # type: ignore[no-untyped-def]
    """Of four nodes, a of the way along the first axis and b along the second."""
    low = (1 - b) * values[i, j] + b * values[i, j + 1]
    return (1 - a) * low + a * ((1 - b) * values[i + 1, j] + b * values[i + 1, j + 1])


@njit(cache=True, error_model="numpy")
def _fit(line, e, step, table, out):  # type: ignore[no-untyped-def]
    """The disc whose rim lies in pixel e and whose inner side is towards `step`: misfit, share, R, signed Δδ, its sign."""
    out[0] = np.inf
    q0, q1, q2 = _added(line, e, step, 0), _added(line, e, step, 1), _added(line, e, step, 2)
    total = q0 + q1 + q2
    if abs(q0 + q1) < _FAINTEST or min(q0 * total, q1 * total, q2 * total) < -1e-6 * total**2:
        return
    sign, before, first = np.sign(total), line[e - 2 * step], line[e - step]
    uneven = abs(first - 2 * before + line[e - 3 * step]) / abs(q0 + q1)
    falling = max((before - first) * sign, 0.0) / abs(q0 + q1)  # a slope that ends is no rim
    if uneven + falling / 2 >= _MISFIT:
        return
    nodes = table.shape[1]
    u = (q0 / (q0 + q1) - _RATIOS[0][0]) / (_RATIOS[0][1] - _RATIOS[0][0]) * (nodes - 1)
    v = ((q0 + q1) / total - _RATIOS[1][0]) / (_RATIOS[1][1] - _RATIOS[1][0]) * (nodes - 1)
    i, j = min(max(int(u), 0), nodes - 2), min(max(int(v), 0), nodes - 2)
    a, b = min(max(u - i, 0.0), 1.0), min(max(v - j, 0.0), 1.0)
    share, curvature, summed, fourth, off = (
        _between(table[0], i, j, a, b),
        _between(table[1], i, j, a, b),
        _between(table[2], i, j, a, b),
        _between(table[3], i, j, a, b),
        _between(table[4], i, j, a, b),
    )
    beyond = abs(_added(line, e, step, 3) / total - fourth)
    out[0] = uneven + beyond + 1.5 * off + falling / 2
    out[1], out[2], out[4] = share, 1 / curvature, sign
    out[3] = total / (summed * np.sqrt(out[2]))


@njit(cache=True)
def _best(fits, side, e):  # type: ignore[no-untyped-def]
    """Whether no better fit says the same rim: near it, from the same side, or from the other with the other sign."""
    mine = e + (0.5 - fits[side, e, 1]) * (1 - 2 * side)
    for other in range(2):
        for f in range(max(e - 4, 0), min(e + 5, fits.shape[1])):
            rival = fits[other, f]
            if (other == side and f == e) or rival[0] > fits[side, e, 0] + 1e-6 or rival[0] >= _MISFIT:
                continue
            place = f + (0.5 - rival[1]) * (1 - 2 * other)
            between = (place - mine) * (1 - 2 * side) > 0  # the two sides of one thin body
            if other != side and between and rival[4] == fits[side, e, 4]:
                continue
            tie = rival[0] > fits[side, e, 0] - 1e-6
            apart = _APART if rival[4] == fits[side, e, 4] else 2 * _APART
            if abs(place - mine) < apart and not (tie and other == side and rival[1] > fits[side, e, 1]):
                return False
    return True


@njit(cache=True, error_model="numpy")
def _lean(path, line, e, step):  # type: ignore[no-untyped-def]
    """Slope of the path across the lines over that along them, at a rim."""
    above, below = min(line + 1, path.shape[0] - 1), max(line - 1, 0)
    if above - below < 2:
        return 0.0
    risen = 0.0
    for j in range(-1, 2):
        at, ground = e + j * step, e - 2 * step
        risen += (path[above, at] - path[below, at] - path[above, ground] + path[below, ground]) / 2
    end = (_added(path[line], e, step, 1) + _added(path[line], e, step, 2)) / 2
    return step * risen / end


@njit(cache=True)
def _take(line, e, step, fit, share, turn):  # type: ignore[no-untyped-def]
    """Take the central difference of what the rim adds off `turn`, in its pixel and either neighbour."""
    q0, q1, q2 = _added(line, e, step, 0), _added(line, e, step, 1), _added(line, e, step, 2)
    width = int(np.ceil(2 * fit[2] - fit[1]))  # pixels to the other rim, which takes its own
    inner = 1.0 if width > 2 else (0.5 if width == 2 else 0.0)
    for j, difference in ((-1, q0), (0, q1), (1, inner * (q2 - q0))):
        turn[e + j * step] -= share * step * difference / 2


@njit(cache=True, error_model="numpy")
def _bend(e, step, fit, scale, weight, strengths, defects, mean):  # type: ignore[no-untyped-def]
    """Take the rim's half of a disc off the mean of e^{iφ} in its pixel and the next."""
    strength = 2 * abs(fit[3] * scale)
    if strength < _FAINTEST / 10:
        return
    row = (np.log(strength) - strengths[0]) / (strengths[1] - strengths[0])
    i = min(max(int(row), 0), len(strengths) - 2)
    part = min(max(row - i, 0.0), 1.0)
    before = 0j
    for j in range(2):
        depth = min((fit[1] + j) / fit[2], 1.0)
        angle = np.log(max(np.arccos(1 - depth), 1e-9))
        place = (angle - _FIRST) / _STEP
        k = min(max(int(place), 0), defects.shape[1] - 2)
        b = min(max(place - k, 0.0), 1.0)
        low = (1 - b) * defects[i, k] + b * defects[i, k + 1]
        high = (1 - b) * defects[i + 1, k] + b * defects[i + 1, k + 1]
        running = fit[2] * strength**2 * ((1 - part) * low + part * high)
        lost = weight * (running - before)
        before = running
        mean[e + j * step] -= lost if step * fit[3] * scale > 0 else np.conj(lost)

"""Rims of rounded bodies on a line of pixels: the disc, its place within the pixel, its radius and contrast.

First from three pixels beside a flat background, by a table; then, where voxels or pixels do not lie square to the rim and
blur it, from the whole window about it, by its likeness to discs so blurred.
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
MISFIT = 0.3
"""Of what a rim adds to three pixels: more, and it is none."""
FAINTEST = 1e-3
"""Radians: what refracts less loses less than 1e-5."""
_RADII = np.geomspace(LEAST_RADIUS, 1e3, 48)
_FIRST_RADIUS, _RADIUS_STEP = float(np.log(_RADII[0])), float(np.log(_RADII[1] / _RADII[0]))
_SHARES = np.linspace(0, 1, 41)
_GRID = 65  # nodes of the table of rims along either ratio
_RATIOS = ((0.0, 0.9), (0.3, 1.0))
_SPARSE = 0.015  # between the discs of the table
_APART = 1.5  # pixels: of nearer rims only the best is one; twice that for one that rises and one that falls
_WINDOW = np.arange(-3, 8)  # pixels from the rim's, inwards, that are compared with discs
_PLACES = np.linspace(-1, 2, 25)
_COARSE = 5  # of the radii only each so manieth is tried first
_LEANS = 5  # from 0 to 1, of which discs are kept
_UNLIKE = 0.1  # part of the window that a disc may leave, or the first fit stays
_WEAK = 2e-4  # Δδ² R: a rim that loses less than 1e-3 or so is left as it is


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


@lru_cache(maxsize=8)
def discs(blur: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Discs in the window's pixels without what is straight in them, (lean, R, place, pixel), of length 1; the lengths.

    A rim that leans across the lines is smeared by the pixel's other side, a box as wide as it leans. Lengths are 0 where
    nothing blurs it: the first fit is exact there.
    """
    edges = np.append(_WINDOW - 1, _WINDOW[-1])[:, None, None] + _PLACES
    straight = np.linalg.qr(np.stack([np.ones(len(_WINDOW)), _WINDOW], axis=1))[0]
    found = []
    for lean in np.linspace(0, 1, _LEANS):
        offsets, weights = _smear(blur, lean)
        inside = sum(w * _area(edges + o, _RADII[:, None]) for o, w in zip(offsets, weights))
        pixels = np.moveaxis(np.diff(inside, axis=0), 0, -1)
        found.append(pixels - (pixels @ straight) @ straight.T)
    bent = np.stack(found)
    length = np.linalg.norm(bent, axis=-1)
    shapes = bent / length[..., None]
    length[0] *= blur > 0
    return shapes, length


def _smear(blur: float, lean: float) -> tuple[Map, Map]:
    """Offsets and weights of a triangle of half-width `blur` and a box as wide as `lean`."""
    fifths = np.arange(-4, 5) / 5 if blur else np.zeros(1)
    quarters = (np.arange(4) - 1.5) / 4 if lean else np.zeros(1)
    weights = np.repeat((1 - np.abs(fifths)) / (1 - np.abs(fifths)).sum() / len(quarters), len(quarters))
    return np.add.outer(blur * fifths, lean * quarters).ravel(), weights


@njit(cache=True)
def added(line, e, step, j):  # type: ignore[no-untyped-def]
    """What stands on the straight continuation of the two pixels before pixel e, j pixels on."""
    first = line[e - step]
    return line[e + j * step] - first - (j + 1) * (first - line[e - 2 * step])


@njit(cache=True)
def _between(values, i, j, a, b):  # type: ignore[no-untyped-def]
    """Of four nodes, a of the way along the first axis and b along the second."""
    low = (1 - b) * values[i, j] + b * values[i, j + 1]
    return (1 - a) * low + a * ((1 - b) * values[i + 1, j] + b * values[i + 1, j + 1])


@njit(cache=True, error_model="numpy")
def fit_rim(line, e, step, table, out):  # type: ignore[no-untyped-def]
    """The disc whose rim lies in pixel e and whose inner side is towards `step`: misfit, share, R, signed Δδ, its sign."""
    out[0] = np.inf
    q0, q1, q2 = added(line, e, step, 0), added(line, e, step, 1), added(line, e, step, 2)
    total = q0 + q1 + q2
    if abs(q0 + q1) < FAINTEST or min(q0 * total, q1 * total, q2 * total) < -1e-6 * total**2:
        return
    sign, before, first = np.sign(total), line[e - 2 * step], line[e - step]
    uneven = abs(first - 2 * before + line[e - 3 * step]) / abs(q0 + q1)
    falling = max((before - first) * sign, 0.0) / abs(q0 + q1)  # a slope that ends is no rim
    if uneven + falling / 2 >= MISFIT:
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
    beyond = abs(added(line, e, step, 3) / total - fourth)
    out[0] = uneven + beyond + 1.5 * off + falling / 2
    out[1], out[2], out[4] = share, 1 / curvature, sign
    out[3] = total / (summed * np.sqrt(out[2]))


@njit(cache=True)
def is_best(fits, side, e):  # type: ignore[no-untyped-def]
    """Whether no better fit says the same rim: near it, from the same side, or from the other with the other sign."""
    mine = e + (0.5 - fits[side, e, 1]) * (1 - 2 * side)
    for other in range(2):
        for f in range(max(e - 4, 0), min(e + 5, fits.shape[1])):
            rival = fits[other, f]
            if (other == side and f == e) or rival[0] > fits[side, e, 0] + 1e-6 or rival[0] >= MISFIT:
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
def lean_of(path, line, e, step):  # type: ignore[no-untyped-def]
    """Slope of the path across the lines over that along them, at a rim."""
    above, below = min(line + 1, path.shape[0] - 1), max(line - 1, 0)
    if above - below < 2:
        return 0.0
    risen = 0.0
    for j in range(-1, 2):
        at, ground = e + j * step, e - 2 * step
        risen += (path[above, at] - path[below, at] - path[above, ground] + path[below, ground]) / 2
    end = (added(path[line], e, step, 1) + added(path[line], e, step, 2)) / 2
    return step * risen / end


@njit(cache=True, error_model="numpy")
def refine(line, e, step, lean, discs, lengths, fit):  # type: ignore[no-untyped-def]
    """Take the disc most like the window about pixel e instead of the first fit, if one is like it: it then goes first."""
    first, last = e + step * _WINDOW[0], e + step * _WINDOW[-1]
    if min(first, last) < 0 or max(first, last) >= len(line) or fit[3] ** 2 * fit[2] < _WEAK:
        return
    leaning = int(np.round(min(abs(lean), 1.0) * (_LEANS - 1)))
    if lengths[leaning, 0, 0] == 0:
        return
    values = _bent(line, first, step, discs.shape[3]) * fit[4]
    radius, place, like = _search(values, discs[leaning], (fit[1] - _PLACES[0]) / (_PLACES[1] - _PLACES[0]))
    size = _like(values, values)
    if like <= 0 or size - like**2 > _UNLIKE**2 * size:
        return
    i, k = min(int(radius), discs.shape[1] - 2), min(max(int(place), 0), discs.shape[2] - 2)
    fit[0] -= MISFIT
    fit[1] = _PLACES[0] + place * (_PLACES[1] - _PLACES[0])
    fit[2] = np.exp(_FIRST_RADIUS + radius * _RADIUS_STEP)
    fit[3] = fit[4] * like / _between(lengths[leaning], i, k, radius - i, place - k)


@njit(cache=True)
def _bent(line, first, step, count):  # type: ignore[no-untyped-def]
    """`count` pixels from `first` without what is straight in them."""
    values, mean, slope, middle = np.empty(count), 0.0, 0.0, (count - 1) / 2
    for j in range(count):
        values[j] = line[first + step * j]
        mean += values[j] / count
        slope += values[j] * (j - middle) * 12 / (count * (count**2 - 1))
    for j in range(count):
        values[j] -= mean + slope * (j - middle)
    return values


@njit(cache=True, error_model="numpy")
def _search(values, discs, start):  # type: ignore[no-untyped-def]
    """Number of the likest radius and of its place, between the nodes, and the likeness: coarse, uphill, by a parabola."""
    radii = discs.shape[0]
    i, best, kb = 1, -1.0, start
    for n in range(1, radii - 1, _COARSE):
        like, place = _likest(values, discs[n], start)
        if like > best:
            i, best, kb = n, like, place
    low, kl = _likest(values, discs[i - 1], kb)
    high, kh = _likest(values, discs[i + 1], kb)
    while low > best and i > 1:
        i -= 1
        high, kh, best, kb = best, kb, low, kl
        low, kl = _likest(values, discs[i - 1], kb)
    while high > best and i < radii - 2:
        i += 1
        low, kl, best, kb = best, kb, high, kh
        high, kh = _likest(values, discs[i + 1], kb)
    bend, tilt = low - 2 * best + high, (high - low) / 2
    part = min(max(-tilt / bend, -1.0), 1.0) if bend < 0 else 0.0
    place = kb + (kh - kl) / 2 * part + (kl - 2 * kb + kh) / 2 * part**2
    return i + part, place, best + tilt * part + bend * part**2 / 2


@njit(cache=True)
def _likest(values, discs, start):  # type: ignore[no-untyped-def]
    """Largest likeness of discs of one radius, uphill from place `start`, and its place, by a parabola between three."""
    places = discs.shape[0]
    k = min(max(int(np.round(start)), 1), places - 2)
    before, here, after = _like(values, discs[k - 1]), _like(values, discs[k]), _like(values, discs[k + 1])
    while before > here and k > 1:
        k, after, here = k - 1, here, before
        before = _like(values, discs[k - 1])
    while after > here and k < places - 2:
        k, before, here = k + 1, here, after
        after = _like(values, discs[k + 1])
    bend, tilt = before - 2 * here + after, (after - before) / 2
    step = min(max(-tilt / bend, -1.0), 1.0) if bend < 0 else 0.0
    return here + tilt * step + bend * step**2 / 2, k + step


@njit(cache=True)
def _like(values, disc):  # type: ignore[no-untyped-def]
    """Their product; of so few numbers faster than a library's."""
    total = 0.0
    for j in range(len(values)):
        total += values[j] * disc[j]
    return total

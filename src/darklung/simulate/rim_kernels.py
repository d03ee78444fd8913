"""Kernels that find the rims of rounded bodies on lines of pixels and take what they bend off the mean of e^{iφ}.

All of them in one file: numba does not see that a kernel in another file has changed, and would keep the old one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LEAST_RADIUS = 0.625
"""Pixels. What is thinner does not show its width, and is taken as 1.25 pixels wide."""
MISFIT = 0.3
"""Of what a rim adds to three pixels: more, and it is none."""
FAINTEST = 1e-3
"""Radians: what refracts less loses less than 1e-5."""
RADII = np.geomspace(LEAST_RADIUS, 1e3, 48)
RATIOS = ((0.0, 0.9), (0.3, 1.0))
"""Of the table of rims, along either axis."""
WINDOW = np.arange(-3, 8)
"""Pixels from the rim's, inwards, that are compared with discs."""
_WIDE = len(WINDOW)
PLACES = np.linspace(-1, 2, 25)
LEANS = 5
"""From 0 to 1, of which discs are kept."""
STRENGTHS, ANGLES = np.geomspace(1e-4, 30, 80), np.geomspace(2e-3, np.pi / 2, 80)
_FIRST_RADIUS, _RADIUS_STEP = float(np.log(RADII[0])), float(np.log(RADII[1] / RADII[0]))
_FIRST, _STEP = float(np.log(ANGLES[0])), float(np.log(ANGLES[1] / ANGLES[0]))
_APART = 1.5  # pixels: of nearer rims only the best is one; twice that for one that rises and one that falls
_COARSE = 10  # of the radii only each so manieth is tried first
_UNLIKE = 0.1  # part of the window that a disc may leave, or the first fit stays
_WEAK = 1e-3  # Δδ² R: a rim that loses less than 0.005 or so is left as it is
_THIN = 6.0  # pixels: the window holds the other rim, too
_UPRIGHT = 0.1  # what leans more is blurred, and how much it leans told badly: not to be counted twice
_STRAIGHT = 0.02  # what leans less is not smeared
_SMEARED = 3  # places across the smear at which it is worked out


@njit(cache=True, error_model="numpy")
def bend_at_rims(path, starts, rods, along, across, scales, table, discs, lengths, strengths, defects, mean, turn, rim):  # type: ignore[no-untyped-def]
    """Find the rims on each line of `path`, and take them and those of `rods` off `mean`, (line, pixel, direction, node).

    What belongs to a pixel lies together, and no part of an array is handed on: either would cost more than the sums do.
    """
    lines, count = path.shape
    fits, spots, values = np.full((2, count, 6), np.inf), np.empty((3, _SMEARED, 3)), np.empty(_WIDE)
    for line in range(lines):
        found = False
        for side in range(2):
            for e in range(3, count - 3):
                if _fit_rim(path, line, side, e, table, fits):
                    found = True
                    fits[side, e, 5] = _lean_of(path, line, e, 1 - 2 * side)
                    _refine(path, line, side, e, discs, lengths, values, fits)
        if not found and starts[line] == starts[line + 1]:
            continue
        _complete(fits)
        for rod in range(starts[line], starts[line + 1]):
            _enter(rods, rod, fits)
        for side in range(2):
            for e in range(3, count - 3):
                lean = fits[side, e, 5]
                weight = min(0.5 + 2.5 * (1 - abs(lean)), 1.0)  # at 45° half comes from either axis
                if fits[side, e, 0] < MISFIT and weight > 0 and _is_best(fits, side, e):
                    step, moved = 1 - 2 * side, int(np.floor(fits[side, e, 1]))
                    at, share = min(max(e - step * moved, 3), count - 4), fits[side, e, 1] - moved
                    radius, contrast = fits[side, e, 2], fits[side, e, 3]
                    rim[line, at - 1 : at + 2] = True
                    places = _spots(share, radius, lean, spots)
                    for d in range(len(along)):
                        seen = along[d] + lean * across[d]
                        _take(path, line, at, step, 2 * radius - share, weight * seen, d, turn)
                        for k in range(len(scales)):
                            slope = step * contrast * seen * scales[k]
                            _bend(line, at, step, weight * radius, slope, d, k, places, spots, strengths, defects, mean)


@njit(cache=True)
def _take(path, line, e, step, across, share, d, turn):  # type: ignore[no-untyped-def]
    """Take the central difference of what the rim adds off `turn`, in its pixel and either neighbour."""
    q0, q1, q2 = _added(path, line, e, step, 0), _added(path, line, e, step, 1), _added(path, line, e, step, 2)
    width = int(np.ceil(across))  # pixels to the other rim, which takes its own
    inner = 1.0 if width > 2 else (0.5 if width == 2 else 0.0)
    for j, difference in ((-1, q0), (0, q1), (1, inner * (q2 - q0))):
        turn[line, e + j * step, d] -= share * step * difference / 2


@njit(cache=True, error_model="numpy")
def _spots(share, radius, lean, spots):  # type: ignore[no-untyped-def]
    """Where in the table of angles the inner sides of the pixels about a rim lie, smeared by their other side.

    (pixel, place) from the pixel before the rim's: node, and the weights of it and the next, 0 outside the disc.
    Returns the number of places: what does not lean has one.
    """
    smear = min(abs(lean), 1.0)
    places = _SMEARED if smear > _STRAIGHT else 1
    for j in range(3):
        for n in range(places):
            depth = share + j - 1 + smear * ((n + 0.5) / places - 0.5)
            angle = np.arccos(1 - min(max(depth, 0.0) / radius, 1.0))
            at = max((np.log(angle) - _FIRST) / _STEP, 0.0) if angle > 0 else 0.0
            node = min(int(at), len(ANGLES) - 2)
            part, whole = min(at - node, 1.0), 1 / places if angle > 0 else 0.0
            spots[j, n, 0], spots[j, n, 1], spots[j, n, 2] = node, (1 - part) * whole, part * whole
    return places


@njit(cache=True, error_model="numpy")
def _bend(line, e, step, radius, slope, d, k, places, spots, strengths, defects, mean):  # type: ignore[no-untyped-def]
    """Take the rim's half of a disc off the mean of e^{iφ} in its pixel, the next, and that before if it is smeared."""
    strength = 2 * abs(slope)
    if strength < FAINTEST / 10:
        return
    row = (np.log(strength) - strengths[0]) / (strengths[1] - strengths[0])
    i = min(max(int(row), 0), len(strengths) - 2)
    part = min(max(row - i, 0.0), 1.0)
    amount = radius * strength**2
    weaker, stronger, sign = amount * (1 - part), amount * part, 1.0 if slope > 0 else -1.0
    before, turned = 0.0, 0.0
    for j in range(3):
        real, imag = 0.0, 0.0
        for n in range(places):
            at, low, high = int(spots[j, n, 0]), spots[j, n, 1], spots[j, n, 2]
            real += weaker * (low * defects[i, at, 0] + high * defects[i, at + 1, 0])
            imag += weaker * (low * defects[i, at, 1] + high * defects[i, at + 1, 1])
            real += stronger * (low * defects[i + 1, at, 0] + high * defects[i + 1, at + 1, 0])
            imag += stronger * (low * defects[i + 1, at, 1] + high * defects[i + 1, at + 1, 1])
        mean[line, e + (j - 1) * step, d, k] -= complex(real - before, sign * (imag - turned))
        before, turned = real, imag


@njit(cache=True)
def _added(path, line, e, step, j):  # type: ignore[no-untyped-def]
    """What stands on the straight continuation of the two pixels before pixel e, j pixels on."""
    first = path[line, e - step]
    return path[line, e + j * step] - first - (j + 1) * (first - path[line, e - 2 * step])


@njit(cache=True)
def _between(values, i, j, a, b):  # type: ignore[no-untyped-def]
    """Of four nodes, a of the way along the first axis and b along the second."""
    low = (1 - b) * values[i, j] + b * values[i, j + 1]
    return (1 - a) * low + a * ((1 - b) * values[i + 1, j] + b * values[i + 1, j + 1])


@njit(cache=True, error_model="numpy")
def _fit_rim(path, line, side, e, table, fits):  # type: ignore[no-untyped-def]
    """The disc whose rim lies in pixel e and whose inner side is towards `step`: misfit, share, R, signed Δδ, its sign.

    Whether there is one.
    """
    step = 1 - 2 * side
    fits[side, e, 0] = np.inf
    q0, q1, q2 = _added(path, line, e, step, 0), _added(path, line, e, step, 1), _added(path, line, e, step, 2)
    total = q0 + q1 + q2
    if abs(q0 + q1) < FAINTEST or min(q0 * total, q1 * total, q2 * total) < -1e-6 * total**2:
        return False
    sign, before, first = np.sign(total), path[line, e - 2 * step], path[line, e - step]
    uneven = abs(first - 2 * before + path[line, e - 3 * step]) / abs(q0 + q1)
    falling = max((before - first) * sign, 0.0) / abs(q0 + q1)  # a slope that ends is no rim
    if uneven + falling / 2 >= MISFIT:
        return False
    nodes = table.shape[1]
    u = (q0 / (q0 + q1) - RATIOS[0][0]) / (RATIOS[0][1] - RATIOS[0][0]) * (nodes - 1)
    v = ((q0 + q1) / total - RATIOS[1][0]) / (RATIOS[1][1] - RATIOS[1][0]) * (nodes - 1)
    i, j = min(max(int(u), 0), nodes - 2), min(max(int(v), 0), nodes - 2)
    a, b = min(max(u - i, 0.0), 1.0), min(max(v - j, 0.0), 1.0)
    fourth, off = _between(table[3], i, j, a, b), _between(table[4], i, j, a, b)
    beyond = abs(_added(path, line, e, step, 3) / total - fourth)
    misfit = uneven + beyond + 1.5 * off + falling / 2
    if not misfit < MISFIT:
        return False
    radius = 1 / _between(table[1], i, j, a, b)
    fits[side, e, 0], fits[side, e, 1], fits[side, e, 2] = misfit, _between(table[0], i, j, a, b), radius
    fits[side, e, 3] = total / (_between(table[2], i, j, a, b) * np.sqrt(radius))
    fits[side, e, 4] = sign
    return True


@njit(cache=True)
def _is_best(fits, side, e):  # type: ignore[no-untyped-def]
    """Whether no better fit says the same rim: near it, from the same side, or from the other with the other sign."""
    misfit, mine, sign = fits[side, e, 0], e + (0.5 - fits[side, e, 1]) * (1 - 2 * side), fits[side, e, 4]
    for other in range(2):
        for f in range(max(e - 4, 0), min(e + 5, fits.shape[1])):
            rival = fits[other, f, 0]
            if (other == side and f == e) or rival > misfit + 1e-6 or rival >= MISFIT:
                continue
            alike, place = fits[other, f, 4] == sign, f + (0.5 - fits[other, f, 1]) * (1 - 2 * other)
            between = (place - mine) * (1 - 2 * side) > 0  # the two sides of one thin body
            if other != side and between and alike:
                continue
            tie = rival > misfit - 1e-6
            apart = _APART if alike else 2 * _APART
            if abs(place - mine) < apart and not (tie and other == side and fits[other, f, 1] > fits[side, e, 1]):
                return False
    return True


@njit(cache=True)
def _complete(fits):  # type: ignore[no-untyped-def]
    """The other rim of each thin body whose window told a disc, where nothing that goes before it is known there."""
    for side in range(2):
        for e in range(3, fits.shape[1] - 3):
            across = 2 * fits[side, e, 2] - fits[side, e, 1]  # from the pixel's inner side
            if fits[side, e, 0] >= 0 or across > _THIN or not abs(fits[side, e, 5]) < _UPRIGHT:
                continue
            f = e + (1 - 2 * side) * int(np.ceil(across))
            if 3 <= f < fits.shape[1] - 3 and fits[side, e, 0] < fits[1 - side, f, 0]:
                fits[1 - side, f] = fits[side, e]
                fits[1 - side, f, 1] = 1 - np.ceil(across) + across


@njit(cache=True)
def _enter(rods, rod, fits):  # type: ignore[no-untyped-def]
    """Both rims of a rod known from the volume: before any that the path says, and of one rod's pieces the nearest."""
    place, radius, misfit = rods[rod, 0], rods[rod, 1], rods[rod, 4] - 2
    for side in range(2):
        step = 1 - 2 * side
        rim = place - step * radius
        e = int(np.floor(rim + 0.5))
        if 3 <= e < fits.shape[1] - 3 and misfit < fits[side, e, 0]:
            fits[side, e, 0], fits[side, e, 1], fits[side, e, 2] = misfit, step * (e - rim) + 0.5, radius
            fits[side, e, 3], fits[side, e, 4], fits[side, e, 5] = rods[rod, 2], np.sign(rods[rod, 2]), rods[rod, 3]


@njit(cache=True, error_model="numpy")
def _lean_of(path, line, e, step):  # type: ignore[no-untyped-def]
    """Slope of the path across the lines over that along them, at a rim."""
    above, below = min(line + 1, path.shape[0] - 1), max(line - 1, 0)
    if above - below < 2:
        return 0.0
    risen = 0.0
    for j in range(-1, 2):
        at, ground = e + j * step, e - 2 * step
        risen += (path[above, at] - path[below, at] - path[above, ground] + path[below, ground]) / 2
    end = (_added(path, line, e, step, 1) + _added(path, line, e, step, 2)) / 2
    return step * risen / end


@njit(cache=True, error_model="numpy")
def _refine(path, line, side, e, discs, lengths, values, fits):  # type: ignore[no-untyped-def]
    """Take the disc most like the window about pixel e instead of the first fit, if one is like it: it then goes first."""
    step, share, sign = 1 - 2 * side, fits[side, e, 1], fits[side, e, 4]
    first, last = e + step * WINDOW[0], e + step * WINDOW[-1]
    if min(first, last) < 0 or max(first, last) >= path.shape[1] or fits[side, e, 3] ** 2 * fits[side, e, 2] < _WEAK:
        return
    leaning = int(np.round(min(abs(fits[side, e, 5]), 1.0) * (LEANS - 1)))
    if lengths[leaning, 0, 0] == 0:
        return
    size = _bent(path, line, first, step, sign, values)
    radius, place, like = _search(values, discs[leaning], (share - PLACES[0]) / (PLACES[1] - PLACES[0]))
    if like <= 0 or size - like**2 > _UNLIKE**2 * size:
        return
    i, k = min(int(radius), discs.shape[1] - 2), min(max(int(place), 0), discs.shape[2] - 2)
    fits[side, e, 0] -= MISFIT
    fits[side, e, 1] = PLACES[0] + place * (PLACES[1] - PLACES[0])
    fits[side, e, 2] = np.exp(_FIRST_RADIUS + radius * _RADIUS_STEP)
    fits[side, e, 3] = sign * like / _between(lengths[leaning], i, k, radius - i, place - k)


@njit(cache=True)
def _bent(path, line, first, step, sign, values):  # type: ignore[no-untyped-def]
    """Put pixels from `first` without what is straight in them into `values`; the sum of their squares."""
    count = len(values)
    mean, slope, size, middle = 0.0, 0.0, 0.0, (count - 1) / 2
    for j in range(count):
        values[j] = sign * path[line, first + step * j]
        mean += values[j] / count
        slope += values[j] * (j - middle) * 12 / (count * (count**2 - 1))
    for j in range(count):
        values[j] -= mean + slope * (j - middle)
        size += values[j] ** 2
    return size


@njit(cache=True, error_model="numpy")
def _search(values, discs, start):  # type: ignore[no-untyped-def]
    """Number of the likest radius and of its place, between the nodes, and the likeness: coarse, uphill, by a parabola."""
    radii = discs.shape[0]
    i, best, kb = 1, -1.0, start
    for n in range(1, radii - 1, _COARSE):
        like, place = _likest(values, discs, n, start)
        if like > best:
            i, best, kb = n, like, place
    low, kl = _likest(values, discs, i - 1, kb)
    high, kh = _likest(values, discs, i + 1, kb)
    while low > best and i > 1:
        i -= 1
        high, kh, best, kb = best, kb, low, kl
        low, kl = _likest(values, discs, i - 1, kb)
    while high > best and i < radii - 2:
        i += 1
        low, kl, best, kb = best, kb, high, kh
        high, kh = _likest(values, discs, i + 1, kb)
    bend, tilt = low - 2 * best + high, (high - low) / 2
    part = min(max(-tilt / bend, -1.0), 1.0) if bend < 0 else 0.0
    place = kb + (kh - kl) / 2 * part + (kl - 2 * kb + kh) / 2 * part**2
    return i + part, place, best + tilt * part + bend * part**2 / 2


@njit(cache=True)
def _likest(values, discs, n, start):  # type: ignore[no-untyped-def]
    """Largest likeness of discs of one radius, uphill from place `start`, and its place, by a parabola between three."""
    places = discs.shape[1]
    k = min(max(int(np.round(start)), 1), places - 2)
    before, here, after = _like(values, discs, n, k - 1), _like(values, discs, n, k), _like(values, discs, n, k + 1)
    while before > here and k > 1:
        k, after, here = k - 1, here, before
        before = _like(values, discs, n, k - 1)
    while after > here and k < places - 2:
        k, before, here = k + 1, here, after
        after = _like(values, discs, n, k + 1)
    bend, tilt = before - 2 * here + after, (after - before) / 2
    step = min(max(-tilt / bend, -1.0), 1.0) if bend < 0 else 0.0
    return here + tilt * step + bend * step**2 / 2, k + step


@njit(cache=True)
def _like(values, discs, n, k):  # type: ignore[no-untyped-def]
    """Their product; of so few numbers faster than a library's."""
    total = 0.0
    for j in range(_WIDE):
        total += values[j] * discs[n, k, j]
    return total

"""Thin rods in a volume, told by the voxels of their cross-sections: place, direction, radius and contrast.

A body of one to three voxels across leaves its shadow too few pixels to tell how wide it is: how its mass falls onto the
voxels changes the shadow's second moment as much as its width does. In the volume that is known. By Poisson's sum the first
and second moment of the voxels' shares are the body's own and a series in its Fourier transform at whole numbers, which is
that of a disc (or of the ellipse as which a slanting rod crosses a slice); so its radius follows, wherever it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from darklung.core.geometry import Geometry, centred_axis, pixels_of
from darklung.simulate.rim_kernels import LEAST_RADIUS
from darklung.simulate.rims import part_of_disc

Field = NDArray[np.float64]

_FAINTEST = 1e-4  # Δδ² R: what loses less than 0.0005
_UNEVEN = 0.1  # of the peak, that the ring about a rod may differ from a plane
_ALIKE = 0.2  # part by which the mass of neighbouring slices may differ
_BENT = 0.3  # voxels, of the axis from slice to slice
_STEEPEST = 1.15  # voxels a slice: steeper ones are seen along another axis
_RADII = LEAST_RADIUS * 1.05 ** np.arange(20)  # tried one after the other; thicker ones fill the window
_WIDTHS, _SLOPES, _TOLD = np.linspace(0.6, 2.6, 41), np.linspace(0, 1.2, 7), np.linspace(0, 0.5, 26)
_LEFT = 1e-3  # voxels², of both variances: as good as none
_FULL = 1.15  # of the contrast, that a voxel may have: a rod with soft sides has more
_ROUND = 0.35  # part by which the two widths may differ from a disc's
_FINEST = 0.5  # of a rod's length across the beam: what lies along it shows no rims
_FLATTEST = 0.8  # lines a pixel: what leans more is seen along the other axis
_WEIGHTS = np.array([0.25, 0.5, 0.25])


@dataclass(frozen=True)
class Rods:
    """Pieces of rods, one a slice.

    Parameters
    ----------
    point : (piece, 3) float64
        (z, y, x) from the volume's middle [voxels].
    step : (piece, 3) float64
        Along the rod to the next slice [voxels]; 1 along one axis.
    radius : (piece,) float64 [voxels]
    contrast : (piece,) float64
        What a voxel inside has more than those outside.
    """

    point: Field
    step: Field
    radius: Field
    contrast: Field

    def seen(self, geometry: Geometry) -> Field:
        """(piece, 6) in the one view of `geometry`, of pixels of one voxel: row, col, their change to the next slice, R, Δδ.

        R and Δδ are those of the disc as which the rod is seen across itself.
        """
        unit = geometry.pixel_m
        up = self.point + np.array([1.0, 0.0, 0.0])
        at, beyond, above = (pixels_of(geometry, p * unit)[0] for p in (self.point, self.point + self.step, up))
        move, magnified = beyond - at, np.hypot(*(above - at).T)
        shortened = np.hypot(*move.T) / np.linalg.norm(self.step, axis=1)
        radius, contrast = self.radius * magnified, self.contrast / np.maximum(shortened, 1e-9)
        return np.column_stack([at, move, radius, contrast])[shortened > _FINEST]


def find_rods(volume: NDArray[np.float32]) -> Rods:
    """Rods of 1.25 to 3 voxels across on an even background.

    Parameters
    ----------
    volume : (z, y, x) float32
        δ times the fringe phase per refraction angle: see `darklung.simulate.refraction`.

    Notes
    -----
    Ends, branches, rods beside each other within three voxels, those within four of the volume's sides, on a background
    that is uneven by a tenth of what they add, and what is not round or has soft sides are none. Where voxels allow
    several widths, as for a rod that four of them share evenly, the least is taken, from 1.25 voxels on.
    """
    found = _candidates(np.ascontiguousarray(volume))
    axis, place, moments = found[:, 0].astype(np.int64), found[:, 1:4], found[:, 5:20].reshape(-1, 3, 5)
    centre, slope, radius, off = _discs(moments)
    widths = radius[:, None] ** 2 * (1 + slope**2)
    contrast = moments[:, :, 0] @ _WEIGHTS / (np.pi * radius**2 * np.sqrt(1 + (slope**2).sum(axis=1)))
    good = (contrast**2 * radius > _FAINTEST) & (radius < _RADII[-1]) & (np.abs(found[:, 4]) < _FULL * np.abs(contrast))
    good &= (np.abs(slope) < _STEEPEST).all(axis=1) & (np.abs(off) < _ROUND * widths / 4).all(axis=1)
    points, steps = place + [centred_axis(count, 1.0)[0] for count in volume.shape], np.zeros_like(place)
    for a, others in enumerate(([1, 2], [0, 2], [0, 1])):
        mine = np.flatnonzero(axis == a)[:, None]
        points[mine, others] += centre[mine[:, 0]]
        steps[mine, others], steps[mine, a] = slope[mine[:, 0]], 1
    return Rods(points[good], steps[good], radius[good], contrast[good])


def _discs(moments: Field) -> tuple[Field, Field, Field, Field]:
    """(rod, 2) place in its slice, (rod, 2) slope, (rod,) least radius that fits, (rod, 2) what it leaves of the variances.

    `moments` is (rod, slice, 5): mass, the two places, their two variances, as the voxels say.
    """
    told, wide = moments[:, :, 1:3], moments[:, :, 3:5]
    count = len(moments)
    slope, done = (told[:, 2] - told[:, 0]) / 2, np.zeros(count, dtype=np.bool_)
    centre, radius, slopes, left = told[:, 1].copy(), np.full(count, _RADII[-1]), slope.copy(), np.full((count, 2), np.inf)
    lack = np.full(count, np.inf)
    for k, tried in enumerate(_RADII):
        for _ in range(2):
            place, variance = _as_voxels_say(told, slope, tried)
            slope = (place[:, 2] - place[:, 0]) / 2
        off = np.einsum("rsk,s->rk", wide - variance, _WEIGHTS)
        here = off.sum(axis=1)
        now = ~done & (here <= _LEFT)
        part = np.where(k > 0, here / np.minimum(here - lack, -1e-12), 0.0)[now]
        radius[now] = tried - part.clip(0, 1) * (tried - _RADII[max(k - 1, 0)])
        centre[now], slopes[now], left[now] = place[now, 1], slope[now], off[now]
        done, lack = done | now, here
    return centre, slopes, radius, left


def _as_voxels_say(told: Field, slope: Field, radius: float) -> tuple[Field, Field]:
    """(rod, slice, 2) places of rods of one radius that voxels put at `told`, and the variances that these then have."""
    whole = np.round(told)
    wide = np.broadcast_to((radius * np.sqrt(1 + slope**2))[:, None], told.shape)
    steep = np.broadcast_to(np.abs(slope)[:, None], told.shape)
    axes = [(wide, _WIDTHS), (steep, _SLOPES), (np.abs(told - whole), _TOLD)]
    nodes = [(value - axis[0]) / (axis[1] - axis[0]) for value, axis in axes]
    place, variance = (map_coordinates(part, nodes, order=1, mode="nearest") for part in _voxel_table())
    return whole + np.copysign(place, told - whole), variance


@lru_cache(maxsize=1)
def _voxel_table() -> tuple[Field, Field]:
    """Place and variance of a rod in a slice, seen along either axis, by half its width, slope and where voxels put it."""
    shift, edges = np.linspace(0, 0.5, 81), np.arange(-4, 5) - 0.5
    table = np.empty((2, len(_WIDTHS), len(_SLOPES), len(_TOLD)))
    for i, wide in enumerate(_WIDTHS):
        for j, slope in enumerate(_SLOPES):
            smear = ((np.arange(16) + 0.5) / 16 - 0.5) * slope
            depth = edges[:, None, None] - shift[:, None] - smear + wide
            inside = np.diff(part_of_disc(depth, wide).mean(axis=-1), axis=0) / (np.pi * wide**2)
            voxel = np.arange(-4, 4)
            told = voxel @ inside
            table[0, i, j] = np.interp(_TOLD, told, shift)
            table[1, i, j] = np.interp(_TOLD, told, voxel**2 @ inside - told**2)
    return table[0], table[1]


def on_lines(seen: Field, lines: int) -> tuple[NDArray[np.int64], Field]:
    """Rods of `Rods.seen` on lines of pixels: where each line's begin (line + 1,), and (rod, 5) in the order of lines.

    Place on the line, R and Δδ of the disc along it, how much it leans across lines (pixels of the line a line), and how
    far from the line the rod's piece is.
    """
    at, place, up, over, radius, contrast = seen.T
    kept, parts = np.abs(up) > _FLATTEST * np.abs(over), []
    at, place, up, over, radius, contrast = (part[kept] for part in (at, place, up, over, radius, contrast))
    lean = -over / up
    stretched = np.sqrt(1 + lean**2)
    for off in (-1, 0, 1):
        line = np.round(at) + off
        apart = line - at
        mine = (np.abs(apart) <= np.maximum(np.abs(up), 1) / 2 + 1e-9) & (line >= 0) & (line < lines)
        values = [line, place - lean * apart, radius * stretched, contrast / stretched, lean, np.abs(apart)]
        parts.append(np.column_stack(values)[mine])
    found = np.concatenate(parts)
    found = found[np.argsort(found[:, 0], kind="stable")]
    return np.searchsorted(found[:, 0], np.arange(lines + 1)), np.ascontiguousarray(found[:, 1:])


@njit(cache=True)
def _candidates(volume):  # type: ignore[no-untyped-def]
    """(rod, 21): axis, voxel, peak and the moments of three slices, wherever a voxel is the most or least of its plane."""
    strides = (volume.shape[1] * volume.shape[2], volume.shape[2], 1)
    flat, count, out = volume.ravel(), 0, np.empty((256, 21))
    for z in range(volume.shape[0]):
        for y in range(volume.shape[1]):
            for x in range(volume.shape[2]):
                voxel, at = (z, y, x), z * strides[0] + y * strides[1] + x
                inner = min(y, volume.shape[1] - 1 - y) >= 4, min(x, volume.shape[2] - 1 - x) >= 4
                if not (inner[0] or inner[1]):
                    continue
                over = _turns(flat, at, strides[1]) if inner[0] else 0
                beside = _turns(flat, at, 1) if inner[1] else 0
                if over == 0 and beside == 0:
                    continue
                signs = _turns(flat, at, strides[0]) if min(z, volume.shape[0] - 1 - z) >= 4 else 0, over, beside
                for axis in range(3):
                    a, b = (1 if axis == 0 else 0), (1 if axis == 2 else 2)
                    if signs[a] == 0 or signs[a] != signs[b] or not _is_extreme(flat, at, strides[a], strides[b]):
                        continue
                    row = out[count]
                    if _three(flat, at, axis, voxel, strides, volume.shape, row):
                        row[0], row[1], row[2], row[3] = axis, z, y, x
                        count += 1
                        if count == len(out):
                            more = np.empty((2 * count, 21))
                            more[:count] = out
                            out = more
    return out[:count]


@njit(cache=True)
def _turns(flat, at, step):  # type: ignore[no-untyped-def]
    """1 where a voxel is the most of three on a line, −1 the least, else 0; of equal ones the last."""
    here, before, after = flat[at], flat[at - step], flat[at + step]
    return int(here > after and here >= before) - int(here < after and here <= before)


@njit(cache=True)
def _is_extreme(flat, at, along, across):  # type: ignore[no-untyped-def]
    """Whether a voxel is the most or the least of the nine about it in a plane; of equal ones the last."""
    here = flat[at]
    sign = 1.0 if here > flat[at + across] else -1.0
    for i in range(-1, 2):
        for j in range(-1, 2):
            more = sign * (here - flat[at + i * along + j * across])
            if more < 0 or (more == 0 and (i > 0 or (i == 0 and j > 0))):
                return False
    return True


@njit(cache=True)
def _three(flat, at, axis, voxel, strides, shape, out):  # type: ignore[no-untyped-def]
    """Put the peak and the moments of a slice and of those beside it into `out`; whether they are pieces of one rod.

    Beyond the volume's end the rod goes on straight.
    """
    a, b = (1 if axis == 0 else 0), (1 if axis == 2 else 2)
    step, along, across, s, slices = strides[axis], strides[a], strides[b], voxel[axis], shape[axis]
    i, j, rows, cols = voxel[a], voxel[b], shape[a], shape[b]
    if abs(flat[at] - flat[at + 3 * across]) < _FAINTEST**0.5 / 4:
        return False
    if not _moments(flat, at, along, across, i, j, rows, cols, out, 10):
        return False
    out[4] = out[20]
    di, dj = int(np.round(out[11])), int(np.round(out[12]))
    for k in (0, 2):
        if 0 <= s + k - 1 < slices:
            there = at + (k - 1) * step + di * along + dj * across
            if not _moments(flat, there, along, across, i + di, j + dj, rows, cols, out, 5 + 5 * k):
                return False
            out[6 + 5 * k] += di
            out[7 + 5 * k] += dj
            if abs(out[5 + 5 * k] - out[10]) > _ALIKE * abs(out[10]):
                return False
    for k in (0, 2):
        if not 0 <= s + k - 1 < slices:
            beyond = 0 <= s + 1 - k < slices
            for c in range(5):
                out[5 + 5 * k + c] = out[10 + c]
            if beyond:
                out[6 + 5 * k] += out[11] - out[16 - 5 * k]
                out[7 + 5 * k] += out[12] - out[17 - 5 * k]
    return max(abs(out[6] + out[16] - 2 * out[11]), abs(out[7] + out[17] - 2 * out[12])) < _BENT


@njit(cache=True)
def _moments(flat, at, along, across, i, j, rows, cols, out, first):  # type: ignore[no-untyped-def]
    """Mass, place and variances of what stands on a plane in 7 x 7 voxels, about their middle, into out[first:first + 5].

    In 5 x 5 where other things are near. Places are from `at`, the largest difference goes to out[20].
    """
    wide = _in_window(flat, at, along, across, i, j, rows, cols, 4, out, first)
    return wide or _in_window(flat, at, along, across, i, j, rows, cols, 3, out, first)


@njit(cache=True)
def _in_window(flat, at, along, across, i, j, rows, cols, ring, out, first):  # type: ignore[no-untyped-def]
    """`_moments` within a ring of voxels that lie `ring` from its middle, which moves once to that of what it holds."""
    di, dj = 0, 0
    for _ in range(2):
        if min(i + di, j + dj) < ring or i + di >= rows - ring or j + dj >= cols - ring:
            return False
        if not _window(flat, at + di * along + dj * across, along, across, ring, out, first):
            return False
        mi, mj = int(np.round(out[first + 1])), int(np.round(out[first + 2]))
        if (mi == 0 and mj == 0) or di != 0 or dj != 0:
            break
        di, dj = mi, mj
    out[first + 1] += di
    out[first + 2] += dj
    return True


@njit(cache=True, error_model="numpy")
def _window(flat, at, along, across, ring, out, first):  # type: ignore[no-untyped-def]
    """`_in_window` where it is; whether the ring is even and what it holds is of one sign."""
    mean, rise, climb, square = 0.0, 0.0, 0.0, 0.0
    for i in range(-ring, ring + 1):
        for j in range(-ring, ring + 1):
            if abs(i) == ring or abs(j) == ring:
                value = flat[at + i * along + j * across]
                mean += value / (8 * ring)
                rise += value * i
                climb += value * j
                square += i * i
    rise, climb = rise / square, climb / square
    uneven, most, least, mass, pi, pj, vi, vj = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(-ring, ring + 1):
        for j in range(-ring, ring + 1):
            value = flat[at + i * along + j * across] - mean - rise * i - climb * j
            if abs(i) == ring or abs(j) == ring:
                uneven = max(uneven, abs(value))
            else:
                most, least = max(most, value), min(least, value)
                mass += value
                pi += value * i
                pj += value * j
                vi += value * i * i
                vj += value * j * j
    peak = most if most > -least else least
    if max(uneven, min(most, -least)) > _UNEVEN * abs(peak):
        return False
    out[20] = peak
    out[first], out[first + 1], out[first + 2] = mass, pi / mass, pj / mass
    out[first + 3], out[first + 4] = vi / mass - (pi / mass) ** 2, vj / mass - (pj / mass) ** 2
    return True

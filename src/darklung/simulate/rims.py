"""Tables of rims of rounded bodies on a line of pixels: the disc, its place within the pixel, its radius and contrast.

First from three pixels beside a flat background, by a table; then, where voxels or pixels do not lie square to the rim and
blur it, from the whole window about it, by its likeness to discs so blurred (`darklung.simulate.rim_kernels`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import griddata

from darklung.simulate.rim_kernels import ANGLES, LEANS, LEAST_RADIUS, PLACES, RADII, RATIOS, STRENGTHS, WINDOW

Map = NDArray[np.float64]

_SHARES = np.linspace(0, 1, 41)
_GRID = 65  # nodes of the table of rims along either ratio
_SPARSE = 0.015  # between the discs of the table


def part_of_disc(depth: Map, radius: Map) -> Map:
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
    share, radius = (part.ravel() for part in np.meshgrid(_SHARES, RADII, indexing="ij"))
    offsets = np.arange(-4, 5) / 5
    kernel = (1 - np.abs(offsets)) / (1 - np.abs(offsets)).sum()
    inside = [sum(w * part_of_disc(share + j + blur * o, radius) for o, w in zip(offsets, kernel)) for j in range(-3, 4)]
    pixels = np.diff(np.stack(inside), axis=0)  # −2 to 3
    first = pixels[1]
    q0, q1, q2, q3 = (pixels[2 + j] - first - (j + 1) * (first - pixels[0]) for j in range(4))
    total = q0 + q1 + q2
    told = (2 * radius > 1 + share) | (radius < 1.01 * LEAST_RADIUS)  # of what fits into two pixels, the thinnest
    known = np.stack([q0 / (q0 + q1), (q0 + q1) / total], axis=1)[told]
    values = np.stack([share, 1 / radius, total / np.sqrt(radius), q3 / total, 0 * total], axis=1)[told]
    axes = [np.linspace(low, high, _GRID) for low, high in RATIOS]
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
    edges = np.append(WINDOW - 1, WINDOW[-1])[:, None, None] + PLACES
    straight = np.linalg.qr(np.stack([np.ones(len(WINDOW)), WINDOW], axis=1))[0]
    found = []
    for lean in np.linspace(0, 1, LEANS):
        offsets, weights = _smear(blur, lean)
        inside = sum(w * part_of_disc(edges + o, RADII[:, None]) for o, w in zip(offsets, weights))
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


@lru_cache(maxsize=1)
def defects() -> NDArray[np.float64]:
    """What a disc's half takes off the mean, ∫₀^θ (1 − e^{i t cot θ'}) sin θ' dθ' / t².

    (t, θ, real and imaginary part), over logarithms of both.
    """
    edges = np.concatenate([np.zeros(1), np.geomspace(1e-6, np.pi / 2, 20001)])
    middle = np.sqrt(np.maximum(edges[1:], 1e-12) * np.maximum(edges[:-1], 1e-12))
    weight = np.diff(edges) * np.sin(middle)
    table = []
    for t in STRENGTHS:
        running = np.cumsum((1 - np.exp(1j * t / np.tan(middle))) * weight)
        table.append(np.stack([np.interp(ANGLES, edges[1:], part) for part in (running.real, running.imag)], axis=1) / t**2)
    return np.array(table)

"""Modulation transfer from an edge: a straight one in a picture, a disc's, a cylinder's or a ball's, a face across z.

The edge's place is fitted, grey values are ordered by their distance to it (an edge spread function far finer than the
pixels), and its derivative is transformed. ISO 12233 for the slanted edge; Richard et al. 2012, 10.1118/1.4725171, for round
ones, whose result in a noisy or non-linear image is the task's: of that contrast at that noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize, special, stats

from darklung.core.checks import DarklungError, check_one_of, require
from darklung.core.geometry import centred_axis

Array = NDArray[np.float64]
KINDS = {"line": (2,), "circle": (2, 3), "sphere": (3,), "plane": (3,)}
FINER = (8, 6, 4, 3)  # bins of the edge spread function in a pixel: the most that hold values
LEAST_FILLED = 0.9
REACH = 12  # pixels on each side of the edge, where there is room
LEAST_REACH = 4
BLOCKS = 16
T95 = float(stats.t.ppf(0.975, BLOCKS - 1))
CONE_RAD = float(np.deg2rad(20))
DIRECTIONS = ("all", "plane", "z")
_MOST_FITTED = 60_000
_LEAST_RATIO = 20.0


@dataclass(frozen=True)
class Edge:
    """An edge that was found.

    Parameters
    ----------
    kind : {"line", "circle", "sphere", "plane"}
        In a volume a circle is a cylinder about the first axis, tilted as it is; a plane is a face across the first axis,
        tilted by a few degrees.
    parameters : (n,) float64
        Line: angle of its normal from the rows' axis [rad], distance from the middle. Circle: (y, x), in a volume its slopes
        (y, x) along z, radius. Sphere: (z, y, x), radius. Plane: slopes (y, x) of its normal, z. Lengths in metres from the
        middle of the grid.
    inside, outside : float
        Levels, of a line or plane on the side where the distance is negative and positive.
    blur_m : float
        Standard deviation of the error function that fits best.
    noise : float
        Standard deviation of grey values about the fit.
    """

    kind: str
    parameters: Array
    inside: float
    outside: float
    blur_m: float
    noise: float

    def distance(self, points: Array) -> Array:
        """Signed distance [m] of points (axis, ...) to the edge, negative inside."""
        return _distance(self.kind, self.parameters, points)

    def along(self, points: Array) -> Array:
        """Where along the edge points lie: metres on a line, else the angle [rad] about the axis or centre."""
        if self.kind == "line":
            angle = self.parameters[0]
            return np.asarray(points[1] * np.cos(angle) - points[0] * np.sin(angle))
        y, x = _in_plane(self.kind, self.parameters, points)
        return np.asarray(np.arctan2(y, x))


@dataclass(frozen=True)
class Modulation:
    """MTF of an edge with 95 % intervals (jackknife over 16 pieces of the edge).

    Parameters
    ----------
    frequency_per_m, value, low, high : (n,) float64
    contrast : float
        Level inside less outside.
    at_half, at_tenth : (value, low, high) [1/m]
        Where it falls to 0.5 and 0.1 first; NaN where it does not.
    spread : (2, bin) float64
        Distance [m] and level of the edge spread function.
    """

    frequency_per_m: Array
    value: Array
    low: Array
    high: Array
    contrast: float
    at_half: tuple[float, float, float]
    at_tenth: tuple[float, float, float]
    spread: Array


def grid_points(shape: tuple[int, ...], spacing_m: tuple[float, ...]) -> Array:
    """Positions of pixels from the middle of the grid, (axis, *shape) [m]."""
    axes = [centred_axis(n, d) for n, d in zip(shape, spacing_m)]
    return np.asarray(np.stack(np.meshgrid(*axes, indexing="ij")))


def find_edge(image: NDArray, spacing_m: tuple[float, ...], *, kind: str) -> Edge:
    """Fit one edge, of an error function's shape, to an image that shows little else.

    Parameters
    ----------
    image : (row, col) or (z, y, x) array
        NaN is left out.
    kind : str
        One of `KINDS`.

    Raises
    ------
    DarklungError
        An unknown kind, or one that does not go with the number of axes; no edge that stands out of the noise.
    """
    check_one_of("edge", kind, KINDS)
    require(image.ndim in KINDS[kind], f"edge: a {kind} wants {' or '.join(map(str, KINDS[kind]))} axes, got {image.ndim}")
    known = np.isfinite(image)
    require(bool(known.sum() > 100), f"edge: wanted an image with values, got {int(known.sum())} of them")
    points = grid_points(image.shape, spacing_m)
    start = _start(kind, np.where(known, image, np.nanmedian(image)), points)
    near = known & (np.abs(_distance(kind, start, points)) < 2 * REACH * min(spacing_m))
    found = _fit(kind, start, points[:, near], image[near].astype(np.float64), min(spacing_m))
    return _checked(found, points[:, near], min(spacing_m))


def towards(direction: str, along_z: Array, length: Array) -> NDArray[np.bool_]:
    """Which vectors of these z components and lengths lie within 20 degrees of z, or of the plane across it; or all."""
    check_one_of("direction", direction, DIRECTIONS)
    if direction == "all":
        return np.ones(np.shape(length), dtype=np.bool_)
    share = np.abs(along_z)
    return share >= np.cos(CONE_RAD) * length if direction == "z" else share <= np.sin(CONE_RAD) * length


def modulation(
    image: NDArray, spacing_m: tuple[float, ...], edge: Edge, frequency_per_m: Array, *, direction: str = "all"
) -> Modulation:
    """MTF at frequencies, across the edge, of the image as it is: what the pixels' area takes away is in it.

    A round edge of radius R moves the fitted radius by (d − 1)σ²/2R of a blur σ in d dimensions; the MTF changes in the
    second order of σ/R alone. Of a sphere `direction` takes what lies within 20 degrees of the first axis, or of the plane
    across it, as seen from its centre (`DIRECTIONS`); other edges have one direction.

    Raises
    ------
    DarklungError
        Less than four pixels of room beside the edge, or an edge along the pixels, which none of them samples finely.
    """
    pixel = min(spacing_m)
    points = grid_points(image.shape, spacing_m)
    distance = edge.distance(points)
    reach = REACH * pixel if edge.kind in ("line", "plane") else min(REACH * pixel, 0.8 * float(edge.parameters[-1]))
    near = np.isfinite(image) & (np.abs(distance) < reach)
    if edge.kind == "sphere":
        near &= towards(direction, points[0] - edge.parameters[0], distance + edge.parameters[-1])
    block = _blocks(edge.along(points[:, near]))
    for finer in FINER:
        counts, sums, at = _binned(distance[near] / pixel, image[near].astype(np.float64), block, finer)
        kept = _room(counts.sum(axis=0), len(at) // 2, finer)
        if kept is not None:
            return _estimated(counts[:, kept], sums[:, kept], at[kept] * pixel, edge, frequency_per_m)
    raise DarklungError(
        f"edge: wanted {LEAST_REACH} pixels of room beside it and places between pixels all along; too little is seen, "
        "or it runs along the pixels (tilt it by 2 to 10 degrees)"
    )


def _binned(place: Array, values: Array, block: NDArray[np.int64], finer: int) -> tuple[Array, Array, Array]:
    """Counts and sums, (block, bin), and the middles of the bins [pixel], as many on both sides of the edge."""
    half = int(np.ceil(np.abs(place).max() * finer))
    index = np.clip(np.floor(place * finer).astype(np.int64) + half, 0, 2 * half - 1)
    flat, size = block * 2 * half + index, BLOCKS * 2 * half
    counts = np.bincount(flat, minlength=size).reshape(BLOCKS, -1).astype(np.float64)
    sums: Array = np.bincount(flat, weights=values, minlength=size).reshape(BLOCKS, -1).astype(np.float64)
    return counts, sums, (np.arange(2 * half) - half + 0.5) / finer


def _estimated(counts: Array, sums: Array, at: Array, edge: Edge, frequency: Array) -> Modulation:
    total, number = sums.sum(axis=0), counts.sum(axis=0)
    fine = np.linspace(0, frequency[-1], 401)
    whole = _spread(total, number)
    value = _transfer(whole, at, frequency)
    parts = [_spread(total - s, number - n) for s, n in zip(sums, counts)]
    error = _jackknife(np.stack([_transfer(part, at, frequency) for part in parts]))
    crossings = [_crossings(fine, [_transfer(esf, at, fine) for esf in (whole, *parts)], level) for level in (0.5, 0.1)]
    return Modulation(
        frequency,
        value,
        np.maximum(value - T95 * error, 0),
        value + T95 * error,
        edge.inside - edge.outside,
        crossings[0],
        crossings[1],
        np.stack([at, whole]),
    )


def _crossings(fine: Array, transfers: list[Array], level: float) -> tuple[float, float, float]:
    found = np.array([_first_below(fine, transfer, level) for transfer in transfers])
    error = float(_jackknife(found[1:, None])[0])
    return float(found[0]), float(found[0] - T95 * error), float(found[0] + T95 * error)


def _first_below(frequency: Array, transfer: Array, level: float) -> float:
    below = np.flatnonzero(transfer < level)
    if not len(below):
        return np.nan
    k = below[0]
    share = (transfer[k - 1] - level) / (transfer[k - 1] - transfer[k])
    return float(frequency[k - 1] + share * (frequency[k] - frequency[k - 1]))


def _jackknife(without: Array) -> Array:
    """Standard error from results that leave out one block each, (block, n)."""
    count = len(without)
    return np.asarray(np.sqrt((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0)))


def _spread(sums: Array, counts: Array) -> Array:
    """Mean level in each bin; an empty one lies between its neighbours."""
    filled = counts > 0
    place = np.arange(len(sums))
    return np.interp(place, place[filled], sums[filled] / counts[filled])


def _transfer(esf: Array, at: Array, frequency: Array) -> Array:
    """|Fourier transform| of the derivative, 1 at 0, less what bins and differences take away."""
    step = at[1] - at[0]
    middle = (at[1:] + at[:-1]) / 2
    reach = np.abs(middle).max()
    # Flat in the inner half: a window that falls from the middle on would widen every MTF.
    window = np.cos(np.pi / 2 * np.clip(2 * np.abs(middle) / reach - 1, 0, 1)) ** 2
    line = np.diff(esf) * window
    wave = np.abs(np.exp(-2j * np.pi * np.outer(frequency, middle)) @ line)
    return np.asarray(wave / max(abs(line.sum()), 1e-300) / np.sinc(frequency * step) ** 2)


def _room(counts: Array, middle: int, finer: int) -> slice | None:
    """Bins about the edge without a long gap, as many on both sides; None where too many are empty."""
    empty = np.flatnonzero(ndimage.minimum_filter1d((counts == 0).astype(np.int8), max(finer // 2, 2)) > 0)
    below, above = empty[empty < middle], empty[empty >= middle]
    side = min(middle - (below[-1] + finer if len(below) else 0), (above[0] - finer if len(above) else len(counts)) - middle)
    kept = slice(middle - side, middle + side)
    return kept if side >= LEAST_REACH * finer and float((counts[kept] > 0).mean()) > LEAST_FILLED else None


def _blocks(along: Array) -> NDArray[np.int64]:
    """Pieces of the edge with as many pixels each."""
    limits = np.quantile(along, np.linspace(0, 1, BLOCKS + 1)[1:-1])
    return np.searchsorted(limits, along)


def _in_plane(kind: str, parameters: Array, points: Array) -> tuple[Array, Array]:
    """(y, x) from the centre, or from the axis at that z."""
    if kind == "sphere":
        return points[1] - parameters[1], points[2] - parameters[2]
    if kind == "plane":
        return points[1], points[2]
    if len(points) == 2:
        return points[0] - parameters[0], points[1] - parameters[1]
    return (
        points[1] - parameters[0] - parameters[2] * points[0],
        points[2] - parameters[1] - parameters[3] * points[0],
    )


def _distance(kind: str, parameters: Array, points: Array) -> Array:
    if kind == "line":
        angle, offset = parameters
        return np.asarray(points[0] * np.cos(angle) + points[1] * np.sin(angle) - offset)
    y, x = _in_plane(kind, parameters, points)
    if kind == "plane":
        ky, kx, at = parameters
        return np.asarray((points[0] - at + ky * y + kx * x) / np.sqrt(1 + ky**2 + kx**2))
    square = y**2 + x**2
    if kind == "sphere":
        square += (points[0] - parameters[0]) ** 2
    elif len(points) == 3:
        # perpendicular to the axis (1, ky, kx): what lies along it does not count
        ky, kx = parameters[2:4]
        square -= (y * ky + x * kx) ** 2 / (1 + ky**2 + kx**2)
    return np.asarray(np.sqrt(square) - parameters[-1])


def _start(kind: str, image: NDArray, points: Array) -> Array:
    """Parameters from a threshold between the two commonest levels."""
    smooth = ndimage.gaussian_filter(image.astype(np.float64), 1.0)
    require(bool(np.ptp(smooth) > 0), "edge: none is seen, all values are the same")
    mask = smooth > _threshold(smooth)
    if kind in ("line", "plane"):
        one, other = (points[:, m].mean(axis=1) for m in (mask, ~mask))
        normal = (other - one) / np.linalg.norm(other - one)
        across = np.tensordot(normal, points, axes=1)
        at = np.quantile(across, mask.mean())
        if kind == "line":
            return np.array([np.arctan2(normal[1], normal[0]), at])
        steep = np.abs(normal[0]) > np.cos(np.pi / 4)
        require(bool(steep), "edge: wanted a plane across the first axis, z; this one lies along it")
        return np.array([*normal[1:] / normal[0], at / normal[0]])
    return _round_start(kind, _largest(_object(kind, mask)), points)


def _threshold(smooth: Array) -> float:
    """The middle of the means above and below it (Ridler & Calvard 1978, 10.1109/TSMC.1978.4310039)."""
    level = float(smooth.min() + smooth.max()) / 2
    for _ in range(100):
        moved = float(smooth[smooth > level].mean() + smooth[smooth <= level].mean()) / 2
        if abs(moved - level) < 1e-6 * float(np.ptp(smooth)):
            break
        level = moved
    return level


def _object(kind: str, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of both sides of the threshold that which is not at the sides of the grid; a cylinder may reach its ends."""
    inner = tuple(slice(None) if kind == "circle" and mask.ndim == 3 and k == 0 else slice(1, -1) for k in range(mask.ndim))
    rim = np.ones_like(mask)
    rim[inner] = False
    return ~mask if mask[rim].mean() > 0.5 else mask


def _round_start(kind: str, mask: NDArray[np.bool_], points: Array) -> Array:
    """Centre and radius of as many pixels."""
    steps = [float(np.ptp(p)) / max(n - 1, 1) for p, n in zip(points, mask.shape)]
    centre, volume = points[:, mask].mean(axis=1), float(mask.sum()) * float(np.prod(steps))
    if kind == "sphere":
        return np.array([*centre, (3 * volume / (4 * np.pi)) ** (1 / 3)])
    if mask.ndim == 2:
        return np.array([*centre, np.sqrt(volume / np.pi)])
    area = float(mask.sum()) / int(mask.any(axis=(1, 2)).sum()) * steps[1] * steps[2]
    return np.array([*centre[1:], 0.0, 0.0, np.sqrt(area / np.pi)])


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    require(count > 0, "edge: none is seen")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(sizes.argmax()))


def _fit(kind: str, start: Array, points: Array, values: Array, pixel: float) -> Edge:
    """Least squares in place and blur, levels by linear least squares within."""
    every = max(1, len(values) // _MOST_FITTED)
    p, v = points[:, ::every], values[::every]
    # angles and slopes are of order one, lengths of order of a pixel
    scale = np.array([pixel] * len(start))
    if kind in ("line", "plane"):
        scale[:-1] = 0.01
    elif kind == "circle" and len(points) == 3:
        scale[2:4] = 0.01

    def levels(x: Array, at: Array, seen: Array) -> tuple[Array, Array]:
        step = 0.5 * special.erfc(_distance(kind, start + x[:-1] * scale, at) / (np.sqrt(2) * pixel * np.exp(x[-1])))
        basis = np.stack([np.ones_like(step), step], axis=1)
        found = np.linalg.lstsq(basis, seen, rcond=None)[0]
        return found, basis @ found - seen

    best = optimize.least_squares(lambda x: levels(x, p, v)[1], np.zeros(len(start) + 1)).x
    (outside, contrast), left = levels(best, p, v)
    blur = float(pixel * np.exp(best[-1]))
    return Edge(kind, start + best[:-1] * scale, float(outside + contrast), float(outside), blur, float(left.std()))


def _checked(edge: Edge, points: Array, pixel: float) -> Edge:
    """Refuse what may be noise alone."""
    count = float((np.abs(edge.distance(points)) < pixel).sum())
    contrast = abs(edge.inside - edge.outside)
    require(
        bool(np.isfinite(contrast)) and contrast * np.sqrt(count) > _LEAST_RATIO * edge.noise,
        f"edge: none stands out: a step of {contrast:.3g} in noise of {edge.noise:.3g} at {count:.0f} pixels",
    )
    return edge

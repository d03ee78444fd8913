"""Synthetic H&E sections of a phantom: tissue of its φ and S_V on any plane, stained, shrunk, folded and torn.

In the plane tissue is where a Gaussian field g is below β, |g| < β, as in `darklung.phantom.realisation`: a plane through an
isotropic field in space is a field of the same covariance. β follows from the local φ, the field's slope from φ and S_V by
Rice's formula. Slopes that vary from place to place come from two fields of fixed lengths with weights whose squares add up
to 1: crossings depend on the slope's variance alone. Vessels, airways and lesions appear as the phantom's voxels hold them:
their φ and S_V, at the voxel's resolution.

NOT modelled: alveoli and ducts as shapes, walls and epithelia thinner than a voxel, the section's thickness (Holmes),
optics, the texture that sections closer than about 50 um share.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import erfinv

from darklung.core.checks import check_positive, check_range, require
from darklung.core.random import stream
from darklung.core.types import Phantom
from darklung.histology.plane import Handling, Points, Pose
from darklung.histology.stain import stained
from darklung.physics.lung import HEALTHY

Field = NDArray[np.float32]
LENGTHS_M = (6e-6, 12e-6, 24e-6, 48e-6)
"""Of the fields that are mixed; what is finer or coarser than them is drawn with the nearest."""
FRACTIONS = (0.02, 0.985)
"""Below there is air, above tissue, without texture."""
_NOISE_BLOCK = 256
_NUCLEI_M, _NUCLEI_LEVEL = 3.5e-6, 1.1
_STAIN_M = 0.7e-3
_FIELDS_EVERY = 8
"""Pixels between places at which the phantom is looked up."""


@dataclass(frozen=True)
class Stain:
    """How a section was stained.

    Parameters
    ----------
    haematoxylin, eosin : float
        Amounts in tissue, in optical density.
    nuclei : float
        More haematoxylin in nuclei.
    variation : float
        Standard deviation of slow changes over the section, relative.
    glass : float
        Density of glass and mounting medium.
    noise : float
        Standard deviation of the camera's noise in grey values.
    """

    haematoxylin: float = 0.16
    eosin: float = 0.34
    nuclei: float = 0.45
    variation: float = 0.1
    glass: float = 0.01
    noise: float = 1.5

    def __post_init__(self) -> None:
        for name in ("haematoxylin", "eosin", "nuclei", "variation", "glass", "noise"):
            check_range(name, getattr(self, name), 0.0, 5.0)

    def drawn(self, seed: int, spread: float) -> Stain:
        """Another batch: each amount times a factor drawn with this relative standard deviation."""
        rng = stream(seed, "stain")
        blue, red, nuclei = (float(f) for f in np.exp(spread * rng.standard_normal(3)))
        return replace(self, haematoxylin=blue * self.haematoxylin, eosin=red * self.eosin, nuclei=nuclei * self.nuclei)


@dataclass(frozen=True)
class Cut:
    """A section to be made.

    Parameters
    ----------
    phantom : Phantom
    pose : Pose
    handling : Handling
    stain : Stain
    pixel_m : float
    rows, cols : int
        Of the picture, its middle at the pose's centre.
    seed : int
        Of texture, nuclei and noise.
    """

    phantom: Phantom
    pose: Pose
    pixel_m: float
    rows: int
    cols: int
    seed: int
    handling: Handling = field(default_factory=Handling)
    stain: Stain = field(default_factory=Stain)
    maps: tuple[Field, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        check_range("pixel_m", self.pixel_m, 0.2e-6, 4e-6)
        require(min(self.rows, self.cols) >= 16, f"picture: wanted at least 16 × 16 pixels, got {self.rows} × {self.cols}")
        if not self.maps:
            object.__setattr__(self, "maps", lung_maps(self.phantom))

    def places(self, row: NDArray[np.float64], col: NDArray[np.float64]) -> Points:
        """Points of the picture [m] of pixel indices."""
        middle = ((self.rows - 1) / 2, (self.cols - 1) / 2)
        return np.stack([(row - middle[0]) * self.pixel_m, (col - middle[1]) * self.pixel_m], axis=-1)


def lung_maps(phantom: Phantom) -> tuple[Field, Field, Field]:
    """Where lung is, its tissue fraction by mass, and S_V, (z, y, x).

    Voxels at the lung's border hold muscle too: they get the values of the nearest voxel inside.
    """
    lung = phantom.lobes > 0
    require(bool(lung.any()), "phantom: has no lung")
    inner = ndimage.binary_erosion(lung)
    inner = inner if inner.any() else lung
    fraction = phantom.density[phantom.materials.index("soft_tissue")] / np.float32(HEALTHY.tissue_density)
    nearest = ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)
    at = tuple(nearest)
    return (
        lung.astype(np.float32),
        np.clip(fraction, 0, 1)[at].astype(np.float32),
        phantom.interface_density_per_m[at].astype(np.float32),
    )


def truth_at(cut: Cut, points: Points) -> tuple[Field, Field, Field, NDArray[np.bool_]]:
    """Lung (0 to 1), φ and S_V of the phantom at points of the picture, and where the section is torn.

    S_V is the animal's, before shrinkage.
    """
    source, torn = cut.handling.source(points)
    lung, fraction, surface = _looked_up(cut, source)
    return lung, fraction, surface, torn


def _looked_up(cut: Cut, source: Points) -> tuple[Field, Field, Field]:
    return tuple(_sampled(cut.phantom, one, cut.pose.position_m(source)) for one in cut.maps)  # type: ignore[return-value]


def _sampled(phantom: Phantom, values: NDArray[np.float32], position_m: Points, order: int = 1) -> Field:
    """Values of the phantom's grid at places of its frame; 0 outside."""
    middle = (np.asarray(values.shape) - 1) / 2
    index = np.moveaxis(position_m / phantom.voxel_m + middle, -1, 0)
    return np.asarray(ndimage.map_coordinates(values, index, order=order, mode="constant", cval=0.0), dtype=np.float32)


def lung_at(phantom: Phantom, position_m: Points) -> Field:
    """How much of lung is at places of the phantom's frame, 0 to 1."""
    return _sampled(phantom, (phantom.lobes > 0).astype(np.float32), position_m)


def lesions_at(cut: Cut, points: Points) -> NDArray[np.uint16]:
    """Numbers of lesions and mimics at points of the picture."""
    source, torn = cut.handling.source(points)
    values = cut.phantom.instances.astype(np.float32)
    found = _sampled(cut.phantom, values, cut.pose.position_m(source), order=0)
    return np.where(torn, 0, found).astype(np.uint16)


def render(cut: Cut, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Colours of a box (row, col, rows, cols) of the picture; boxes fit together whatever their size.

    Raises
    ------
    DarklungError
        A box without pixels.
    """
    row, col, rows, cols = box
    require(rows > 0 and cols > 0, f"box: wanted pixels, got {rows} × {cols}")
    points = cut.places(*np.meshgrid(np.arange(row, row + rows) * 1.0, np.arange(col, col + cols) * 1.0, indexing="ij"))
    source, torn = cut.handling.source(points)
    tissue, nuclei, change = _layer(cut, source)
    tissue[torn] = 0
    amount, dark = tissue, tissue * nuclei
    for under, place in cut.handling.layers(points):
        if under.any():
            inside = _bounded(under)
            extra, spots, _ = _layer(cut, place[inside])
            amount[inside] += np.where(under[inside], extra, 0)
            dark[inside] += np.where(under[inside], extra * spots, 0)
    stain = cut.stain
    blue = (stain.haematoxylin * amount + stain.nuclei * dark) * change + np.float32(stain.glass)
    rgb = stained(blue, stain.eosin * amount * change + np.float32(stain.glass))
    return _with_noise(rgb, cut, row, col)


def _bounded(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)


def _layer(cut: Cut, source: Points) -> tuple[Field, Field, Field]:
    """Share of tissue, share of nuclei in it, and the stain's strength at points of the plane, (row, col)."""
    lung, fraction, surface = (_spread(one, source.shape[:2]) for one in _looked_up(cut, _thinned(source)))
    if not (lung > 0.5).any():
        return np.zeros_like(lung), np.zeros_like(lung), np.ones_like(lung)
    wanted = np.clip(fraction, *FRACTIONS)
    level = np.float32(np.sqrt(2)) * erfinv(wanted).astype(np.float32)
    length = 4 / np.pi * np.exp(-(level**2) / 2) / np.maximum(surface, 1.0)
    noise = _Texture(cut, source)
    values = noise.mixed(length)
    slope = np.maximum(np.hypot(*np.gradient(values)) if min(values.shape) > 1 else np.ones_like(values), 1e-3)
    # Of a pixel along which the field rises evenly: the part between −β and β, also where a septum is thinner than a pixel.
    share = np.clip(0.5 + (level - values) / slope, 0, 1) - np.clip(0.5 - (level + values) / slope, 0, 1)
    share = np.where(fraction <= FRACTIONS[0], 0, np.where(fraction >= FRACTIONS[1], 1, share))
    nuclei = np.clip(noise.one(_NUCLEI_M, "nuclei") - _NUCLEI_LEVEL, 0, 0.25) * 4
    change = np.exp(np.float32(cut.stain.variation) * _slow(cut, source))
    return (share * (lung > 0.5)).astype(np.float32), nuclei.astype(np.float32), change.astype(np.float32)


def _thinned(source: Points) -> Points:
    """Every so many of the points, the last ones included, on which slow fields are looked up."""
    rows, cols = (np.unique(np.append(np.arange(0, n, _FIELDS_EVERY), n - 1)) for n in source.shape[:2])
    return source[np.ix_(rows, cols)]


def _spread(values: Field, shape: tuple[int, ...]) -> Field:
    """Values on the points of `_thinned` back on all of them, linearly."""
    knots = [np.unique(np.append(np.arange(0, n, _FIELDS_EVERY), n - 1)) for n in shape]
    places = [np.interp(np.arange(n), k, np.arange(len(k))) for n, k in zip(shape, knots)]
    for axis, place in enumerate(places):
        low = np.minimum(place.astype(np.intp), values.shape[axis] - 1)
        high = np.minimum(low + 1, values.shape[axis] - 1)
        weight = np.expand_dims((place - low).astype(np.float32), 1 - axis)
        values = np.take(values, low, axis) * (1 - weight) + np.take(values, high, axis) * weight
    return values


class _Texture:
    """Smooth fields of unit variance on the plane, looked up at points of it; the same wherever a box begins."""

    def __init__(self, cut: Cut, source: Points) -> None:
        self._cut = cut
        self._index = source / cut.pixel_m
        flat = self._index.reshape(-1, 2)
        self._low = np.floor(flat.min(axis=0)).astype(np.int64) - 1
        self._high = np.ceil(flat.max(axis=0)).astype(np.int64) + 2
        self._shift = np.moveaxis(self._index - self._low, -1, 0)

    def one(self, length_m: float, name: str = "sheets") -> Field:
        """A field of covariance exp(−r²/2l²)."""
        sigma = length_m / np.sqrt(2) / self._cut.pixel_m
        halo = int(np.ceil(4 * sigma)) + 1
        white = _white(self._cut.seed, f"{name} {length_m:g}", self._low - halo, self._high + halo)
        smooth = ndimage.gaussian_filter(white, sigma, truncate=4)[halo:-halo, halo:-halo]
        unit = np.zeros(2 * halo + 1)
        unit[halo] = 1
        kernel = ndimage.gaussian_filter1d(unit, sigma, truncate=4)
        smooth /= np.float32((kernel**2).sum())
        return np.asarray(ndimage.map_coordinates(smooth, self._shift, order=1, mode="nearest"), dtype=np.float32)

    def mixed(self, length_m: Field) -> Field:
        """A field of unit variance whose slope is that of the length wanted at each point."""
        slope = 1 / np.clip(length_m, LENGTHS_M[0], LENGTHS_M[-1]) ** 2
        steps = 1 / np.asarray(LENGTHS_M) ** 2
        total = np.zeros(length_m.shape, np.float32)
        for number, length in enumerate(LENGTHS_M):
            # The squares of the weights are hats over 1/l²: they add up to 1 and give the slope.
            weight = np.interp(slope, steps[::-1], (np.arange(len(steps)) == number)[::-1].astype(float))
            if (weight > 1e-6).any():
                total += np.sqrt(weight).astype(np.float32) * self.one(length)
        return total


def _white(seed: int, name: str, low: NDArray[np.int64], high: NDArray[np.int64]) -> Field:
    """White noise on the lattice of the plane's pixels, [low, high)."""
    out = np.empty(tuple(high - low), np.float32)
    b = _NOISE_BLOCK
    for i in range(low[0] // b, (high[0] - 1) // b + 1):
        for j in range(low[1] // b, (high[1] - 1) // b + 1):
            block = stream(seed, name, int(i), int(j)).standard_normal((b, b), dtype=np.float32)
            y0, y1 = max(low[0], i * b), min(high[0], (i + 1) * b)
            x0, x1 = max(low[1], j * b), min(high[1], (j + 1) * b)
            out[y0 - low[0] : y1 - low[0], x0 - low[1] : x1 - low[1]] = block[
                y0 - i * b : y1 - i * b, x0 - j * b : x1 - j * b
            ]
    return out


def _slow(cut: Cut, source: Points) -> Field:
    """Unit-variance changes over about `_STAIN_M`: waves of random direction and phase."""
    rng = stream(cut.seed, "stain field")
    thin = _thinned(source)
    total = np.zeros(thin.shape[:2])
    for _ in range(12):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        wave = np.array([np.cos(angle), np.sin(angle)]) / _STAIN_M * rng.uniform(0.5, 1.5)
        total += np.cos(thin @ wave + phase)
    return _spread((total / np.sqrt(6)).astype(np.float32), source.shape[:2])


def _with_noise(rgb: NDArray[np.uint8], cut: Cut, row: int, col: int) -> NDArray[np.uint8]:
    if cut.stain.noise == 0:
        return rgb
    low = np.array([row, col], dtype=np.int64)
    noise = _white(cut.seed, "camera", low, low + rgb.shape[:2]) * np.float32(cut.stain.noise)
    return np.clip(np.rint(rgb + noise[..., None]), 0, 255).astype(np.uint8)


def picture_size(extent_m: tuple[float, float], pixel_m: float, handling: Handling) -> tuple[int, int]:
    """Rows and columns of a picture that holds a plane of this extent after handling."""
    check_positive("pixel_m", pixel_m)
    rows, cols = (int(np.ceil(e * s / pixel_m)) for e, s in zip(extent_m, handling.scale()))
    return rows, cols

"""What section and volume have in common: where lung is, how dense tissue is in it, how much interface.

Each feature is smoothed over the lung alone, so that neither glass nor the chest wall bleeds into it, and is 0 outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import Channel
from darklung.core.checks import check_one_of, check_positive, check_shape, require
from darklung.core.types import Image

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
MATCHES: Mapping[str, str] = {"attenuation": "tissue", "dark_field": "interface"}
"""Signal of the volume -> what of the section it looks like."""
_LEAST_SHARE = 0.02


@dataclass(frozen=True)
class SectionView:
    """A section on a coarse grid in the frame of its picture.

    Parameters
    ----------
    name : str
    lung : (row, col) float32
        Share of each pixel that is lung.
    shown : mapping
        ``"tissue"``: share of the lung that is tissue; ``"interface"``: changes of tissue and air in a metre of line.
    pixel_m : float
    origin_m : (row, col)
        Middle of the first pixel.
    """

    name: str
    lung: Field
    shown: Mapping[str, Field]
    pixel_m: float
    origin_m: tuple[float, float]

    def __post_init__(self) -> None:
        check_positive(f"{self.name}: pixel_m", self.pixel_m)
        for name, values in self.shown.items():
            check_shape(f"{self.name}: {name}", values, "row, col", self.lung.shape)
        require(bool((self.lung > 0.5).any()), f"{self.name}: no lung in the section")

    def points_m(self) -> NDArray[np.float64]:
        """Middles of the pixels, (row, col, 2)."""
        axes = [o + self.pixel_m * np.arange(n) for o, n in zip(self.origin_m, self.lung.shape)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)

    def middle_m(self) -> NDArray[np.float64]:
        """Centre of gravity of the lung, (row, col)."""
        weights = self.lung / self.lung.sum()
        return np.asarray(np.tensordot(weights, self.points_m(), axes=2))

    def mirrored(self) -> SectionView:
        """The same as if the section lay turned over: columns reversed."""
        cols = self.lung.shape[1]
        start = -(self.origin_m[1] + self.pixel_m * (cols - 1))
        shown = {name: np.ascontiguousarray(v[:, ::-1]) for name, v in self.shown.items()}
        return SectionView(
            self.name, np.ascontiguousarray(self.lung[:, ::-1]), shown, self.pixel_m, (self.origin_m[0], start)
        )


def view_section(
    name: str, *, lung: Mask, tissue: Mask, pixel_m: float, origin_m: tuple[float, float], coarse_m: float
) -> SectionView:
    """A section's features from masks at a few micrometres a pixel.

    Parameters
    ----------
    name : str
    lung : (row, col) bool
        With all that lies in it, but no gap or tear.
    tissue : (row, col) bool
    pixel_m : float
    origin_m : (row, col)
        Middle of the first pixel.
    coarse_m : float
        Wanted pixel; whole multiples of `pixel_m` are taken.
    """
    check_shape(f"{name}: tissue", tissue, "row, col", lung.shape)
    step = max(1, round(coarse_m / pixel_m))
    share = _blocks(lung, step)
    rows = _changes(tissue, lung, 0, step)
    cols = _changes(tissue, lung, 1, step)
    enough = np.maximum(share, np.float32(_LEAST_SHARE))
    found = {"tissue": _blocks(tissue & lung, step) / enough, "interface": (rows + cols) / (2 * pixel_m) / enough}
    shown = {n: np.where(share > _LEAST_SHARE, v, 0).astype(np.float32) for n, v in found.items()}
    first = (step - 1) / 2 * pixel_m
    return SectionView(name, share, shown, step * pixel_m, (origin_m[0] + first, origin_m[1] + first))


def _changes(tissue: Mask, lung: Mask, axis: int, step: int) -> Field:
    """Share of the pixels in lung whose neighbour along an axis is of the other kind."""
    changed = np.zeros_like(tissue)
    near: list[slice] = [slice(None), slice(None)]
    near[axis] = slice(None, -1)
    changed[tuple(near)] = np.diff(tissue.astype(np.int8), axis=axis) != 0
    return _blocks(changed & lung, step)


def _blocks(mask: Mask, step: int) -> Field:
    """Means of blocks; what is left over at the end counts as empty."""
    short = [-n % step for n in mask.shape]
    wide = np.pad(mask, [(0, s) for s in short]).astype(np.float32)
    rows, cols = wide.shape[0] // step, wide.shape[1] // step
    return np.asarray(wide.reshape(rows, step, cols, step).mean(axis=(1, 3)), dtype=np.float32)


@dataclass(frozen=True)
class Level:
    """Features of one smoothness: the outline first, then one for each channel that is compared.

    Parameters
    ----------
    sigma_m : float
        Standard deviation of the smoothing.
    values : (feature, ...) float32
    """

    sigma_m: float
    values: Field


def feature_of(channel: str) -> str:
    """What of a section a volume's channel looks like; raises where nothing is known to."""
    return MATCHES[check_one_of("channels", Channel.parse(channel).signal, MATCHES)]


def section_level(view: SectionView, names: tuple[str, ...], *, sigma_m: float, scale: float) -> Level:
    """Features of a section; lengths of the smoothing are the animal's, of which `scale` are left on the slide."""
    sigma = np.full(2, sigma_m * scale / view.pixel_m)
    kept = [view.shown[feature_of(n)] for n in names]
    return Level(sigma_m, _levelled(view.lung, kept, sigma))


def volume_level(image: Image, lung: Mask, names: tuple[str, ...], *, sigma_m: float) -> Level:
    """Features of a volume, (feature, z, y, x)."""
    check_shape("lung", lung, "z, y, x", image.shape)
    sigma = sigma_m / np.asarray(image.spacing_m)
    kept = [_filled(image.channel(n), lung) for n in names]
    return Level(sigma_m, _levelled(lung.astype(np.float32), kept, sigma))


def _filled(values: Field, lung: Mask) -> Field:
    """Values of the lung's inner voxels; those at its border, which hold muscle too, and unknown ones get the nearest."""
    from scipy.ndimage import binary_erosion, distance_transform_edt

    known = binary_erosion(lung) & np.isfinite(values)
    known = known if known.any() else lung & np.isfinite(values)
    require(bool(known.any()), "volume: no value in the lung")
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)], dtype=np.float32)


def _levelled(lung: Field, channels: list[Field], sigma: NDArray[np.float64]) -> Field:
    """Outline and standardised channels, smoothed."""
    from scipy.ndimage import gaussian_filter

    outline = gaussian_filter(lung, sigma)
    found = [outline]
    inside = lung > 0.5
    for values in channels:
        centred = values - values[inside].mean()
        spread = float(centred[inside].std()) or 1.0
        found.append(gaussian_filter(lung * centred / spread, sigma))
    return np.stack(found).astype(np.float32)

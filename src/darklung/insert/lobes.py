"""Measured maps of lung lobes in projection: what they are, whether to trust them, and the lung's assumed thickness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import DarklungError, check_one_of, check_shape, require
from darklung.core.streaks import STREAKED, find_streaks
from darklung.core.types import Image

# A lobe of an animal that nobody knows may be of the same animal as another one.
UNKNOWN_ANIMAL = "unknown"


@dataclass(frozen=True)
class RadiographLobe:
    """Measured maps of one lobe.

    Parameters
    ----------
    name : str
    group : str
        The animal: nothing of one group may be in two folds.
    maps : Image
        Channels ``transmission``, ``visibility_ratio`` (V/V0), ``flat_visibility`` (more are allowed) on (row, col), NaN
        outside the lobe.
    thickness_m : (row, col) array, optional
        Path through lung where it is known; otherwise `lung_thickness` assumes one.
    """

    name: str
    group: str
    maps: Image
    thickness_m: NDArray | None = None

    def __post_init__(self) -> None:
        require(self.maps.data.ndim == 3, f"{self.name}: wanted maps on (row, col), got {self.maps.shape}")
        for name in ("transmission", "visibility_ratio", "flat_visibility"):
            check_one_of(f"{self.name}: channel", name, self.maps.names)
            values = self.maps.channel(name)
            require(bool((values[np.isfinite(values)] > 0).all()), f"{self.name}: {name}: wanted > 0 inside the lobe")
        require(bool(self.mask.any()), f"{self.name}: no pixel has all maps")
        row_m, col_m = self.maps.spacing_m
        require(bool(np.isclose(row_m, col_m)), f"{self.name}: wanted square pixels, got {self.maps.spacing_m}")
        if self.thickness_m is not None:
            check_shape(f"{self.name}: thickness_m", self.thickness_m, "row, col", self.maps.shape)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Pixels with every map, (row, col)."""
        return np.asarray(np.isfinite(self.maps.data).all(axis=0))

    @property
    def attenuation(self) -> NDArray[np.float64]:
        """−ln T, (row, col)."""
        return -np.log(self.maps.channel("transmission").astype(np.float64))

    @property
    def dark_field(self) -> NDArray[np.float64]:
        """−ln(V/V0), (row, col)."""
        return -np.log(self.maps.channel("visibility_ratio").astype(np.float64))

    @property
    def pixel_m(self) -> float:
        """Side of a pixel."""
        return self.maps.spacing_m[0]


@dataclass(frozen=True)
class LobeQuality:
    """Whether a lobe's dark field can be trusted, and the numbers that decided.

    Parameters
    ----------
    usable : bool
    reasons : tuple of str
        Why not; empty if usable.
    flat_visibility : float
        Median V0.
    streak_index : float
        See `lobe_quality`; 1 for white noise.
    attenuation_noise, dark_field_noise : float
        Standard deviation of a pixel's noise.
    """

    usable: bool
    reasons: tuple[str, ...]
    flat_visibility: float
    streak_index: float
    attenuation_noise: float
    dark_field_noise: float


def lobe_quality(lobe: RadiographLobe, *, lowest_visibility: float = 0.10, highest_streak: float = STREAKED) -> LobeQuality:
    """Judge a lobe by its median flat visibility and by the vertical streaks of its dark field.

    The streak index is that of `core.streaks.find_streaks`: near 1 for white noise of any level.

    Parameters
    ----------
    lobe : RadiographLobe
    lowest_visibility, highest_streak : float
        A lobe below the one or above the other is not usable.
    """
    dark = np.where(lobe.mask, lobe.dark_field, np.nan)
    visibility = float(np.median(lobe.maps.channel("flat_visibility")[lobe.mask]))
    streak = find_streaks(dark, lobe.mask).index
    reasons = []
    if visibility < lowest_visibility:
        reasons.append(f"median flat visibility {visibility:.3f} is below {lowest_visibility:g}")
    if streak > highest_streak:
        reasons.append(f"streak index {streak:.2f} of the dark field is above {highest_streak:g}")
    attenuation = np.where(lobe.mask, lobe.attenuation, np.nan)
    noise = [_spread(_second(v)) / np.sqrt(1.5) for v in (attenuation, dark)]
    return LobeQuality(not reasons, tuple(reasons), visibility, streak, *noise)


def _second(values: NDArray) -> NDArray:
    """Second difference along rows (axis 0), NaN where a neighbour is missing; white noise grows by √1.5."""
    return values[1:-1] - (values[:-2] + values[2:]) / 2


def _spread(values: NDArray) -> float:
    """Standard deviation of normal values from their median absolute deviation."""
    known = values[np.isfinite(values)]
    require(known.size >= 20, f"lobe: wanted at least 20 pixels with both neighbours, got {known.size}")
    return float(1.4826 * np.median(np.abs(known - np.median(known))))


def lung_thickness(lobe: RadiographLobe, *, greatest_thickness_m: float) -> NDArray[np.float64]:
    """Assumed thickness [m], (row, col), 0 outside: `greatest_thickness_m` × −ln T / its 95th percentile, −ln T smoothed.

    Vessels attenuate more than lung, so under them the thickness is overestimated; it is limited to the greatest. A lobe
    that knows its own thickness keeps it.
    """
    if lobe.thickness_m is not None:
        return np.where(lobe.mask, lobe.thickness_m, 0.0).astype(np.float64)
    smooth = smooth_inside(lobe.attenuation, lobe.mask, sigma_px=2.0)
    level = float(np.percentile(smooth[lobe.mask], 95))
    require(level > 0, f"{lobe.name}: the lobe does not attenuate")
    return np.where(lobe.mask, greatest_thickness_m * np.clip(smooth / level, 0.0, 1.0), 0.0)


def smooth_inside(values: NDArray, mask: NDArray[np.bool_], *, sigma_px: float) -> NDArray[np.float64]:
    """Gaussian mean over the mask's own pixels, (row, col); 0 outside the mask."""
    weight = ndimage.gaussian_filter(mask.astype(np.float64), sigma_px)
    total = ndimage.gaussian_filter(np.where(mask, values, 0.0), sigma_px)
    return np.where(mask, total / np.maximum(weight, 1e-12), 0.0)


def split_usable(
    lobes: Sequence[RadiographLobe], *, unknown: str = UNKNOWN_ANIMAL
) -> tuple[tuple[RadiographLobe, ...], Mapping[str, str]]:
    """Lobes to use, and for the others why not: a bad dark field, or an animal that is not known.

    A lobe of an unknown animal may be of the same animal as another one, so it cannot be given to a fold.
    """
    kept, refused = [], {}
    for lobe in lobes:
        quality = lobe_quality(lobe)
        reasons = list(quality.reasons) + (["animal unknown: may be in another fold"] if lobe.group == unknown else [])
        if reasons:
            refused[lobe.name] = "; ".join(reasons)
        else:
            kept.append(lobe)
    if not kept:
        raise DarklungError(f"lobes: none is usable; {'; '.join(f'{k}: {v}' for k, v in refused.items())}")
    return tuple(kept), refused

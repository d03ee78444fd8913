"""What air and soft tissue read in an attenuation volume of any scale, and where the animal's body is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import require
from darklung.features.balls import Mask, Spacing, distance, large_parts

# A lowest value that so many voxels share to the last bit marks what was not reconstructed, if other air is there too.
FILL_SHARE = 0.01
OTHER_AIR = 0.05
# Air this far from the body holds none of its blurred rim.
RIM_M = 6.0e-4
FEW = 100


@dataclass(frozen=True)
class GreyLevels:
    """Grey values of air and soft tissue, and the body.

    Parameters
    ----------
    air, tissue : float
        In the volume's unit.
    body : (z, y, x) bool
        The animal with what it encloses in each transverse slice.
    """

    air: float
    tissue: float
    body: Mask

    def relative(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """0 in air, 1 in soft tissue; NaN counts as air."""
        known = np.where(np.isfinite(values), values, np.float32(self.air))
        return np.asarray((known - self.air) / (self.tissue - self.air), dtype=np.float32)


def find_grey_levels(
    values: NDArray[np.float32],
    *,
    spacing_m: Spacing,
    tissue_level: float | None = None,
    zero_is_air: bool = False,
) -> GreyLevels:
    """Grey levels of a volume whose gain and offset need not be known.

    Otsu's threshold parts animal and air (lung falls to either side). The body is the largest dense part, filled slice by
    slice, as the lungs may leave the field of view through z. Air is the median well outside the body, or where nothing of
    that is seen, zero if `zero_is_air`, else the darkest there is. Soft tissue is the commonest value in the body.

    Parameters
    ----------
    values : (z, y, x) float32
        NaN outside the field of view. A lowest value that many voxels share exactly counts as NaN if there is other air.
    spacing_m : tuple of float
    tissue_level : float, optional
        Of soft tissue, if known, in the volume's unit.
    zero_is_air : bool
        Whether the values are attenuation coefficients.

    Raises
    ------
    DarklungError
        Nothing attenuates.
    """
    known = np.isfinite(values)
    require(bool(known.any()), "lung: wanted grey values, got none that is finite")
    lowest = values[known].min()
    fill = known & (values == lowest)
    seen = known & ~fill if fill.sum() > FILL_SHARE * known.sum() else known
    require(bool(seen.any()), "lung: nothing attenuates in this volume")
    dense = np.where(known, values, lowest) > _otsu(values[seen])
    largest = large_parts(dense, share=1.0)
    body = np.stack([ndimage.binary_fill_holes(s) for s in largest])
    outside = known & (distance(body, spacing_m) > RIM_M)
    air = _air(values, outside, outside & ~fill, zero_is_air)
    tissue = _commonest(values[largest]) if tissue_level is None else tissue_level
    require(tissue > air, f"lung: wanted soft tissue brighter than air, got {tissue:.6g} and {air:.6g}")
    return GreyLevels(air, tissue, body)


def _air(values: NDArray[np.float32], outside: Mask, other: Mask, zero_is_air: bool) -> float:
    """Grey value of air; `other` are the voxels outside the body that do not have the lowest value."""
    count = int(outside.sum())
    if count > FEW:
        return float(np.median(values[other if other.sum() > max(OTHER_AIR * count, FEW) else outside]))
    return 0.0 if zero_is_air else float(np.nanpercentile(values, 0.1))


def _otsu(values: NDArray[np.float32]) -> float:
    """Threshold with the largest variance between the classes."""
    low, high = np.percentile(values, [0.5, 99.5])
    require(high > low, "lung: nothing attenuates in this volume")
    counts, edges = np.histogram(values, bins=256, range=(float(low), float(high)))
    centres = (edges[:-1] + edges[1:]) / 2
    below, mass = np.cumsum(counts), np.cumsum(counts * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass / below - (mass[-1] - mass) / above) ** 2 * below * above
    return float(centres[int(np.nanargmax(between))])


def _commonest(values: NDArray[np.float32]) -> float:
    """Mode of a histogram smoothed by a hundredth of its range."""
    low, high = np.percentile(values, [0.5, 99.0])
    if high <= low:
        return float(low)
    counts, edges = np.histogram(values, bins=400, range=(float(low), float(high)))
    return float(edges[int(np.argmax(ndimage.gaussian_filter1d(counts.astype(float), 4.0)))] + (edges[1] - edges[0]) / 2)

"""Where a section is tissue and where air, at a stated resolution, so that the answer does not hang on the pixel.

The border of lung tissue is a coastline: at finer pixels gaps between cells and ragged edges add interface that no one
counts at the microscope. What is counted here is the interface that is seen at one resolution, without parts smaller than
a stated area (docs/decisions/150-sections-and-stereology.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_fields, check_positive
from darklung.histology.stain import WHITE, grey_density, optical_density


@dataclass(frozen=True)
class Sight:
    """What is told apart.

    Parameters
    ----------
    resolution_m : float
        Standard deviation of the blur at which the interface is looked at; a pixel of edge d brings d/√12 of it along.
    least_area_m2 : float
        Smaller islands of tissue are no tissue, smaller holes no airspace: a capillary is up to 8 um wide, a crack is none.
    """

    resolution_m: float = 1.5e-6
    least_area_m2: float = 50e-12

    def __post_init__(self) -> None:
        check_fields(self)
        check_positive("resolution_m", self.resolution_m)

    def halo(self, pixel_m: float) -> int:
        """Pixels around a tile that decide what is in it."""
        return int(np.ceil((4 * self.resolution_m + 2 * np.sqrt(self.least_area_m2)) / pixel_m)) + 1


def density_at(
    rgb: NDArray[np.uint8], *, pixel_m: float, sight: Sight, plateau: float, white: float = WHITE
) -> NDArray[np.float32]:
    """Grey density at the resolution of `sight`, (row, col); what is denser than `plateau` counts as it.

    Otherwise the blur of dark nuclei would widen the tissue beside them.
    """
    from scipy.ndimage import gaussian_filter

    grey = np.minimum(grey_density(optical_density(rgb, white)), np.float32(plateau))
    left = sight.resolution_m**2 - pixel_m**2 / 12
    sigma = np.sqrt(max(left, 0.0)) / pixel_m
    return gaussian_filter(grey, sigma, mode="nearest", truncate=4) if sigma > 0.1 else grey


def without_specks(tissue: NDArray[np.bool_], *, pixel_m: float, least_area_m2: float) -> NDArray[np.bool_]:
    """Islands smaller than the area gone, holes smaller than it filled; what touches the border stays as it is."""
    least = least_area_m2 / pixel_m**2
    if least <= 1:
        return tissue
    kept = tissue & ~_small(tissue, least, diagonal=True)
    return np.asarray(kept | _small(~kept, least, diagonal=False))


def _small(mask: NDArray[np.bool_], least: float, *, diagonal: bool) -> NDArray[np.bool_]:
    """Parts with fewer pixels than `least` that do not touch the border."""
    from scipy.ndimage import label

    parts, _ = label(mask, np.ones((3, 3)) if diagonal else None)
    small = np.bincount(parts.ravel()) < least
    small[0] = False
    small[np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])] = False
    return np.asarray(small[parts])

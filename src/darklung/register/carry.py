"""What was drawn or found in sections, carried into the volume: where it was seen, how likely it is, what nobody saw.

A voxel is seen where a section's plane passes within `reach_m` of its middle and there is lung in the picture. The
probability is the mask smoothed by the registration's error at that place: across the section it stands for a border that
leans by 45 degrees. Voxels whose probability lies within the band are unknown, as is everything that no section saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_range, check_shape, require
from darklung.core.types import LESION, UNKNOWN, Image
from darklung.register.transform import PlaneMap

Mask = NDArray[np.bool_]
_WIDTHS = 6
"""Smoothings that are tabulated between the least and the largest error of a section."""


@dataclass(frozen=True)
class Drawn:
    """A section's own masks on a grid in the frame of its picture.

    Parameters
    ----------
    mask : (row, col) bool
        What is carried, such as tumour.
    lung : (row, col) bool
        Where the section shows lung.
    pixel_m : float
    origin_m : (row, col)
        Middle of the first pixel.
    """

    mask: Mask
    lung: Mask
    pixel_m: float
    origin_m: tuple[float, float]

    def __post_init__(self) -> None:
        check_shape("mask", self.mask, "row, col", self.lung.shape)


@dataclass(frozen=True)
class Carried:
    """On the volume's grid, (z, y, x).

    Parameters
    ----------
    probability : float32
        Of what was drawn; 0 where nobody saw.
    seen : bool
    error_m : float32
        Standard deviation of a border there; 0 where nobody saw.
    """

    probability: NDArray[np.float32]
    seen: Mask
    error_m: NDArray[np.float32]

    def labels(self, band: float) -> NDArray[np.uint8]:
        """`LESION`, 0 or `UNKNOWN`.

        Parameters
        ----------
        band : float
            Nominal share of borders that lie in it: probabilities from (1 − band)/2 to (1 + band)/2 are unknown.
        """
        check_range("band", band, 0.0, 0.999)
        low, high = (1 - band) / 2, (1 + band) / 2
        unsure = (self.probability > low) & (self.probability < high)
        found = np.where(self.probability >= high, LESION, 0).astype(np.uint8)
        found[unsure | ~self.seen] = UNKNOWN
        return found


def carry(grid: Image, maps: Sequence[PlaneMap], drawn: Sequence[Drawn], *, reach_m: float | None = None) -> Carried:
    """Masks of sections on a volume's grid; where several sections see a voxel, the mean of them.

    Parameters
    ----------
    grid : Image
        Its channels do not matter.
    maps : sequence of PlaneMap
        In the frame of the grid.
    drawn : sequence of Drawn
        One a map.
    reach_m : float, optional
        How far from its plane a section speaks; half a voxel along the plane's normal if not given.

    Raises
    ------
    DarklungError
        Another number of maps, or another frame.
    """
    require(len(maps) == len(drawn), f"carry: wanted a map for each section, got {len(maps)} and {len(drawn)}")
    sums, counts, errors = (np.zeros(grid.shape, np.float32) for _ in range(3))
    for plane, one in zip(maps, drawn):
        require(plane.frame == grid.frame, f"{plane.section}: wanted the frame {grid.frame!r}, got {plane.frame!r}")
        index, points, reach = _near(grid, plane, reach_m)
        lung = _sampled(one.lung.astype(np.float32), points, one) > 0.5
        index, points = index[lung], points[lung]
        sd = _border_error(plane, points, reach)
        at = tuple(index.T)
        sums[at] += _smoothed(one, points, sd / np.sqrt(plane.area_ratio()))
        errors[at] += sd
        counts[at] += 1
    seen = counts > 0
    enough = np.maximum(counts, 1)
    return Carried((sums / enough).astype(np.float32), seen, (errors / enough).astype(np.float32))


def _near(grid: Image, plane: PlaneMap, reach_m: float | None) -> tuple[NDArray[np.intp], NDArray[np.float64], float]:
    """Indices of voxels near the plane, the points of the picture below them, and the reach."""
    steps = np.asarray(grid.direction) * np.asarray(grid.spacing_m)
    normal = plane.normal()
    slopes = normal @ steps
    reach = float(np.linalg.norm(slopes)) / 2 if reach_m is None else reach_m
    axes = [np.arange(n, dtype=np.float64) for n in grid.shape]
    start = float(normal @ (np.asarray(grid.origin_m) - plane.centre_m))
    heights = start + sum(s * a for s, a in zip(slopes, np.meshgrid(*axes, indexing="ij", sparse=True)))
    index = np.argwhere(np.abs(heights) <= reach)
    places = np.asarray(grid.origin_m) + index @ steps.T
    points, _ = plane.point_m(places)
    return index, points, reach


def _border_error(plane: PlaneMap, points: NDArray[np.float64], reach_m: float) -> NDArray[np.float64]:
    """Standard deviation of the place of a border in the picture, in the animal's metres: error, height, and the reach."""
    rows, cols, normal = np.moveaxis(plane.error_m(points), -1, 0)
    return np.asarray(np.sqrt((rows**2 + cols**2) / 2 + normal**2 + reach_m**2 / 3))


def _smoothed(one: Drawn, points: NDArray[np.float64], sd_m: NDArray[np.float64]) -> NDArray[np.float32]:
    """The mask smoothed by another width at each point: between the nearest of a few widths."""
    from scipy.ndimage import gaussian_filter

    if not len(points):
        return np.zeros(0, np.float32)
    widths = np.geomspace(float(sd_m.min()), float(sd_m.max()) * 1.0001, _WIDTHS)
    layers = []
    for width in widths:
        smooth = gaussian_filter(one.mask.astype(np.float32), width / one.pixel_m)
        layers.append(_sampled(smooth, points, one))
    place = np.interp(np.log(sd_m), np.log(widths), np.arange(_WIDTHS))
    low = np.minimum(place.astype(int), _WIDTHS - 2)
    table, rest, each = np.stack(layers), (place - low).astype(np.float32), np.arange(len(points))
    return np.asarray(np.clip((1 - rest) * table[low, each] + rest * table[low + 1, each], 0, 1), dtype=np.float32)


def _sampled(values: NDArray[np.float32], points: NDArray[np.float64], one: Drawn) -> NDArray[np.float32]:
    from scipy.ndimage import map_coordinates

    index = np.moveaxis((points - np.asarray(one.origin_m)) / one.pixel_m, -1, 0)
    return np.asarray(map_coordinates(values, index, order=1, mode="constant", cval=0.0), dtype=np.float32)

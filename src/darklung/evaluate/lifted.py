"""What radiographs say of each place in their animal's volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from darklung.core.geometry import Geometry
from darklung.core.types import Image
from darklung.core.views import positions_m, seen_at
from darklung.io.names import DIAMETER, MEMBER

SEEN = "views"  # channel: how many radiographs see a voxel


def lifted(grid: Image, region: NDArray[np.bool_], views: Sequence[tuple[Image, Geometry]]) -> Image:
    """The maps of radiographs at the voxels of a volume's region, linear between pixels, the mean over views that see them.

    Depth is not told by one view: all voxels of a ray have the same value. Voxels that no view sees, or outside the region,
    have the map's lowest value, and 0 in the channel ``views``.

    Parameters
    ----------
    grid : Image
        Of the volume, in the scanner's frame.
    region : (z, y, x) bool
    views : sequence of (Image, Geometry)
        Maps of each radiograph, those of a prediction, and the beam of its one view.
    """
    from scipy.ndimage import map_coordinates

    places = positions_m(grid, np.argwhere(region))
    names = [n for n in views[0][0].names if n not in (DIAMETER, "logit_spread")]
    total, count = np.zeros((len(names), len(places))), np.zeros(len(places))
    for image, geometry in views:
        at = seen_at(geometry, image, places)
        seen = ((at >= -0.5) & (at <= np.array(image.shape) - 0.5)).all(axis=1)
        maps = [map_coordinates(image.channel(n).astype(np.float64), at[seen].T, order=1, mode="nearest") for n in names]
        total[:, seen] += maps
        count += seen
    out: dict[str, NDArray[np.floating]] = {}
    for name, values in zip(names, total):
        lowest = min(float(image.channel(name).min()) for image, _ in views)
        out[name] = np.full(region.shape, lowest, dtype=np.float32)
        out[name][region] = np.where(count > 0, values / np.maximum(count, 1), lowest)
    own = [out[n] for n in names if n.startswith(MEMBER)]
    out["logit_spread"] = np.std(own, axis=0) if own else np.zeros(region.shape)
    out[SEEN] = np.zeros(region.shape)
    out[SEEN][region] = count
    data = np.stack([v.astype(np.float32) for v in out.values()])
    return grid.with_data(data, tuple(out), ("1",) * len(out))

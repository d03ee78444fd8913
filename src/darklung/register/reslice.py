"""Values of a volume where a section lies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_shape, require
from darklung.core.types import Image
from darklung.register.transform import PlaneMap, Points


def resliced(image: Image, values: NDArray[Any], plane: PlaneMap, points_m: Points) -> NDArray[np.float64]:
    """Values on the grid of a volume at the places of points of a section's picture, linearly interpolated.

    Parameters
    ----------
    image : Image
        The grid, in the frame of the map.
    values : (z, y, x)
    plane : PlaneMap
    points_m : (..., 2)
        In the frame of the section.

    Returns
    -------
    (...) float64
        NaN outside the volume, and beside voxels without a value.

    Raises
    ------
    DarklungError
        Another frame, or values of another shape.
    """
    from scipy.ndimage import map_coordinates

    require(plane.frame == image.frame, f"{plane.section}: wanted the frame {image.frame!r}, got {plane.frame!r}")
    check_shape("values", values, "z, y, x", image.shape)
    away = plane.position_m(points_m).reshape(-1, 3) - np.asarray(image.origin_m)
    index = away @ np.asarray(image.direction) / np.asarray(image.spacing_m)
    array = np.asarray(values, dtype=np.float64)
    found = map_coordinates(array, index.T, order=1, mode="constant", cval=np.nan)
    return np.asarray(found.reshape(points_m.shape[:-1]))

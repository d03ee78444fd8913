"""The projector and the analytic reconstruction that belong to a beam, on the grid of what its detector sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darklung.core.geometry import ConeGeometry, Geometry
from darklung.tomo.cone import ConeProjector, whole_field
from darklung.tomo.fbp import fbp, fbp_variance
from darklung.tomo.fdk import fdk, fdk_variance
from darklung.tomo.projector import Projector


def field_shape(geometry: Geometry) -> tuple[int, int, int]:
    """(z, y, x) of voxels of one pixel: rows and columns, or `whole_field` in a cone beam."""
    if isinstance(geometry, ConeGeometry):
        return whole_field(geometry)[0]
    return geometry.rows, geometry.cols, geometry.cols


def projector_for(geometry: Geometry) -> Projector | ConeProjector:
    """Line integrals of voxels of one pixel, level with the middle of the detector."""
    if isinstance(geometry, ConeGeometry):
        shape, level_m = whole_field(geometry)
        return ConeProjector(geometry, shape, geometry.pixel_m, level_m=level_m)
    return Projector(geometry, field_shape(geometry), geometry.pixel_m)


def filtered(
    values: NDArray, geometry: Geometry, *, filter: str = "ramp", cutoff: float = 1.0, padding: str = "zero"
) -> NDArray[np.float32]:
    """`fbp`, or `fdk` in a cone beam."""
    if isinstance(geometry, ConeGeometry):
        level_m = whole_field(geometry)[1]
        return fdk(values, geometry, level_m=level_m, filter=filter, cutoff=cutoff, padding=padding)
    return fbp(values, geometry, filter=filter, cutoff=cutoff, padding=padding)


def filtered_variance(
    variance: NDArray, geometry: Geometry, *, filter: str = "ramp", cutoff: float = 1.0
) -> NDArray[np.float32]:
    """`fbp_variance`, or `fdk_variance` in a cone beam."""
    if isinstance(geometry, ConeGeometry):
        return fdk_variance(variance, geometry, level_m=whole_field(geometry)[1], filter=filter, cutoff=cutoff)
    return fbp_variance(variance, geometry, filter=filter, cutoff=cutoff)

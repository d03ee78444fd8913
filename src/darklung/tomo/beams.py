"""The projector and the analytic reconstruction that belong to a beam, on the grid of what its detector sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from darklung.core.geometry import ConeGeometry, Geometry, field_width
from darklung.tomo.cone import ConeProjector, whole_field
from darklung.tomo.fbp import fbp, fbp_variance
from darklung.tomo.fdk import fdk, fdk_variance
from darklung.tomo.projector import Projector

if TYPE_CHECKING:
    from darklung.tomo.torch_operator import TorchOperator


def field_shape(geometry: Geometry) -> tuple[int, int, int]:
    """(z, y, x) of voxels of one pixel: rows and `field_width`, or `whole_field` in a cone beam."""
    if isinstance(geometry, ConeGeometry):
        return whole_field(geometry)[0]
    wide = field_width(geometry)
    return geometry.rows, wide, wide


def projector_of(geometry: Geometry, shape: tuple[int, int, int], voxel_m: float) -> Projector | ConeProjector:
    """Line integrals of a grid of its own (z, y, x), on the CPU."""
    if isinstance(geometry, ConeGeometry):
        return ConeProjector(geometry, shape, voxel_m)
    return Projector(geometry, shape, voxel_m)


def projector_for(geometry: Geometry, device: str = "cpu") -> Projector | ConeProjector | TorchOperator:
    """Line integrals of voxels of one pixel, level with the middle of the detector, on a device of `find_device`."""
    shape, level_m = whole_field(geometry) if isinstance(geometry, ConeGeometry) else (field_shape(geometry), 0.0)
    if device != "cpu":
        from darklung.tomo.torch_operator import TorchOperator

        return TorchOperator(geometry, shape, geometry.pixel_m, device, level_m)
    if isinstance(geometry, ConeGeometry):
        return ConeProjector(geometry, shape, geometry.pixel_m, level_m=level_m)
    return Projector(geometry, shape, geometry.pixel_m)


def filtered(
    values: NDArray,
    geometry: Geometry,
    *,
    filter: str = "ramp",
    cutoff: float = 1.0,
    padding: str = "zero",
    device: str = "cpu",
) -> NDArray[np.float32]:
    """`fbp` on a device of `find_device`, or `fdk` in a cone beam, always on the CPU."""
    if isinstance(geometry, ConeGeometry):
        level_m = whole_field(geometry)[1]
        return fdk(values, geometry, level_m=level_m, filter=filter, cutoff=cutoff, padding=padding)
    shape = field_shape(geometry)
    return fbp(values, geometry, shape=shape, filter=filter, cutoff=cutoff, padding=padding, device=device)


def filtered_variance(
    variance: NDArray, geometry: Geometry, *, filter: str = "ramp", cutoff: float = 1.0
) -> NDArray[np.float32]:
    """`fbp_variance`, or `fdk_variance` in a cone beam."""
    if isinstance(geometry, ConeGeometry):
        return fdk_variance(variance, geometry, level_m=whole_field(geometry)[1], filter=filter, cutoff=cutoff)
    return fbp_variance(variance, geometry, shape=field_shape(geometry), filter=filter, cutoff=cutoff)

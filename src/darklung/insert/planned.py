"""What goes where in a CT scan: the plan that volumes, projections and frames share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import noise_of
from darklung.core.types import Image
from darklung.insert.bank import Host
from darklung.insert.residual import fine_texture, tissue_noise
from darklung.insert.scale import Scale
from darklung.insert.volume import PlacedLesion, VolumeChanges, volume_changes
from darklung.phantom.grid import Grid


@dataclass(frozen=True)
class Planned:
    """What goes where in a CT scan.

    Parameters
    ----------
    image : Image
        The reconstruction.
    dark : tuple of str
        Its dark-field channels; there may be none.
    region : (z, y, x) bool
    grid : Grid
    placed : tuple of PlacedLesion
    host : Host
    scale : Scale
    """

    image: Image
    dark: tuple[str, ...]
    region: NDArray[np.bool_]
    grid: Grid
    placed: tuple[PlacedLesion, ...]
    host: Host
    scale: Scale


def volume_noise(plan: Planned) -> float | None:
    """Noise of attenuation [1/m]: of the reconstruction's noise map, or seen in soft tissue; None where there is neither."""
    noise = noise_of("attenuation", plan.image.names)
    if noise is not None:
        return float(np.nanmedian(plan.image.channel(noise)[plan.region]))
    attenuation, voxel = plan.image.channel("attenuation"), plan.grid.voxel_m
    return tissue_noise(attenuation, plan.region, tissue_per_m=plan.host.tissue_per_m, voxel_m=voxel)


def drawn_changes(plan: Planned, blur_m: tuple[float, float, float], noise_per_m: float | None) -> VolumeChanges:
    """The plan on the volume's voxels; fine texture goes with the lung where the noise is known, which stays."""
    attenuation, texture = plan.image.channel("attenuation"), None
    if noise_per_m is not None:
        texture = fine_texture(attenuation, plan.region, noise_per_m=noise_per_m, voxel_m=plan.grid.voxel_m)
    return volume_changes(plan.placed, plan.grid, plan.region, host=plan.host, blur_m=blur_m, texture=texture)


def changed_image(plan: Planned, changes: VolumeChanges) -> Image:
    """The reconstruction with the changes added."""
    image = plan.image
    data = np.array(image.data, dtype=np.float32)
    data[image.names.index("attenuation")] += changes.attenuation
    for name, change in zip(plan.dark, changes.scattering):
        data[image.names.index(name)] += change
    return image.with_data(data)

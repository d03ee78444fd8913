"""What goes where in a CT scan: the plan that volumes, projections and frames share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import noise_of
from darklung.core.types import Image
from darklung.insert.bank import Host
from darklung.insert.residual import fine_texture, tissue_noise
from darklung.insert.scale import Scale, own_tissue_per_m
from darklung.insert.volume import PlacedLesion, VolumeChanges, place_insertions, volume_changes, volume_grid
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


def plan_insertions(
    image: Image,
    dark: tuple[str, ...],
    region: NDArray[np.bool_],
    scale: Scale,
    *,
    wanted: Sequence[tuple[str, str]],
    diameter_m: tuple[float, float],
    seed: int,
    variant: str,
    at_edge: bool,
) -> Planned:
    """Place insertions in the lung of a reconstruction, in attenuation and the dark fields `dark`; see `place_insertions`.

    Raises
    ------
    DarklungError
        Insertions that do not fit, or nothing that tells what soft tissue attenuates.
    """
    grid, attenuation = volume_grid(image), image.channel("attenuation")
    tissue = scale.tissue_per_m or own_tissue_per_m(attenuation, region, grid.voxel_m)
    scattering = [image.channel(name) for name in dark]
    host = scale.host_of(attenuation[region], [values[region] for values in scattering], tissue_per_m=tissue)
    placed = place_insertions(
        attenuation, scattering, region, grid, wanted=wanted, diameter_m=diameter_m, host=host, seed=seed, variant=variant,
        at_edge=at_edge,
    )  # fmt: skip
    return Planned(image, dark, region, grid, placed, host, scale)


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

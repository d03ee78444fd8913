"""Insertion into reconstructed volumes, and the plan of insertions that projections and frames of a CT share with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.grey import require_unit
from darklung.core.types import Image
from darklung.features.lung import lung_region
from darklung.insert.maps import dark_channels
from darklung.insert.measured import made_in_volume
from darklung.insert.planned import Planned, changed_image, drawn_changes, plan_insertions, volume_noise
from darklung.insert.volume import VolumeChanges, volume_grid
from darklung.io.images import load_image
from darklung.io.labels import read_lung
from darklung.pipeline import Context
from darklung.report.contact import make_tile, save_tiles
from darklung.steps.insertion.parameters import Parameters
from darklung.steps.insertion.rows import save_copy, save_rows, without_channels
from darklung.steps.insertion.scale import read_scale


def plan_volume(
    p: Parameters, volume: Path, *, directions: Sequence[str] | None = None, height_m: float = np.inf
) -> Planned:
    """Place the insertions of one copy in a reconstruction; depends on the volume, the options and the copy alone.

    Parameters
    ----------
    p : mapping
        Of the task.
    volume : Path
        OME-Zarr.
    directions : list of str, optional
        Dark-field channels that are wanted, in this order; all by default.
    height_m : float
        Of the detector, centred: nothing is placed where no row sees it.

    Raises
    ------
    DarklungError
        Channels that are missing, no lung, or insertions that do not fit.
    """
    image = load_image(volume)
    given = p.paths.region
    region = read_lung(Path(given), image.shape)[0] if given else None
    return plan_image(p, image, region, directions=directions, height_m=height_m, name=str(volume))


def plan_image(
    p: Parameters,
    image: Image,
    region: NDArray[np.bool_] | None,
    *,
    directions: Sequence[str] | None = None,
    height_m: float = np.inf,
    name: str = "image",
) -> Planned:
    """`plan_volume` of an image in memory; its lung is looked for if it is not known; `name` is told in errors."""
    options, dark = p.options, dark_channels(image)
    require_unit(image, "attenuation", "1/m", origin=name)
    if directions is not None:
        dark = tuple(d if d in dark else "dark_field" for d in directions)
        for channel in dark:
            image.channel(channel)
    region = lung_region(image) if region is None else region
    region = region & (np.abs(volume_grid(image).z_m) < height_m / 2)[:, None, None]
    require(bool(region.any()), f"{name}: none of its lung is seen by the detector, {1e3 * height_m:g} mm high")
    return plan_insertions(
        image, dark, region, read_scale(p.scale), wanted=p.wanted, diameter_m=options.diameter, seed=p.seed,
        variant=options.growth, at_edge=options.across_edge,
    )  # fmt: skip


def insert_volume(context: Context) -> None:
    """A volume with insertions in attenuation and every dark field; other channels (noise maps) stay as they are."""
    p = Parameters.of(context)
    plan = plan_volume(p, p.place(context))
    context.progress(0.5, "placed")
    noise = volume_noise(plan)
    changes = drawn_changes(plan, volume_blur(p, plan.grid.voxel_m), noise)
    told = "left: the noise is not known" if noise is None else f"replaced down to a noise of {noise:.3g} 1/m"
    finish_volume(context, plan, changes, {"route": "volume", "fine_texture": told}, image=changed_image(plan, changes))


def volume_blur(p: Parameters, voxel_m: float) -> tuple[float, float, float]:
    """Blur of a reconstruction along z, y, x [m]: as given, or half a voxel across the rotation axis."""
    given = p.options.blur
    if given is None:
        return 0.0, 0.5 * voxel_m, 0.5 * voxel_m
    return (p.blur_m,) * 3


def finish_volume(
    context: Context, plan: Planned, changes: VolumeChanges, notes: dict[str, Any], *, image: Image | None = None
) -> None:
    """A case on the volume's grid (with the changed `image` if there is one), rows, pictures of each insertion's slice."""
    insertions, extent = [one.insertion for one in plan.placed], ("share", "1", changes.share)
    changed = without_channels(plan.image) if image is None else image
    save_copy(context, changed, insertions, instances=changes.instances, region=plan.region, extent=extent)
    made, tiles = [], []
    voxel = plan.grid.voxel_m
    for one in plan.placed:
        made.append(made_in_volume(one, plan))
        centre = plan.image.index_of(one.insertion.center_m)
        z = int(np.clip(round(centre[0]), 0, plan.grid.shape[0] - 1))
        mu = plan.image.channel("attenuation")[z]
        planes = [mu, mu + changes.attenuation[z]]
        if plan.dark:
            first = plan.image.channel(plan.dark[0])[z]
            planes += [first, first + changes.scattering[0][z]]
        label = changes.instances[z] == one.insertion.number
        tiles.append(make_tile(one.insertion, planes, label, centre_px=(centre[1], centre[2]), pixel_m=voxel))
    told = {
        "scale": plan.scale.told,
        "tissue_per_m": plan.host.tissue_per_m,
        "interface_density_per_m": plan.host.interface_density_per_m,
        "energy_kev": plan.scale.energy_kev,
        "correlation_length_m": plan.scale.correlation_length_m,
        "phase": "changed" if plan.scale.energy_kev else "left as it was: no energy is known",
        "region_ml": float(plan.region.sum()) * voxel**3 * 1e6,
    }
    save_rows(context, made, {**notes, **told})
    save_tiles(context.out, tiles)

"""A volume on other voxels, where that is asked for."""

from __future__ import annotations

from darklung.core.resample import resample
from darklung.io.documents import Document, Length
from darklung.io.images import load_image, save_image
from darklung.io.names import VOLUME
from darklung.pipeline import Context, Task

STAGE = "resample"


class Parameters(Document):
    """The voxel that is wanted."""

    voxel: Length


def task(name: str, voxel_m: float, volume: str) -> Task:
    """Another task's volume on cubic voxels."""
    parameters = Parameters.model_validate({"voxel": f"{voxel_m!r} m"}).model_dump(mode="json")
    return Task(STAGE, name, "darklung.steps.resample:onto", parameters, {"image": (volume,)})


def onto(context: Context) -> None:
    """``volume.ome.zarr``: linear, smoothed first where the new voxels are larger."""
    p = Parameters.model_validate(context.parameters)
    image = load_image(context.input("image") / VOLUME)
    save_image(context.out / VOLUME, resample(image, spacing_m=(p.voxel,) * len(image.shape)))

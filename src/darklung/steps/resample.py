"""A volume on other voxels, where that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darklung.core.resample import resample
from darklung.io.documents import Document, Length
from darklung.io.images import load_image, save_image
from darklung.io.names import SUMMARY, VOLUME
from darklung.pipeline import Context, Task
from darklung.pipeline.record import read_json

STAGE = "resample"
SIDE = 32  # voxels within which noise of a slice is correlated; 0.001 of any filter is left there


class Parameters(Document):
    """The voxel that is wanted."""

    voxel: Length


def task(name: str, voxel_m: float, volume: str) -> Task:
    """Another task's volume on cubic voxels."""
    parameters = Parameters.model_validate({"voxel": f"{voxel_m!r} m"}).model_dump(mode="json")
    return Task(STAGE, name, "darklung.steps.resample:onto", parameters, {"image": (volume,)})


def onto(context: Context) -> None:
    """``volume.ome.zarr``: linear, smoothed first where the new voxels are larger; errors as `resample` has them."""
    p = Parameters.model_validate(context.parameters)
    made = context.input("image")
    image = load_image(made / VOLUME)
    spacing = (p.voxel,) * len(image.shape)
    save_image(context.out / VOLUME, resample(image, spacing_m=spacing, correlation=noise_correlation(made)))


def noise_correlation(made: Path) -> NDArray[np.float64] | None:
    """Correlation of the noise of a slice, where a parallel beam's filtered back-projection made the volume in `made`.

    None of other methods, of cone beams (whose pixels are no voxels off the axis) and of volumes of others.
    """
    from darklung.learn.noise import plane_correlation

    about = read_json(made / SUMMARY)
    if not isinstance(about, dict) or about.get("method") != "fbp" or about.get("source_axis_m") is not None:
        return None
    options = about.get("options", {})
    return plane_correlation(SIDE, options.get("filter", "ramp"), float(options.get("cutoff", 1.0)))

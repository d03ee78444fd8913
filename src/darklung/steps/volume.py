"""A reconstructed volume of any format, as darklung's own image."""

from __future__ import annotations

from pathlib import Path

from darklung.core.resample import reorient
from darklung.io.documents import Document
from darklung.io.images import is_own_image, save_image
from darklung.io.names import VOLUME
from darklung.io.volumes import NOTHING_DECLARED, VolumeOptions, open_volume, read_volume
from darklung.pipeline import Context, Task

STAGE = "volume"


class Parameters(Document):
    """Where it lies, and what the file does not say."""

    file: str
    reading: VolumeOptions = VolumeOptions()


def task(name: str, path: Path, reading: VolumeOptions = NOTHING_DECLARED) -> Task:
    """The import of one volume, whose header is looked at now."""
    if not is_own_image(path):
        open_volume(path, options=reading)
    parameters = Parameters(file=str(path.resolve()), reading=reading)
    return Task(STAGE, name, "darklung.steps.volume:read", parameters.model_dump(mode="json"), data=(path,))


def read(context: Context) -> None:
    """``volume.ome.zarr`` of a foreign volume, its axes in the frame's order and sense."""
    p = Parameters.model_validate(context.parameters)
    save_image(context.out / VOLUME, reorient(read_volume(Path(p.file), options=p.reading)))

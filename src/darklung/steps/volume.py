"""A reconstructed volume of any format, as darklung's own image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from darklung.io.documents import Document
from darklung.io.images import save_image
from darklung.io.names import VOLUME
from darklung.pipeline import Context, Task
from darklung.pipeline.provenance import stamp

STAGE = "volume"


class Parameters(Document):
    """Where it lies, and what the file does not say."""

    file: str
    reading: dict[str, Any] = Field({})
    stamps: tuple[Any, ...] = ()


def task(name: str, path: Path, reading: dict[str, Any]) -> Task:
    """The import of one volume."""
    parameters = Parameters(file=str(path.resolve()), reading=reading, stamps=(stamp(path),))
    return Task(STAGE, name, "darklung.steps.volume:read", parameters.model_dump(mode="json"))


def read(context: Context) -> None:
    """``volume.ome.zarr`` of a foreign volume."""
    from darklung.core.resample import reorient
    from darklung.io.volumes import VolumeOptions, read_volume

    p = Parameters.model_validate(context.parameters)
    image = read_volume(Path(p.file), options=VolumeOptions.model_validate(p.reading))
    # All that follows takes z, y and x along the array; each voxel stays where it is.
    save_image(context.out / VOLUME, reorient(image))

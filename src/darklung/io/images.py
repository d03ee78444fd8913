"""Images as OME-Zarr 0.5 (opens in napari, Fiji, neuroglancer) and their export to NIfTI."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from darklung.core.checks import DarklungError, require
from darklung.core.files import reading, whole
from darklung.core.types import Image
from darklung.io.foreign_zarr import check_codecs
from darklung.io.nifti import write_nifti
from darklung.io.volume_file import check_memory

CHUNK = 64
SHARD = 256
AXES = {2: ("y", "x"), 3: ("z", "y", "x")}


def save_image(path: Path, image: Image) -> None:
    """Write `image` as an OME-Zarr 0.5 group: axes (c, z, y, x) or (c, y, x), scale and origin in millimetres.

    The exact spacing, origin, direction, units and frame lie in the group's ``darklung`` attributes; the format itself has
    no rotation, so that other programs show an oblique image along its own axes. The group appears whole or not at all.
    """
    chunks = (1, *(min(CHUNK, n) for n in image.shape))
    # A shard holds whole chunks: few files for a large volume, small reads all the same.
    shards = (1, *(c * max(1, min(SHARD // c, -(-n // c))) for c, n in zip(chunks[1:], image.shape)))
    layout: Any = {"chunks": chunks, "shards": shards, "dimension_names": _axis_names(image)}
    with whole(path) as partial:
        group = zarr.open_group(str(partial), mode="w", zarr_format=3)
        group.create_array("0", shape=image.data.shape, dtype=image.data.dtype, **layout)[...] = image.data
        group.attrs.update({"ome": _ome(image, path.name), "darklung": _exact(image)})


def create_image(
    path: Path, *, names: tuple[str, ...], units: tuple[str, ...], shape: tuple[int, int, int], spacing_m: float, slab: int
) -> zarr.Array:
    """An empty OME-Zarr volume of NaN to be written slab by slab: ``array[channel, z0:z1] = ...``.

    The same format as `save_image` writes; a centred grid in float32. Chunks end where slabs of `slab` slices end, so that
    slabs are written independently of each other. Write to a place of one's own and move it when it is whole.
    """
    grid = Image(np.broadcast_to(np.float32(0), (len(names), *shape)), names, units, (spacing_m,) * 3)
    depth = min(slab, shape[0])
    while depth > CHUNK and depth % 2 == 0:
        depth //= 2
    chunks = (1, depth, *(min(CHUNK, n) for n in shape[1:]))
    shards = (1, depth, *(c * max(1, min(SHARD // c, -(-n // c))) for c, n in zip(chunks[2:], shape[1:])))
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    group.attrs.update({"ome": _ome(grid, path.name), "darklung": _exact(grid)})
    return group.create_array(
        "0",
        shape=grid.data.shape,
        dtype=np.float32,
        chunks=chunks,
        shards=shards,
        fill_value=np.nan,
        dimension_names=_axis_names(grid),
    )


def open_array(path: Path) -> zarr.Array:
    """The (channel, z, y, x) array of an image, to read parts of it or to go on writing."""
    return zarr.open_group(str(path), mode="r+")["0"]  # type: ignore[return-value]


def load_image(path: Path, channels: tuple[str, ...] | None = None) -> Image:
    """Read an image that `save_image` wrote, or only some of its channels, in the order asked for.

    Raises
    ------
    DarklungError
        Not an OME-Zarr group of darklung, or a channel that it does not have.
    """
    grid, stored = _opened(path)
    wanted = grid.names if channels is None else channels
    for name in wanted:
        require(name in grid.names, f"{path}: no channel {name!r}; it has {', '.join(grid.names)}")
    check_memory(str(path), len(wanted) * math.prod(grid.shape) * grid.data.dtype.itemsize)
    with reading(path):
        data = np.stack([np.asarray(stored[grid.names.index(n)]) for n in wanted])
    return grid.with_data(data, tuple(wanted), tuple(grid.unit(n) for n in wanted))


def image_grid(path: Path) -> Image:
    """Channels, units and grid of an image that `save_image` wrote; its data are zeros that take no memory."""
    return _opened(path)[0]


def _opened(path: Path) -> tuple[Image, Any]:
    """Grid and array of an image, nothing of it read yet."""
    if not path.exists():
        raise DarklungError(f"{path}: no such image")
    with reading(path, "an image of darklung"):
        group = zarr.open_group(str(path), mode="r")
        exact: dict[str, Any] = dict(group.attrs["darklung"])  # type: ignore[arg-type]
        stored: Any = group["0"]
        check_codecs(path, stored)
        grid = Image(
            data=np.broadcast_to(np.zeros((), stored.dtype), stored.shape),
            names=tuple(exact["names"]),
            units=tuple(exact["units"]),
            spacing_m=tuple(exact["spacing_m"]),
            origin_m=tuple(exact["origin_m"]),
            frame=exact["frame"],
            direction=tuple(tuple(row) for row in exact.get("direction", ())),
        )
    return grid, stored


def export_nifti(image: Image, folder: Path, stem: str = "image") -> list[Path]:
    """Write each channel as ``stem_CHANNEL.nii.gz`` (see `darklung.io.nifti.write_nifti`) and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}_{name}.nii.gz" for name in image.names]
    for path, name in zip(paths, image.names):
        write_nifti(path, image, name)
    return paths


def is_own_image(path: Path) -> bool:
    """Whether a folder is an image that `save_image` wrote."""
    if not (path / "zarr.json").is_file():
        return False
    try:
        with reading(path):
            return "darklung" in zarr.open_group(str(path), mode="r").attrs
    except DarklungError:
        return False


def _axis_names(image: Image) -> tuple[str, ...]:
    return ("c", *AXES[len(image.shape)])


def _ome(image: Image, name: str) -> dict[str, Any]:
    spatial = AXES[len(image.shape)]
    axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space", "unit": "millimeter"} for a in spatial)]
    scale = {"type": "scale", "scale": [1.0, *(1e3 * s for s in image.spacing_m)]}
    # The format has no rotation: the origin is told along the array's axes, so that scale and translation fit together.
    along = np.asarray(image.direction).T @ np.asarray(image.origin_m)
    shift = {"type": "translation", "translation": [0.0, *(float(1e3 * o) for o in along)]}
    datasets = [{"path": "0", "coordinateTransformations": [scale, shift]}]
    return {
        "version": "0.5",
        "multiscales": [{"name": name, "axes": axes, "datasets": datasets}],
        "omero": {"channels": [{"label": n, "active": i == 0} for i, n in enumerate(image.names)]},
    }


def _exact(image: Image) -> dict[str, Any]:
    return {
        "names": list(image.names),
        "units": list(image.units),
        "spacing_m": list(image.spacing_m),
        "origin_m": list(image.origin_m),
        "frame": image.frame,
        "direction": [list(row) for row in image.direction],
    }

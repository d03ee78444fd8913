"""Images as OME-Zarr 0.5 (opens in napari, Fiji, neuroglancer) and their export to NIfTI.

Every chunk carries a CRC-32C and every chunk is written, so that a flipped bit and a lost file are errors when they are
read, and never values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from darklung.core.channel import Channel
from darklung.core.checks import DarklungError, require
from darklung.core.files import make_folder, reading, whole
from darklung.core.recipe import file_name
from darklung.core.types import Image
from darklung.io.foreign_zarr import check_codecs
from darklung.io.nifti import write_nifti
from darklung.io.volume_file import check_memory

CHUNK = 64
SHARD = 256
AXES = {2: ("y", "x"), 3: ("z", "y", "x")}
# How arrays are stored. An empty chunk that nobody wrote and one that was lost would look the same.
STORED: Mapping[str, Any] = {"compressors": (ZstdCodec(level=0), Crc32cCodec()), "config": {"write_empty_chunks": True}}
# In which colours programs show channels: grey for attenuation, the others apart from each other for every eye (Okabe, Ito).
COLOURS = {"attenuation": "FFFFFF", "dark_field": "E69F00"}
OTHERS = ("56B4E9", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7")
SEEN = 16  # slices, at most, that settle how dark and how bright a channel is shown


def save_image(path: Path, image: Image) -> None:
    """Write `image` as an OME-Zarr 0.5 group: axes (c, z, y, x) or (c, y, x), scale and origin in millimetres.

    The exact spacing, origin, direction, units and frame lie in the group's ``darklung`` attributes; the format itself has
    no rotation, so that other programs show an oblique image along its own axes. The group appears whole or not at all.
    """
    chunks = (1, *(min(CHUNK, n) for n in image.shape))
    # A shard holds whole chunks: few files for a large volume, small reads all the same.
    shards = (1, *(c * max(1, min(SHARD // c, -(-n // c))) for c, n in zip(chunks[1:], image.shape)))
    layout: Any = {"chunks": chunks, "shards": shards, "dimension_names": _axis_names(image), **STORED}
    with whole(path) as partial:
        group = zarr.open_group(str(partial), mode="w", zarr_format=3)
        stored = group.create_array("0", shape=image.data.shape, dtype=image.data.dtype, **layout)
        stored[...] = image.data
        ome = {**_ome(image, path.name), "omero": shown(image.names, image.data)}
        group.attrs.update({"ome": ome, "darklung": {**_exact(image), "whole": True}})


def create_image(
    path: Path, *, names: tuple[str, ...], units: tuple[str, ...], shape: tuple[int, int, int], spacing_m: float, slab: int
) -> zarr.Array:
    """An empty OME-Zarr volume of NaN to be written slab by slab: ``array[channel, z0:z1] = ...``.

    The same format as `save_image` writes; a centred grid in float32. Chunks end where slabs of `slab` slices end, so that
    slabs are written independently of each other. Write to a place of one's own, and `finish_image` when it is whole.
    """
    grid = Image(np.broadcast_to(np.float32(0), (len(names), *shape)), names, units, (spacing_m,) * 3)
    depth = min(slab, shape[0])
    while depth > CHUNK and depth % 2 == 0:
        depth //= 2
    chunks = (1, depth, *(min(CHUNK, n) for n in shape[1:]))
    shards = (1, depth, *(c * max(1, min(SHARD // c, -(-n // c))) for c, n in zip(chunks[2:], shape[1:])))
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    group.attrs.update({"ome": _ome(grid, path.name), "darklung": _exact(grid)})
    form: Any = {"chunks": chunks, "shards": shards, "dimension_names": _axis_names(grid), **STORED}
    return group.create_array("0", shape=grid.data.shape, dtype=np.float32, fill_value=np.nan, **form)


def finish_image(path: Path) -> None:
    """Say that all slabs of an image of `create_image` are written, and how its channels are to be shown."""
    group = zarr.open_group(str(path), mode="r+")
    stored: Any = group["0"]
    exact: dict[str, Any] = dict(group.attrs["darklung"])  # type: ignore[arg-type]
    seen = np.stack([np.asarray(stored[:, z]) for z in _spread(stored.shape[1])], axis=1)
    ome: dict[str, Any] = dict(group.attrs["ome"])  # type: ignore[arg-type]
    group.attrs.update({"ome": {**ome, "omero": shown(exact["names"], seen)}, "darklung": {**exact, "whole": True}})


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
        wanted, there = _files_of_chunks(path, stored) if exact.get("whole") else (0, 0)
        grid = Image(
            data=np.broadcast_to(np.zeros((), stored.dtype), stored.shape),
            names=tuple(exact["names"]),
            units=tuple(exact["units"]),
            spacing_m=tuple(exact["spacing_m"]),
            origin_m=tuple(exact["origin_m"]),
            frame=exact["frame"],
            direction=tuple(tuple(row) for row in exact.get("direction", ())),
        )
    require(there >= wanted, f"{path}: {wanted - there} of its {wanted} files of chunks are missing")
    return grid, stored


def _files_of_chunks(path: Path, stored: Any) -> tuple[int, int]:
    """How many there must be, and how many there are; zarr reads a file that is gone or empty as values."""
    wanted = math.prod(-(-n // s) for n, s in zip(stored.shape, stored.shards or stored.chunks))
    return wanted, sum(1 for p in (path / "0/c").rglob("*") if p.is_file() and p.stat().st_size)


def export_nifti(image: Image, folder: Path, stem: str = "image") -> list[Path]:
    """Write each channel as ``stem_CHANNEL.nii.gz`` (see `darklung.io.nifti.write_nifti`) and return the paths."""
    make_folder(folder)
    paths = [folder / f"{stem}_{file_name(name)}.nii.gz" for name in image.names]
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
    return {"version": "0.5", "multiscales": [{"name": name, "axes": axes, "datasets": datasets}]}


def shown(names: Sequence[str], data: NDArray[Any]) -> dict[str, Any]:
    """``omero``, how programs show channels at first: one alone, from the darkest to the brightest hundredth."""
    channels = []
    for number, (name, values) in enumerate(zip(names, data)):
        colour = COLOURS.get(Channel.parse(name).signal, OTHERS[number % len(OTHERS)])
        window = _window(values)
        channels.append({"label": name, "active": number == 0, "color": colour, "window": window})
    return {"channels": channels}


def _window(values: NDArray[Any]) -> dict[str, float]:
    """Least and greatest finite value, and those from which to which it is shown."""
    low, high = _ends(values)
    seen = values if values.ndim == 2 else values[_spread(len(values))]
    finite = seen[np.isfinite(seen)]
    start, end = np.percentile(finite, (1, 99)) if finite.size else (low, high)
    if start == end:  # nothing would be seen of a mask with few voxels
        start, end = low, high
    return {"min": low, "max": high, "start": float(start), "end": float(end)}


def _ends(values: NDArray[Any]) -> tuple[float, float]:
    """Slice by slice, so that no copy of a large volume is made; 0 and 1 where there is no range."""
    parts = [part[np.isfinite(part)] for part in values]
    low = min((float(p.min()) for p in parts if p.size), default=0.0)
    high = max((float(p.max()) for p in parts if p.size), default=1.0)
    return (low, high) if high > low else (low, low + max(1.0, 0.01 * abs(low)))


def _spread(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, SEEN)).astype(np.int64))


def _exact(image: Image) -> dict[str, Any]:
    return {
        "names": list(image.names),
        "units": list(image.units),
        "spacing_m": list(image.spacing_m),
        "origin_m": list(image.origin_m),
        "frame": image.frame,
        "direction": [list(row) for row in image.direction],
    }

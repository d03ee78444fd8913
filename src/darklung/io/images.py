"""Images as OME-Zarr 0.5 (opens in napari, Fiji, neuroglancer) and their export to NIfTI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from darklung.core.checks import DarklungError
from darklung.core.types import Image

CHUNK = 64
SHARD = 256
AXES = {2: ("y", "x"), 3: ("z", "y", "x")}


def save_image(path: Path, image: Image) -> None:
    """Write `image` as an OME-Zarr 0.5 group: axes (c, z, y, x) or (c, y, x), scale and origin in millimetres.

    The exact spacing, origin, units and frame lie in the group's ``darklung`` attributes. The group appears whole or not
    at all.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    group = zarr.open_group(str(partial), mode="w", zarr_format=3)
    chunks = (1, *(min(CHUNK, n) for n in image.shape))
    # A shard holds whole chunks: few files for a large volume, small reads all the same.
    shards = (1, *(c * max(1, min(SHARD // c, -(-n // c))) for c, n in zip(chunks[1:], image.shape)))
    stored = group.create_array(
        "0", shape=image.data.shape, dtype=image.data.dtype, chunks=chunks, shards=shards, dimension_names=_axis_names(image)
    )
    stored[...] = image.data
    group.attrs.update({"ome": _ome(image, path.name), "darklung": _exact(image)})
    if path.exists():
        shutil.rmtree(path)
    os.replace(partial, path)


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
    if not path.exists():
        raise DarklungError(f"{path}: no such image")
    try:
        group = zarr.open_group(str(path), mode="r")
        exact: dict[str, Any] = dict(group.attrs["darklung"])  # type: ignore[arg-type]
        stored = group["0"]
        names = tuple(exact["names"])
        wanted = names if channels is None else channels
        for name in wanted:
            if name not in names:
                raise DarklungError(f"{path}: no channel {name!r}; it has {', '.join(names)}")
        data = np.stack([np.asarray(stored[names.index(n)]) for n in wanted])  # type: ignore[index]
    except (KeyError, OSError, ValueError) as error:
        if isinstance(error, DarklungError):
            raise
        raise DarklungError(f"{path}: not an image written by darklung ({error})") from error
    return Image(
        data=data,
        names=tuple(wanted),
        units=tuple(exact["units"][names.index(n)] for n in wanted),
        spacing_m=tuple(exact["spacing_m"]),
        origin_m=tuple(exact["origin_m"]),
        frame=exact["frame"],
    )


def export_nifti(image: Image, folder: Path, stem: str = "image") -> list[Path]:
    """Write each channel as ``stem_CHANNEL.nii.gz`` (x, y, z; mm) and return the paths. Two-dimensional images get z = 1.

    The affine maps voxel (i, j, k) to millimetres with x, y, z as in docs/conventions.md; it says nothing of the
    animal's left and right, so the NIfTI orientation codes are those of the scanner axes.
    """
    import nibabel

    folder.mkdir(parents=True, exist_ok=True)
    spacing = (1e-3, *image.spacing_m)[-3:]
    origin = (0.0, *image.origin_m)[-3:]
    affine = np.diag([*(1e3 * s for s in reversed(spacing)), 1.0])
    affine[:3, 3] = [1e3 * o for o in reversed(origin)]
    paths = []
    for name in image.names:
        volume = image.channel(name).reshape((1, *image.shape)[-3:]).transpose(2, 1, 0)
        volume = volume.astype(np.uint8) if volume.dtype == bool else volume
        path = folder / f"{stem}_{name}.nii.gz"
        exported = nibabel.Nifti1Image(np.ascontiguousarray(volume), affine)
        exported.header.set_xyzt_units("mm")
        nibabel.save(exported, path)
        paths.append(path)
    return paths


def _axis_names(image: Image) -> tuple[str, ...]:
    return ("c", *AXES[len(image.shape)])


def _ome(image: Image, name: str) -> dict[str, Any]:
    spatial = AXES[len(image.shape)]
    axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space", "unit": "millimeter"} for a in spatial)]
    scale = {"type": "scale", "scale": [1.0, *(1e3 * s for s in image.spacing_m)]}
    shift = {"type": "translation", "translation": [0.0, *(1e3 * o for o in image.origin_m)]}
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
    }

"""OME-Zarr images of other programs, format 0.4 and 0.5: the finest level of the first multiscale image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.files import reading
from darklung.core.orientation import named_direction
from darklung.core.units import parse_quantity
from darklung.io.volume_file import DEFLATE_RATIO, Place, VolumeFile, read_packed

# What may unpack the chunks: none of these runs code or reads other files.
CODECS = {"blosc", "zlib", "gzip", "zstd", "bytes", "transpose", "sharding_indexed", "crc32c", "shuffle", "delta"}
_MOST_FILES = 2_000_000
_LARGE_BYTES = 2**28


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr group."""
    return any((folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs", ".zarray"))


def open_zarr(folder: Path, *, channel: str = "") -> VolumeFile:
    """Check the metadata of an OME-Zarr image: axes, units, scale and translation of its finest level.

    Parameters
    ----------
    folder : Path
    channel : str
        Label or number of the channel, where there is more than one.

    Raises
    ------
    DarklungError
        No OME-Zarr 0.4 or 0.5, several times or channels, a path or link that leaves the folder, numbers that are not
        plain, or a packing that is not known to be harmless.
    """
    import zarr

    with reading(folder, "OME-Zarr"):
        check_links(folder)
        group = zarr.open_group(str(folder), mode="r")
        attributes = dict(group.attrs)
        image = _multiscale(folder, attributes)
        level = _mapping(folder, image["datasets"][0])
        path = str(level["path"])
        inside = not Path(path).is_absolute() and ".." not in Path(path).parts
        require(inside, f"{folder}: wanted a path inside the folder, got {path!r}")
        array = group[path]
        require(isinstance(array, zarr.Array), f"{folder}: {path} is no array")
        found = _volume(folder, array, image, level, _channels(attributes), channel)
        _check_chunks(folder / path, array)
        return found


def check_links(folder: Path) -> None:
    """A store is its own files; a link could lead anywhere."""
    for count, path in enumerate(folder.rglob("*")):
        require(count < _MOST_FILES, f"{folder}: more than {_MOST_FILES} files")
        require(not path.is_symlink(), f"{folder}: holds a link to elsewhere, {path.relative_to(folder)}")


def _multiscale(folder: Path, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    ome = attributes.get("ome", attributes)
    images = ome.get("multiscales") if isinstance(ome, Mapping) else None
    first = images[0] if isinstance(images, Sequence) and len(images) > 0 else None
    if not isinstance(first, Mapping):
        raise DarklungError(f"{folder}: wanted an OME-Zarr image, its metadata has no multiscales")
    image: Mapping[str, Any] = first
    axes = image.get("axes")
    named = isinstance(axes, Sequence) and all(isinstance(a, Mapping) and "name" in a for a in axes)
    version = ome.get("version", image.get("version", "unknown")) if isinstance(ome, Mapping) else "unknown"
    require(named, f"{folder}: wanted OME-Zarr 0.4 or 0.5 with named axes, got version {version}")
    return image


def _mapping(folder: Path, found: Any) -> Mapping[str, Any]:
    require(isinstance(found, Mapping), f"{folder}: wanted keys and values in its multiscales, got {type(found).__name__}")
    return found


def _volume(
    folder: Path, array: Any, image: Mapping[str, Any], level: Mapping[str, Any], labels: list[str], channel: str
) -> VolumeFile:
    axes = [dict(a) for a in image["axes"]]
    require(len(axes) == array.ndim, f"{folder}: {len(axes)} axes, but the data have shape {array.shape}")
    check_codecs(folder, array)
    space = [n for n, a in enumerate(axes) if a.get("type", _usual_type(a["name"])) == "space"]
    require(len(space) == 3, f"{folder}: wanted 3 axes of space, got {', '.join(str(a['name']) for a in axes)}")
    index, label = _chosen(folder, array.shape, axes, space, labels, channel)
    shape = tuple(int(array.shape[n]) for n in space)
    return VolumeFile(
        name=str(folder),
        kind="OME-Zarr",
        shape=shape,
        dtype=np.dtype(array.dtype),
        read=lambda: _voxels(array, index),
        place=_place(folder, axes, space, image, level),
        notes=(f"level {level['path']} of {len(image['datasets'])}", *((f"channel {label}",) if label else ())),
    )


def _usual_type(name: Any) -> str:
    return {"t": "time", "c": "channel"}.get(str(name).lower(), "space")


def check_codecs(folder: Path, array: Any) -> None:
    """Raise unless an array holds plain numbers, packed in ways that neither run code nor read other files."""
    kind = np.dtype(array.dtype).kind
    require(kind in "uif", f"{folder}: wanted whole or real numbers, got {array.dtype}")
    unknown = sorted(set(_names(array.metadata.to_dict())) - CODECS)
    require(not unknown, f"{folder}: packed with {', '.join(unknown)}, which is not read")


def _check_chunks(folder: Path, array: Any) -> None:
    """Chunk files hold what their own headers say, and unpack to no more than a chunk has room for.

    blosc reads past the end of a chunk that was cut off, and others unpack without bound. Chunks inside of shards are not
    looked at.
    """
    metadata = array.metadata.to_dict()
    # What packs last: the compressor of format 2, the last codec of format 3 (a shard, which is left out here).
    last = {"compressor": metadata.get("compressor"), "codecs": tuple(metadata.get("codecs") or ())[-1:]}
    kind = next(_names(last), "")
    most = int(np.prod(array.chunks, dtype=object)) * np.dtype(array.dtype).itemsize
    tells = {"blosc": _blosc_bytes, "zstd": _zstd_bytes, "zlib": _deflate_bytes, "gzip": _deflate_bytes}
    if kind not in tells:
        return
    for path in (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".") and p.suffix != ".json"):
        with path.open("rb") as file:
            unpacked = tells[kind](file, path, most)
        require(unpacked <= most, f"{path}: unpacks to more than its {most} bytes")


def _blosc_bytes(file: BinaryIO, path: Path, most: int) -> int:
    head = file.read(16)
    require(len(head) == 16 and int.from_bytes(head[12:16], "little") == path.stat().st_size, f"{path}: truncated")
    return int.from_bytes(head[4:8], "little")


def _zstd_bytes(file: BinaryIO, path: Path, most: int) -> int:
    """Content size of the frame's header (RFC 8878, 3.1.1.1); a frame without one is refused."""
    head = file.read(18).ljust(18, b"\0")
    require(head[:4] == b"\x28\xb5\x2f\xfd", f"{path}: wanted a zstd frame")
    flags = head[4]
    alone = bool(flags & 32)
    width = (1 if alone else 0, 2, 4, 8)[flags >> 6]
    require(width > 0, f"{path}: its zstd frame does not tell its size")
    start = 5 + (not alone) + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(head[start : start + width], "little") + (256 if width == 2 else 0)


def _deflate_bytes(file: BinaryIO, path: Path, most: int) -> int:
    """Unpacks what could become large, as far as one byte too many."""
    small = path.stat().st_size * DEFLATE_RATIO <= _LARGE_BYTES
    return 0 if small else len(read_packed(file, most + 1, str(path), short=True))


def _names(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Of everything that unpacks: format 2 has compressor and filters, format 3 codecs, also inside of codecs."""
    for part in (metadata.get("compressor"), *(metadata.get("filters") or ())):
        if isinstance(part, Mapping):
            yield str(part.get("id"))
    for codec in metadata.get("codecs") or ():
        if isinstance(codec, Mapping):
            yield str(codec.get("name")).removeprefix("numcodecs.")
            inner = codec.get("configuration") or {}
            yield from _names(inner)
            yield from _names({"codecs": inner.get("index_codecs")})


def _channels(attributes: Mapping[str, Any]) -> list[str]:
    ome = attributes.get("ome", attributes)
    omero = ome.get("omero") if isinstance(ome, Mapping) else None
    listed = omero.get("channels") if isinstance(omero, Mapping) else None
    return [str(c.get("label", n)) if isinstance(c, Mapping) else str(n) for n, c in enumerate(listed or ())]


def _chosen(
    folder: Path, shape: Sequence[int], axes: list[dict[str, Any]], space: list[int], labels: list[str], channel: str
) -> tuple[tuple[Any, ...], str]:
    """Index of one volume, and the channel's label."""
    index: list[Any] = [slice(None) if n in space else 0 for n in range(len(axes))]
    label = ""
    for n, axis in enumerate(axes):
        if n in space or (shape[n] == 1 and not channel):
            continue
        is_channel = axis.get("type", _usual_type(axis["name"])) == "channel"
        require(is_channel, f"{folder}: wanted one volume, axis {axis['name']} has {shape[n]}")
        names = labels if len(labels) == shape[n] else [str(k) for k in range(shape[n])]
        found = [k for k, name in enumerate(names) if channel in (name, str(k)) and channel]
        one = len(found) == 1
        require(one, f"{folder}: wanted one of its channels (series), {', '.join(names)}, got {channel or 'none'}")
        index[n], label = found[0], names[found[0]]
    return tuple(index), label


def _place(
    folder: Path, axes: list[dict[str, Any]], space: list[int], image: Mapping[str, Any], level: Mapping[str, Any]
) -> Place | None:
    """Spacing and origin; None where the axes have no unit of length."""
    units = [axes[n].get("unit") for n in space]
    if None in units:
        return None
    metres = [parse_quantity(f"1 {unit}", "length") for unit in units]
    scale, shift = np.ones(len(axes)), np.zeros(len(axes))
    for transform in (*(level.get("coordinateTransformations") or ()), *(image.get("coordinateTransformations") or ())):
        kind = transform.get("type")
        require(kind in ("scale", "translation", "identity"), f"{folder}: transformation {kind!r} is not read")
        if kind == "identity":
            continue
        values = np.asarray(transform[kind])
        fits = values.shape == scale.shape and values.dtype.kind in "iuf" and bool(np.isfinite(values).all())
        require(fits, f"{folder}: {kind}: wanted {len(axes)} numbers")
        scale, shift = (scale * values, shift * values) if kind == "scale" else (scale, shift + values)
    names = [str(axes[n]["name"]).lower() for n in space]
    direction, _ = named_direction(f"{folder}: axes", names)
    spacing = [float(scale[n] * m) for n, m in zip(space, metres)]
    require(min(spacing) > 0, f"{folder}: wanted a scale > 0, got {spacing} m")
    along = np.array([shift[n] * m for n, m in zip(space, metres)])
    origin = np.asarray(direction) @ along
    return Place(tuple(spacing), tuple(float(v) for v in origin), direction, "scanner")


def _voxels(array: Any, index: tuple[Any, ...]) -> NDArray[Any]:
    return np.asarray(array[index])

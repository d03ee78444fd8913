"""``darklung describe``: a first description of raw frames, what can be seen filled in, what only people know as TODO."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from darklung.core.checks import DarklungError, require
from darklung.core.files import make_folder, write_text
from darklung.io import nxtomo
from darklung.io.folders import FileGroup, file_groups
from darklung.io.heaps import check_heaps
from darklung.io.show import file_kind, open_array

TODO = "TODO"
# Words in names that tell what frames are; what has none of them is taken for the sample.
ROLES = {
    "bad_pixels": ("bad", "mask", "defect", "hot"),
    "dark_frame": ("dark", "offset", "bias", "background"),
    "flat": ("flat", "ref", "open", "bright", "air", "ff", "white", "empty"),
}
_KINDS = {"npy": "npy", "tiff": "tiff", "edf": "edf", "fabio": "fabio"}


@dataclass(frozen=True)
class _Found:
    """One possible source: what a description says of it, and what is in it, in words."""

    role: str
    source: Mapping[str, Any]
    told: str


def draft(source: Path, out: Path | None) -> str:
    """The draft of a description of what is in `source`, or what to do next if it is written to `out`.

    Raises
    ------
    DarklungError
        Nothing there that could be frames, or a file at `out` already.
    """
    if out is None:
        return draft_description(source)
    require(not out.exists(), f"{out}: is there already; wanted another name")
    text = draft_description(source, beside=out.parent)
    make_folder(out.parent)
    write_text(out, text)
    return f"{out}: {text.count('TODO')} places say TODO; then: darklung retrieve {out} --out maps"


def draft_description(folder: Path, *, beside: Path | None = None) -> str:
    """The text of a description of the frames in `folder`, or of one HDF5 file.

    Sources and shapes are those of the files; roles come from words in their names, and the draft says so. What the files do
    not tell is ``TODO``, which no reader accepts: axes, steps, pixel.

    Parameters
    ----------
    beside : Path, optional
        Folder of the description, to which paths are relative; by default that of the frames.

    Raises
    ------
    DarklungError
        Nothing there that could be frames.
    """
    require(folder.exists(), f"{folder}: no such file or folder")
    home = folder if folder.is_dir() else folder.parent
    groups = file_groups(folder) if folder.is_dir() else [FileGroup(folder.name, (folder,), (1,))]
    prefix = "" if beside is None else os.path.relpath(home.resolve(), beside.resolve()) + "/"
    found, unknown = [], []
    for group in groups:
        sources = list(_sources(group, prefix))
        found += sources
        unknown += [] if sources else [group.pattern]
    told = f"nothing that is HDF5, npy, TIFF, EDF or CBF ({', '.join(unknown[:5])}); raw binary must be described by hand"
    require(bool(found), f"{folder}: {told}")
    return "\n".join(_lines(folder, found, unknown)) + "\n"


def _sources(group: FileGroup, prefix: str) -> Iterator[_Found]:
    kind = file_kind(group.files[0])
    if kind == "hdf5":
        yield from _of_hdf5(group, prefix)
    elif kind in _KINDS:
        try:
            shape, dtype = open_array(group.files[0], kind)
        except DarklungError:  # JSON starts as EDF does
            return
        source: dict[str, Any] = {"kind": _KINDS[kind], "files": f"{prefix}{group.pattern}", **_of_files(group)}
        told = f"{len(group.files)} file(s), {' × '.join(map(str, shape))} {dtype} each"
        yield _Found(_role(group.pattern), {**source, "axes": _axes(len(shape))}, told)


def _of_hdf5(group: FileGroup, prefix: str) -> Iterator[_Found]:
    """NXtomo by its image keys; else each dataset of two axes or more."""
    first = group.files[0]
    file: dict[str, Any] = {"file": f"{prefix}{group.pattern}"}
    try:
        check_heaps(first)
        with h5py.File(first, "r") as handle:
            keys = list(_nxtomo_kinds(handle)) if len(group.files) == 1 else []
            arrays = list(_arrays(handle))
    except (OSError, RuntimeError) as error:
        raise DarklungError(f"{first}: cannot be read as HDF5 ({' '.join(str(error).split())})") from error
    for frames, role, count in keys:
        told = {"frames": frames, "frame_axes": [TODO], "frame_counts": [count]}
        yield _Found(role, {"kind": "nxtomo", **file, **told}, f"{count} frames of this image key")
    for name, shape, dtype in [] if keys else arrays:
        source = {"kind": "hdf5", **file, "dataset": name, **_of_files(group), "axes": _axes(len(shape))}
        yield _Found(_role(name), source, f"{' × '.join(map(str, shape))} {dtype}")


def _nxtomo_kinds(handle: h5py.File) -> Iterator[tuple[str, str, int]]:
    try:
        entry = nxtomo.find_entry(handle, "")
    except DarklungError:
        return
    path = Path(handle.filename)
    for frames, role in (("sample", "sample"), ("flat", "flat"), ("dark", "dark_frame")):
        try:
            yield frames, role, len(nxtomo.select(path, entry, frames, "")[1])
        except DarklungError:  # no frame of this kind
            continue


def _arrays(handle: h5py.File) -> Iterator[tuple[str, tuple[int, ...], Any]]:
    found: list[str] = []
    arrays: list[tuple[str, tuple[int, ...], Any]] = []
    handle.visititems_links(lambda name, _: found.append(name))
    for name in found:
        item = handle.get(name)
        if isinstance(item, h5py.Dataset) and item.shape and len(item.shape) > 1 and item.dtype.kind in "uifb":
            arrays.append((name, item.shape, item.dtype))
    # Frames are the largest arrays; times and phases stand behind them.
    yield from sorted(arrays, key=lambda one: -int(np.prod(one[1])))


def _of_files(group: FileGroup) -> dict[str, Any]:
    if len(group.files) == 1:
        return {}
    return {"file_axes": [TODO] * len(group.counts), "file_counts": list(group.counts)}


def _axes(count: int) -> list[str]:
    return [TODO] * (count - 2) + ["row", "col"]


def _role(name: str) -> str:
    words = set(re.findall(r"[a-z]+", name.lower()))
    return next((role for role, signs in ROLES.items() if any(w.startswith(s) for w in words for s in signs)), "sample")


def _lines(folder: Path, found: list[_Found], unknown: list[str]) -> Iterator[str]:
    yield f"# Drafted from {folder.name} by darklung describe. Names decided what is sample and what is flat: check it."
    yield "# Replace every TODO; axes are direction, view (flat: flat), step, row, col, repeat; see docs/raw-scans.md."
    if unknown:
        yield f"# Not looked at: {', '.join(unknown[:8])}{' ...' if len(unknown) > 8 else ''}"
    yield f"name: {re.sub(r'[^A-Za-z0-9_.-]+', '_', folder.stem) or 'scan'}"
    for role in ("sample", "flat", "dark_frame", "bad_pixels"):
        mine = [one for one in found if one.role == role]
        for number, one in enumerate(mine):
            # One is proposed; others of the same role stand beside it as comments.
            yield from _source_lines(role, one, mark="" if number == 0 else "# or ")
        if not mine and role in ("sample", "flat"):
            yield f"{role}: {TODO}"
    yield "steps:"
    yield f"  count: {TODO}                # phase steps of one curve"
    yield f"  endpoint_repeated: {TODO}    # true: the last step is the first again"
    yield f"pixel: {TODO}                  # such as 75 um"
    yield f"angles: {{first: 0 deg, step: {TODO}}}   # of the views; leave it out of a radiograph"
    yield "# view_times, flat_times: {first: 0 s, step: 3 s}   # wanted where flats were taken between the views"


def _source_lines(role: str, one: _Found, *, mark: str) -> Iterator[str]:
    yield f"{mark}{role}:    # {one.told}"
    for key, value in one.source.items():
        text = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else _quoted(value)
        yield f"{mark and '#    '}  {key}: {text}"


def _quoted(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if re.search(r"[^A-Za-z0-9_./-]", text) else text

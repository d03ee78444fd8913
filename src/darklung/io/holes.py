"""What a dataset of an HDF5 file lacks: parts of a virtual dataset, external storage, chunks that were never written.

HDF5 reads all of these as the fill value, mostly 0, without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from darklung.core.checks import DarklungError
from darklung.io.heaps import check_heaps

# Chunks listed one by one; of more it is only told that some are missing.
_MOST_CHUNKS = 200_000


@dataclass(frozen=True)
class Hole:
    """A box of a dataset, first and last index along each axis, that holds no data, and why."""

    first: tuple[int, ...]
    last: tuple[int, ...]
    told: str

    def meets(self, index: tuple[slice, ...]) -> bool:
        """Whether reading `index` (slices with start and stop) would read of it."""
        return all(a < part.stop and part.start <= b for a, b, part in zip(self.first, self.last, index))


def holes_of(dataset: h5py.Dataset) -> tuple[Hole, ...]:
    """All holes of an open dataset; looks at its structure and at what it leads to, and reads no values."""
    if dataset.shape is None or not dataset.size:
        return ()
    if dataset.is_virtual:
        return tuple(_virtual(dataset))
    if dataset.external:
        return tuple(_external(dataset))
    if dataset.chunks:
        return tuple(_unwritten(dataset))
    # Early allocation is how a contiguous dataset gets its place at all; without one nothing was ever written.
    return () if dataset.id.get_storage_size() else (_whole(dataset, "was never written"),)


def need_filters(dataset: h5py.Dataset, name: str) -> None:
    """Make the filters available with which a dataset is compressed.

    Raises
    ------
    DarklungError
        Names the filter and what to install.
    """
    plist = dataset.id.get_create_plist()
    for n in range(plist.get_nfilters()):
        code, _, _, label = plist.get_filter(n)
        if h5py.h5z.filter_avail(code):
            continue
        told = f"compressed with filter {code} ({label.decode(errors='replace') or 'unnamed'})"
        try:
            import hdf5plugin  # noqa: F401  registers its filters
        except ImportError:
            raise DarklungError(f"{name}: {told}; pip install 'darklung[readers]'") from None
        if not h5py.h5z.filter_avail(code):
            raise DarklungError(f"{name}: {told}, which hdf5plugin does not know either")


def _whole(dataset: h5py.Dataset, told: str) -> Hole:
    return Hole((0,) * dataset.ndim, tuple(n - 1 for n in dataset.shape), told)


def _virtual(dataset: h5py.Dataset) -> Iterator[Hole]:
    mapped, patterns = 0, False
    folder = Path(dataset.file.filename).parent
    for part in dataset.virtual_sources():
        if "%b" in part.file_name:  # any number of files: which are meant, nobody can tell
            patterns = True
            continue
        mapped += part.vspace.get_select_npoints()
        told = _source(dataset, folder, part.file_name, part.dset_name)
        if told:
            first, last = part.vspace.get_select_bounds()
            yield Hole(tuple(first), tuple(last), told)
    if mapped < dataset.size and not patterns:
        yield _whole(dataset, f"a virtual dataset with {dataset.size - mapped} of {dataset.size} values mapped to no file")


def _source(dataset: h5py.Dataset, folder: Path, name: str, path: str) -> str:
    """What is wrong with one part of a virtual dataset, in words; empty if nothing is."""
    if name == ".":
        return _source_dataset(dataset.file, path)
    file = folder / name
    if not file.is_file():
        return f"{file} is missing"
    try:
        check_heaps(file)
        with h5py.File(file, "r") as opened:
            return _source_dataset(opened, path)
    except OSError as error:
        return f"{file} cannot be read ({error})"


def _source_dataset(opened: h5py.File, path: str) -> str:
    item = opened.get(path)
    link = opened.get(path, getlink=True) if item is None else None
    if isinstance(link, h5py.ExternalLink):
        return f"{path} links to {link.path} of {link.filename}, which is not there"
    if not isinstance(item, h5py.Dataset):
        return f"{opened.filename} has no dataset {path}"
    inner = holes_of(item)
    return f"{opened.filename} ({path}): {inner[0].told}" if inner else ""


def _external(dataset: h5py.Dataset) -> Iterator[Hole]:
    folder = Path(dataset.file.filename).parent
    for name, offset, size in dataset.external:
        file = folder / name
        if not file.is_file():
            yield _whole(dataset, f"{file} is missing")
        elif size < h5py.h5f.UNLIMITED and file.stat().st_size < offset + size:
            yield _whole(dataset, f"{file} has {file.stat().st_size} bytes, wanted {offset + size}")


def _unwritten(dataset: h5py.Dataset) -> Iterator[Hole]:
    counts = [-(-n // c) for n, c in zip(dataset.shape, dataset.chunks)]
    wanted, there = int(np.prod(counts, dtype=object)), dataset.id.get_num_chunks()
    if there >= wanted:
        return
    if wanted > _MOST_CHUNKS:
        yield _whole(dataset, f"{wanted - there} of {wanted} chunks were never written")
        return
    written: set[tuple[int, ...]] = set()

    def note(chunk: Any) -> None:
        written.add(tuple(chunk.chunk_offset))

    dataset.id.chunk_iter(note)
    for number in product(*map(range, counts)):
        first = tuple(n * c for n, c in zip(number, dataset.chunks))
        if first not in written:
            last = tuple(min(f + c, n) - 1 for f, c, n in zip(first, dataset.chunks, dataset.shape))
            yield Hole(first, last, "a chunk was never written")


def check_holes(
    holes: tuple[Hole, ...],
    index: tuple[slice, ...],
    name: str,
    shape: Any,
    advice: str = "leave out what it holds (leave_out)",
) -> None:
    """Refuse to read `index` where it meets a hole, whose values would be zeros; `advice` says what else than to find it.

    Raises
    ------
    DarklungError
        Names the first missing part.
    """
    full = tuple(slice(*part.indices(n)[:2]) for part, n in zip(index, shape))
    for hole in holes:
        if hole.meets(full):
            at = ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in zip(hole.first, hole.last))
            raise DarklungError(f"{name}: {hole.told}, at [{at}]; {advice}, or find it")

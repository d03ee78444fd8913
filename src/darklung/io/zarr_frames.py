"""Frames in a Zarr array, and which of its chunks were never written: they would be read as its fill value."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, require


class ZarrArray:
    """The array at a place in a folder of Zarr.

    Raises
    ------
    DarklungError
        A group, a place elsewhere, or values that are scaled.
    """

    def __init__(self, root: Path, array: str, name: str) -> None:
        import zarr

        folder = root / array
        require(folder.resolve().is_relative_to(root.resolve()), f"{name}: leads out of {root}")
        found = zarr.open(str(folder), mode="r")
        if not isinstance(found, zarr.Array):
            raise DarklungError(f"{name}: is a group; give dataset")
        check_unscaled(found.attrs, name)
        self.shape, self.dtype = found.shape, found.dtype
        self._array, self._folder, self._name = found, folder, name

    def check(self, index: tuple[slice, ...]) -> None:
        """Raise where a chunk of a block (a shard, of an array that has some) was never written."""
        sizes = self._array.shards or self._array.chunks
        ends = (part.indices(count)[:2] for part, count in zip(index, self.shape))
        for place in product(*(range(a // size, -(-b // size)) for (a, b), size in zip(ends, sizes))):
            key = self._array.metadata.encode_chunk_key(place)
            written = (self._folder / key).is_file()
            # Writers leave out chunks of zeros alone, too (gaps between modules), unless they are told not to.
            remedy = "leave out its frames, or, where 0 was counted, write it with write_empty_chunks"
            require(written, f"{self._name}: chunk {key} was never written; {remedy}")

    def __getitem__(self, index: tuple[slice, ...]) -> Any:
        return self._array[index]


def check_unscaled(attributes: Any, name: str) -> None:
    """Refuse values that a writer has packed: counts are then not what is stored."""
    for key, usual in (("scale_factor", 1), ("add_offset", 0)):
        value = attributes.get(key, usual)
        require(bool(value == usual), f"{name}: has {key} = {value}: counts are not what is stored")

"""NXtomo files: one stack of frames, told apart by an image key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_finite, require
from darklung.core.units import parse_quantity, unit_of
from darklung.io.hdf5 import check_dataset, opened_hdf5, real_numbers, text_of
from darklung.io.heaps import check_heaps
from darklung.io.references import check_found

# https://manual.nexusformat.org/classes/applications/NXtomo.html
IMAGE_KEYS = {"sample": 0, "flat": 1, "dark": 2}
_PLACES = ("instrument/detector/data", "data/data")
# Frames that check the alignment have the key of the sample, and -1 in `image_key_control`.
_KEYS = ("instrument/detector/image_key_control", "instrument/detector/image_key", "data/image_key")
_ANGLES = ("sample/rotation_angle", "data/rotation_angle")


def objects(file: Path, entry: str | None) -> list[str]:
    """What is read of a file: of its entries, if none is named, all that might be one."""
    check_heaps(file)
    with h5py.File(file, "r") as handle:
        entries = [entry] if entry else list(handle)
    return [f"{e}/{place}" for e in entries for place in (*_PLACES, *_KEYS, *_ANGLES)]


def find_entry(handle: h5py.File, name: str) -> str:
    """The group of the only NXtomo entry: one that holds frames and an image key."""
    found = [key for key in handle if _first(handle[key], _PLACES) and _first(handle[key], _KEYS)]
    require(len(found) == 1, f"{name}: wanted one NXtomo entry, found {', '.join(found) or 'none'}; give entry")
    return str(found[0])


def select(file: Path, entry: str | None, frames: str, name: str) -> tuple[str, NDArray[np.intp], tuple[int, ...], Any]:
    """Dataset path, numbers of the frames of one kind, shape of a frame and dtype."""
    check_heaps(file)
    with h5py.File(file, "r") as handle:
        entry = entry or find_entry(handle, name)
        if entry not in handle:
            raise DarklungError(f"{name}: no entry {entry!r}; the file holds {', '.join(handle)}")
        place, keys = _first(handle[entry], _PLACES), _first(handle[entry], _KEYS)
        require(bool(place), f"{name}: {entry} has no frames at {' or '.join(_PLACES)}")
        require(bool(keys), f"{name}: {entry} has no image key at {' or '.join(_KEYS)}")
        data, key = handle[f"{entry}/{place}"], real_numbers(handle[f"{entry}/{keys}"])
        check_dataset(data, share=0)
        for item, asked in ((data, place), (handle[f"{entry}/{keys}"], keys)):
            check_found(item, file, f"{entry}/{asked}")
        require(data.ndim == 3, f"{name}: wanted frames (frame, row, col), got shape {data.shape}")
        key = key.reshape(-1) if key.size == max(key.shape, default=0) else key
        require(key.shape == data.shape[:1], f"{name}: {data.shape[0]} frames, but image_key has shape {key.shape}")
        numbers = np.flatnonzero(key == IMAGE_KEYS[frames])
        require(len(numbers) > 0, f"{name}: no frame has image_key {IMAGE_KEYS[frames]} ({frames})")
        return f"{entry}/{place}", numbers, data.shape[1:], data.dtype


def frame_reader(file: Path, dataset: str, numbers: NDArray[np.intp]) -> Callable[[tuple[slice, ...]], NDArray[Any]]:
    """A function that reads a block: slices of `numbers` (any number of axes), then of row and col."""

    def read(index: tuple[slice, ...]) -> NDArray[Any]:
        wanted = numbers[index[:-2]]
        flat = wanted.ravel()
        with h5py.File(file, "r") as handle:
            data = handle[dataset]
            if len(flat) and (np.diff(flat) == 1).all():
                block = data[(slice(int(flat[0]), int(flat[-1]) + 1), *index[-2:])]
            else:
                block = np.stack([data[(int(n), *index[-2:])] for n in flat])
        return np.asarray(block).reshape(*wanted.shape, *block.shape[1:])

    return read


def rotation_angles(file: Path, entry: str | None, numbers: NDArray[np.intp], name: str) -> NDArray[np.float64]:
    """Angles [rad] of frames, in the shape of `numbers`; the unit has to be written in the file.

    Raises
    ------
    DarklungError
        No angles, no known unit, or another number of angles than frames.
    """
    with opened_hdf5(file) as handle:
        entry = entry or find_entry(handle, name)
        place = _first(handle[entry], _ANGLES)
        require(bool(place), f"{name}: {entry} has no angles at {' or '.join(_ANGLES)}")
        item = handle[f"{entry}/{place}"]
        check_found(item, file, f"{entry}/{place}")
        data = _first(handle[entry], _PLACES)
        frames = handle[f"{entry}/{data}"].shape[0] if data else None
        angles, unit = real_numbers(item).ravel(), text_of(item.attrs.get("units", ""))
    try:
        factor = parse_quantity(f"1 {unit_of(unit, 'angle')}", "angle")
    except DarklungError:
        raise DarklungError(f"{name}: rotation_angle has the unit {unit!r}; wanted degree or rad") from None
    told = f"{name}: {len(angles)} rotation angles"
    require(int(numbers.max()) < len(angles), f"{told}, but frame {int(numbers.max())} is used")
    # Which of them would be whose?
    require(frames is None or len(angles) <= frames, f"{told}, but {frames} frames")
    check_finite(f"{name}: rotation_angle", angles[numbers])
    return np.asarray(angles[numbers] * factor, dtype=np.float64)


def _first(group: Any, places: tuple[str, ...]) -> str:
    if not isinstance(group, h5py.Group):
        return ""
    return next((place for place in places if place in group), "")

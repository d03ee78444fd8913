"""Raw frames as declared by a description, read when they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_finite, negative_counts, require
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import Scan
from darklung.io import nxtomo
from darklung.io.description import EvenAngles, EvenTimes, NxtomoSource, RawScan, read_raw, resolve_path
from darklung.io.sources import Stack, open_source

SAMPLE_AXES = ("direction", "view", "step", "row", "col")
FLAT_AXES = ("direction", "flat", "step", "row", "col")
# Scans up to this size are read at once; larger ones stay on disk and are read view by view.
EAGER_BYTES = 2**29


def load_scans(path: Path | str, *, eager_bytes: int = EAGER_BYTES) -> Iterator[tuple[str, Scan, dict[str, str]]]:
    """The scans of a description file (`darklung.io.description`): (name, Scan, columns of the series table).

    Frames of scans larger than `eager_bytes` are `LazyFrames`, read when they are sliced; smaller ones are arrays, checked
    for values that are not finite or negative.

    Raises
    ------
    DarklungError
        One line that names the file and the field: missing or truncated file, missing dataset, wrong number of axes or
        length of an axis, values that are not finite.
    """
    path = Path(path)
    for description, columns in read_raw(path):
        yield description.name, load_scan(description, path, eager_bytes=eager_bytes), columns


def load_scan(raw: RawScan, path: Path, *, eager_bytes: int = EAGER_BYTES) -> Scan:
    """One scan of the description file `path`; see `load_scans`."""
    region = (raw.region.rows, raw.region.cols)
    sample, flat = _kept(raw, path, "sample", SAMPLE_AXES, region), _kept(raw, path, "flat", FLAT_AXES, region)
    phases = raw.steps.phases_rad()
    _check_lengths(raw, path, sample, flat, len(phases))
    directions, _, _, rows, cols = sample.shape
    times = _even(raw.view_times, sample, f"{path}: view_times"), _even(raw.flat_times, flat, f"{path}: flat_times")
    bad, dark = (
        _bad_pixels(raw, path, region, (sample, flat)),
        _dark_frame(raw, path, region, sample.repeats if raw.repeat == "sum" else 1),
    )
    for field, frame in (("bad_pixels", bad), ("dark_frame", dark)):
        shape = (rows, cols) if frame is None else frame.shape
        require(shape == (rows, cols), f"{path}: {field}: (row, col) {shape}, but the sample has {(rows, cols)}")
    axis = -1.0 if raw.axis_col is None else raw.axis_col - (raw.region.cols[0] if raw.region.cols else 0)
    return Scan(
        frames=sample.all_if_small(eager_bytes, bad),
        flats=flat.all_if_small(eager_bytes, bad),
        step_phase_rad=np.tile(phases, (directions, 1)),
        directions_rad=np.asarray(raw.directions, dtype=np.float64),
        geometry=ParallelGeometry(_angles(raw, path, sample), rows, cols, raw.pixel, axis),
        view_time_s=np.tile(times[0], (directions, 1)),
        flat_time_s=np.tile(times[1], (directions, 1)),
        dark_frame=dark,
        bad_pixels=bad,
    )


def _kept(raw: RawScan, path: Path, field: Literal["sample", "flat"], axes: tuple[str, ...], region: Any) -> LazyFrames:
    """Frames of the sample or the flats without what is left out; what they lack is told before they are read."""
    stack, along = open_source(getattr(raw, field), path, field), axes[1]
    which: Literal["views", "flats"] = "views" if along == "view" else "flats"
    try:
        kept = raw.leave_out.kept(which, dict(zip(stack.axes, stack.shape)).get(along, 1))
    except DarklungError as error:
        raise DarklungError(f"{path}: {error}") from error
    frames = LazyFrames(stack, axes, region=region, repeat=raw.repeat, keep={along: kept})
    frames.check()
    return frames


def _check_lengths(raw: RawScan, path: Path, sample: LazyFrames, flat: LazyFrames, steps: int) -> None:
    for stack in (sample, flat):
        name = stack.stack.name
        require(stack.shape[2] == steps, f"{name}: {stack.shape[2]} steps, but steps in {path} tells {steps}")
        require(
            stack.shape[0] == len(raw.directions),
            f"{name}: {stack.shape[0]} directions, but directions in {path} tells {len(raw.directions)}",
        )
    require(
        sample.shape[3:] == flat.shape[3:],
        f"{flat.stack.name}: (row, col) {flat.shape[3:]}, but the sample has {sample.shape[3:]}",
    )
    require(
        raw.repeat != "sum" or sample.repeats == flat.repeats,
        f"{flat.stack.name}: {flat.repeats} repeats to sum, but the sample has {sample.repeats}; use repeat: mean",
    )


def _even(values: Any, frames: LazyFrames, name: str) -> NDArray[np.float64]:
    """One value for each view (or flat) that is kept; the description says them for all."""
    count, kept = frames.counted
    if values is None:
        return np.zeros(len(kept))
    if isinstance(values, (EvenAngles, EvenTimes)):
        return np.asarray(values.first + values.step * kept, dtype=np.float64)
    require(len(values) == count, f"{name}: wanted {count} values, got {len(values)}")
    return np.asarray(values, dtype=np.float64)[kept]


def _angles(raw: RawScan, path: Path, frames: LazyFrames) -> NDArray[np.float64]:
    if raw.angles != "file":
        return _even(raw.angles, frames, f"{path}: angles")
    source = raw.sample
    require(isinstance(source, NxtomoSource), f"{path}: angles: 'file' needs a sample of kind nxtomo")
    found: Any = source
    file = resolve_path(found.file, path)
    name = f"{file}: sample"
    _, numbers, _, _ = nxtomo.select(file, found.entry, found.frames, name)
    angles = nxtomo.rotation_angles(file, found.entry, numbers, name).reshape(found.frame_counts)
    if "view" not in found.frame_axes:
        return angles.ravel()[:1]
    count, kept = frames.counted
    by_view = np.moveaxis(angles, found.frame_axes.index("view"), 0).reshape(count, -1)[kept]
    spread = float(np.ptp(by_view, axis=1).max())
    require(spread < 1e-5, f"{name}: the frames of one view differ by up to {np.degrees(spread):g}° in rotation angle")
    return np.asarray(by_view[:, 0], dtype=np.float64)


def _dark_frame(raw: RawScan, path: Path, region: Any, repeats: int) -> NDArray[np.float64] | None:
    """The mean dark frame (of repeats and steps), times the repeats that are summed in sample and flat."""
    if raw.dark_frame is None:
        return None
    stack = open_source(raw.dark_frame, path, "dark_frame")
    frame = np.asarray(LazyFrames(stack, SAMPLE_AXES, region=region, repeat="mean")[...], dtype=np.float64)
    check_finite(stack.name, frame)
    return np.asarray(frame[0, 0].mean(axis=0) * repeats, dtype=np.float64)


def _bad_pixels(raw: RawScan, path: Path, region: Any, seen: tuple[LazyFrames, ...]) -> NDArray[np.bool_] | None:
    """The described mask, and gaps: pixels that hold one of their values in the first frame of sample or flat."""
    masks = [np.isin(frames[0, 0, 0], raw.gaps) for frames in seen] if raw.gaps else []
    if raw.bad_pixels is not None:
        stack = open_source(raw.bad_pixels, path, "bad_pixels")
        mask = np.asarray(LazyFrames(stack, SAMPLE_AXES, region=region, repeat=None)[0, 0, 0])
        check_finite(stack.name, mask)
        masks = [mask != 0, *(m for m in masks if m.shape == mask.shape)]
    return np.logical_or.reduce(masks) if masks else None


class LazyFrames:
    """A `Stack` seen as an array with the axes of `Scan`, read when it is sliced.

    The repeat axis is summed or averaged, missing axes have length 1, and only the region's rows and columns are read.

    Parameters
    ----------
    keep : axis name -> numbers
        Of views or flats that there are; by default all.
    """

    def __init__(
        self,
        stack: Stack,
        axes: tuple[str, ...],
        *,
        region: Any,
        repeat: str | None,
        keep: dict[str, NDArray[np.intp]] | None = None,
    ) -> None:
        self.stack, self._axes, self._repeat = stack, axes, repeat
        length = dict(zip(stack.axes, stack.shape))
        self._along = axes[1]
        count = length.get(self._along, 1)
        self.counted = count, (keep or {}).get(self._along, np.arange(count))
        """How many views (or flats) the files hold, and the numbers of those that are read."""
        length[self._along] = len(self.counted[1])
        self.repeats = length.get("repeat", 1)
        self._start = dict.fromkeys(axes, 0)
        for name, limits in zip(("row", "col"), region):
            if limits is None:
                continue
            first, last = limits
            full = length.get(name, 1)
            require(0 <= first <= last < full, f"{stack.name}: region {name}s {first}–{last} outside 0–{full - 1}")
            self._start[name], length[name] = first, last - first + 1
        self.shape = tuple(length.get(name, 1) for name in axes)
        self.ndim = len(axes)
        mean = repeat == "mean" and self.repeats > 1
        total = repeat == "sum" and self.repeats > 1 and stack.dtype.kind in "uib"
        self.dtype = np.dtype(np.float64) if mean else np.dtype(np.int64) if total else stack.dtype
        self.nbytes = int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = self._full_key(key)
        wanted = {name: k if isinstance(k, slice) else slice(k, k + 1) for name, k in zip(self._axes, keys)}
        block = self._read(wanted)
        names = list(self.stack.axes)
        if "repeat" in names:
            block = self._combine(block, names.index("repeat"))
            names.remove("repeat")
        order = [names.index(name) for name in self._axes if name in names]
        shape = [wanted[name].stop - wanted[name].start for name in self._axes]
        result = np.ascontiguousarray(block.transpose(order)).reshape(shape)
        return result[tuple(0 if not isinstance(k, slice) else slice(None) for k in keys)]

    def check(self) -> None:
        """Raise where the files lack something of what is to be read."""
        for index in self._indices({name: slice(0, n) for name, n in zip(self._axes, self.shape)}):
            self.stack.check(index)

    def _read(self, wanted: dict[str, slice]) -> NDArray[Any]:
        blocks = [self.stack.read(index) for index in self._indices(wanted)]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=self.stack.axes.index(self._along))

    def _indices(self, wanted: dict[str, slice]) -> Iterator[tuple[slice, ...]]:
        """Slices of the stack's axes, one for each run of views that follow each other in the files."""
        numbers = self.counted[1][wanted[self._along]]
        for run in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1):
            own = slice(int(run[0]), int(run[-1]) + 1) if len(run) else slice(0, 0)
            places = {name: slice(k.start + self._start[name], k.stop + self._start[name]) for name, k in wanted.items()}
            places |= {self._along: own, "repeat": slice(0, self.repeats)}
            yield tuple(places[name] for name in self.stack.axes)

    def _combine(self, block: NDArray[Any], axis: int) -> NDArray[Any]:
        if self.repeats == 1:
            return block.take(0, axis=axis)
        self._check_repeats(block, axis)
        return block.mean(axis=axis) if self._repeat == "mean" else block.sum(axis=axis, dtype=self.dtype)

    def _check_repeats(self, block: NDArray[Any], axis: int) -> None:
        """One frame of several without any count is missing: a sum or a mean would hide it."""
        names = list(self.stack.axes)
        within = tuple(n for n, name in enumerate(names) if name in ("row", "col"))
        counts = np.moveaxis(np.asarray(block.any(axis=within, keepdims=True)), axis, 0)
        lost = np.flatnonzero((~counts & counts.any(axis=0)).reshape(self.repeats, -1).any(axis=1))
        require(not len(lost), f"{self.stack.name}: no pixel has counts in repeat {', '.join(map(str, lost))} of some frame")

    def _full_key(self, key: Any) -> list[Any]:
        """Integers and slices with start and stop for every axis; steps and index arrays are refused."""
        parts = list(key) if isinstance(key, tuple) else [key]
        if any(part is Ellipsis for part in parts):
            at = next(i for i, part in enumerate(parts) if part is Ellipsis)
            parts[at : at + 1] = [slice(None)] * (self.ndim - len(parts) + 1)
        parts += [slice(None)] * (self.ndim - len(parts))
        result: list[Any] = []
        for part, length, name in zip(parts, self.shape, self._axes):
            if isinstance(part, slice):
                start, stop, step = part.indices(length)
                require(step == 1 and stop >= start, f"{self.stack.name}: axis {name}: only plain slices, got {part}")
                result.append(slice(start, stop))
            else:
                number = int(part)
                require(-length <= number < length, f"{self.stack.name}: axis {name}: {number} outside 0–{length - 1}")
                result.append(number % length)
        return result

    def all_if_small(self, limit_bytes: int, bad: NDArray[np.bool_] | None = None) -> Any:
        """The whole as an array, checked outside `bad` (row, col), if it is not larger than `limit_bytes`; else self."""
        if self.nbytes > limit_bytes:
            return self
        array = self[...]
        if array.dtype.kind in "ub" or not array.size:
            return array
        good = array if bad is None else np.where(bad, 0, array)
        check_finite(self.stack.name, good)
        if (good < 0).any():
            raise DarklungError(negative_counts(self.stack.name, good))
        return array

"""Description of a raw stepping scan: where the frames lie, what their axes mean, which phases the steps have.

A YAML file beside (or far from) the data; axis order, units and step positions are declared, never guessed. Paths are
relative to the description; ``${NAME:-default}`` takes an environment variable that holds a path. With a `series` table
each row is one scan, and ``{column}`` anywhere in the description is replaced by the row's value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from darklung.core.checks import DarklungError, require
from darklung.io.documents import Angle, Document, Length, Time, read_yaml, validate
from darklung.io.patterns import matching
from darklung.io.readings import read_readings
from darklung.io.retrieval import Column, Retrieval
from darklung.io.tables import read_rows

SampleAxis = Literal["direction", "view", "flat", "step", "row", "col", "repeat"]
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_COLUMN = re.compile(r"\{(\w+)\}")


class _Source(Document):
    """Arrays of one shape in several files, or the pages of a few.

    `axes` name the dimensions of one array in order. With `file_axes` the arrays are stacked: it is what their list runs
    over, slowest first, with one length each in `file_counts`. With `frame_axes` they are laid end to end along their first
    dimension, which holds frames and has no name in `axes`; the frames run over `frame_axes`, of lengths `frame_counts`.
    """

    axes: tuple[SampleAxis, ...]
    file_axes: tuple[SampleAxis, ...] = ()
    file_counts: tuple[int, ...] = ()
    frame_axes: tuple[SampleAxis, ...] = ()
    frame_counts: tuple[Annotated[int, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _counts(self) -> Any:
        if len(self.file_axes) > 1 and len(self.file_counts) != len(self.file_axes):
            raise ValueError(f"file_counts: wanted one count for each of the {len(self.file_axes)} file_axes")
        if self.frame_axes and self.file_axes:
            raise ValueError("frame_axes: frames are laid end to end, file_axes would stack them; wanted one of the two")
        if len(self.frame_counts) != len(self.frame_axes):
            raise ValueError(f"frame_counts: wanted one count for each of the {len(self.frame_axes)} frame_axes")
        return self

    @property
    def all_axes(self) -> tuple[SampleAxis, ...]:
        """Names of all axes, slowest first."""
        return (*self.file_axes, *self.frame_axes, *self.axes)


class Hdf5Source(_Source):
    """Datasets of HDF5 files. `file` may be a list or a pattern, `dataset` a pattern such as ``entry/data/data_*``.

    They may lead to files in their own folder or below (external links, virtual datasets), and to those that `links` allow.
    """

    kind: Literal["hdf5"]
    file: str | tuple[str, ...]
    dataset: str
    links: tuple[str, ...] = ()


class ZarrSource(_Source):
    """A Zarr array, or the one at `dataset` in a group; `file` is the folder."""

    kind: Literal["zarr"]
    file: str
    dataset: str = ""


class _Files(_Source):
    """A list of files or a pattern (in natural order)."""

    files: str | tuple[str, ...]


class NpySource(_Files):
    """NumPy files."""

    kind: Literal["npy"]


class TiffSource(_Files):
    """TIFF files, one or more pages each; pages that are not one series are stacked if they are alike."""

    kind: Literal["tiff"]


class RawSource(_Files):
    """Raw binary: `shape` and `dtype` of one file (such as uint16), byte order, bytes to skip at its start and end."""

    kind: Literal["raw"]
    dtype: Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
    shape: tuple[Annotated[int, Field(gt=0, le=2**31)], ...]
    byte_order: Literal["little", "big"]
    header_bytes: Annotated[int, Field(ge=0, le=2**40)] = 0
    trailer_bytes: Annotated[int, Field(ge=0, le=2**40)] = 0


class EdfSource(_Files):
    """EDF files; several images in one are stacked if they are alike."""

    kind: Literal["edf"]


class FabioSource(_Files):
    """CBF, and whatever else fabio reads (``pip install 'darklung[readers]'``)."""

    kind: Literal["fabio"]


class NxtomoSource(Document):
    """Frames of one kind (by image key) of an NXtomo file. `frame_axes` and `frame_counts` tell what its frames run over.

    `links` as in `Hdf5Source`.
    """

    kind: Literal["nxtomo"]
    file: str
    entry: str | None = None
    frames: Literal["sample", "flat", "dark"]
    frame_axes: tuple[SampleAxis, ...]
    frame_counts: tuple[Annotated[int, Field(gt=0, le=2**31)], ...]
    links: tuple[str, ...] = ()

    @property
    def all_axes(self) -> tuple[SampleAxis, ...]:
        """Names of all axes."""
        return (*self.frame_axes, "row", "col")


Source = Annotated[
    Hdf5Source | ZarrSource | NxtomoSource | NpySource | TiffSource | EdfSource | FabioSource | RawSource,
    Field(discriminator="kind"),
]


class Steps(Document):
    """Phase of each step: `count` steps over `periods` grating periods, or explicit `phases`.

    With `endpoint_repeated` the last step lies a whole number of periods after the first, so θ_k = 2π periods k/(count − 1);
    without it θ_k = 2π periods k/count.
    """

    count: Annotated[int, Field(ge=3, le=10_000)] | None = None
    periods: Annotated[float, Field(gt=0, le=1000)] = 1.0
    endpoint_repeated: bool | None = None
    phases: tuple[Angle, ...] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Any:
        if (self.count is None) == (self.phases is None):
            raise ValueError("wanted either count (with endpoint_repeated) or phases")
        if self.count is not None and self.endpoint_repeated is None:
            raise ValueError("endpoint_repeated: say true or false; it shifts every phase")
        if self.phases is not None and len(self.phases) < 3:
            raise ValueError(f"phases: a sinusoid needs at least 3 phase steps, got {len(self.phases)}")
        return self

    def phases_rad(self) -> NDArray[np.float64]:
        """θ_k, (step,) [rad]."""
        if self.phases is not None:
            return np.asarray(self.phases, dtype=np.float64)
        count = int(self.count or 0)
        intervals = count - 1 if self.endpoint_repeated else count
        return 2 * np.pi * self.periods * np.arange(count) / intervals


class EvenAngles(Document):
    """first, first + step, ..."""

    first: Angle
    step: Angle


class EvenTimes(Document):
    """first, first + step, ...: the clock does not run backwards; views that were taken in another order need a list."""

    first: Time
    step: Annotated[Time, Field(ge=0)]


class LeaveOut(Document):
    """Views and flats not to read: numbers, or first and last of a range, counted from 0 in what the files hold."""

    views: tuple[Annotated[int, Field(ge=0)] | tuple[int, int], ...] = ()
    flats: tuple[Annotated[int, Field(ge=0)] | tuple[int, int], ...] = ()

    def kept(self, which: Literal["views", "flats"], count: int) -> NDArray[np.intp]:
        """Numbers of the views or flats of `count` that stay."""
        out = np.zeros(count, bool)
        for part in getattr(self, which):
            first, last = (part, part) if isinstance(part, int) else part
            require(first <= last < count, f"leave_out.{which}: {part} outside 0–{count - 1}")
            out[first : last + 1] = True
        require(not out.all(), f"leave_out.{which}: leaves nothing")
        return np.flatnonzero(~out)


class Region(Document):
    """Rows and columns to read, first and last, both included, counted from 0."""

    rows: tuple[Column, Column] | None = None
    cols: tuple[Column, Column] | None = None


class RawScan(Document):
    """One raw scan.

    Parameters
    ----------
    name : str
    sample, flat : Source
        Axes among direction, view (flat: flat), step, row, col, repeat; one that is missing has length 1.
    dark_frame, bad_pixels : Source, optional
        Axes row, col and for the dark frame repeat and step (averaged); bad pixels are those that are not 0.
    repeat : {"sum", "mean"}
        How frames of the repeat axis are combined. Sums stay counts; the variances of means come out too large.
    angles : list of angles, {first, step}, a `Reading`, or "file"
        Of the views. None: all 0 (a radiograph; several views are then repeats of it). "file": the rotation angles of an
        NXtomo sample.
    view_times, flat_times : list of times, {first, step}, or a `Reading`
        None: all 0. The same for all directions.
    view_doses, flat_doses : list of numbers or a `Reading`, optional
        Of a monitor, one a view and one a flat, in one unit; the same for all directions.
    leave_out : LeaveOut
        Angles, times and doses are still those of all.
    gaps : tuple of int
        Values that the detector writes where it has no pixel (−1, −2, 4294967295); such pixels are bad.
    axis_col : float, optional
        Column of the rotation axis, counted on the whole detector.
    """

    name: str = Field(pattern=r"^[^/\\\x00-\x1f]*\w[^/\\\x00-\x1f]*$", max_length=200)
    description: str = ""
    sample: Source
    flat: Source
    dark_frame: Source | None = None
    bad_pixels: Source | None = None
    repeat: Literal["sum", "mean"] | None = None
    steps: Steps
    pixel: Length
    directions: tuple[Angle, ...] = (float(np.pi / 2),)
    angles: Literal["file"] | tuple[Angle, ...] | EvenAngles | None = None
    view_times: tuple[Time, ...] | EvenTimes | None = None
    flat_times: tuple[Time, ...] | EvenTimes | None = None
    view_doses: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    flat_doses: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    axis_col: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None
    leave_out: LeaveOut = LeaveOut()
    gaps: tuple[int, ...] = ()
    region: Region = Region()
    retrieval: Retrieval = Retrieval()

    @model_validator(mode="after")
    def _axes(self) -> Any:
        allowed = {"sample": {"view"}, "flat": {"flat"}, "dark_frame": set(), "bad_pixels": set()}
        for field, own in allowed.items():
            source = getattr(self, field)
            if source is None:
                continue
            more = {"sample": {"direction", "step"}, "flat": {"direction", "step"}, "dark_frame": {"step"}}
            known = own | {"row", "col", "repeat"} | more.get(field, set())
            names = source.all_axes
            if len(set(names)) != len(names):
                raise ValueError(f"{field}.axes: each axis once, got {', '.join(names)}")
            if set(names) - known:
                raise ValueError(
                    f"{field}.axes: {', '.join(sorted(set(names) - known))} not known here; known: {_list(known)}"
                )
            if "repeat" in names and field in ("sample", "flat") and self.repeat is None:
                raise ValueError("repeat: the axes hold repeats, say sum or mean")
        if lacking := self.lacking(self.retrieval):
            raise ValueError(lacking)
        return self

    def lacking(self, retrieval: Retrieval) -> str:
        """What a retrieval needs of the scan that is not told here; empty where nothing is missing."""
        if retrieval.normalise == "monitor" and (self.view_doses is None or self.flat_doses is None):
            return "retrieval.normalise: monitor needs view_doses and flat_doses"
        if retrieval.reference == "interpolate" and (self.view_times is None or self.flat_times is None):
            return "retrieval.reference: interpolate needs view_times and flat_times"
        return ""


class Series(Document):
    """A CSV table with one scan a row; `name` is made from its columns."""

    table: str
    name: str


def read_raw(path: Path) -> Iterator[tuple[RawScan, dict[str, str]]]:
    """All scans of a description file: the checked description and, of a series, the table's row.

    Raises
    ------
    DarklungError
        One line for each mistake, with the file and the place in it.
    """
    content = read_yaml(path)
    series = _series(content, path)
    if series is None:
        yield _checked(content, path, str(path)), {}
        return
    rest = {key: value for key, value in content.items() if key != "series"}
    table = resolve_path(series.table, path)
    for number, row in enumerate(read_rows(table), start=2):
        origin = f"{path}: row {number} of {table.name}"
        filled = _fill({**rest, "name": series.name}, row, origin)
        yield _checked(filled, path, origin), row


def series_table(path: Path) -> Path | None:
    """The CSV table that a description names the scans by, if it has one."""
    series = _series(read_yaml(path), path)
    return resolve_path(series.table, path) if series else None


def _series(content: Any, path: Path) -> Series | None:
    if not isinstance(content, dict) or "series" not in content:
        return None
    return validate(content["series"], Series, f"{path}: series")


def _checked(content: Any, path: Path, origin: str) -> RawScan:
    result: RawScan = validate(read_readings(content, lambda text: resolve_path(text, path), origin), RawScan, origin)
    return result


def resolve_path(text: str, description: Path) -> Path:
    """Expand ``${NAME:-default}`` and make the path absolute from the description's folder.

    Paths are told and recorded, so that a variable may only hold one: a file must not carry a password into a record.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None and match[2] is None:
            raise DarklungError(f"{description}: the environment variable {match[1]} is not set and has no default ({text})")
        path = found is None or (Path(found).is_absolute() and Path(found).exists())
        require(
            path, f"{description}: the environment variable {match[1]} is no path of a file or folder that there is ({text})"
        )
        return match[2] if found is None else found

    return (description.parent / Path(_VARIABLE.sub(value, text))).resolve()


def named_files(source: Source, description: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each name or pattern of a source, and the files that there are, in the order in which they are read."""
    listed = source.file if isinstance(source, Hdf5Source | NxtomoSource | ZarrSource) else source.files
    for text in [listed] if isinstance(listed, str) else listed:
        # Real files, since what an HDF5 file leads to lies beside it and not beside a link to it.
        yield text, [path.resolve() for path in matching(resolve_path(text, description))]


def _fill(content: Any, row: dict[str, str], origin: str) -> Any:
    """Replace ``{column}`` in all texts (``${...}`` is left alone)."""
    if isinstance(content, dict):
        return {key: _fill(value, row, origin) for key, value in content.items()}
    if isinstance(content, list):
        return [_fill(value, row, origin) for value in content]
    if not isinstance(content, str):
        return content

    def value(match: re.Match[str]) -> str:
        if match.start() and content[match.start() - 1] == "$":
            return match[0]
        if match[1] not in row:
            raise DarklungError(f"{origin}: column {match[1]!r} is not known; known: {_list(row)}")
        return row[match[1]]

    return _COLUMN.sub(value, content)


def _list(names: Any) -> str:
    return ", ".join(sorted(names))

"""Any described raw scan as one standard file, copied view by view, with a description that reads it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_finite, check_one_of, require
from darklung.core.files import make_folder, write_text
from darklung.core.types import Scan
from darklung.io.description import LeaveOut, RawScan
from darklung.io.hdf5 import SCHEMA, whole_file

FORMATS = ("hdf5", "nxtomo")
AXES = ("direction", "view", "step", "row", "col")
FLAT_AXES = ("direction", "flat", "step", "row", "col")
_ENTRY = "entry"
# What is said of the files of a scan, and not of a copy.
_OF_FILES = {"sample", "flat", "dark_frame", "bad_pixels", "repeat", "region", "leave_out", "gaps"}


def write_scan(path: Path, scan: Scan, *, form: str = "hdf5") -> None:
    """Write a scan, one stepping curve at a time; the file appears whole or not at all.

    Parameters
    ----------
    path : Path
    scan : Scan
        Its frames may lie on disk and be larger than memory.
    form : {"hdf5", "nxtomo"}
        darklung's own layout (what `darklung.io.hdf5.load` reads), or NXtomo: one stack of frames with an image key, in the
        order sample (direction, view, step), flats, dark frame.

    Raises
    ------
    DarklungError
        Counts that are not finite or negative in a pixel not marked bad; the line names the view.
    """
    check_one_of("form", form, FORMATS)
    with whole_file(path) as file:
        (_write_own if form == "hdf5" else _write_nxtomo)(file, scan)


def describe_scan(path: Path, scan: Scan, raw: RawScan, *, form: str = "hdf5") -> Path:
    """Write ``PATH`` with the ending ``.yaml``: a description of what `write_scan` wrote, with the retrieval of `raw`."""
    directions, views, steps = scan.frames.shape[:3]
    if form == "hdf5":
        source: dict[str, Any] = {"kind": "hdf5", "file": path.name}
        sample = {**source, "dataset": "frames", "axes": list(AXES)}
        flat = {**source, "dataset": "flats", "axes": list(FLAT_AXES)}
    else:
        source = {"kind": "nxtomo", "file": path.name}
        axes, counts = ["direction", "view", "step"], [directions, views, steps]
        sample = {**source, "frames": "sample", "frame_axes": axes, "frame_counts": counts}
        counts = [directions, scan.flats.shape[1], steps]
        flat = {**source, "frames": "flat", "frame_axes": ["direction", "flat", "step"], "frame_counts": counts}
    content: dict[str, Any] = {"name": raw.name, "description": raw.description, "sample": sample, "flat": flat}
    if scan.dark_frame is not None:
        own = {**source, "dataset": "dark_frame", "axes": ["row", "col"]}
        other = {**source, "frames": "dark", "frame_axes": ["repeat"], "frame_counts": [1]}
        content["dark_frame"] = own if form == "hdf5" else other
    if scan.bad_pixels is not None:
        mask = "bad_pixels" if form == "hdf5" else f"{_ENTRY}/instrument/detector/pixel_mask"
        content["bad_pixels"] = {"kind": "hdf5", "file": path.name, "dataset": mask, "axes": ["row", "col"]}
    content["steps"] = {"phases": [f"{value!r} rad" for value in scan.step_phase_rad[0].tolist()]}
    content["pixel"] = f"{scan.geometry.pixel_m!r} m"
    content["directions"] = [f"{value!r} rad" for value in scan.directions_rad.tolist()]
    content["angles"] = [f"{value!r} rad" for value in scan.geometry.angles_rad.tolist()]
    content["axis_col"] = float(scan.parallel().axis_col)
    content |= kept_readings(raw, scan)
    content["retrieval"] = raw.retrieval.model_dump(mode="json", exclude_defaults=True)
    place = path.with_suffix(".yaml")
    write_text(place, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return place


def described_frames(raw: RawScan, scan: Scan, file: str) -> dict[str, Any]:
    """A description of an HDF5 file with a scan's frames, flats and maps, with all that `raw` says of the scan."""

    def dataset(name: str, *axes: str) -> dict[str, Any]:
        return {"kind": "hdf5", "file": file, "dataset": name, "axes": list(axes)}

    content = raw.model_dump(mode="json", exclude=_OF_FILES)
    content = {k: v for k, v in content.items() if v is not None}
    content["sample"] = dataset("frames", "direction", "view", "step", "row", "col")
    content["flat"] = dataset("flats", "direction", "flat", "step", "row", "col")
    for field in ("dark_frame", "bad_pixels"):
        if getattr(scan, field) is not None:
            content[field] = dataset(field, "row", "col")
    content["steps"] = {"phases": [f"{float(t)!r} rad" for t in scan.step_phase_rad[0]]}
    content["angles"] = [f"{float(a)!r} rad" for a in scan.geometry.angles_rad]
    content["axis_col"] = float(scan.parallel().axis_col)
    if raw.leave_out != LeaveOut():
        content |= kept_readings(raw, scan)
    return content


def kept_readings(raw: RawScan, scan: Scan) -> dict[str, Any]:
    """Times and doses of the views and flats that were read, as a description says them."""
    content: dict[str, Any] = {
        "view_times": [f"{t!r} s" for t in scan.view_time_s[0].tolist()],
        "flat_times": [f"{t!r} s" for t in scan.flat_time_s[0].tolist()],
    }
    for name, which in (("view_doses", "views"), ("flat_doses", "flats")):
        values = getattr(raw, name)
        if values is not None:
            kept = raw.leave_out.kept(which, len(values))  # type: ignore[arg-type]
            content[name] = [values[n] for n in kept]
    return content


def _curves(scan: Scan) -> Iterator[tuple[str, int, int, NDArray[Any]]]:
    """("frames" or "flats", direction, number, checked curve (step, row, col)), in order."""
    bad = False if scan.bad_pixels is None else np.asarray(scan.bad_pixels, dtype=bool)
    for field in ("frames", "flats"):
        stack = getattr(scan, field)
        for direction, number in np.ndindex(stack.shape[:2]):
            curve = np.asarray(stack[direction, number])
            good = np.where(bad, 0, curve)
            check_finite(f"{field}[{direction}, {number}]", good)
            if good.size and good.min() < 0:
                raise DarklungError(f"{field}[{direction}, {number}]: negative counts, the lowest is {good.min():g}")
            yield field, direction, number, curve


def _dataset(place: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """A dataset in chunks of one stepping curve (or frame), so that a view is read in one go."""
    chunk = tuple(1 if n < len(shape) - 3 else length for n, length in enumerate(shape))
    return place.create_dataset(name, shape, dtype, chunks=chunk)


def _write_own(file: h5py.File, scan: Scan) -> None:
    file.attrs["darklung_schema"], file.attrs["darklung_type"] = SCHEMA, "Scan"
    stacks = {f: _dataset(file, f, getattr(scan, f).shape, getattr(scan, f).dtype) for f in ("frames", "flats")}
    for field, direction, number, curve in _curves(scan):
        stacks[field][direction, number] = curve
    for field in ("step_phase_rad", "directions_rad", "view_time_s", "flat_time_s", "dark_frame", "bad_pixels"):
        if getattr(scan, field) is not None:
            file[field] = np.asarray(getattr(scan, field))
    geometry = file.create_group("geometry")
    geometry.attrs["darklung_type"] = "ParallelGeometry"
    geometry["angles_rad"] = scan.geometry.angles_rad
    for name in ("rows", "cols", "pixel_m", "axis_col"):
        geometry.attrs[name] = getattr(scan.geometry, name)


def _write_nxtomo(file: h5py.File, scan: Scan) -> None:
    entry = file.create_group(_ENTRY)
    entry.attrs["NX_class"] = "NXentry"
    entry["definition"] = "NXtomo"
    detector = entry.create_group("instrument/detector")
    entry["instrument"].attrs["NX_class"], detector.attrs["NX_class"] = "NXinstrument", "NXdetector"
    rows, cols = scan.frames.shape[3:]
    counts = [int(np.prod(scan.frames.shape[:3])), int(np.prod(scan.flats.shape[:3])), int(scan.dark_frame is not None)]
    kinds = [scan.frames.dtype, scan.flats.dtype] + ([] if scan.dark_frame is None else [np.asarray(scan.dark_frame).dtype])
    data = _dataset(detector, "data", (sum(counts), rows, cols), np.result_type(*kinds))
    at = 0
    for _, _, _, curve in _curves(scan):
        data[at : at + len(curve)] = curve
        at += len(curve)
    if scan.dark_frame is not None:
        data[at] = scan.dark_frame
    detector["image_key"] = np.repeat([0, 1, 2], counts)
    if scan.bad_pixels is not None:
        detector["pixel_mask"] = np.asarray(scan.bad_pixels, dtype=np.uint8)
    for name in ("x_pixel_size", "y_pixel_size"):
        detector[name] = scan.geometry.pixel_m
        detector[name].attrs["units"] = "m"
    directions, steps = len(scan.directions_rad), scan.frames.shape[2]
    angles = np.tile(np.repeat(np.degrees(scan.geometry.angles_rad), steps), directions)
    sample = entry.create_group("sample")
    sample.attrs["NX_class"] = "NXsample"
    sample["rotation_angle"] = np.concatenate([angles, np.zeros(counts[1] + counts[2])])
    sample["rotation_angle"].attrs["units"] = "degree"


def import_scans(
    scans: list[tuple[RawScan, Callable[[], Scan]]], out: Path, *, form: str = "hdf5", keep: Iterable[Path] = ()
) -> list[tuple[str, Path, Scan]]:
    """Write each scan and its description: to `out` if it names a file and there is one scan, else to ``out/NAME.h5``.

    Nothing is written if that would replace one of the files to `keep`, such as what the scans are read from.

    Returns
    -------
    list of (name, file, Scan whose frames may lie on disk)
    """
    file = out.suffix in (".h5", ".hdf5", ".nx", ".nxs")
    require(not file or len(scans) == 1, f"{out}: {len(scans)} scans need a folder, not a file")
    paths = [
        out if file else out / f"{''.join(c if c.isalnum() or c in '._-' else '_' for c in raw.name)}.h5" for raw, _ in scans
    ]
    require(len(set(paths)) == len(paths), f"{out}: two scans would be the same file, wanted names that differ in letters")
    kept = {path.resolve() for path in keep}
    for path in (new for p in paths for new in (p, p.with_suffix(".yaml"))):
        require(path.resolve() not in kept, f"{path}: the scan is read from this file; wanted another place for the copy")
    done = []
    for (raw, load), path in zip(scans, paths):
        make_folder(path.parent)
        scan = load()
        require(
            bool((scan.step_phase_rad == scan.step_phase_rad[0]).all()),
            f"{raw.name}: step_phase_rad: directions with different phases cannot be described",
        )
        write_scan(path, scan, form=form)
        describe_scan(path, scan, raw, form=form)
        done.append((raw.name, path, scan))
    return done

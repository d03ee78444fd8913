"""Retrieved projections read a few rows at a time: darklung's own files, and plain HDF5 files of other software."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_positive, check_range, require
from darklung.core.geometry import ConeGeometry, Geometry, ParallelGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.core.units import parse_number
from darklung.io.hdf5 import check_dataset, opened_hdf5, real_numbers
from darklung.io.references import files_behind

# What reconstruction reads; a file need not hold the others. More turns than these are degrees.
TURNS = 4
MOST_PIXEL_M = 0.01  # larger ones are in another unit
CONE = ("axis_col", "source_axis_m", "axis_row", "tilt_rad")
READ = ("attenuation", "dark_field", "phase", "attenuation_variance", "dark_field_variance", "valid")


@dataclass(frozen=True)
class ProjectionsFile:
    """An HDF5 file of projections that is read by slabs.

    Either what ``darklung retrieve`` writes, or a plain file with

    - datasets among `READ`, each (direction, view, row, col) or (view, row, col), with ``attenuation`` or ``dark_field``;
    - dataset ``angles_rad`` (view,);
    - attribute ``pixel_m`` [m], detector pixel referred to the rotation axis;
    - optional: attribute ``axis_col`` (column of the rotation axis), dataset ``directions_rad`` (direction,);
    - in a cone beam: attribute ``source_axis_m``, distance from the source to the rotation axis, and where they are not the
      middle and 0, ``axis_row`` and ``tilt_rad`` (`darklung.core.geometry.ConeGeometry`).

    Parameters
    ----------
    path : Path
    geometry : ParallelGeometry or ConeGeometry
        Of the whole scan.
    directions_rad : (direction,) float64
        π/2 where a file of one direction does not say.
    present : tuple of str
        Which of `PROJECTION_MAPS` the file holds; of those that are not in `READ` only what has the others' shape.
    """

    path: Path
    geometry: Geometry
    directions_rad: NDArray[np.float64]
    present: tuple[str, ...]

    @property
    def variances(self) -> bool:
        """Whether the file knows how uncertain both signals are."""
        return all(f"{name}_variance" in self.present for name in ("attenuation", "dark_field"))

    @property
    def written(self) -> tuple[str, ...]:
        """Maps of a file that is made of this one: what it holds, and validity; what it does not hold is not made up."""
        return (*(name for name in self.present if name != "valid"), "valid")

    def read(
        self, rows: slice | NDArray[np.int64], maps: tuple[str, ...] = READ, *, views: slice = slice(None)
    ) -> Projections:
        """Some rows, of all views or a range of them.

        Maps that are not asked for or not there are 0, variances NaN, and `valid` true: look at `present`.

        Raises
        ------
        DarklungError
            Values that are not finite where they are said to be valid.
        """
        count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        g = replace(self.geometry, angles_rad=self.geometry.angles_rad[views])
        shape = (len(self.directions_rad), g.views, count, g.cols)
        values: dict[str, NDArray[Any]] = {}
        with opened_hdf5(self.path, "projections") as file:
            for name in PROJECTION_MAPS:
                if name in maps and name in self.present:
                    stored = file[name]
                    check_dataset(stored, count / self.geometry.rows * g.views / self.geometry.views)
                    part = stored[:, views, rows] if stored.ndim == 4 else stored[views, rows][None]
                    values[name] = _plain(f"{self.path}: {name}", part, bool if name == "valid" else np.float32)
                else:
                    values[name] = np.broadcast_to(_missing(name), shape)
        for name in ("attenuation", "dark_field", "phase"):
            bad = int((~np.isfinite(values[name]) & values["valid"]).sum())
            require(bad == 0, f"{self.path}: {name}: {bad} values are not finite but not marked in 'valid'")
        return Projections(**values, directions_rad=self.directions_rad, geometry=_rows_of(g, rows))


@dataclass(frozen=True)
class HeldProjections(ProjectionsFile):
    """Projections in memory where a file is read."""

    projections: Projections

    def read(
        self, rows: slice | NDArray[np.int64], maps: tuple[str, ...] = READ, *, views: slice = slice(None)
    ) -> Projections:
        """Some rows of all maps."""
        g = replace(self.geometry, angles_rad=self.geometry.angles_rad[views])
        values = {name: getattr(self.projections, name)[:, views, rows] for name in PROJECTION_MAPS}
        return Projections(**values, directions_rad=self.directions_rad, geometry=_rows_of(g, rows))


def hold(projections: Projections) -> HeldProjections:
    """Projections in memory as what reads a file would take."""
    return HeldProjections(Path("memory"), projections.geometry, projections.directions_rad, READ, projections)


def open_projections(path: Path) -> ProjectionsFile:
    """Look at a file without reading its maps.

    Raises
    ------
    DarklungError
        No HDF5 file, another type, or something of `ProjectionsFile` missing or of the wrong shape.
    """
    with opened_hdf5(path, "projections") as file:
        for other in files_behind(path, (*PROJECTION_MAPS, "directions_rad", "angles_rad", "geometry/angles_rad")):
            raise DarklungError(f"{path}: leads to {other}; projections hold all their values themselves")
        found = str(file.attrs.get("darklung_type", "Projections"))
        require(found == "Projections", f"{path}: wanted Projections, the file holds {found}")
        return _described(path, file)


def _described(path: Path, file: h5py.File) -> ProjectionsFile:
    present = tuple(name for name in READ if isinstance(file.get(name), h5py.Dataset))
    known = ", ".join(sorted(file)) or "nothing"
    signals = [name for name in ("attenuation", "dark_field") if name in present]
    require(bool(signals), f"{path}: wanted a dataset attenuation or dark_field, the file has {known}")
    place = file.get("geometry", file)
    require("angles_rad" in place, f"{path}: wanted a dataset angles_rad (view,), the file has {known}")
    require("pixel_m" in place.attrs, f"{path}: wanted an attribute pixel_m, the detector pixel in metres")
    shapes = {name: file[name].shape for name in present}
    first = shapes[signals[0]]
    ndim = len(first)
    require(ndim in (3, 4), f"{path}: {signals[0]}: wanted (direction, view, row, col) or (view, row, col), got {first}")
    for name, shape in shapes.items():
        require(shape == first, f"{path}: {name}: wanted the shape of {signals[0]}, {first}, got {shape}")
        kinds = "biuf" if name == "valid" else "iuf"
        require(file[name].dtype.kind in kinds, f"{path}: {name}: wanted numbers, got {file[name].dtype}")
    directions, views, rows, cols = (1, *first)[-4:]
    angles = real_numbers(place["angles_rad"])
    require(angles.shape == (views,), f"{path}: angles_rad: wanted {views} (one a view), got shape {angles.shape}")
    _check_radians(path, angles)
    alpha = real_numbers(file["directions_rad"]) if "directions_rad" in file else np.full(1, np.pi / 2)
    require(
        alpha.shape == (directions,), f"{path}: directions_rad: wanted {directions} (one a direction), got {alpha.shape}"
    )
    radians = bool((np.abs(alpha) <= 2 * np.pi).all())
    require(radians, f"{path}: directions_rad: wanted radians within a turn, got {alpha.tolist()[:4]}: are these degrees?")
    pixel = check_positive(f"{path}: pixel_m", _number(path, "pixel_m", place.attrs["pixel_m"]))
    told = f"{path}: pixel_m: wanted metres, up to {MOST_PIXEL_M:g}, got {pixel:g}: is this in mm or um?"
    require(pixel <= MOST_PIXEL_M, told)
    more = (n for n in PROJECTION_MAPS if n not in READ and isinstance(file.get(n), h5py.Dataset) and file[n].shape == first)
    return ProjectionsFile(path, _geometry(path, place, angles, rows, cols, pixel), alpha, (*present, *more))


def _check_radians(path: Path, angles: NDArray[np.float64]) -> None:
    """Refuse degrees where radians belong: no gantry turns as often as they would make it."""
    if len(angles) and np.ptp(angles) > 2 * np.pi * TURNS:
        told = f"{path}: angles_rad: from {angles.min():g} to {angles.max():g}, more than {TURNS} turns: are these degrees?"
        raise DarklungError(f"{told} wanted radians, of more turns modulo 2π")


def _geometry(path: Path, place: h5py.Group, angles: NDArray[np.float64], rows: int, cols: int, pixel_m: float) -> Geometry:
    known = {k: _number(path, k, place.attrs[k]) for k in CONE if k in place.attrs}
    if "axis_col" in known:
        check_range(f"{path}: axis_col", known["axis_col"], 0, cols - 1)
    if "axis_row" in known:
        check_range(f"{path}: axis_row", known["axis_row"], -10 * rows, 10 * rows)
    if "source_axis_m" in known:
        cone = ConeGeometry(angles, rows, cols, pixel_m, **known)
        seen = max(float(cone.axis_col or 0), cols - 1 - float(cone.axis_col or 0)) * pixel_m
        told = f"{path}: source_axis_m: wanted more than {seen:g}, which is seen beside the axis, got {cone.source_axis_m:g}"
        require(cone.source_axis_m > seen, f"{told}: the source would turn within the object")
        return cone
    return ParallelGeometry(angles, rows, cols, pixel_m, known.get("axis_col", (cols - 1) / 2))


def _number(path: Path, name: str, value: Any) -> float:
    try:
        one = np.asarray(value).item()
        text = one.decode() if isinstance(one, bytes) else one
        return parse_number(text) if isinstance(text, str) else float(one)
    except (TypeError, ValueError) as error:
        raise DarklungError(f"{path}: {name}: wanted one number, got {value!r}") from error


def _rows_of(geometry: Geometry, rows: slice | NDArray[np.int64]) -> Geometry:
    """The geometry of a slice of rows; of scattered rows only what does not depend on their place is right."""
    if not isinstance(rows, slice):
        return replace(geometry, rows=len(rows))
    count = rows.stop - rows.start
    if isinstance(geometry, ConeGeometry):
        return replace(geometry, rows=count, axis_row=float(geometry.axis_row or 0.0) - rows.start)
    return replace(geometry, rows=count)


def _plain(name: str, values: NDArray[Any], dtype: type) -> NDArray[Any]:
    """Values as they are computed with; of validity only what is a truth value."""
    if dtype is bool and values.dtype.kind == "f":
        require(bool(np.isin(values, (0, 1)).all()), f"{name}: wanted true or false (1 or 0), got other numbers")
    with np.errstate(over="ignore"):  # beyond single precision is infinite, which is told
        return np.asarray(values, dtype)


def _missing(name: str) -> Any:
    if name == "valid":
        return np.True_
    return np.float32(np.nan) if name.endswith("variance") else np.float32(0)

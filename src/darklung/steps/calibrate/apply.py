"""A saved calibration on retrieved projections or reconstructed volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from darklung.calibrate.fibres import OrientationMaps
from darklung.calibrate.figures import maps_png
from darklung.calibrate.file import Calibration, load_calibration
from darklung.calibrate.hardening import hardening
from darklung.calibrate.maps import (
    Scattering,
    by_direction,
    on_grid,
    orientation_channels,
    scattering_of_projections,
    scattering_of_volume,
    size_channels,
)
from darklung.calibrate.sizes import SizeMaps
from darklung.calibrate.units import ScatterUnit
from darklung.core.checks import DarklungError, require
from darklung.core.types import Projections
from darklung.core.units import parse_quantity
from darklung.io.hdf5 import load
from darklung.io.images import load_image, save_image
from darklung.pipeline.provenance import provenance
from darklung.pipeline.record import write_json
from darklung.steps.blocks import change_projections
from darklung.study.correction import CorrectionPart

T = TypeVar("T")

OUTPUT, PICTURE = "calibrated.ome.zarr", "calibrated.png"
CORRECTED = "projections.h5"


@dataclass(frozen=True)
class Sized:
    """Sizes by a calibration of spheres."""

    calibration: Calibration
    read: Scattering
    found: SizeMaps
    out: Path


@dataclass(frozen=True)
class Oriented:
    """Directions by a calibration of fibres."""

    found: OrientationMaps
    out: Path


@dataclass(frozen=True)
class Corrected:
    """Projections without hardening: `lines` tell how medians and validity changed, `used` what was used."""

    lines: tuple[str, ...]
    out: Path
    used: Mapping[str, Any]


@dataclass(frozen=True)
class Scaled:
    """(direction or channel, *spatial) scatter units of a volume."""

    unit: ScatterUnit
    read: Scattering
    units: NDArray[np.float64]
    out: Path


Applied = Sized | Oriented | Corrected | Scaled
"""What a calibration gave, by its kind, as it was written to `out`."""


def apply_calibration(
    calibration: Path,
    sources: Sequence[Path],
    out: Path,
    *,
    thickness: str = "",
    amount: float = 1.0,
    prefer: str = "none",
    correction: CorrectionPart | None = None,
    like: Path | None = None,
) -> Applied:
    """Do with the sources what the calibration is for, and write it to `out`.

    - ``spheres``: equivalent diameters of volumes of ε (OME-Zarr), or of projections (HDF5) of a sample of one `thickness`;
      with two settings give the sample's two files in the order of the calibration.
    - ``fibres``: orientation from projections in three or more directions.
    - ``wedges``: hardening corrected as `darklung.calibrate.hardening.hardening` does in a study, by the file but for what
      `correction` says; with `like` (another calibration of wedges) values as that beam would have shown them.
    - ``unit``: scatter units of a volume.

    Parameters
    ----------
    calibration : Path
        What ``darklung calibrate`` saved.
    sources : sequence of Path
    out : Path
        Folder; gets ``calibrated.ome.zarr`` and ``calibrated.png`` (``projections.h5`` for wedges) and ``record.json``.
    thickness : str
        Of the sample, with its unit; for sizes from projections.
    amount : float
        f δ² of the sample over that of the calibration powder; not used with two settings, which find it.
    prefer : {"none", "small", "large"}
        Branch to take where two diameters fit.
    correction : CorrectionPart, optional
        What is said against the file; nothing by default.

    Raises
    ------
    DarklungError
        A file that does not fit the calibration, or what `load_calibration` raises.
    """
    loaded = load_calibration(calibration)
    wanted = max(len(loaded.curves), 1)
    require(len(sources) == wanted, f"sources: wanted {wanted} for this calibration ({loaded.kind}), got {len(sources)}")
    unfit = loaded.kind != "wedges" and (correction is not None or like is not None)
    require(not unfit, f"--method, --set, --like: belong to a calibration of wedges, got one of {loaded.kind}")
    depth = parse_quantity(thickness, "length") if thickness else None
    out.mkdir(parents=True, exist_ok=True)
    done: Applied
    if loaded.kind == "spheres":
        done = _sizes(loaded, sources, out, depth, amount, prefer)
    elif loaded.kind == "fibres":
        done = _orientations(loaded, sources[0], out)
    elif loaded.kind == "unit":
        done = _units(loaded, sources[0], out)
    elif like is not None:
        done = _like(loaded, like, sources[0], out)
    else:
        done = _corrected(calibration, sources[0], out, correction or CorrectionPart())
    files = [calibration, *(s for s in sources if s.is_file()), *([like] if like else [])]
    used = {"hardening": dict(done.used)} if isinstance(done, Corrected) else {}
    options = {"thickness": thickness, "amount": amount, "prefer": prefer, **used}
    record = {**provenance("darklung calibrate apply", files), "sources": [str(s) for s in sources], "options": options}
    write_json(out / "record.json", record)
    return done


def _held(value: T | None, where: object, what: str) -> T:
    """`value`, unless the file is without it."""
    if value is None:
        raise DarklungError(f"{where}: wanted {what}, got none")
    return value


def read_scattering(source: Path, thickness_m: float | None) -> Scattering:
    """ε of a volume's ``dark_field`` channels, or of projections over a thickness, NaN where they are not valid."""
    if source.suffix.lower() in (".h5", ".hdf5"):
        require(
            thickness_m is not None,
            f"{source}: projections are line integrals; give the sample's thickness, or apply to a reconstructed volume",
        )
        return scattering_of_projections(load(source, Projections), float(thickness_m or 1.0))
    image = load_image(source)
    found = scattering_of_volume(image, source)
    if thickness_m is not None:
        raise DarklungError(f"thickness: {source} is a volume of coefficients and needs none")
    return found


def _sizes(
    loaded: Calibration, sources: Sequence[Path], out: Path, depth: float | None, amount: float, prefer: str
) -> Sized:
    from darklung.calibrate.sizes import sizes, sizes_from_two

    read = [read_scattering(s, depth) for s in sources]
    if len(read) == 1:
        found = sizes(loaded.curves[0], read[0].epsilon, read[0].variance, amount=amount, prefer=prefer)
    else:
        require(len(read) == 2, f"curves: sizes take one or two settings, the calibration has {len(read)}")
        same = read[0].epsilon.shape == read[1].epsilon.shape
        require(same, f"sources: wanted maps of one shape, got {read[0].epsilon.shape} and {read[1].epsilon.shape}")
        first, second = loaded.curves
        found = sizes_from_two((first, second), (read[0].epsilon, read[1].epsilon), (read[0].variance, read[1].variance))
    save_image(out / OUTPUT, by_direction(read[0], size_channels(found)))
    shown = {"size [µm]": (1e6 * found.size_m[0], "viridis"), "branch": (found.branch[0], "cividis")}
    maps_png(shown, out / PICTURE)
    return Sized(loaded, read[0], found, out)


def _orientations(loaded: Calibration, source: Path, out: Path) -> Oriented:
    from darklung.calibrate.fibres import orientations

    require(source.suffix.lower() in (".h5", ".hdf5"), f"{source}: wanted projections (HDF5) in three or more directions")
    read = scattering_of_projections(load(source, Projections), 1.0)
    directions = _held(read.directions_rad, source, "projections with directions")
    fibres = _held(loaded.fibres, "calibration", "a calibration of fibres")
    with np.errstate(invalid="ignore"):
        found = orientations(fibres, dark_field=read.epsilon, variance=read.variance, directions_rad=directions)
    save_image(out / OUTPUT, on_grid(read.image, orientation_channels(found)))
    maps_png(
        {"angle [deg]": (np.degrees(found.angle_rad), "twilight"), "relative modulation": (found.relative, "viridis")},
        out / PICTURE,
    )
    return Oriented(found, out)


def _corrected(calibration: Path, source: Path, out: Path, part: CorrectionPart) -> Corrected:
    correction = hardening(part, calibration=calibration)
    lines = change_projections(source, out / CORRECTED, correction, whole=correction.whole)
    return Corrected((*lines, *correction.told()), out, correction.record())


def _like(loaded: Calibration, like: Path, source: Path, out: Path) -> Corrected:
    from darklung.calibrate.units import to_reference_spectrum

    own = _held(loaded.knowledge, "calibration", "a calibration of wedges")
    other = _held(load_calibration(like, "wedges").knowledge, like, "a calibration of wedges")
    reference = replace(other.response, reference_energy_kev=own.response.reference_energy_kev)
    options: dict[str, Any] = {"exponent": own.exponent, "material": own.material, "max_thickness_m": own.max_thickness_m}
    lines = change_projections(
        source, out / CORRECTED, lambda maps: to_reference_spectrum(maps, own.response, reference, **options)
    )
    told = f"as the beam of {like} shows it; beyond the wedge nothing is valid"
    return Corrected((*lines, told), out, {"like": str(like), "exponent": own.exponent, "material": own.material})


def _units(loaded: Calibration, source: Path, out: Path) -> Scaled:
    read = read_scattering(source, None)
    unit = _held(loaded.unit, "calibration", "a calibration of units")
    value, variance = unit.units(read.epsilon, read.variance)
    channels = {"scatter_units": ("SU", value), "scatter_units_error": ("SU", np.sqrt(variance))}
    save_image(out / OUTPUT, by_direction(read, channels))
    maps_png({f"{read.names[0]} [SU]": (value[0], "magma")}, out / PICTURE)
    return Scaled(unit, read, value, out)

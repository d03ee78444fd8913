"""A saved calibration on retrieved projections or reconstructed volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
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
from darklung.calibrate.sizes import WITHIN, SizeMaps
from darklung.calibrate.spheres import SphereCalibration
from darklung.calibrate.units import ScatterUnit, box
from darklung.core.checks import DarklungError, require
from darklung.core.files import make_folder
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
AS_CALIBRATED = "as calibrated"
_SAID = {"filters": "filter"}  # how the command names what `Sizing` holds


@dataclass(frozen=True)
class Sized:
    """Sizes by a calibration of spheres.

    Parameters
    ----------
    calibration : Calibration
    read : Scattering
        −ln D (of volumes that over the thickness).
    found : SizeMaps
        Of every pixel or voxel.
    regions : tuple of (mean −ln D, standard error, SizeMaps)
        Of the region as a whole, one a direction; empty with two settings.
    outside : str
        Why the sample is outside the calibration; "" where it is not.
    out : Path
    """

    calibration: Calibration
    read: Scattering
    found: SizeMaps
    regions: tuple[tuple[float, float, SizeMaps], ...]
    outside: str
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


@dataclass(frozen=True)
class Sizing:
    """How sizes are told.

    Parameters
    ----------
    amount : float
        f δ² of the sample over that of the calibration powder. Two settings find it, and take none of these.
    prefer : {"none", "small", "large"}
        Branch to take where two diameters fit.
    filters : str
        Before sample and flat; that of the calibration if "as calibrated".
    within : float
        Largest half width of a size's interval, relative, for which it is told.
    region : str
        Box of pixels or voxels whose mean is read, ``y0:y1,x0:x1``; everything if "".
    """

    amount: float = 1.0
    prefer: str = "none"
    filters: str = AS_CALIBRATED
    within: float = WITHIN
    region: str = ""


Applied = Sized | Oriented | Corrected | Scaled
"""What a calibration gave, by its kind, as it was written to `out`."""


def apply_calibration(
    calibration: Path,
    sources: Sequence[Path],
    out: Path,
    *,
    thickness: str = "",
    sizing: Sizing | None = None,
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
        Of the sample, with its unit; for sizes from projections. Of a volume the path through the sample for which its ε
        holds; without a meaning where signals are proportional to the thickness (no offset, no beam).
    sizing : Sizing, optional
        How sizes are told.
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
    _check_said(loaded, thickness, sizing or Sizing(), correction, like)
    depth = parse_quantity(thickness, "length") if thickness else None
    make_folder(out)
    done: Applied
    if loaded.kind == "spheres":
        done = _sizes(loaded, sources, out, depth, sizing or Sizing())
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
    told = asdict(sizing or Sizing()) if loaded.kind == "spheres" else {}
    options = {"thickness": thickness, **told, **used}
    record = {**provenance("darklung calibrate apply", files), "sources": [str(s) for s in sources], "options": options}
    write_json(out / "record.json", record)
    return done


def _check_said(
    loaded: Calibration, thickness: str, sizing: Sizing, correction: CorrectionPart | None, like: Path | None
) -> None:
    """Refuse what is said and would not be read."""
    unfit = loaded.kind != "wedges" and (correction is not None or like is not None)
    require(not unfit, f"--method, --set, --like: belong to a calibration of wedges, got one of {loaded.kind}")
    told = "--like: values become those of another beam, without a correction; wanted no --method and no --set with it"
    require(like is None or correction is None, told)
    usual = Sizing()
    said = [f"--{_SAID.get(f.name, f.name)}" for f in fields(usual) if getattr(sizing, f.name) != getattr(usual, f.name)]
    if loaded.kind != "spheres":
        said += ["--thickness"] if thickness else []
        require(not said, f"{', '.join(said)}: belong to a calibration of spheres, got one of {loaded.kind}")
    told = f"{', '.join(said)}: two settings find size and amount of every pixel without it; wanted a calibration with one"
    require(len(loaded.curves) < 2 or not said, told)


def _held(value: T | None, where: object, what: str) -> T:
    """`value`, unless the file is without it."""
    if value is None:
        raise DarklungError(f"{where}: wanted {what}, got none")
    return value


def read_scattering(source: Path) -> Scattering:
    """−ln D of projections, NaN where they are not valid, or ε [1/m] of a volume's ``dark_field`` channels."""
    if _projected(source):
        return scattering_of_projections(load(source, Projections), 1.0)
    return scattering_of_volume(load_image(source), source)


def _projected(source: Path) -> bool:
    return source.suffix.lower() in (".h5", ".hdf5")


def read_signal(source: Path, curve: SphereCalibration, thickness_m: float | None) -> tuple[Scattering, float]:
    """−ln D over a thickness, and that thickness: of projections the sample's, of a volume ε times it.

    Raises
    ------
    DarklungError
        No thickness where it matters.
    """
    read = read_scattering(source)
    if _projected(source):
        told = f"{source}: projections are line integrals; give the sample's thickness, or apply to a reconstructed volume"
        require(thickness_m is not None, told)
        return read, float(thickness_m or 0.0)
    linear = curve.beam is None and curve.offset == 0
    told = f"{source}: the calibration's signals are not proportional to the thickness; give that of the sample"
    require(thickness_m is not None or linear, told)
    depth = float(curve.thickness_m[0]) if thickness_m is None or linear else thickness_m
    return replace(read, epsilon=read.epsilon * depth, variance=read.variance * depth**2), depth


def _sizes(loaded: Calibration, sources: Sequence[Path], out: Path, depth: float | None, how: Sizing) -> Sized:
    from darklung.calibrate.sizes import sizes_from_two

    settings = [read_signal(s, c, depth) for s, c in zip(sources, loaded.curves)]
    first = settings[0][0]
    regions: list[tuple[float, float, SizeMaps]] = []
    outside = ""
    if len(settings) == 1:
        found, regions, outside = _one_setting(loaded.curves[0], *settings[0], how)
    else:
        require(len(settings) == 2, f"curves: sizes take one or two settings, the calibration has {len(settings)}")
        one, two = (read for read, _ in settings)
        same = one.epsilon.shape == two.epsilon.shape
        require(same, f"sources: wanted maps of one shape, got {one.epsilon.shape} and {two.epsilon.shape}")
        signals, noise = (one.epsilon, two.epsilon), (one.variance, two.variance)
        paths = (settings[0][1], settings[1][1])  # of a volume that of each setting's own powder
        found = sizes_from_two((loaded.curves[0], loaded.curves[1]), signals, noise, thickness_m=paths)
    save_image(out / OUTPUT, by_direction(first, size_channels(found)))
    shown = {"size [µm]": (1e6 * found.size_m[0], "viridis"), "branch": (found.branch[0], "cividis")}
    maps_png(shown, out / PICTURE)
    return Sized(loaded, first, found, tuple(regions), outside, out)


def _one_setting(
    curve: SphereCalibration, read: Scattering, depth: float, how: Sizing
) -> tuple[SizeMaps, list[tuple[float, float, SizeMaps]], str]:
    """Sizes of every pixel, of the region of each direction, and why the sample is outside the calibration."""
    from darklung.calibrate.sizes import region, sizes

    filters = curve.filters[0] if how.filters == AS_CALIBRATED else how.filters
    options: dict[str, Any] = {"amount": how.amount, "prefer": how.prefer, "within": how.within}
    options |= {"thickness_m": depth, "filters": filters}
    where = box(how.region, read.epsilon.shape[1:], "region") if how.region else (slice(None),) * (read.epsilon.ndim - 1)
    regions = [region(curve, e[where], v[where], **options) for e, v in zip(read.epsilon, read.variance)]
    return sizes(curve, read.epsilon, read.variance, **options), regions, curve.outside(depth, filters)


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
    require(not _projected(source), f"{source}: wanted a reconstructed volume, got projections")
    read = read_scattering(source)
    unit = _held(loaded.unit, "calibration", "a calibration of units")
    value, variance = unit.units(read.epsilon, read.variance)
    channels = {"scatter_units": ("SU", value), "scatter_units_error": ("SU", np.sqrt(variance))}
    save_image(out / OUTPUT, by_direction(read, channels))
    maps_png({f"{read.names[0]} [SU]": (value[0], "magma")}, out / PICTURE)
    return Scaled(unit, read, value, out)

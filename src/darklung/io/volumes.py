"""Volumes of other programs and scanners, in the formats that `FORMATS` tells; labels on them: `darklung.io.labels`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from darklung.core.channel import Channel
from darklung.core.checks import DarklungError, check_one_of, require
from darklung.core.files import reading
from darklung.core.grey import ARBITRARY, HOUNSFIELD
from darklung.core.orientation import ANATOMICAL, named_direction
from darklung.core.types import Image
from darklung.io import dicom, foreign_zarr, metaimage, nifti, nrrd, tiff_stack
from darklung.io.documents import Document, Energy, Length
from darklung.io.images import is_own_image, load_image
from darklung.io.skyscan import find_log, read_log
from darklung.io.volume_file import Place, VolumeFile, read_packed
from darklung.physics.grey import attenuation_scale, hounsfield_scale

# Unit in a file -> unit inside and the factor to it.
UNITS = {
    "1/m": ("1/m", 1.0),
    "1/cm": ("1/m", 1e2),
    "1/mm": ("1/m", 1e3),
    HOUNSFIELD: (HOUNSFIELD, 1.0),
    ARBITRARY: (ARBITRARY, 1.0),
    "1": ("1", 1.0),
}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
FORMATS = "NIfTI, NRRD, MetaImage, TIFF, or a folder of DICOM, TIFF slices or OME-Zarr"
_START_BYTES = 600


class TwoMaterials(Document):
    """Mean grey values of two materials in the volume, and the energy at which their attenuation is taken.

    Without an energy, air and water give Hounsfield units.

    Parameters
    ----------
    materials : mapping
        Name of a material -> its mean grey value.
    energy : energy, optional
        At which attenuation is wanted.
    """

    materials: dict[str, float]
    energy: Energy | None = None


class VolumeOptions(Document):
    """What the files of a volume do not say, or say wrongly: what is declared here wins.

    Parameters
    ----------
    channel : str
        Name of the channel.
    unit : str, optional
        Of the numbers in the file: one of `UNITS`. By default what the format says, else "a.u.".
    grey : "log" or TwoMaterials, optional
        What grey values mean: the range of the scanner's log, or two materials. Otherwise they stay as they are.
    spacing : length, or three, optional
        Between slices, rows and columns, such as ``"105 um"``.
    axes : three names, optional
        What slices, rows and columns run towards: of head, tail, back, belly, left, right, or z, -z, y, -y, x, -x.
    frame : "LPS" or "scanner", optional
        Whether the file's coordinates are the animal's.
    series : str
        Which, where there are several: a DICOM series, a pattern of slice names, a channel of an OME-Zarr image.
    log : str, optional
        The scanner's log, where it does not lie beside the slices.
    missing : float, optional
        Stored number that stands for no value, such as 0 outside the field of view; it becomes NaN.
    """

    channel: Annotated[str, Field(min_length=1, pattern=r"^\S+$")] = "attenuation"
    unit: Literal["1/m", "1/cm", "1/mm", "HU", "a.u.", "1"] | None = None
    grey: Literal["log"] | TwoMaterials | None = None
    spacing: Length | tuple[Length, Length, Length] | None = None
    axes: tuple[str, str, str] | None = None
    frame: Literal["LPS", "scanner"] | None = None
    series: str = ""
    log: str | None = None
    missing: float | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Any:
        Channel.parse(self.channel)
        if self.axes is not None:
            _, anatomical = named_direction("axes", self.axes)
            if self.frame is not None and anatomical != (self.frame == ANATOMICAL):
                raise ValueError(f"frame: {self.frame} does not go with axes towards {', '.join(self.axes)}")
        spacing = self.spacing if isinstance(self.spacing, tuple) else (self.spacing or 1.0,)
        if min(spacing) <= 0:
            raise ValueError(f"spacing: wanted > 0, got {min(spacing)} m")
        if self.grey is not None and self.unit is not None:
            raise ValueError("unit: is given by grey; leave one out")
        return self


NOTHING_DECLARED = VolumeOptions()


@dataclass(frozen=True)
class FileFormat:
    """A format of one file.

    Parameters
    ----------
    starts : callable
        Whether a file that begins with these bytes (600 at most) is one.
    open : callable
        Of a path and the scanner's log, if one was named: the file with its header checked.
    """

    starts: Callable[[bytes], bool]
    open: Callable[[Path, Path | None], VolumeFile]


# To add a format of one file, write its reader and its line here: `show`, `import`, studies, labels and predictions read it.
FILES: dict[str, FileFormat] = {
    "nrrd": FileFormat(lambda start: start.startswith(b"NRRD"), lambda path, log: nrrd.open_nrrd(path)),
    "tiff": FileFormat(lambda start: start.startswith(_TIFF), lambda path, log: tiff_stack.open_pages(path, log=log)),
    "nifti": FileFormat(nifti.is_nifti, lambda path, log: nifti.open_nifti(path)),
    "metaimage": FileFormat(metaimage.is_metaimage, lambda path, log: metaimage.open_metaimage(path)),
}


def read_volume(path: Path, *, options: VolumeOptions = NOTHING_DECLARED) -> Image:
    """Read a volume as an `Image` with one channel, float32, on its own grid (direction and frame kept).

    An OME-Zarr image of this package keeps all its channels as they are.

    Parameters
    ----------
    path : Path
        A file, or the folder of slices or of an OME-Zarr image.
    options : VolumeOptions

    Raises
    ------
    DarklungError
        In one line: not a volume that is read here, broken or incomplete files, no spacing, a grey scale that does not fit.
    """
    if is_own_image(path):
        foreign_zarr.check_links(path)
        require(options == NOTHING_DECLARED, f"{path}: an image of darklung says everything itself; options do not apply")
        return load_image(path)
    found = placed(open_volume(path, options=options), options)
    slope, intercept, unit = _scale(found, options)
    place = known_place(found)
    data = _scaled(found.name, found.stored(), slope, intercept, options.missing)
    channel = found.channel if found.channel and options.channel == NOTHING_DECLARED.channel else options.channel
    with reading(path, "a volume"):
        return Image(data[None], (channel,), (unit,), place.spacing_m, place.origin_m, place.frame, place.direction)


def open_volume(path: Path, *, options: VolumeOptions = NOTHING_DECLARED) -> VolumeFile:
    """Check a volume's header without reading its voxels.

    Raises
    ------
    DarklungError
        As `read_volume`.
    """
    told = f"{path}: wanted a file or a folder, got a device or a pipe"
    require(not path.exists() or path.is_file() or path.is_dir(), told)
    kind = volume_kind(path)
    require(kind != "", f"{path}: wanted a volume ({FORMATS})" if path.exists() else f"{path}: no such file or folder")
    log = Path(options.log) if options.log else None
    require(not options.series or kind in ("zarr", "dicom", "slices"), f"{path}: series: a file holds one volume")
    require(log is None or kind in ("slices", "tiff"), f"{path}: log: belongs to TIFF slices")
    folders: dict[str, Callable[[], VolumeFile]] = {
        "zarr": lambda: foreign_zarr.open_zarr(path, channel=options.series),
        "dicom": lambda: dicom.open_dicom(path, series=options.series),
        "slices": lambda: tiff_stack.open_slices(path, pattern=options.series, log=log),
    }
    with reading(path):
        return folders[kind]() if kind in folders else FILES[kind].open(path, log)


def header_of(path: Path, *, options: VolumeOptions = NOTHING_DECLARED) -> tuple[tuple[float, ...], str]:
    """Spacing [m] and unit that a volume will have, without reading its voxels; its axes in the order of `reorient`."""
    found = placed(open_volume(path, options=options), options)
    if found.place is None:
        raise DarklungError(f"{path}: {found.kind} do not say the spacing; declare it (spacing: 100 um)")
    order = np.abs(np.asarray(found.place.direction)).argmax(axis=1)
    return tuple(found.place.spacing_m[i] for i in order), _scale(found, options)[2]


def volume_kind(path: Path) -> str:
    """By content: "zarr", "dicom", "slices" or a key of `FILES`; empty where it is no volume.

    Raises
    ------
    DarklungError
        One DICOM file of a series, whose folder is wanted, or a folder of DICOM and TIFF files.
    """
    if path.is_dir():
        return _folder_kind(path)
    if not path.is_file():
        return ""
    with reading(path), path.open("rb") as file:
        start = file.read(_START_BYTES)
        file.seek(0)
        if start.startswith(nifti.GZIP):
            return "nifti" if nifti.is_nifti(bytes(read_packed(file, 352, str(path), short=True))) else ""
    require(start[128:132] != b"DICM", f"{path}: is one DICOM file; give the folder of the series")
    return next((kind for kind, found in FILES.items() if found.starts(start)), "")


def _folder_kind(path: Path) -> str:
    if foreign_zarr.is_zarr(path):
        return "zarr"
    files = [p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")]
    dicoms = any(dicom.is_dicom(p) for p in files if p.suffix.lower() not in tiff_stack.ENDINGS)
    slices = any(p.suffix.lower() in tiff_stack.ENDINGS for p in files)
    require(not (dicoms and slices), f"{path}: holds DICOM and TIFF files; keep one of them in the folder")
    return "dicom" if dicoms else "slices" if slices else ""


def known_place(found: VolumeFile) -> Place:
    """Where the voxels lie, or one line that asks for the spacing."""
    if found.place is None:
        raise DarklungError(f"{found.name}: {found.kind} do not say the spacing; declare it (spacing: 100 um)")
    return found.place


def placed(found: VolumeFile, options: VolumeOptions) -> VolumeFile:
    """The same file where what is declared of its grid wins over what it says."""
    place = found.place
    if options.spacing is not None:
        spacing = options.spacing if isinstance(options.spacing, tuple) else (options.spacing,) * 3
        place = replace(place, spacing_m=spacing, origin_m=()) if place else Place(spacing)
    if options.axes is not None:
        direction, anatomical = named_direction("axes", options.axes)
        frame = ANATOMICAL if anatomical else "scanner"
        place = replace(place or known_place(found), origin_m=(), direction=direction, frame=frame)
    elif options.frame is not None and place is not None:
        known = place.frame == ANATOMICAL or options.frame != ANATOMICAL
        require(known, f"{found.name}: frame: says nothing of anatomy; declare its axes (axes: [head, back, left])")
        place = place.in_frame(options.frame)
    return replace(found, place=place)


def _scale(found: VolumeFile, options: VolumeOptions) -> tuple[float, float, str]:
    """Slope, intercept and unit of the values, from the stored numbers."""
    if options.grey == "log":
        log = Path(options.log) if options.log else find_log(Path(found.name)) if Path(found.name).is_dir() else None
        if log is None:
            raise DarklungError(f"{found.name}: grey: there is no scanner's log beside it")
        return (*tiff_stack.grey_scale(read_log(log), found.dtype), ARBITRARY)
    if isinstance(options.grey, TwoMaterials):
        slope, intercept, unit = _materials_scale(options.grey)
        return slope * found.slope, slope * found.intercept + intercept, unit
    unit, factor = UNITS[check_one_of(f"{found.name}: unit", options.unit or found.unit, UNITS)]
    return factor * found.slope, factor * found.intercept, unit


def _materials_scale(grey: TwoMaterials) -> tuple[float, float, str]:
    greys: Mapping[str, float] = grey.materials
    if grey.energy is None:
        return (*hounsfield_scale(greys), HOUNSFIELD)
    return (*attenuation_scale(greys, energy_kev=grey.energy), "1/m")


def _scaled(name: str, stored: NDArray[Any], slope: float, intercept: float, missing: float | None) -> NDArray[np.float32]:
    """float32 values slice by slice; NaN where the stored number stands for none."""
    values = np.empty(stored.shape, dtype=np.float32)
    for into, part in zip(values, stored):
        with np.errstate(over="ignore"):
            into[...] = part if (slope, intercept) == (1.0, 0.0) else part.astype(np.float64) * slope + intercept
        if missing is not None:
            into[part == missing] = np.nan
        infinite = int(np.isinf(into).sum())
        require(infinite == 0, f"{name}: {infinite} values of a slice are infinite")
    return values

"""``darklung calibrate apply``: a saved calibration on retrieved projections or reconstructed volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from darklung.calibrate.figures import maps_png
from darklung.calibrate.file import Calibration, load_calibration
from darklung.calibrate.sizes import SizeMaps
from darklung.core.channel import dark_field_at, noise_of, values_of
from darklung.core.checks import DarklungError, require
from darklung.core.types import Image, Projections
from darklung.core.units import parse_quantity
from darklung.io.hdf5 import load
from darklung.io.images import load_image, save_image
from darklung.pipeline.provenance import provenance
from darklung.pipeline.record import write_json
from darklung.steps.blocks import change_projections

T = TypeVar("T")

CHANNEL = "dark_field"
OUTPUT, PICTURE = "calibrated.ome.zarr", "calibrated.png"
# Hardening corrections that look at each pixel by itself, so that blocks of views can be corrected one after another.
BY_PIXEL = ("none", "look_up", "two_material", "factor", "inversion")


@dataclass(frozen=True)
class Scattering:
    """Dark field of one file as ε: names and values of its directions or channels, and where they lie.

    Parameters
    ----------
    names : tuple of str
    epsilon, variance : (direction, *spatial) float64 [1/m, 1/m²]; NaN where nothing is known
    image : Image
        Grid of the results, with any data.
    directions_rad : (direction,) float64 or None
        Of projections.
    """

    names: tuple[str, ...]
    epsilon: NDArray[np.float64]
    variance: NDArray[np.float64]
    image: Image
    directions_rad: NDArray[np.float64] | None = None


def apply_calibration(
    calibration: Path,
    sources: Sequence[Path],
    out: Path,
    *,
    thickness: str = "",
    amount: float = 1.0,
    prefer: str = "none",
    method: str = "",
    like: Path | None = None,
) -> str:
    """Do with the sources what the calibration is for, write it to `out`, and return a table to print.

    - ``spheres``: equivalent diameters of volumes of ε (OME-Zarr), or of projections (HDF5) of a sample of one `thickness`;
      with two settings give the sample's two files in the order of the calibration.
    - ``fibres``: orientation from projections in three or more directions.
    - ``wedges``: hardening corrected by the recommended method, or by `method`; with `like` (another calibration of
      wedges) values as that beam would have shown them.
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

    Raises
    ------
    DarklungError
        A file that does not fit the calibration, or what `load_calibration` raises.
    """
    loaded = load_calibration(calibration)
    wanted = max(len(loaded.curves), 1)
    require(len(sources) == wanted, f"sources: wanted {wanted} for this calibration ({loaded.kind}), got {len(sources)}")
    depth = parse_quantity(thickness, "length") if thickness else None
    out.mkdir(parents=True, exist_ok=True)
    if loaded.kind == "spheres":
        lines = _sizes(loaded, sources, out, depth, amount, prefer)
    elif loaded.kind == "fibres":
        lines = _orientations(loaded, sources[0], out)
    elif loaded.kind == "wedges":
        lines = _corrected(loaded, sources[0], out, method) if like is None else _like(loaded, like, sources[0], out)
    else:
        lines = _units(loaded, sources[0], out)
    # A volume is a folder of many chunks: its hash would take longer than the work, and its own record names it.
    files = [calibration, *(s for s in sources if s.is_file()), *([like] if like else [])]
    options = {"thickness": thickness, "amount": amount, "prefer": prefer, "method": method}
    record = {**provenance("darklung calibrate apply", files), "sources": [str(s) for s in sources], "options": options}
    write_json(out / "record.json", record)
    return "\n".join(lines)


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
        return _of_projections(load(source, Projections), float(thickness_m or 1.0))
    image = load_image(source)
    names = values_of(image.names, CHANNEL)
    require(bool(names), f"{source}: wanted a channel {CHANNEL}..., got {', '.join(image.names)}")
    values = np.stack([image.channel(n) for n in names]).astype(np.float64)
    variance = np.zeros_like(values)
    for number, name in enumerate(names):
        noise = noise_of(name, image.names)
        if noise is not None:
            variance[number] = image.channel(noise).astype(np.float64) ** 2
    if thickness_m is not None:
        raise DarklungError(f"thickness: {source} is a volume of coefficients and needs none")
    return Scattering(names, values, variance, image)


def _of_projections(maps: Projections, thickness_m: float) -> Scattering:
    one_view = maps.geometry.views == 1
    values = np.where(maps.valid, maps.dark_field, np.nan).astype(np.float64) / thickness_m
    variance = maps.dark_field_variance.astype(np.float64) / thickness_m**2
    if one_view:
        values, variance = values[:, 0], variance[:, 0]
    pixel = maps.geometry.pixel_m
    spacing = (pixel,) * (values.ndim - 1)
    names = tuple(dark_field_at(float(a)).name for a in maps.directions_rad)
    grid = Image(np.zeros(values.shape, np.float32), names, ("1",) * len(names), spacing, frame="detector")
    return Scattering(names, values, variance, grid, maps.directions_rad)


def _sizes(
    loaded: Calibration, sources: Sequence[Path], out: Path, depth: float | None, amount: float, prefer: str
) -> list[str]:
    from darklung.calibrate.sizes import BRANCHES, sizes, sizes_from_two

    read = [read_scattering(s, depth) for s in sources]
    if len(read) == 1:
        found = sizes(loaded.curves[0], read[0].epsilon, read[0].variance, amount=amount, prefer=prefer)
    else:
        require(len(read) == 2, f"curves: sizes take one or two settings, the calibration has {len(read)}")
        same = read[0].epsilon.shape == read[1].epsilon.shape
        require(same, f"sources: wanted maps of one shape, got {read[0].epsilon.shape} and {read[1].epsilon.shape}")
        first, second = loaded.curves
        found = sizes_from_two((first, second), (read[0].epsilon, read[1].epsilon), (read[0].variance, read[1].variance))
    _write(out, read[0], _size_channels(found))
    shown = {"size [µm]": (1e6 * found.size_m[0], "viridis"), "branch": (found.branch[0], "cividis")}
    maps_png(shown, out / PICTURE)
    lines = [f"{'channel':<18}{'one size':>10}{'both':>8}{'none':>8}{'median um':>11}{'+- um':>8}{'5 %':>8}{'95 %':>8}"]
    known = np.isfinite(read[0].epsilon)
    for number, name in enumerate(read[0].names):
        inside = known[number]
        shares = [_share(found.valid[number], inside), _share(found.branch[number] == 3, inside)]
        none = _share(found.branch[number] == 0, inside)
        size = 1e6 * found.size_m[number][found.valid[number]]
        error = 1e6 * found.size_error_m[number][found.valid[number]]
        told = (
            f"{np.median(size):11.3f}{np.median(error):8.3f}{np.percentile(size, 5):8.3f}{np.percentile(size, 95):8.3f}"
            if len(size)
            else f"{'-':>11}{'-':>8}{'-':>8}{'-':>8}"
        )
        lines.append(f"{name:<18}{shares[0]:9.1f}%{shares[1]:7.1f}%{none:7.1f}%{told}")
    low, high = (1e6 * d for d in loaded.curves[0].range_m)
    branches = ", ".join(f"{k} {v}" for k, v in BRANCHES.items())
    return [
        *lines,
        f"shares of what has a value; none: no diameter from {low:.3g} to {high:.3g} um gives the signal; both: two do",
        f"sizes are those of spheres that scatter alike; branch: {branches}",
        f"saved: {out / OUTPUT}, {out / PICTURE}",
    ]


def _size_channels(found: SizeMaps) -> Mapping[str, tuple[str, NDArray[Any]]]:
    return {
        "size": ("m", found.size_m),
        "size_error": ("m", found.size_error_m),
        "size_below_peak": ("m", found.small_m),
        "size_above_peak": ("m", found.large_m),
        "branch": ("1", found.branch),
        "amount": ("1", found.amount),
        "valid": ("1", found.valid),
    }


def _orientations(loaded: Calibration, source: Path, out: Path) -> list[str]:
    from darklung.calibrate.fibres import orientations

    require(source.suffix.lower() in (".h5", ".hdf5"), f"{source}: wanted projections (HDF5) in three or more directions")
    read = _of_projections(load(source, Projections), 1.0)
    directions = _held(read.directions_rad, source, "projections with directions")
    fibres = _held(loaded.fibres, "calibration", "a calibration of fibres")
    with np.errstate(invalid="ignore"):
        found = orientations(fibres, dark_field=read.epsilon, variance=read.variance, directions_rad=directions)
    channels = {
        "dark_field_mean": ("1", found.mean),
        "modulation": ("1", found.modulation),
        "relative_modulation": ("1", found.relative),
        "angle": ("rad", found.angle_rad),
        "angle_error": ("rad", found.angle_error_rad),
        "valid": ("1", found.valid),
        "in_range": ("1", found.in_range),
    }
    grid = read.image
    data = np.stack([np.asarray(values, np.float32) for _, values in channels.values()])
    units = tuple(unit for unit, _ in channels.values())
    save_image(out / OUTPUT, Image(data, tuple(channels), units, grid.spacing_m, grid.origin_m, grid.frame))
    maps_png(
        {"angle [deg]": (np.degrees(found.angle_rad), "twilight"), "relative modulation": (found.relative, "viridis")},
        out / PICTURE,
    )
    known = np.isfinite(found.mean)
    lines = [
        f"angles for {_share(found.valid, known):.1f} % of the pixels, {_share(found.in_range, known):.1f} % within the "
        "signals of the calibration"
    ]
    if found.valid.any():
        angle, error = found.angle_rad[found.valid], found.angle_error_rad[found.valid]
        mean = 0.5 * np.angle(np.exp(2j * angle).mean()) % np.pi
        lines.append(
            f"mean angle {np.degrees(mean):.2f} deg from the rotation axis, median error {np.degrees(np.median(error)):.2f} "
            f"deg, modulation {np.median(found.relative[found.valid]):.2f} of the bundles'"
        )
    return [*lines, f"saved: {out / OUTPUT}, {out / PICTURE}"]


def _corrected(loaded: Calibration, source: Path, out: Path, method: str) -> list[str]:
    from darklung.correct.ladder import find_correction

    knowledge, used = _held(loaded.knowledge, "calibration", "a calibration of wedges"), method or loaded.method
    correction = find_correction(used)
    target = out / "projections.h5"
    # Methods that segment, and a user's own, may look at all views.
    whole = used not in BY_PIXEL
    lines = change_projections(source, target, lambda maps: correction(maps, knowledge), whole=whole)
    energy = knowledge.response.reference_energy_kev
    return [*lines, f"{used}: values at {energy:g} keV; beyond the wedge nothing is valid", f"saved: {target}"]


def _like(loaded: Calibration, like: Path, source: Path, out: Path) -> list[str]:
    from darklung.calibrate.units import to_reference_spectrum

    own = _held(loaded.knowledge, "calibration", "a calibration of wedges")
    other = _held(load_calibration(like).knowledge, like, "a calibration of wedges")
    reference = replace(other.response, reference_energy_kev=own.response.reference_energy_kev)
    options: dict[str, Any] = {"exponent": own.exponent, "material": own.material, "max_thickness_m": own.max_thickness_m}
    target = out / "projections.h5"
    lines = change_projections(source, target, lambda maps: to_reference_spectrum(maps, own.response, reference, **options))
    return [*lines, f"as the beam of {like} shows it; beyond the wedge nothing is valid", f"saved: {target}"]


def _units(loaded: Calibration, source: Path, out: Path) -> list[str]:
    read = read_scattering(source, None)
    unit = _held(loaded.unit, "calibration", "a calibration of units")
    value, variance = unit.units(read.epsilon, read.variance)
    channels = {"scatter_units": ("SU", value), "scatter_units_error": ("SU", np.sqrt(variance))}
    _write(out, read, channels)
    maps_png({f"{read.names[0]} [SU]": (value[0], "magma")}, out / PICTURE)
    lines = [f"0 SU = {unit.zero_per_m:.4g} /m, 1000 SU = {unit.reference_per_m:.4g} /m ({unit.reference})"]
    for name, values in zip(read.names, value):
        inside = values[np.isfinite(values)]
        numbers = " ".join(f"{v:.0f}" for v in np.percentile(inside, [5, 50, 95])) if len(inside) else "no values"
        lines.append(f"{name}: 5, 50 and 95 % of the voxels: {numbers} SU")
    common = float(unit.scale_error(np.array(1000.0)))
    return [*lines, f"common to all voxels: +- {common:.0f} SU at 1000 SU", f"saved: {out / OUTPUT}, {out / PICTURE}"]


def _write(out: Path, read: Scattering, channels: Mapping[str, tuple[str, NDArray[Any]]]) -> None:
    """One image: each kind of value for each direction."""
    single = len(read.names) == 1
    names, units, data = [], [], []
    for name, (unit, values) in channels.items():
        for direction, own in zip(read.names, values):
            names.append(name if single else f"{name}_{direction.removeprefix(CHANNEL).lstrip('_')}")
            units.append(unit)
            data.append(np.asarray(own, np.float32))
    grid = read.image
    image = Image(np.stack(data), tuple(names), tuple(units), grid.spacing_m, grid.origin_m, grid.frame)
    save_image(out / OUTPUT, image)


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return 100 * float((part & whole).sum()) / max(int(whole.sum()), 1)

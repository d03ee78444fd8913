"""MTF, noise power and noise-equivalent quanta of an image by channel, from an edge and a uniform region in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import Channel
from darklung.core.checks import DarklungError, check_one_of, require
from darklung.core.types import Image, Projections
from darklung.core.units import parse_number
from darklung.evaluate.edges import DIRECTIONS, KINDS, Edge, Modulation, find_edge, modulation
from darklung.evaluate.noise_power import (
    NoisePower,
    noise_equivalent_quanta,
    noise_power,
    repeat_noise,
)
from darklung.io.lobes import read_lobe
from darklung.io.names import PROJECTIONS
from darklung.io.projections import ProjectionsFile, open_projections
from darklung.io.volumes import NOTHING_DECLARED, VolumeOptions, read_volume

Box = tuple[slice, ...]
EDGES = (*KINDS, "none")
SIGNALS = ("contrast", "mean")
SAMPLES = 32  # frequencies up to Nyquist where no noise region sets them
HDF5 = (".h5", ".hdf5", ".nxs", ".nx")
MEANINGS = {
    "channel": "signal of the image; a dark field by its gratings' direction [degrees]",
    "along": "all directions that the edge shows, in the plane across z, or along z (within 20 degrees)",
    "frequency_per_mm": "spatial frequency, mean of the ring or shell [1/mm]",
    "mtf": "modulation transfer, across the edge, of the image as it is sampled",
    "mtf_low": "lower end of its 95 % interval, jackknife over pieces of the edge",
    "mtf_high": "upper end of its 95 % interval",
    "nps": "noise power averaged over directions [channel's unit squared times mm to the axes' number]; see the page",
    "nps_low": "lower end of its 95 % interval, over blocks of tiles",
    "nps_high": "upper end of its 95 % interval",
    "neq": "S^2 MTF^2/NPS [1/mm to the axes' number, if S has the channel's unit]",
    "neq_low": "lower end of its 95 % interval",
    "neq_high": "upper end of its 95 % interval",
}


@dataclass(frozen=True)
class Asked:
    """How an image is to be measured.

    Parameters
    ----------
    edge : str
        One of `EDGES`; empty: a line in a picture, a cylinder in a volume.
    box, noise_box : tuple of slices, optional
        Where the edge is (the whole image by default), and the uniform region.
    halves : bool
        The image is the mean of itself and its repeat.
    signal : str
        S of NEQ: ``contrast`` of the edge, ``mean`` of the uniform region, or a number in the channel's unit; empty: 1 where
        the unit is 1 (−ln T, −ln D), else the contrast.
    channels : tuple of str
        All values by default.
    """

    edge: str = ""
    box: Box | None = None
    noise_box: Box | None = None
    halves: bool = False
    signal: str = ""
    channels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measured:
    """One channel: what was found, and in words what was not.

    `along` is one of `darklung.evaluate.edges.DIRECTIONS`. `noise_axes` is 2 where noise is that of pixels in a plane, 3
    where it is that of a volume.
    """

    channel: str
    along: str
    unit: str
    noise_axes: int
    transfer: Modulation | None
    noise: NoisePower | None
    signal: float | None
    radius_m: float | None
    rows: list[dict[str, Any]] = field(repr=False)
    missing: str = ""


def read_image(path: Path, *, options: VolumeOptions = NOTHING_DECLARED, view: int = 0) -> Image:
    """A volume of any kind that is read here, one view of projections, or measured maps, as an image.

    Projections that are not valid are NaN; attenuation is the mean over the gratings' directions.

    Raises
    ------
    DarklungError
        None of these, or a view that is not there.
    """
    file = path / PROJECTIONS if path.is_dir() and (path / PROJECTIONS).is_file() else path
    projected, lobe = file.suffix.lower() in HDF5, file.suffix.lower() == ".npz"
    require(projected or view == 0, f"view: wanted projections (HDF5), {path} is a volume or an image")
    told = f"--read: what it says is for volumes of other programs, {path} is none"
    require(options == NOTHING_DECLARED or not (projected or lobe), told)
    if lobe:
        return read_lobe(file)
    if not projected:
        return read_volume(file, options=options)
    source = open_projections(file)
    require(0 <= view < source.geometry.views, f"view: wanted 0 to {source.geometry.views - 1}, got {view}")
    return _view(source, source.read(slice(0, source.geometry.rows), views=slice(view, view + 1)))


def one_slice(image: Image, number: int) -> Image:
    """A slice of a volume as a picture, for straight edges.

    Raises
    ------
    DarklungError
        Not a volume, or a slice that is not there.
    """
    require(len(image.shape) == 3, f"slice: wanted a volume, got an image of {len(image.shape)} axes")
    require(0 <= number < image.shape[0], f"slice: wanted 0 to {image.shape[0] - 1}, got {number}")
    return Image(image.data[:, number], image.names, image.units, image.spacing_m[1:], frame="slice")


def _view(source: ProjectionsFile, seen: Projections) -> Image:
    def known(values: NDArray[Any], valid: Any) -> NDArray[np.float32]:
        return np.where(valid, values, np.nan).astype(np.float32)

    names, data = [], []
    if "attenuation" in source.present:
        names.append("attenuation")
        data.append(known(seen.attenuation[:, 0].mean(axis=0), seen.valid[:, 0].all(axis=0)))
    if "dark_field" in source.present:
        names += [Channel("dark_field", float(np.rad2deg(a))).name for a in source.directions_rad]
        data += [known(one[0], valid[0]) for one, valid in zip(seen.dark_field, seen.valid)]
    pixel = source.geometry.pixel_m
    return Image(np.stack(data), tuple(names), ("1",) * len(names), (pixel, pixel), frame="detector")


def measure(image: Image, asked: Asked, repeat: Image | None = None) -> list[Measured]:
    """MTF, noise power and NEQ of each channel; of a sphere in all directions, in the plane and along z.

    Raises
    ------
    DarklungError
        A box outside the image, a channel that is not there, a repeat on another grid, neither an edge nor noise asked for.
    """
    asked = replace(asked, edge=asked.edge or ("line" if len(image.shape) == 2 else "circle"))
    check_one_of("edge", asked.edge, EDGES)
    _check_signal(asked)
    noisy = asked.noise_box is not None or repeat is not None
    require(asked.edge != "none" or noisy, "edge: none, and no noise box and no repeat: nothing is left to measure")
    known = [name for name in image.names if Channel.parse(name).role == "value"]
    chosen = [check_one_of("channel", name, known) for name in asked.channels] or known
    if repeat is not None:
        require(repeat.shape == image.shape, f"repeat: wanted the grid of the first, {image.shape}, got {repeat.shape}")
        require(not set(chosen) - set(repeat.names), f"repeat: wanted channels {', '.join(chosen)}, got {repeat.names}")
    found = [one for name in chosen for one in _channel(image, name, asked, repeat)]
    if all(one.transfer is None and one.noise is None for one in found):
        raise DarklungError("; ".join(dict.fromkeys(one.missing for one in found)))
    return found


def _check_signal(asked: Asked) -> None:
    if asked.signal in (*SIGNALS, ""):
        require(asked.signal != "contrast" or asked.edge != "none", "signal: contrast wants an edge")
        require(asked.signal != "mean" or asked.noise_box is not None, "signal: mean wants a noise box")
        return
    try:
        value = parse_number(asked.signal)
    except DarklungError:
        value = 0.0
    require(value > 0, f"signal: wanted contrast, mean or a number > 0, got {asked.signal!r}")


def _channel(image: Image, name: str, asked: Asked, repeat: Image | None) -> list[Measured]:
    data = np.asarray(image.channel(name), np.float64)
    other = None if repeat is None else np.asarray(repeat.channel(name))
    seen = data if other is None or not asked.halves else (data + other) / 2
    edge: Edge | None = None
    failed = ""
    if asked.edge != "none":
        try:
            edge = find_edge(_cut("box", seen, asked.box), image.spacing_m, kind=asked.edge)
        except DarklungError as error:
            failed = str(error)
    # numbers of directions stay those that the edge's kind has, so that noise is told where the edge is lost
    along = {"sphere": DIRECTIONS, "plane": ("z",)}.get(asked.edge, ("all",))
    return [_measured(image, name, asked, (data, other, seen), edge, one, failed) for one in along]


def _measured(
    image: Image,
    name: str,
    asked: Asked,
    values: tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any]],
    edge: Edge | None,
    along: str,
    failed: str,
) -> Measured:
    """`values` are the image's, its repeat's, and those in which the edge is seen."""
    data, other, seen = values
    axes = data.ndim if asked.edge in ("sphere", "plane") or data.ndim == 2 else 2
    missing = [failed] if failed else []
    noise = _noise(data, other, image, asked, (axes, along), missing)
    frequency, transfer = _frequencies(noise, min(image.spacing_m[-axes:])), None
    if edge is not None:
        try:
            transfer = modulation(_cut("box", seen, asked.box), image.spacing_m, edge, frequency, direction=along)
        except DarklungError as error:
            missing.append(str(error))
    flat = edge is None or transfer is None or edge.kind in ("line", "plane")
    radius = None if edge is None or flat else float(edge.parameters[-1])
    unit = image.unit(name)
    signal = _signal(unit, seen, asked, transfer)
    rows = _rows(name, along, frequency, transfer, noise, signal, axes)
    return Measured(name, along, unit, axes, transfer, noise, signal, radius, rows, "; ".join(missing))


def _frequencies(noise: NoisePower | None, pixel_m: float) -> NDArray[np.float64]:
    """From 0 to one a pixel; up to Nyquist those of the noise, if there is any."""
    even = np.arange(2 * SAMPLES + 1) / (2 * SAMPLES * pixel_m)
    if noise is None:
        return even
    own = noise.frequency_per_m
    beyond = even[even > own[-1] + 0.5 / (noise.edge * pixel_m)]
    return np.concatenate([[0.0], own, beyond])


def _noise(
    data: NDArray[Any], other: NDArray[Any] | None, image: Image, asked: Asked, seen: tuple[int, str], missing: list[str]
) -> NoisePower | None:
    """`seen`: how many axes of frequency, and which directions of them."""
    axes, along = seen
    if other is None and asked.noise_box is None:
        return None
    region = data if other is None else repeat_noise(data, other, halves=asked.halves)
    cut = _cut("noise box", region, asked.noise_box)
    slices = cut[None] if cut.ndim == axes else cut
    try:
        return noise_power(slices, image.spacing_m[-axes:], trend=other is None, direction=along)
    except DarklungError as error:
        missing.append(str(error))
        return None


def _cut(what: str, data: NDArray[Any], box: Box | None) -> NDArray[Any]:
    if box is None:
        return data
    require(len(box) == data.ndim, f"{what}: wanted {data.ndim} ranges, got {len(box)}")
    for part, size in zip(box, data.shape):
        require(0 <= part.start < part.stop <= size, f"{what}: wanted ranges within 0:{size}, got {part.start}:{part.stop}")
    return data[box]


def _signal(unit: str, data: NDArray[Any], asked: Asked, transfer: Modulation | None) -> float | None:
    chosen = asked.signal or ("1" if unit == "1" else "contrast")
    if chosen == "mean":
        return float(np.nanmean(_cut("noise box", data, asked.noise_box)))
    if chosen == "contrast":
        return None if transfer is None else abs(transfer.contrast)
    return parse_number(chosen)


def _rows(
    name: str,
    along: str,
    frequency: NDArray[np.float64],
    transfer: Modulation | None,
    noise: NoisePower | None,
    signal: float | None,
    axes: int,
) -> list[dict[str, Any]]:
    """Columns of `MEANINGS`; NaN where there is none."""
    columns = {
        key: np.full(len(frequency), np.nan) for key in MEANINGS if key not in ("channel", "along", "frequency_per_mm")
    }
    power = (1e3) ** axes
    if transfer is not None:
        columns |= {"mtf": transfer.value, "mtf_low": transfer.low, "mtf_high": transfer.high}
    if noise is not None:
        inner = slice(1, len(noise.value) + 1)
        for key, values in (("nps", noise.value), ("nps_low", noise.low), ("nps_high", noise.high)):
            columns[key][inner] = values * power
        if transfer is not None and signal is not None:
            own = (transfer.value[inner], transfer.low[inner], transfer.high[inner])
            for key, values in zip(("neq", "neq_low", "neq_high"), noise_equivalent_quanta(own, noise, signal)):
                columns[key][inner] = values / power
    return [
        {
            "channel": name,
            "along": along,
            "frequency_per_mm": f / 1e3,
            **{key: float(values[k]) for key, values in columns.items()},
        }
        for k, f in enumerate(frequency)
    ]


def summary(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """One row a channel: MTF50, MTF10 and their intervals, noise, contrast (columns: `SUMMARY`)."""
    rows = []
    for one in found:
        row: dict[str, Any] = dict.fromkeys(SUMMARY)
        row |= {
            "channel": one.channel,
            "along": one.along,
            "unit": one.unit,
            "noise_axes": one.noise_axes,
            "signal": one.signal,
        }
        if one.transfer is not None:
            for key, values in (("mtf50", one.transfer.at_half), ("mtf10", one.transfer.at_tenth)):
                plain = [None if np.isnan(v) else v / 1e3 for v in values]
                row |= dict(zip((f"{key}_per_mm", f"{key}_low", f"{key}_high"), plain))
            row["contrast"] = one.transfer.contrast
        row["radius_mm"] = None if one.radius_m is None else 1e3 * one.radius_m
        if one.noise is not None:
            row |= {"noise_sd": one.noise.deviation, "tiles": one.noise.tiles, "tile_pixels": one.noise.edge}
        rows.append({**row, "missing": "; ".join(filter(None, (one.missing, *_not_reached(one))))})
    return rows


def _not_reached(one: Measured) -> Iterator[str]:
    """Levels that the MTF does not fall to."""
    if one.transfer is not None:
        for name, values in (("MTF50", one.transfer.at_half), ("MTF10", one.transfer.at_tenth)):
            if np.isnan(values[0]):
                yield f"{name}: the MTF does not fall that far where it was measured"


def spreads(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Edge spread functions, as long rows (columns: `SPREAD`)."""
    seen = [(one.channel, one.along, one.transfer.spread.T) for one in found if one.transfer is not None]
    pairs = ((name, along, float(x), float(level)) for name, along, points in seen for x, level in points)
    return [{"channel": name, "along": along, "distance_mm": 1e3 * x, "level": level} for name, along, x, level in pairs]


SPREAD = {
    "channel": "signal of the image",
    "along": MEANINGS["along"],
    "distance_mm": "from the edge, negative inside [mm]",
    "level": "mean value at that distance [unit]",
}
SUMMARY = {
    "channel": "signal of the image",
    "along": MEANINGS["along"],
    "unit": "of its values",
    "mtf50_per_mm": "frequency at which the MTF falls to 0.5 [1/mm]; empty: it does not within the samples",
    "mtf50_low": "lower end of its 95 % interval",
    "mtf50_high": "upper end of its 95 % interval",
    "mtf10_per_mm": "frequency at which the MTF falls to 0.1 [1/mm]",
    "mtf10_low": "lower end of its 95 % interval",
    "mtf10_high": "upper end of its 95 % interval",
    "contrast": "level inside (of a line: on its one side) less outside [unit]",
    "radius_mm": "radius of a round edge, of the fit [mm]",
    "noise_sd": "standard deviation of a pixel about the trend [unit]",
    "noise_axes": "2: noise power of planes [unit^2 mm^2], 3: of a volume [unit^2 mm^3]",
    "tiles": "regions that the noise power is the mean of",
    "tile_pixels": "pixels along the edge of each",
    "signal": "S of NEQ [unit]",
    "missing": "what could not be measured, and why",
}

"""Scatter units: two regions of a reconstructed volume fix the scale, and volumes are told in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darklung.calibrate.file import CALIBRATION, plain, save_calibration
from darklung.calibrate.units import ScatterUnit, unit_from_regions
from darklung.core.channel import noise_of, values_of
from darklung.core.checks import check_one_of, require
from darklung.core.types import Image
from darklung.io.images import load_image
from darklung.pipeline.provenance import provenance
from darklung.steps.calibrate.apply import CHANNEL

_RANGE = re.compile(r"(\d+):(\d+)$")
# Filtered back-projection shares its noise between neighbours; a mean over a box counts as of so many fewer voxels.
CORRELATED = 4.0
PER_METRE, SCATTER_UNITS = "1/m", "SU"


@dataclass(frozen=True)
class UnitMade:
    """A scatter unit as it was saved in `out`, and the channel that it was measured in."""

    unit: ScatterUnit
    channel: str
    out: Path


def calibrate_unit(source: Path, out: Path, *, zero: str, reference: str, name: str, channel: str = "") -> UnitMade:
    """Fix 0 and 1000 scatter units by two boxes of a volume, and save them.

    Parameters
    ----------
    source : Path
        Volume (OME-Zarr) with a ``dark_field`` channel.
    out : Path
        Folder; gets ``calibration.json``.
    zero, reference : str
        Boxes in voxels, ``z0:z1,y0:y1,x0:x1`` (of two axes: ``y0:y1,x0:x1``), ends not included.
    name : str
        What the reference phantom is; written to the file, for scans compare only with the same one.
    channel : str
        Which dark field; the first by default.
    """
    image = load_image(source)
    known = values_of(image.names, CHANNEL)
    require(bool(known), f"{source}: wanted a channel {CHANNEL}..., got {', '.join(image.names)}")
    used = check_one_of("channel", channel, known) if channel else known[0]
    boxes = {k: box(text, image.shape, k) for k, text in (("zero", zero), ("reference", reference))}
    unit = unit_from_regions(image.channel(used), **boxes, name=name, correlated=CORRELATED)
    out.mkdir(parents=True, exist_ok=True)
    origin = provenance("darklung calibrate unit", [])
    origin["inputs"] = {"volume": str(source), "channel": used, "zero": zero, "reference": reference}
    save_calibration(out / CALIBRATION, "unit", name, origin, unit=plain(unit))
    return UnitMade(unit, used, out)


def in_units(image: Image, unit: ScatterUnit) -> Image:
    """The image with its dark fields, and their noise, in scatter units; all other channels as they are.

    Values become s = 1000 (ε − ε0)/(ε_ref − ε0), standard errors 1000/(ε_ref − ε0) times what they were; the error of the
    scale itself is common to all voxels, see `ScatterUnit.scale_error`.

    Raises
    ------
    DarklungError
        A dark field that is not in 1/m, or none at all.
    """
    data, units = np.array(image.data), list(image.units)
    values = values_of(image.names, CHANNEL)
    require(bool(values), f"scatter units: wanted a channel {CHANNEL}..., got {', '.join(image.names)}")
    errors = {noise for name in values if (noise := noise_of(name, image.names))}
    for name in (*values, *errors):
        number = image.names.index(name)
        own = units[number]
        require(own == PER_METRE, f"scatter units: {name}: wanted values in {PER_METRE}, got {own!r}")
        value, variance = unit.units(data[number], np.square(data[number], dtype=np.float64))
        data[number], units[number] = (np.sqrt(variance) if name in errors else value), SCATTER_UNITS
    return replace(image, data=data, units=tuple(units))


def box(text: str, shape: tuple[int, ...], name: str) -> NDArray[np.bool_]:
    """A region of an image from ``z0:z1,y0:y1,x0:x1``."""
    parts = [_RANGE.match(p.strip()) for p in text.split(",")]
    wanted = ",".join(f"{a}0:{a}1" for a in ("z", "y", "x")[-len(shape) :])
    require(len(parts) == len(shape) and all(parts), f"{name}: wanted {wanted}, got {text!r}")
    limits = [(int(p[1]), int(p[2])) for p in parts if p]
    fits = all(a < b <= n for (a, b), n in zip(limits, shape))
    require(fits, f"{name}: wanted a box inside {' x '.join(map(str, shape))} voxels, got {text!r}")
    region = np.zeros(shape, dtype=bool)
    region[tuple(slice(a, b) for a, b in limits)] = True
    return region

"""Scatter units: two regions of a reconstructed volume fix the scale, and volumes are told in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from darklung.calibrate.file import CALIBRATION, plain, save_calibration
from darklung.calibrate.maps import CHANNEL
from darklung.calibrate.units import ScatterUnit, box, unit_from_regions
from darklung.core.channel import values_of
from darklung.core.checks import check_one_of, require
from darklung.core.files import make_folder
from darklung.io.images import load_image
from darklung.pipeline.provenance import provenance

# Filtered back-projection shares its noise between neighbours; a mean over a box counts as of so many fewer voxels.
CORRELATED = 4.0


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
    make_folder(out)
    origin = provenance("darklung calibrate unit", [])
    origin["inputs"] = {"volume": str(source), "channel": used, "zero": zero, "reference": reference}
    save_calibration(out / CALIBRATION, "unit", name, origin, unit=plain(unit))
    return UnitMade(unit, used, out)

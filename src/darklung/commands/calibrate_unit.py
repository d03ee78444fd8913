"""``darklung calibrate unit``: two regions of a reconstructed volume fix the scale of scattering."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darklung.calibrate.file import plain, save_calibration
from darklung.calibrate.units import unit_from_regions
from darklung.commands.calibrate_apply import CHANNEL
from darklung.commands.calibrate_spheres import CALIBRATION
from darklung.core.checks import check_one_of, require
from darklung.io.images import load_image
from darklung.pipeline.provenance import provenance

_RANGE = re.compile(r"(\d+):(\d+)$")
# Filtered back-projection shares its noise between neighbours; a mean over a box counts as of so many fewer voxels.
CORRELATED = 4.0


def calibrate_unit(source: Path, out: Path, *, zero: str, reference: str, name: str, channel: str = "") -> str:
    """Fix 0 and 1000 scatter units by two boxes of a volume, save them, and return what to print.

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
    known = [n for n in image.names if n.startswith(CHANNEL) and "noise" not in n]
    require(bool(known), f"{source}: wanted a channel {CHANNEL}..., got {', '.join(image.names)}")
    used = check_one_of("channel", channel, known) if channel else known[0]
    boxes = {k: box(text, image.shape, k) for k, text in (("zero", zero), ("reference", reference))}
    unit = unit_from_regions(image.channel(used), **boxes, name=name, correlated=CORRELATED)
    out.mkdir(parents=True, exist_ok=True)
    origin = provenance("darklung calibrate unit", [])
    origin["inputs"] = {"volume": str(source), "channel": used, "zero": zero, "reference": reference}
    save_calibration(out / CALIBRATION, "unit", name, origin, unit=plain(unit))
    return "\n".join(
        [
            f"0 SU: {unit.zero_per_m:.4g} +- {unit.zero_error_per_m:.2g} /m; 1000 SU ({name}): {unit.reference_per_m:.4g} "
            f"+- {unit.reference_error_per_m:.2g} /m, from {used}",
            f"saved: {out / CALIBRATION}",
        ]
    )


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

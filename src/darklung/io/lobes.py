"""Reads measured lobe maps (transmission, phase, dark field, visibility): a folder of ``.npz`` with an ``index.csv``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_positive, check_shape, require
from darklung.core.types import Image
from darklung.io.npy import read_npz
from darklung.io.tables import read_rows

# Name in the file -> name and unit of the channel.
MAPS = {"A": ("transmission", "1"), "B": ("visibility_ratio", "1"), "P": ("phase", "rad"), "v": ("flat_visibility", "1")}
COLUMNS = ("file", "mouse", "exposure", "lobe", "kind")


@dataclass(frozen=True)
class LobeFile:
    """Maps of one lobe and where they came from.

    Parameters
    ----------
    name : str
        File name without its ending.
    mouse, exposure, lobe, kind : str
        As in the index; "unknown" where it is not known.
    maps : Image
        Channels ``transmission``, ``visibility_ratio`` (V/V0), ``phase``, ``flat_visibility`` on (row, col), cut to the
        mask's bounding box; NaN outside the mask.
    """

    name: str
    mouse: str
    exposure: str
    lobe: str
    kind: str
    maps: Image


def read_lobes(folder: Path, *, pixel_m: float = 75e-6) -> tuple[LobeFile, ...]:
    """All lobes that ``index.csv`` lists, in its order.

    Parameters
    ----------
    folder : Path
    pixel_m : float
        Detector pixel; the files do not say it.

    Raises
    ------
    DarklungError
        Folder, index or a file missing, a column or map missing, a map that does not fit its mask.
    """
    index = folder / "index.csv"
    require(index.is_file(), f"lobes: no {index}")
    rows = read_rows(index)
    missing = [c for c in COLUMNS if c not in rows[0]]
    require(not missing, f"lobes: {index} has no column {', '.join(missing)}")
    return tuple(_lobe(folder, row, pixel_m) for row in rows)


def _lobe(folder: Path, row: dict[str, str], pixel_m: float) -> LobeFile:
    path = folder / row["file"]
    require(
        path.parent == folder and path.suffix == ".npz",
        f"lobes: wanted the name of an .npz in {folder}, got {row['file']!r}",
    )
    return LobeFile(path.stem, row["mouse"], row["exposure"], row["lobe"], row["kind"], read_lobe(path, pixel_m=pixel_m))


def read_lobe(path: Path, *, pixel_m: float = 75e-6) -> Image:
    """Maps of one file: ``mask`` (row, col) and one value for each true pixel in C order of ``A``, ``B``, ``P``, ``v``.

    Parameters
    ----------
    path : Path
    pixel_m : float

    Returns
    -------
    Image
        See `LobeFile`. The origin is the box's place in the detector, measured from the mask's middle.
    """
    check_positive("pixel_m", pixel_m)
    mask, values = _arrays(path)
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    data = np.full((len(MAPS), *mask.shape), np.nan, dtype=np.float32)
    for channel, key in zip(data, MAPS):
        channel[mask] = values[key]
    names, units = zip(*MAPS.values())
    origin = tuple((s.start - (n - 1) / 2) * pixel_m for s, n in zip(box, mask.shape))
    return Image(data[(slice(None), *box)], names, units, (pixel_m, pixel_m), origin, "detector")


def _arrays(path: Path) -> tuple[NDArray[np.bool_], dict[str, NDArray]]:
    require(path.is_file(), f"lobes: no file {path}")
    archive = read_npz(path)
    absent = [k for k in ("mask", *MAPS) if k not in archive]
    require(not absent, f"{path.name}: no array {', '.join(absent)}")
    mask, values = archive["mask"], {k: archive[k] for k in MAPS}
    for key, array in values.items():
        require(array.dtype.kind in "uif", f"{path.name}: {key}: wanted numbers, got {array.dtype}")
    require(mask.dtype == bool and mask.ndim == 2, f"{path.name}: mask: wanted 2-D bool, got {mask.ndim}-D {mask.dtype}")
    require(bool(mask.any()), f"{path.name}: the mask is empty")
    for key, array in values.items():
        check_shape(f"{path.name}: {key}", array, "true pixel of the mask", (int(mask.sum()),))
        require(
            bool(np.isfinite(array).all()), f"{path.name}: {key}: {int((~np.isfinite(array)).sum())} values are not finite"
        )
    for key in ("A", "B", "v"):
        require(bool((values[key] > 0).all()), f"{path.name}: {key} ({MAPS[key][0]}): wanted > 0, got {values[key].min():g}")
    return mask, values

"""Frames of a TIFF file: all of its pages, in ImageJ's calibration where it is an offset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.io.tiff_stack import check_page, opened_tiff

_MINISBLACK = 1


def read_tiff(file: Path, name: str = "") -> NDArray[Any]:
    """The array of a file; images that are no one series are stacked along a first axis if they are alike.

    `name` is what errors call the file.

    Raises
    ------
    DarklungError
        No TIFF, series of different shape or type, or a calibration that is more than an offset.
    """
    with opened_tiff(file, name) as opened:
        for page in opened.pages:
            check_page(file, page)
            _check_grey(page)
        offset, series = imagej_offset(opened), list(opened.series)
        if len({(s.shape, s.dtype) for s in series}) != 1:
            kinds = ", ".join(f"{' × '.join(map(str, s.shape))} {s.dtype}" for s in series[:4])
            raise ValueError(f"holds {len(series)} series of images that are not alike ({kinds})")
        images = [_array(file, opened, s) for s in series]
    found = images[0] if len(images) == 1 else np.stack(images)
    return found if not offset else found.astype(np.int32) + offset


def _check_grey(page: Any) -> None:
    """Refuse colours, palettes, and images whose 0 is said to be white: what is stored is then no count."""
    tag = page.tags.get("PhotometricInterpretation")
    if tag is not None and int(tag.value) != _MINISBLACK:
        raise ValueError(f"wanted grey images whose 0 is black (PhotometricInterpretation 1), got {page.photometric.name}")


def imagej_offset(opened: Any) -> int:
    """What ImageJ adds to the values: it keeps signed 16 bit as unsigned with a calibration of −32768.

    Raises
    ------
    ValueError
        A calibration of another kind: the values are then no counts.
    """
    told = (opened.imagej_metadata or {}) if opened.is_imagej else {}
    c0, c1 = (float(told.get(name, usual)) for name, usual in (("c0", 0.0), ("c1", 1.0)))
    if "cf" not in told or (c0 == 0 and c1 == 1):
        return 0
    if int(told["cf"]) != 0 or c1 != 1 or c0 != int(c0) or opened.pages[0].dtype.kind != "u":
        raise ValueError(
            f"calibrated in ImageJ (function {told['cf']}, {c0:g} + {c1:g} × value): counts are not what is stored"
        )
    return int(c0)


def _array(file: Path, opened: Any, series: Any) -> NDArray[Any]:
    if series.dataoffset is None:
        return np.asarray(series.asarray())
    # Uncompressed and in one piece: only what is asked for is read.
    order = np.dtype(series.dtype).newbyteorder(opened.byteorder)
    return np.memmap(file, order, "r", series.dataoffset, series.shape)

"""Where lung is, as the user tells it, and which channels an insertion changes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_shape, require
from darklung.core.types import Image
from darklung.io.images import load_image


def read_region(path: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], NDArray[np.float64] | None]:
    """Where lung is, and the path through it [m] if the file tells.

    An OME-Zarr image with a channel ``region``, ``lung_path`` [m] or only one channel, or an array in .npy.

    Raises
    ------
    DarklungError
        Another format, another shape than the scan's, or no lung in it.
    """
    if path.suffix == ".npy":
        try:
            values = np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
        except (OSError, ValueError, EOFError, TypeError) as error:
            raise DarklungError(f"{path}: region: wanted an array of numbers in .npy ({error})") from error
        name = ""
    else:
        image = load_image(path)
        name = next((n for n in ("region", "lung_path") if n in image.names), image.names[0])
        require(name in ("region", "lung_path") or len(image.names) == 1, _wanted(path, image))
        values = image.channel(name)
    check_shape(f"{path}: region", values, "z, y, x" if len(shape) == 3 else "row, col", shape)
    mask = np.nan_to_num(np.asarray(values, dtype=np.float64)) > 0
    require(bool(mask.any()), f"{path}: region: no pixel is lung")
    return mask, np.asarray(values, dtype=np.float64) if name == "lung_path" else None


def _wanted(path: Path, image: Image) -> str:
    return f"{path}: wanted a channel region or lung_path, got {', '.join(image.names)}"


def dark_channels(image: Image) -> list[str]:
    """Channels that hold dark field: ``dark_field`` and those of each direction, without noise maps.

    Raises
    ------
    DarklungError
        No attenuation or no dark field: an insertion must be in both.
    """
    for name, found in (("attenuation", "attenuation" in image.names), ("dark_field", True)):
        require(found, f"channel {name}: missing; the image has {', '.join(image.names)}")
    dark = [n for n in image.names if re.fullmatch(r"dark_field(_-?\d+)?", n)]
    require(bool(dark), f"channel dark_field: missing; the image has {', '.join(image.names)}")
    return dark

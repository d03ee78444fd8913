"""Labels and regions on the grid of an image, from the same formats as volumes; and volumes described with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_shape, require
from darklung.core.orientation import ANATOMICAL
from darklung.core.resample import reorient_like, resample
from darklung.core.types import UNKNOWN, Image
from darklung.io.description import resolve_path
from darklung.io.images import is_own_image, load_image
from darklung.io.npy import read_npy
from darklung.io.volume_file import Place
from darklung.io.volumes import NOTHING_DECLARED, VolumeOptions, known_place, open_volume, placed, read_volume

# In voxels: files round spacing and direction.
SAME_GRID = 0.05


class VolumeDescription(VolumeOptions):
    """A volume with its options, and labels and a region on its grid; paths are relative to the description."""

    volume: str
    labels: str | None = None
    region: str | None = None
    resample_labels: bool = False


def read_labels(
    path: Path, *, like: Image, options: VolumeOptions = NOTHING_DECLARED, resample_labels: bool = False
) -> NDArray[Any]:
    """Whole numbers of a label volume on the grid of an image.

    Labels whose axes are stored in another order or sense are turned; their voxels must be those of the image. Slices
    without a spacing of their own have the image's grid where their shape is the same.

    Parameters
    ----------
    path : Path
    like : Image
    options : VolumeOptions
    resample_labels : bool
        Take the nearest label where the grids differ, 0 outside; otherwise other grids are refused.

    Returns
    -------
    (*spatial) integer array

    Raises
    ------
    DarklungError
        As `read_volume`; values that are no whole numbers; another grid, in a line that says what differs.
    """
    found = read_volume(path) if is_own_image(path) else stored_in_frame(path, like, options)
    require(len(found.names) == 1, f"{path}: wanted one channel of labels, got {', '.join(found.names)}")
    labels = found.with_data(_whole(str(path), found.data), ("label",), ("1",))
    turned = reorient_like(labels, like)
    differs = like.grid_difference(turned, tolerance=SAME_GRID)
    if not differs:
        return turned.data[0]
    require(resample_labels, f"{path}: labels and volume differ in {differs}; resample them if that is meant")
    return resample(labels, like=like, method="nearest").data[0]


def check_unknown(labels: NDArray[Any], origin: str) -> None:
    """Refuse lesions so numbered that one of them has the number of what is unknown, 255.

    Raises
    ------
    DarklungError
        It is there, and so is 254 or a number above it.
    """
    numbers = np.unique(labels)
    among = bool((numbers == UNKNOWN).any() and ((numbers == UNKNOWN - 1) | (numbers > UNKNOWN)).any())
    told = f"{origin}: labels: {UNKNOWN} means unknown, and stands among lesions numbered up to {numbers.max(initial=0)}"
    require(not among, f"{told}; wanted lesions to leave it out (254, 256, ...), or all of them as 1")


def read_region(
    path: Path, *, like: Image, options: VolumeOptions = NOTHING_DECLARED, resample_labels: bool = False
) -> NDArray[np.bool_]:
    """Where a label volume is not 0, on the grid of an image; see `read_labels`."""
    return np.asarray(read_labels(path, like=like, options=options, resample_labels=resample_labels) != 0)


def read_lung(path: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], NDArray[np.float64] | None]:
    """Where lung is, and the path through it [m] if the file tells.

    An OME-Zarr image with a channel ``region``, ``lung_path`` [m] or only one channel, or an array in .npy.

    Raises
    ------
    DarklungError
        Another format, another shape than the scan's, or no lung in it.
    """
    if path.suffix == ".npy":
        values, name = read_npy(path), ""
    else:
        image = load_image(path)
        name = next((n for n in ("region", "lung_path") if n in image.names), image.names[0])
        told = f"{path}: wanted a channel region or lung_path, got {', '.join(image.names)}"
        require(name in ("region", "lung_path") or len(image.names) == 1, told)
        values = image.channel(name)
    check_shape(f"{path}: region", values, "z, y, x" if len(shape) == 3 else "row, col", shape)
    mask = np.nan_to_num(np.asarray(values, dtype=np.float64)) > 0
    require(bool(mask.any()), f"{path}: region: no pixel is lung")
    return mask, np.asarray(values, dtype=np.float64) if name == "lung_path" else None


def read_described(
    description: VolumeDescription, path: Path
) -> tuple[Image, NDArray[Any] | None, NDArray[np.bool_] | None]:
    """Image, labels and region of the description that lies in the file `path`."""
    options = VolumeOptions(**{name: getattr(description, name) for name in VolumeOptions.model_fields})
    if options.log:
        options = options.model_copy(update={"log": str(resolve_path(options.log, path))})
    image = read_volume(resolve_path(description.volume, path), options=options)
    how: dict[str, Any] = {"like": image, "resample_labels": description.resample_labels}
    labels = read_labels(resolve_path(description.labels, path), **how) if description.labels else None
    region = read_region(resolve_path(description.region, path), **how) if description.region else None
    return image, labels, region


def stored_in_frame(path: Path, like: Image, options: VolumeOptions = NOTHING_DECLARED) -> Image:
    """A file's values in the type they are stored in, its place told in the frame of `like` unless another is declared.

    Slices without a spacing of their own have the grid of `like`, whose shape must then be theirs.
    """
    found = open_volume(path, options=options)
    if found.place is None and options.spacing is None:
        require(found.shape == like.shape, f"{path}: shape {found.shape}, the other volume has {like.shape}")
        found = replace(found, place=Place(like.spacing_m, like.origin_m, like.direction, like.frame))
    elif options.frame is None and options.axes is None:
        options = options.model_copy(update={"frame": ANATOMICAL if like.frame == ANATOMICAL else "scanner"})
    found = placed(found, options)
    place, stored = known_place(found), found.stored()
    values = stored if (found.slope, found.intercept) == (1, 0) else found.slope * stored + found.intercept
    # Frames without anatomy have one rule for files, whatever their name.
    frame = place.frame if ANATOMICAL in (place.frame, like.frame) else like.frame
    return Image(values[None], ("label",), ("1",), place.spacing_m, place.origin_m, frame, place.direction)


def _whole(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Labels as whole numbers, refused where they are not."""
    if values.dtype == bool or values.dtype.kind in "ui":
        return values.astype(np.uint8) if values.dtype == bool else values
    wrong = ~np.isfinite(values) | (values != np.round(values)) | (np.abs(values) >= 2**31)
    if wrong.any():
        raise DarklungError(f"{name}: wanted labels, whole numbers, got values such as {values[wrong][0]:g}")
    return values.astype(np.int32)

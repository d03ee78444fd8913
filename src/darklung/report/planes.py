"""A place of an image in every plane, the image above the probability, with a frame, a scale bar and colour bars."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darklung.core.types import Image
from darklung.report.blocks import Figure, Row, number
from darklung.report.pictures import picture, window_of

REACH_M = 4e-3  # around a place
BAR_M = 2e-3
CLOSE_PX = 270  # of a close-up on the screen
PLANES = ("transverse", "coronal", "sagittal")


def planes(
    image: Image,
    probability: NDArray,
    region: NDArray[np.bool_],
    at: tuple[int, ...],
    *,
    name: str,
    outline: NDArray[np.bool_] | None = None,
) -> tuple[Row, Row]:
    """The first channel through a voxel in every plane (one of a radiograph), and the probability below.

    Parameters
    ----------
    image : Image
    probability : (*spatial) array
    region : (*spatial) bool
        Where the window of grey levels is taken.
    at : tuple of int
    name : str
        Said to readers that do not see.
    outline : (*spatial) bool, optional
        Drawn over both, such as lesions.
    """
    flat = len(image.shape) == 2
    first, window = image.channel(image.names[0]), window_of(image.channel(image.names[0]), region)
    above, below = [], []
    for across in range(1 if flat else 3):
        cut = (slice(None), slice(None)) if flat else tuple(at[a] if a == across else slice(None) for a in range(3))
        axes = [a for a in range(len(at)) if flat or a != across]
        box = tuple(_around(at[a], image.shape[a], image.spacing_m[a]) for a in axes)
        marks = _frame(tuple(at[a] - b.start for a, b in zip(axes, box)), tuple(b.stop - b.start for b in box))
        if outline is not None:  # a lesion's own outline marks it better than a frame around both
            marks = outline[cut][box] | (marks & (not outline[at]))
        # z runs towards the head: turned over, the head is on top.
        up = slice(None, None, -1 if not flat and across > 0 else 1)
        plane = "radiograph" if flat else PLANES[across]
        zoom = max(2, CLOSE_PX // (box[0].stop - box[0].start))
        marks = marks[up] | _bar(marks.shape, image.spacing_m[axes[1]])
        shown = picture(first[cut][box][up], window=window, outline=marks, zoom=zoom, alt=f"{name}, {plane}")
        above.append(Figure(shown, f"{plane}: {image.names[0].replace('_', ' ')}", plane))
        shown = picture(probability[cut][box][up], window=(0, 1), outline=marks, heat=True, zoom=zoom, alt="probability")
        below.append(Figure(shown, f"{plane}: probability", f"{plane}, probability"))
    return Row(tuple(above)), Row(tuple(below))


def colour_bars(image: Image, region: NDArray[np.bool_]) -> Row:
    """What grey levels and colours stand for."""
    low, high = window_of(image.channel(image.names[0]), region)
    unit = "" if image.units[0] == "1" else f" {image.units[0]}"
    ramp = np.tile(np.linspace(0, 1, 200), (8, 1))
    told = f"{image.names[0].replace('_', ' ')}: {number(low, 2)} to {number(high, 2)}{unit}, left to right"
    grey = Figure(picture(ramp, window=(0, 1), alt="grey levels"), told, told)
    heat = picture(ramp, window=(0, 1), heat=True, alt="colours")
    return Row((grey, Figure(heat, "probability: 0 to 1, left to right", "probability, 0 to 1")))


def _around(place: int, length: int, spacing_m: float) -> slice:
    reach = max(4, round(REACH_M / spacing_m))
    return slice(max(place - reach, 0), min(place + reach + 1, length))


def _frame(at: tuple[int, ...], shape: tuple[int, ...], half: int = 2) -> NDArray[np.bool_]:
    """A square around a place."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(max(i - half, 0), i + half + 1) for i in at)] = True
    return mask


def _bar(shape: tuple[int, ...], spacing_m: float) -> NDArray[np.bool_]:
    """A bar of `BAR_M` near the lower left corner, where there is room for one."""
    mask = np.zeros(shape, dtype=bool)
    long = round(BAR_M / spacing_m)
    if shape[0] > 4 and shape[1] > long + 2:
        mask[-2, 1 : 1 + long] = True
    return mask

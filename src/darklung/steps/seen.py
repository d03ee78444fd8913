"""A stored case as an arm sees it: with the channels that other tasks made of it.

Apart from the step that makes them, so that what makes one channel does not decide the key of what another was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.channel import Channel, directions_of
from darklung.core.recipe import file_name
from darklung.core.types import Image
from darklung.io.case import LabelledCase, load_case
from darklung.io.images import image_grid, load_image
from darklung.io.names import CHANNELS

STAGE, MADE = "channels", "made.ome.zarr"
DIRECTIONS = "directions_deg"  # of the provenance: gratings [degrees] of all stored dark fields, seen or not


def item_of(case: str, channel: str) -> str:
    """Item of the task that makes a channel of a case."""
    return f"{case}.{file_name(channel)}"


def value_of(channel: str) -> str:
    """The channel whose standard error one is; itself where it is none."""
    return replace(Channel.parse(channel), role="value").name if Channel.parse(channel).role == "noise" else channel


def load_seen(folder: Path, channels: Sequence[str], made: Sequence[Path]) -> LabelledCase:
    """A stored case as an arm sees it: its channels in the arm's order, those of other tasks among them.

    Parameters
    ----------
    folder : Path
    channels : sequence of str
    made : sequence of Path
        Outputs of tasks of this step, of this case and of others.
    """
    places = {path.name: path for path in made}
    found = {n: places.get(item_of(folder.name, n)) or places.get(item_of(folder.name, value_of(n))) for n in channels}
    case = load_case(folder, tuple(name for name, place in found.items() if place is None))
    known: dict[str, Any] = {DIRECTIONS: [*directions_of(image_grid(folder / CHANNELS).names)]}
    case = replace(case, about=replace(case.about, provenance={**case.about.provenance, **known}))
    if not any(found.values()):
        return case
    images = [load_image(place / MADE, (name,)) for name, place in found.items() if place is not None]
    every = joined([case.channels, *images])
    order = [every.names.index(name) for name in channels]
    units = tuple(every.units[i] for i in order)
    return replace(case, channels=every.with_data(every.data[order], tuple(channels), units))


def joined(images: Sequence[Image]) -> Image:
    """All channels of images of one grid, each once."""
    first, data, units = images[0], [], {}
    for image in images:
        for values, name, unit in zip(image.data, image.names, image.units):
            if name not in units:
                data.append(np.asarray(values, dtype=np.float32))
                units[name] = unit
    return first.with_data(np.stack(data), tuple(units), tuple(units.values()))

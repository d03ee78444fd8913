"""Channels that arms name and cases do not store: each made once for a case, and told by its own task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from darklung.core.channel import Channel
from darklung.core.checks import DarklungError
from darklung.core.random import derive_seed
from darklung.core.types import Image
from darklung.features.layers import Layer, Place
from darklung.features.recipe import filled, is_made, make_channels, plugins_of
from darklung.io.case import LabelledCase, load_case
from darklung.io.documents import Document
from darklung.io.images import save_image
from darklung.io.tables import save_json
from darklung.pipeline import Context, Task
from darklung.steps.network_case import beam_of
from darklung.steps.seen import MADE, STAGE, item_of, joined, value_of

FACTS = "channel.json"


class Parameters(Document):
    """Which channel, in its one way to be written."""

    channel: str


def names(channels: Iterable[str], cases: Iterable[str]) -> tuple[str, ...]:
    """Names of the tasks that make those of `channels` that cases of these tasks do not store."""
    return tuple(task.name for task in tasks(channels, cases))


def tasks(channels: Iterable[str], cases: Iterable[str]) -> list[Task]:
    """One task for each such channel of each case; that of a channel makes its standard error too."""
    made = dict.fromkeys(_maker(name) for name in channels if is_made(name))
    return [_task(case, name) for case in dict.fromkeys(cases) for name in made]


def _maker(name: str) -> str:
    """The channel whose task makes this one."""
    value = value_of(name)
    return value if is_made(value) else name


def _task(case: str, name: str) -> Task:
    parameters, function = Parameters(channel=name).model_dump(mode="json"), "darklung.steps.derive:derive"
    item = item_of(case.split("/", 1)[1], name)
    return Task(STAGE, item, function, parameters, {"case": (case,)}, plugins=plugins_of(name))


def derive(context: Context) -> None:
    """One channel of one case, its standard error where it is defined, and in how much of the lung it has a value."""
    p = Parameters.model_validate(context.parameters)
    case = load_case(context.input("case"))
    (layer,), place = made_of(case, (p.channel,)), place_of(case)
    save_image(context.out / MADE, _image(case.channels, p.channel, layer, place))
    known = float(layer.known[place.lung].mean()) if place.lung.any() else 0.0
    facts = {"channel": p.channel, "unit": layer.unit, "noise": layer.noise is not None, "known_share": known}
    save_json(context.out / FACTS, facts)


def made_of(case: LabelledCase, channels: Sequence[str]) -> tuple[Layer, ...]:
    """Channels of a case, stored or made of those that are.

    Raises
    ------
    DarklungError
        One that cannot be made: one line with the case.
    """
    try:
        return make_channels(case.channels, channels, place_of(case))
    except DarklungError as error:
        raise DarklungError(f"{case.about.subject}: {error}") from error


def place_of(case: LabelledCase) -> Place:
    """Lung, search region and beam of a case; where no lung is told, the region is taken for it."""
    energy, xi = beam_of(case.about)
    lung = case.lung if case.lung.any() else case.region
    seed = derive_seed(0, "channels", case.about.subject)
    return Place(lung, case.region, case.channels.spacing_m, seed, energy, xi)


def with_channels(case: LabelledCase, channels: Sequence[str]) -> LabelledCase:
    """A case in memory with those of `channels` that it does not have yet.

    Raises
    ------
    DarklungError
        One that cannot be made of those that it has.
    """
    lacking = [name for name in channels if name not in case.channels.names and is_made(name)]
    if not lacking:
        return case
    place = place_of(case)
    made = [_image(case.channels, name, layer, place) for name, layer in zip(lacking, made_of(case, lacking))]
    return replace(case, channels=joined([case.channels, *made]))


def _image(grid: Image, name: str, layer: Layer, place: Place) -> Image:
    """A made channel and, where it is known, its error, without gaps."""
    data, every = [filled(layer, place)], [name]
    if layer.noise is not None:
        data.append(filled(Layer(layer.noise), place))
        every.append(Channel.parse(name).noise().name)
    return grid.with_data(np.stack(data), tuple(every), (layer.unit,) * len(every))

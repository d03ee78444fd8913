"""What a run would refuse, told before it computes anything: every name is opened, every header read.

Names of functions are imported, networks of the user tried on one patch, and what the arms see is compared with the channels
that there will be (`darklung.flow.expected`). All mistakes are told at once, a line each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from darklung.core.checks import DarklungError, require
from darklung.core.extras import require_extra
from darklung.features.recipe import is_made
from darklung.flow.augmentation import check_augmentation
from darklung.flow.expected import Expected, expected_images, expected_radiographs, made_units, noise_hint
from darklung.flow.plan import Plan, rounds_of
from darklung.flow.plugins import check_processing
from darklung.flow.together import check_radiographs
from darklung.io.names import item_name
from darklung.learn.fits import why_not
from darklung.learn.seams import LEAST_PATCH, MOST_PATCH, Sizes, check_name, check_widths, known_sizes
from darklung.learn.settings import weighted_terms
from darklung.steps.members import Member
from darklung.study.learning import LearningPart
from darklung.study.sources import CasesSource, SimulatedSource, VolumesSource
from darklung.study.study import Study

# Voxels of one header and of another may differ by this share, as in training.
SAME_SPACING = 1e-5
# A body this much wider than the field of view is told at the door; coarse voxels do not know it better.
BODY_TOLERANCE_M, BODIES_TRIED = 0.5e-3, 8


def check(study: Study, made: Plan) -> None:
    """Refuse a study that would fail later.

    Raises
    ------
    DarklungError
        One line a mistake.
    """
    images, lines = _images(study)
    lines += _told(lambda: check_processing(study.processing))
    lines += _told(lambda: _check_insertion(study, images))
    lines += _told(lambda: check_radiographs(study, study.learning, made.members))
    for name, source in study.simulated().items():
        lines += _told(lambda name=name, source=source: _check_bodies(name, source, made.members))  # type: ignore[misc]
    if study.learning is not None:
        # What a wrong source would have given is no measure for what is learned.
        wanted = _told(lambda: require_extra("learning", "torch", "sklearn"))
        trackers = study.learning.training.tracking
        wanted += _told(lambda: require_extra("learning.training.tracking", *trackers))
        lines += wanted or _learning(study, study.learning, made.members, [] if lines else images)
        if study.learning.flat is not None and not lines:
            seen = [image for name in study.sources for image in expected_radiographs(study, name)]
            told = _observed(study, study.learning.flat, seen)
            lines += [line.replace("learning.arms", "learning.radiographs.arms", 1) for line in told]
    if lines:
        raise DarklungError("\n".join(dict.fromkeys(lines)))


def notes(study: Study) -> list[str]:
    """What a run would not refuse, but its user should know before it starts, a line each."""
    found = []
    for name, source in study.simulated().items():
        for site in source.sites or ("",):
            place = f"sources.{name}." + (f"sites.{site}." if site else "")
            if note := source.at(site).instrument.bins_note():
                found.append(f"note: {place}instrument.{note}")
    return found


def _told(check: Callable[[], Any]) -> list[str]:
    """The lines of what a check raises."""
    try:
        check()
    except DarklungError as error:
        return str(error).splitlines()
    return []


def _images(study: Study) -> tuple[list[Expected], list[str]]:
    """The images of all sources, and a line of each source that cannot have any."""
    images: list[Expected] = []
    lines: list[str] = []
    for name in study.sources:
        lines += _told(lambda name=name: images.extend(expected_images(study, name)))  # type: ignore[misc]
    return images, lines


def _check_insertion(study: Study, images: Sequence[Expected]) -> None:
    """What is put into measured images is smaller than they are."""
    smallest = study.insertion.diameter[0] if study.insertion is not None else 0.0
    for image in images:
        if image.side is not None and not isinstance(study.sources[image.source], SimulatedSource):
            extent = image.side * image.spacing_m[0]
            told = f"insertion.diameter: {1e3 * smallest:g} mm is more than the {1e3 * extent:.3g} mm of {image.told}"
            require(smallest < extent, told)


def _check_bodies(name: str, source: SimulatedSource, members: Sequence[Member]) -> None:
    """Some animals on coarse voxels: whether they fit into the field of view."""
    from darklung.phantom.subject import body_room_m

    body = source.body
    if body.atlas is not None:
        return
    pixel = body.voxel * source.scan.supersampling
    for key in ("length", "width"):
        voxels = round(getattr(body, key) / body.voxel)
        where = f"sources.{name}.body.{key}"
        require(8 <= voxels <= 2000, f"{where}: wanted 8 to 2000 voxels of {1e6 * body.voxel:g} um, got {voxels}")
    extent = (math.ceil(body.length / pixel) * pixel, math.ceil(body.width / pixel) * pixel)
    own = [m for m in members if m.row["source"] == name]
    for member in own[: BODIES_TRIED // 2] + own[-BODIES_TRIED // 2 :]:
        room = body_room_m(variant=member.row["variant"], seed=int(member.row["seed"]), field_of_view_m=extent)
        require(
            room > -BODY_TOLERANCE_M,
            f"sources.{name}.body.width: a field of view of {1e3 * body.width:g} mm cuts the body of {member.item}, "
            f"which is about {1e3 * (extent[1] - 2 * room):.0f} mm wide",
        )


def _learning(study: Study, learning: LearningPart, members: Sequence[Member], images: Sequence[Expected]) -> list[str]:
    known = [i for i in images if _use_of(study, i.source) != {"predict"}]
    judged: list[Callable[[], Any]] = [
        lambda: _check_labels(study),
        lambda: _check_lesions(study, learning, members, images),
        lambda: _check_tile(study, known),
    ]
    return _observed(study, learning, images, judged)


def _observed(
    study: Study, learning: LearningPart, images: Sequence[Expected], more: Sequence[Callable[[], Any]] = ()
) -> list[str]:
    """Whether the observers can be made, and see what there is; the lines of further checks before those of the arms."""
    trained = [i for i in images if "train" in _use_of(study, i.source) and i.channels is not None]
    checks: list[Callable[[], Any]] = [
        lambda: check_name("loss", learning.loss, learning.loss_options),
        lambda: check_name("metric", learning.metric, {}),
        lambda: _check_patch(learning, images),
        lambda: _check_grids(study, images),
        lambda: _check_network(learning, images),
        lambda: _check_values(study, learning, images),
        lambda: check_augmentation(study, learning, trained),
        *more,
    ]
    lines = [line for one in checks for line in _told(one)]
    return [f"learning: {line}" if line.startswith(_OPEN) else line for line in lines] + list(_arms(study, learning, images))


# Lines that the seams begin with their own names.
_OPEN = ("network", "loss", "metric", "option ", "widths", "training")


def _use_of(study: Study, name: str) -> set[str]:
    source: Any = study.sources[name]
    if isinstance(source, SimulatedSource):
        counts = {"train": source.cohort.animals, "test": source.cohort.test_animals}
        return {use for use, count in counts.items() if count}
    return {source.use}


def _arms(study: Study, learning: LearningPart, images: Sequence[Expected]) -> Iterator[str]:
    """Channels of the arms that some images will not have."""
    for arm, channels in learning.arms.items():
        for channel in channels:
            lack = [i for i in images if i.channels is not None and channel not in i.channels]
            if lack and is_made(channel):
                yield from (f"learning.arms.{arm}: {line}" for line in _cannot_be_made(channel, lack))
            elif lack:
                more = f" and of {len(lack) - 1} more" if len(lack) > 1 else ""
                has = ", ".join(lack[0].channels or ())
                hint = noise_hint(channel, study.processing.reconstruction)
                where = f"learning.arms.{arm}: {channel!r} will not be among the channels of {lack[0].told}"
                yield f"{where} ({has}){more}{hint}"


def _cannot_be_made(channel: str, images: Sequence[Expected]) -> Iterator[str]:
    """Why a channel cannot be made for some images: each reason once, with the first image that it holds for."""
    reasons: dict[str, str] = {}
    for image in images:
        for line in _told(lambda image=image: made_units(image, (channel,))):  # type: ignore[misc]
            reasons.setdefault(line, image.told)
    yield from (f"{line} ({told})" for line, told in reasons.items())


def _check_patch(learning: LearningPart, images: Sequence[Expected]) -> None:
    patch, sizes = learning.patch, _sizes(learning, images)
    require(LEAST_PATCH <= patch <= MOST_PATCH, f"learning.patch: wanted {LEAST_PATCH} to {MOST_PATCH} voxels, got {patch}")
    if sizes is None:
        return  # the network's own line says why it has none
    multiple, levels = sizes.multiple, len(learning.widths)
    why = (
        f"{levels} levels halve it {levels - 1} times" if multiple == 2 ** (levels - 1) else f"so {learning.network} is made"
    )
    least = f", {sizes.least} at least" if patch < sizes.least else ""
    near = sorted({sizes.fit(patch - multiple + 1), sizes.fit(patch)})
    told = f"learning.patch: {why}; wanted a multiple of {multiple}{least}, got {patch}"
    require(sizes.fit(patch) == patch, f"{told}; {' or '.join(map(str, near))} would fit")
    for image in images:
        side = image.side or MOST_PATCH
        padded = patch == sizes.least  # what is smaller than the least patch is padded; the cost is told before training
        require(
            patch <= side or padded, f"learning.patch: {patch} voxels are more than the {side} of an image of {image.told}"
        )


def _sizes(learning: LearningPart, images: Sequence[Expected]) -> Sizes | None:
    """The lengths that the network takes; None of one that cannot be built."""
    known = known_sizes(learning.network, learning.widths)
    if known is not None:
        return known
    from darklung.learn.network import sizes_when_built

    channels = max(learning.arms.values(), key=len)
    dims = len(images[0].spacing_m) if images else 3
    with suppress(DarklungError):
        return sizes_when_built(
            learning.network, channels=channels, dims=dims, widths=learning.widths, options=learning.network_options
        )
    return None


def _check_grids(study: Study, images: Sequence[Expected]) -> None:
    """All images that one network sees have the same axes and the same voxels."""
    for image in images[1:]:
        first = images[0]
        flat, solid = sorted((first, image), key=lambda i: len(i.spacing_m))
        told = f"sources: a network sees radiographs or volumes; {flat.told} has {len(flat.spacing_m)} spatial axes"
        require(len(flat.spacing_m) == len(solid.spacing_m), f"{told}, {solid.told} {len(solid.spacing_m)}")
        same = np.allclose(image.spacing_m, first.spacing_m, rtol=SAME_SPACING, atol=0)
        both = f"{_um(first)} um in {first.told} and {_um(image)} um in {image.told}"
        stored = any(isinstance(study.sources[i.source], CasesSource) for i in (first, image))
        remedy = "labelled cases are taken as they are" if stored else "say one to which all are resampled"
        require(same, f"processing.voxel: voxels are {both}; {remedy}")


def _check_values(study: Study, learning: LearningPart, images: Sequence[Expected]) -> None:
    """Every image has the units and the energy of those that are trained on: what prediction would refuse."""
    trained = [i for i in images if "train" in _use_of(study, i.source) and i.channels is not None]
    if not trained:
        return
    every = tuple(c for channels in learning.arms.values() for c in channels)
    units = {id(image): _seen(image, every) for image in images}
    first = trained[0]
    for channels in learning.arms.values():
        seen = [c for c in channels if c in units[id(first)]]
        model = {
            "dims": len(first.spacing_m),
            "channels": seen,
            "normalisation": {"per": learning.normalisation},
            "images": {
                "units": {c: units[id(first)][c] for c in seen},
                "beams": [[i.energy_kev, None] for i in trained],
            },
        }
        for image in images:
            if len(image.spacing_m) == len(first.spacing_m) and set(seen) <= set(units[id(image)]):
                beam = (image.energy_kev, None)
                reason = why_not(model, spacing_m=image.spacing_m, units=units[id(image)], beam=beam)
                require(not reason, f"{image.told}: {reason}{_value_hint(reason, image)}")


def _seen(image: Expected, channels: Sequence[str]) -> dict[str, str]:
    """Units of an image's channels, and of those that can be made of them."""
    found = dict(image.channels or {})
    for channel in channels:
        with suppress(DarklungError):  # told with its arm
            found |= made_units(image, (channel,))
    return found


def _value_hint(reason: str, image: Expected) -> str:
    """What would help against a reason of `darklung.learn.fits.why_not`."""
    if reason.startswith("the energy"):
        return f" (sources.{image.source}.energy says it)"
    return "" if reason.startswith("the image") else " (learning.normalisation: volume takes any unit)"


def _um(image: Expected) -> str:
    return " x ".join(f"{1e6 * v:.4g}" for v in image.spacing_m)


def _check_network(learning: LearningPart, images: Sequence[Expected]) -> None:
    check_name("network", learning.network, learning.network_options)
    own = known_sizes(learning.network, learning.widths) is not None
    if own:
        check_widths(learning.widths)
    if own and not learning.network_options:
        weighted_terms(learning.loss, learning.training, detects=False)
        return
    from darklung.learn.network import try_network

    dims = len(images[0].spacing_m) if images else 3
    for channels in sorted({tuple(c) for c in learning.arms.values()}, key=len):
        try:
            detects = try_network(
                learning.network,
                channels=channels,
                dims=dims,
                widths=learning.widths,
                patch=learning.patch,
                options=learning.network_options,
            )
        except DarklungError as error:  # an option's own check knows its name alone
            line = str(error)
            raise DarklungError(line if line.startswith(_OPEN) else f"learning.network_options: {line}") from error
        weighted_terms(learning.loss, learning.training, detects=detects)


def _check_labels(study: Study) -> None:
    for name, source in study.sources.items():
        if isinstance(source, SimulatedSource) or source.use == "predict" or study.insertion is not None:
            continue
        if source.origin in ("frames", "projections"):
            told = "nothing labels its lesions; wanted a section insertion, or use: predict"
            raise DarklungError(f"sources.{name}: {told}")
        if isinstance(source, VolumesSource):
            told = "is not given, so nothing is known of its lesions; wanted it, a section insertion, or use: predict"
            require(bool(source.labels), f"sources.{name}.labels: {told}")


def _check_lesions(study: Study, learning: LearningPart, members: Sequence[Member], images: Sequence[Expected]) -> None:
    """Every fold has a lesion to learn from, and validation has one to be judged by."""
    known = {(i.source, i.item): i.lesions for i in images if i.item}

    def may_have(group: Sequence[Member]) -> bool:
        return any(_may_have_lesions(study, m, known) for m in group)

    remedy = "more lesions or animals, another seed, or fewer folds would help"
    for number, (training, validation, tested) in enumerate(rounds_of(members, folds=learning.folds, seed=study.seed)):
        told = f"learning.folds: of fold {number}, no animal"
        require(may_have(training), f"{told} to train on has a lesion; {remedy}")
        # Where folds test each other, each one's scores are put on one scale by its own validation animals.
        require(not tested or may_have(validation), f"{told} to validate on has a lesion; {remedy}")
    test = [m for m in members if m.use == "test"]
    require(not test or may_have(test), "sources: no animal with use test has a lesion; sensitivity could not be told")


def _may_have_lesions(study: Study, member: Member, known: Mapping[tuple[str, str], int | None]) -> bool:
    """As its plan or its file says; true where nobody knows before it is read."""
    source: Any = study.sources[member.row["source"]]
    if isinstance(source, SimulatedSource):
        return bool(member.row["lesions"])
    if member.row.get("synthetic_flag") and not isinstance(source, CasesSource):
        return study.insertion is not None and study.insertion.lesions[1] > 0
    return known.get((member.row["source"], item_name(member.item))) != 0


def _check_tile(study: Study, images: Sequence[Expected]) -> None:
    for image in images:
        largest = max(image.spacing_m)
        told = (
            f"evaluation.tile: {1e6 * study.evaluation.tile:g} um is less than a voxel of {image.told}, {1e6 * largest:g} um"
        )
        require(study.evaluation.tile >= largest, told)

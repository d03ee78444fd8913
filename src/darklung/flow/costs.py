"""What the networks of a study are and cost, told before anything is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from darklung.core.channel import directions_of, modality
from darklung.flow.expected import Expected, expected_images
from darklung.study.learning import LearningPart
from darklung.study.study import Study


def told_networks(study: Study, part: LearningPart, arms: Sequence[str]) -> list[str]:
    """A line for arms of as many channels of as many modalities: parameters, field of view, memory and time of a step.

    A step is tried twice on patches of noise. Where a network takes no patch as small as the images, the line says how much
    of each patch is padding.
    """
    from darklung.learn.facts import measure_named

    images = [image for name in study.sources for image in expected_images(study, name)]
    dims = _dims(images)
    lines = []
    seen = {arm: tuple(sorted(Counter(map(modality, part.arms[arm])).values())) for arm in arms}
    for counts in sorted(set(seen.values()), key=sum):
        alike = [arm for arm in arms if seen[arm] == counts]
        facts, seconds = measure_named(
            part.network,
            part.network_options,
            channels=part.arms[alike[0]],
            dims=dims,
            widths=part.widths,
            patch=part.patch,
            batch=part.batch,
        )
        lines.append(f"{', '.join(alike)}: {facts.told(seconds)}{_padding(facts.patch[0], images)}")
    if part.mirroring:
        from darklung.learn.mirrors import told_mirrors

        directions = directions_of(tuple(images[0].channels or ())) if images else ()
        lines += [f"{arm}: predictions are the {told_mirrors(part.arms[arm], dims, directions)}" for arm in arms]
    return lines


def check_networks(study: Study, part: LearningPart, size: int) -> None:
    """Raise unless `size` processes may share the steps of the networks, which is told before cases are made.

    Raises
    ------
    DarklungError
        What `darklung.learn.ranks.check_shared` raises.
    """
    if size == 1:
        return
    from darklung.learn.network import make_network
    from darklung.learn.ranks import check_shared

    dims = _dims([image for name in study.sources for image in expected_images(study, name)])
    for channels in part.arms.values():
        own: dict[str, Any] = {"dims": dims, "widths": part.widths, "options": part.network_options}
        check_shared(make_network(part.network, channels=channels, **own), part.batch, size)


def _dims(images: Sequence[Expected]) -> int:
    return len(images[0].spacing_m) if images else 3


def _padding(patch: int, images: Sequence[Expected]) -> str:
    """What a patch that is larger than the smallest image costs."""
    sides = [image.side for image in images if image.side is not None]
    if not sides or min(sides) >= patch:
        return ""
    side, dims = min(sides), len(images[0].spacing_m)
    return (
        f"; images of {side} voxels are padded to {patch}: {1 - (side / patch) ** dims:.0%} of a patch is padding at least"
    )

"""Cases of a run on their way to another framework: as an arm sees them, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from darklung.io.case import LabelledCase
from darklung.io.names import CASE
from darklung.learn.data import Normalisation
from darklung.pipeline.artefacts import require_as_written
from darklung.publish.datasets import Exported
from darklung.steps.network_case import network_case
from darklung.steps.seen import STAGE, load_seen


def exported(
    run: Path, uses: Mapping[str, str], channels: Sequence[str], names: Mapping[str, str], *, normalised: bool
) -> Iterator[Exported]:
    """The cases of a run in the order of `uses` (case -> use), with an arm's channels, under other `names`.

    `normalised`: values as our observers see them, each channel by its location and scale inside the image's own lung.
    """
    for case, use in uses.items():
        folder = run / "cases" / case
        require_as_written(folder / CASE)
        made = tuple(sorted((run / STAGE).glob(f"{case}.*")))
        seen = load_seen(folder, channels, made)
        image = _normalised(seen, channels) if normalised else seen
        yield Exported(names[case], use, image.channels, image.labels, image.region)


def _normalised(case: LabelledCase, channels: Sequence[str]) -> LabelledCase:
    ones = (1.0,) * len(channels)  # of the cohort; each volume's own take their place
    values = Normalisation(tuple(channels), ones, ones, "volume").apply(network_case(case))
    return replace(case, channels=case.channels.with_data(values, tuple(channels), ("1",) * len(channels)))

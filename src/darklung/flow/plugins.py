"""Code that a study names: reading a study imports none of it; what runs a study, or lists its tasks, says what it opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from darklung.core.checks import DarklungError
from darklung.core.seams import is_plugin
from darklung.correct.ladder import find_correction
from darklung.features.recipe import plugins_of
from darklung.io.description import read_raw
from darklung.pipeline.imports import Sources
from darklung.retrieve.methods import find_retrieval
from darklung.study.processing import ProcessingPart
from darklung.study.sources import FramesSource, found_files
from darklung.study.study import Study
from darklung.tomo.methods import find_method


def named(study: Study) -> dict[str, str]:
    """Key of the study -> ``package.module:function`` that stands there; of frames also what their descriptions name."""
    found = of_processing(study.processing)
    if study.learning is not None:
        found |= {f"learning.{key}": getattr(study.learning, key) for key in ("network", "loss", "metric")}
        found |= {f"learning.arms.{place}": name for place, name in _of_arms(study.learning.arms)}
        if study.learning.flat is not None:
            seen = _of_arms(study.learning.flat.arms)
            found |= {f"learning.radiographs.arms.{place}": name for place, name in seen}
    found |= {f"evaluation.metrics.{name}": part.function for name, part in study.evaluation.metrics.items()}
    for name, source in study.sources.items():
        if isinstance(source, FramesSource):
            found |= {f"sources.{name}": method for method in _of_descriptions(name, source)}
    return {place: name for place, name in found.items() if is_plugin(name)}


def _of_arms(arms: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """(arm, or arm and place among several, function of the user's) that makes a channel."""
    for arm, channels in arms.items():
        for number, name in enumerate(dict.fromkeys(found for one in channels for found in plugins_of(one))):
            yield f"{arm}.{number}" if number else arm, name


def of_processing(part: ProcessingPart) -> dict[str, str]:
    """The same of what is done to data."""
    found = {"processing.reconstruction.method": part.reconstruction.method}
    found["processing.correction.hardening"] = part.correction.hardening
    if part.retrieval is not None:
        found["processing.retrieval.method"] = part.retrieval.method
    return {place: name for place, name in found.items() if is_plugin(name)}


def _of_descriptions(name: str, source: FramesSource) -> Iterator[str]:
    with suppress(DarklungError):  # what is wrong with them is told where they are planned
        for path in found_files(source.files, f"sources.{name}.files"):
            yield from (raw.retrieval.method for raw, _ in read_raw(path))


def check_processing(part: ProcessingPart) -> None:
    """Import the functions that processing names, and refuse options that they do not take.

    Raises
    ------
    DarklungError
        One line a function.
    """
    lines = []
    for place in of_processing(part):
        try:
            if place.endswith("reconstruction.method"):
                find_method(part.reconstruction.method, part.reconstruction.options)
            elif place.endswith("hardening"):
                find_correction(part.correction.hardening)
            elif part.retrieval is not None:
                find_retrieval(part.retrieval)
        except DarklungError as error:
            lines.append(f"{place}: {error}")
    if lines:
        raise DarklungError("\n".join(lines))


def told(names: dict[str, str]) -> list[str]:
    """A line for each function: that it is code, and in which file."""
    sources = Sources()
    return [
        f"code: {place} names {name}, which runs on this machine: {sources.file(name.partition(':')[0]) or 'not found'}"
        for place, name in names.items()
    ]

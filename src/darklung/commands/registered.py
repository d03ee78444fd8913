"""``darklung register``: sections of an animal placed in its volume, their labels carried there, a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darklung.commands.stereology import section_names, stack_of
from darklung.core.checks import check_one_of, require
from darklung.io.documents import validate
from darklung.io.images import is_own_image
from darklung.io.names import item_name, stem
from darklung.io.tables import load_table
from darklung.io.volumes import VolumeOptions, open_volume
from darklung.pipeline import run_tasks
from darklung.pipeline.record import read_json
from darklung.steps.register import FACTS, LABELLED, MAPS, PAGE, SECTIONS, Parameters, output, task
from darklung.study.histology import RegisterPart


@dataclass(frozen=True)
class Beside:
    """What may be given beside sections and volume.

    Parameters
    ----------
    lung, landmarks, truth : Path, optional
        Labels of lung, a table of landmarks, labels to compare with.
    name : str
        Of the subject; that of the volume's file if empty.
    animal : str
        Folds go by it; the subject's name if empty.
    reading : mapping
        Of `VolumeOptions`, for volumes in foreign formats.
    section : mapping
        Of `SectionPart`, for a single picture.
    """

    lung: Path | None = None
    landmarks: Path | None = None
    truth: Path | None = None
    name: str = ""
    animal: str = ""
    reading: Mapping[str, Any] = field(default_factory=dict)
    section: Mapping[str, Any] = field(default_factory=dict)


_PATHS, _WORDS, _SECTION = ("lung", "landmarks", "truth"), ("name", "animal"), ("pixel", "scale_bar", "flip", "outlines")


def beside_of(given: Mapping[str, Any], reading: Mapping[str, Any]) -> Beside:
    """What the command line said; unknown names are refused."""
    for word in given:
        check_one_of("--with", word, (*_PATHS, *_WORDS, *_SECTION))
    paths = {w: Path(str(given[w])) for w in _PATHS if w in given}
    words = {w: str(given[w]) for w in _WORDS if w in given}
    return Beside(**paths, **words, reading=reading, section={w: given[w] for w in _SECTION if w in given})  # type: ignore[arg-type]


def register_sections(source: Path, volume: Path, out: Path, *, how: Mapping[str, Any], beside: Beside) -> str:
    """Place a section or a stack in a volume and return lines to print.

    Parameters
    ----------
    source : Path
        A picture, or a description of a stack (YAML).
    volume : Path
        Of the same animal, in any format that darklung reads.
    out : Path
        Gets ``register/NAME``.
    how : mapping
        Of `RegisterPart`, as a file writes it.
    beside : Beside

    Raises
    ------
    DarklungError
        One line for what is wrong.
    """
    part: RegisterPart = validate(dict(how), RegisterPart, "register")
    reading: VolumeOptions = validate(dict(beside.reading), VolumeOptions, "reading")
    stack = stack_of(source, beside.section)
    if not is_own_image(volume):
        open_volume(volume, options=reading)
    for path in (beside.lung, beside.landmarks, beside.truth):
        require(path is None or path.exists(), f"{path}: no such file")
    subject = item_name(beside.name or stem(volume))
    parameters = Parameters(
        subject=subject,
        animal=beside.animal or subject,
        volume=str(volume.resolve()),
        reading=reading,
        lung=_absolute(beside.lung),
        landmarks=_absolute(beside.landmarks),
        truth=_absolute(beside.truth),
        names=tuple(section_names(stack)),
        numbers=tuple(stack.numbers()),
        positions=tuple(stack.positions()),
        sections=stack.sections,
        register=part,
    )
    made = task(parameters)
    run_tasks([made], folder=out, targets=[made.name], workers=1, about={"sections": str(source), "volume": str(volume)})
    return _told(output(out, subject))


def _absolute(path: Path | None) -> str:
    return "" if path is None else str(path.resolve())


_HEADS = (("outline", 9), ("rows um", 9), ("cols um", 9), ("normal um", 11), ("landmarks um", 14), ("carried mm²", 13))


def _told(folder: Path) -> str:
    facts = read_json(folder / FACTS)
    lines = [f"{'section':<18}" + "".join(f"{head:>{width}}" for head, width in _HEADS)]
    for row in load_table(folder / SECTIONS):
        error = row["landmark_error_um"]
        told = "-" if error is None or error != error else f"{error:.0f}"
        lines.append(
            f"{row['section'][:17]:<18}{row['outline_dice']:9.3f}{row['error_rows_um']:9.0f}{row['error_cols_um']:9.0f}"
            f"{row['error_normal_um']:11.0f}{told:>14}{row['carried_before_mm2']:13.3f}"
        )
    spacing = facts["spacing_m"]
    more = "" if spacing is None else f", {1e6 * abs(spacing):.0f} um from number to number"
    tilt = " and ".join(f"{t:.1f}" for t in facts["tilt_deg"])
    lines.append(f"lengths shrank by {100 * facts['shrinkage']:.1f} %, tilts {tilt} degrees{more}")
    lines += [f"but {flag}" for flag in facts["flags"]]
    if facts["labels"]:
        lines.append(f"Dice with the given labels {facts['labels']['dice']:.3f}")
    lines += [
        f"{name}: correlation {m['correlation']:.2f} ({m['low']:.2f} to {m['high']:.2f}), bias {m['bias']:.4g}, "
        f"limits {m['limit_low']:.4g} to {m['limit_high']:.4g} ({m['count']} tiles)"
        for name, m in facts["maps"].items()
    ]
    case = f"; case: {folder / LABELLED}" if (folder / LABELLED).exists() else "; no case: no section saw lung"
    return "\n".join([*lines, f"page: {folder / PAGE}; transforms: {folder / MAPS}{case}"])

"""``darklung stereology``: φ, S_V, intercept and septa of a section or a stack, by piece, beside published values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darklung.core.checks import require
from darklung.histology.published import PUBLISHED
from darklung.io.documents import validate
from darklung.io.names import item_name, stem
from darklung.io.tables import load_table, save_table
from darklung.pipeline import run_tasks
from darklung.pipeline.record import read_json
from darklung.steps.stereology import COLUMNS, FACTS, PAGE, PIECES, output, task
from darklung.study.histology import SectionPart, StackPart, StereologyPart, read_stack

PLACES = {"number": "of the section in its block, from 1", "position_mm": "along the stack; empty where nobody knows"}


def measure_sections(
    source: Path, out: Path, *, section: Mapping[str, Any], measure: Mapping[str, Any], workers: int | None = None
) -> str:
    """Measure one section or the sections of a stack and return a table to print.

    Parameters
    ----------
    source : Path
        A picture, or a description of a stack (YAML).
    out : Path
        Gets ``stereology/NAME`` for each section, and ``sections.csv`` with all pieces.
    section, measure : mapping
        Of `SectionPart` (a single picture) and `StereologyPart`, as a file writes them.
    workers : int, optional

    Raises
    ------
    DarklungError
        One line for what is wrong.
    """
    part: StereologyPart = validate(dict(measure), StereologyPart, "stereology")
    stack = stack_of(source, section)
    names = section_names(stack)
    tasks = [task(name, one, part) for name, one in zip(names, stack.sections)]
    about = {"source": str(source), "stereology": part.model_dump(mode="json")}
    run_tasks(tasks, folder=out, targets=[t.name for t in tasks], workers=workers, about=about)
    rows = []
    for name, number, position in zip(names, stack.numbers(), stack.positions()):
        place = {"number": number, "position_mm": None if position is None else 1e3 * position}
        rows += [{**place, **row} for row in load_table(output(out, name) / PIECES)]
    save_table(out / "sections", rows, {**PLACES, **COLUMNS})
    return _told(rows, names, stack, out)


def stack_of(source: Path, section: Mapping[str, Any]) -> StackPart:
    if source.suffix in (".yaml", ".yml"):
        extra = [name for name, value in section.items() if value]
        require(not extra, f"{source}: {', '.join(extra)}: say it in the description of the stack")
        return read_stack(source)
    given = {k: v for k, v in section.items() if v}
    one: SectionPart = validate({"file": source, **given}, SectionPart, str(source))
    return StackPart(sections=(one,))


def section_names(stack: StackPart) -> list[str]:
    names = [item_name(stem(s.file)) for s in stack.sections]
    twice = len(set(names)) < len(names)
    return [f"{number:03d}_{name}" for number, name in zip(stack.numbers(), names)] if twice else names


def _told(rows: list[dict[str, Any]], names: list[str], stack: StackPart, out: Path) -> str:
    lines = [f"{'section':<18}" + "".join(f"{head:>{width}}" for head, width in _HEADS)]
    for row in rows:
        numbers = [_with_error(row, n, s, d) for n, s, d in _SHOWN]
        half = f"{_text(row, 'tissue_fraction_half', 1, 3)}, {_text(row, 'interface_density_per_m_half', 0.01, 0)}"
        lines.append(
            f"{row['section'][:17]:<18}{row['piece']:>6}{row['parenchyma_mm2']:7.2f}{row['tiles']:6d}{numbers[0]:>15}"
            f"{numbers[1]:>13}{numbers[2]:>15}{numbers[3]:>13}{half:>16}"
        )
    lines += _shrunk(rows)
    if stack.missing:
        lines.append(f"missing sections: {', '.join(map(str, stack.missing))}")
    for name in names:
        facts = read_json(output(out, name) / FACTS)
        lines += [f"{name}: {text}" for text in (*facts["notes"], *facts["flags"])]
    lines.append("published:")
    for p in PUBLISHED:
        lines.append(f"  {p.quantity:<10} {p.value}; {p.animals}; {p.told()}")
    return "\n".join([*lines, f"pages: {out}/stereology/NAME/{PAGE}; table: {out / 'sections.csv'}"])


_HEADS = (("piece", 6), ("mm²", 7), ("tiles", 6), ("φ", 15), ("S_V /cm", 13), ("intercept um", 15), ("septum um", 13),
          ("half: φ, S_V", 16))  # fmt: skip
_SHOWN = (("tissue_fraction", 1.0, 3), ("interface_density_per_m", 0.01, 0), ("intercept_m", 1e6, 1), ("septum_m", 1e6, 1))


def _shrunk(rows: list[dict[str, Any]]) -> list[str]:
    before = [r for r in rows if r["piece"] == "all" and r["interface_density_per_m_before"] != r["interface_density_per_m"]]
    return [
        f"{r['section']}: before shrinkage S_V {_text(r, 'interface_density_per_m_before', 0.01, 0)} /cm, intercept "
        f"{_text(r, 'intercept_m_before', 1e6, 1)} um, septum {_text(r, 'septum_m_before', 1e6, 1)} um"
        for r in before
    ]


def _with_error(row: Mapping[str, Any], name: str, scale: float, digits: int) -> str:
    return f"{_text(row, name, scale, digits)} ± {_text(row, f'{name}_se', scale, digits)}"


def _text(row: Mapping[str, Any], name: str, scale: float, digits: int) -> str:
    value = row[name]
    return "-" if value is None or value != value else f"{scale * value:.{digits}f}"

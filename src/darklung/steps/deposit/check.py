"""A deposit as a stranger looks at it: checksums, tables and images against the dictionary, documents against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.checks import DarklungError
from darklung.core.files import read_object, read_text, reading
from darklung.io.images import image_grid, load_image
from darklung.io.names import CHANNELS, LABELS
from darklung.io.strict_yaml import load_yaml
from darklung.pipeline.artefacts import ADDED, CHANGED, RUN_RECORD
from darklung.pipeline.contents import files_of
from darklung.pipeline.record import SEAL, read_json, seal_holds
from darklung.pipeline.verify import Found, Tell, other_versions, verify_listed
from darklung.publish.about import About, read_about
from darklung.publish.agree import disagreements
from darklung.publish.dataset import ABOUT, IMAGES, RUN, SUMS, TABLES
from darklung.publish.fields import Field
from darklung.publish.sums import read_sums
from darklung.publish.tables import CSV, DICTIONARY, PARQUET, SHOWN, check_table, read_dictionary
from darklung.report.records import flatten
from darklung.steps.deposit.write import LOCK, STUDY, lock_of


def verify_deposit(folder: Path, *, progress: Tell | None = None) -> Found:
    """All that is wrong with a deposit; its own words are not believed where its data say otherwise."""
    folder = folder.absolute()
    sums = read_sums(folder)
    found = verify_listed(sums, progress=progress)
    found.wrong += [(f, ADDED) for f in files_of(folder) if f not in sums and f != folder / SUMS]
    found.wrong += [(f, "is a link; a deposit holds its files itself") for f in sorted(folder.rglob("*")) if f.is_symlink()]
    for look in (_tables, _documents, _records):
        try:
            found.wrong += list(look(folder))
        except DarklungError as error:
            found.wrong += [_placed(folder, line) for line in str(error).splitlines()]
    found.wrong = sorted(dict.fromkeys(found.wrong))
    found.notes += _versions(folder)
    return found


def _versions(folder: Path) -> list[str]:
    """In what its makers' darklung and libraries differ from those here, where its record can be read."""
    made = _object(folder / RUN / RUN_RECORD).get("environment")
    if not isinstance(made, dict) or not isinstance(made.get("versions", {}), dict):
        return []
    return list(other_versions(made))


def _placed(folder: Path, line: str) -> tuple[Path, str]:
    """A line of an error as the file that it begins with, and what it says of it."""
    place, _, told = line.partition(": ")
    return folder / place, told


def _tables(folder: Path) -> Iterator[tuple[Path, str]]:
    fields = read_dictionary(folder)
    known = {f.table for f in fields if f.kind == "column"}
    there = {f"{TABLES}/{p.stem}" for end in (CSV, PARQUET) for p in (folder / TABLES).glob(f"*{end}")}
    yield from ((folder / name, f"is not in {DICTIONARY}") for name in sorted(there - known))
    for name in sorted(known):
        yield from (_placed(folder, fault) for fault in check_table(folder, name, fields)[:SHOWN])
    for file in (CHANNELS, LABELS):
        own = [f for f in fields if f.kind == "channel" and f.table == f"{IMAGES}/{file}"]
        for place in sorted(folder.glob(f"{IMAGES}/*/{file}")):
            yield from ((place, fault) for fault in _image_faults(place, own, values=file == LABELS))


def _image_faults(place: Path, fields: Sequence[Field], *, values: bool) -> Iterator[str]:
    """Channels, units and, of labels, values that are not what the dictionary says."""
    grid, known = image_grid(place), {f.name: f for f in fields}
    for name, unit in zip(grid.names, grid.units):
        field = known.get(name)
        if field is None:
            yield f"channel {name} is not in {DICTIONARY}"
        elif field.unit != (unit or "1"):
            yield f"channel {name}: wanted {field.unit}, got {unit}"
        elif values:
            present = np.unique(load_image(place, (name,)).data).tolist()
            yield from (f"channel {name}: {fault}" for value in present if (fault := field.fault(int(value))))


def _documents(folder: Path) -> Iterator[tuple[Path, str]]:
    about: About = read_about(folder / ABOUT)
    yield from disagreements(folder, about, read_dictionary(folder))


def _records(folder: Path) -> Iterator[tuple[Path, str]]:
    """Records that their own seals do not fit; a study and a list of versions that are not those of the run's record."""
    yield from ((f, CHANGED) for f in sorted((folder / RUN).rglob("*.json")) if SEAL in _object(f) and not seal_holds(f))
    about, study, lock = folder / RUN / RUN_RECORD, folder / RUN / STUDY, folder / RUN / LOCK
    with reading(about, "the record of a run"):
        known = read_object(about)
        versions, wanted = lock_of(known.get("environment") or {}), dict(flatten(known["study"]))
    with reading(study, "a study"):
        said = dict(flatten(load_yaml(read_text(study))))
    for name in [n for n in dict.fromkeys([*wanted, *said]) if wanted.get(n) != said.get(n)][:SHOWN]:
        yield study, f"{name}: wanted {wanted.get(name)!r} as in {RUN_RECORD}, got {said.get(name)!r}"
    if read_text(lock) != versions:
        yield lock, f"its versions are not those of {RUN_RECORD}"


def _object(file: Path) -> dict[str, Any]:
    content = read_json(file)
    return content if isinstance(content, dict) else {}

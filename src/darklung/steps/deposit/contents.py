"""What of a run goes into a deposit, and whose it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darklung.core.checks import check_one_of, require
from darklung.io.case import case_facts
from darklung.io.names import CASE, CHANNELS, COMPARISON, LABELS, PHANTOM
from darklung.learn.files import DESCRIPTION_FILE, METRICS_FILE, WEIGHTS_FILE
from darklung.pipeline.artefacts import RECORD
from darklung.pipeline.verify import verify
from darklung.publish.about import About
from darklung.publish.card import Animals, Source
from darklung.publish.columns import ANNOTATED, MIXED, REAL, SYNTHETIC
from darklung.publish.dataset import IMAGES
from darklung.publish.ethics import EthicsFile, ethics_of
from darklung.steps import cohort
from darklung.steps.card.files import read_own_record, writable
from darklung.steps.card.run import NOT_KNOWN, about_run, animals_of, atlases_of, belongs_to, source_of
from darklung.steps.evaluate import ITEM, STAGE

CASES, NIFTI = "cases", "nifti"
# What `--images` chooses -> the files of one subject.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "channels": (f"{CASES}/{{}}/{CHANNELS}",),
    "labels": (f"{CASES}/{{}}/{LABELS}",),
    "phantoms": (f"phantom/{{}}/{PHANTOM}",),
    NIFTI: (),
}
MODEL_FILES = (DESCRIPTION_FILE, WEIGHTS_FILE, METRICS_FILE)
DICTIONARY_END = ".dictionary.csv"


@dataclass(frozen=True)
class Subject:
    """One scan.

    Parameters
    ----------
    name, animal : str
    flag : str
        Of `darklung.publish.columns.FLAGS`.
    """

    name: str
    animal: str
    flag: str


@dataclass(frozen=True)
class Contents:
    """A run, looked through.

    Parameters
    ----------
    run : Path
    about : mapping
        Its record.
    subjects : tuple of Subject
    statement : tuple of str
        What is to be said of animals.
    tables, models : tuple of Path
        Tables without ending; folders of models.
    records : tuple of Path
        Records of its tasks.
    comparison : Path, optional
        Its results.
    """

    run: Path
    about: Mapping[str, Any]
    subjects: tuple[Subject, ...]
    statement: tuple[str, ...]
    tables: tuple[Path, ...]
    models: tuple[Path, ...]
    records: tuple[Path, ...]
    comparison: Path | None

    def images(self, wanted: Sequence[str]) -> dict[Path, str]:
        """Files and images of the subjects -> their places in the deposit.

        Raises
        ------
        DarklungError
            A choice that is not known.
        """
        for name in wanted:
            check_one_of("--images", name, CHOICES)
        found = {}
        for subject in self.subjects:
            patterns = (f"{CASES}/{{}}/{CASE}", *(p for name in wanted for p in CHOICES[name]))
            for place in (self.run / p.format(subject.name) for p in patterns):
                if place.exists():
                    found[place] = f"{IMAGES}/{subject.name}/{place.name}"
        return found

    def flag_of(self, name: Any) -> str:
        """The flag of a subject or an animal; of rows that name neither that of all."""
        own = {s.flag for s in self.subjects if s.name == name} or {s.flag for s in self.subjects if s.animal == name}
        own = own or {s.flag for s in self.subjects}
        if own == {ANNOTATED, REAL}:
            return ANNOTATED
        return own.pop() if len(own) == 1 else MIXED

    @property
    def date(self) -> str:
        """The day on which its last task began."""
        return max((str(row.get("started", "")) for row in self.about.get("tasks") or ()), default="")[:10]


def look_through(run: Path, about: About, origin: str) -> Contents:
    """What is in a finished run, or in the folder of ``darklung cohort``, and whether it may be given away.

    Raises
    ------
    DarklungError
        One line: no finished run, files that are not what was written, sources that `about` does not tell enough of, or
        measured animals without an approval.
    """
    told = about_run(run)
    _require_whole(run)
    sources = tuple(_sources(run, told, about, origin))
    require(bool(sources), f"{run}: no cases and no cohort in it; wanted a run, or what darklung cohort made")
    given = about.ethics or EthicsFile()
    ethics = ethics_of(sources_told(sources), atlases=atlases_of(told), given=given, origin=origin)
    comparison = run / STAGE / ITEM / COMPARISON
    return Contents(
        run=run,
        about=told,
        subjects=tuple(sorted((_subject(s, *own) for s, own in _named(run, told, about)), key=lambda s: s.name)),
        statement=(*ethics.statement, *([f"Approval: {ethics.approval}."] if ethics.measured else ())),
        tables=tuple(_tables(run)),
        models=tuple(sorted(p.parent for p in run.glob(f"train/*/{DESCRIPTION_FILE}"))),
        records=tuple(sorted(run.glob(f"[!.]*/[!.]*/{RECORD}"))),
        comparison=comparison if comparison.is_file() else None,
    )


def _require_whole(run: Path) -> None:
    """A deposit vouches for what is in it."""
    inside = [(path, how) for path, how in verify(run).wrong if path.is_relative_to(run.absolute())]
    require(not inside, "; ".join(f"{path}: {how}" for path, how in inside[:1]) + "; darklung verify tells all")


def _named(run: Path, told: Mapping[str, Any], about: About) -> Iterator[tuple[str, tuple[str, str, Animals, bool]]]:
    """Subject -> animal, source, what kind of animal, and whether what is labelled is synthetic; of all scans of a run."""
    origins = {str(n): str(part.get("from")) for n, part in (told["study"].get("sources") or {}).items()}
    belongs = belongs_to(run)
    facts = {f.parent.name: case_facts(f.parent) for f in sorted((run / CASES).glob(f"*/{CASE}"))}
    for name, own in facts.items():
        source = source_of(belongs.get(name, own.source), origins)
        kind = animals_of(origins.get(source, NOT_KNOWN), own)
        said = about.sources[source].animals if source in about.sources else None
        yield name, (own.animal, source, said or kind if kind == NOT_KNOWN else kind, own.synthetic)
    for row in ((read_own_record(run / cohort.NAME) or {}).get("parameters") or {}).get("rows") or ():
        if row["subject"] not in facts and origins.get(row["source"]) == "simulation":
            yield str(row["subject"]), (str(row["animal"]), str(row["source"]), "simulated", True)


def _subject(name: str, animal: str, source: str, kind: Animals, synthetic: bool) -> Subject:
    return Subject(name, animal, SYNTHETIC if kind == "simulated" else ANNOTATED if synthetic else REAL)


def _sources(
    run: Path, told: Mapping[str, Any], about: About, origin: str
) -> Iterator[tuple[str, str, Animals, frozenset[str]]]:
    """Name, what it is from, kind and animals of each source that scans are of; each is told enough of."""
    origins = {str(n): str(part.get("from")) for n, part in (told["study"].get("sources") or {}).items()}
    for name in about.sources:
        check_one_of(f"{origin}: sources", name, origins)
    groups: dict[tuple[str, Animals], set[str]] = {}
    for _, (animal, source, kind, _) in _named(run, told, about):
        groups.setdefault((source, kind), set()).add(animal)
    for (source, kind), animals in groups.items():
        place = f"{origin}: sources.{source}"
        require(kind != NOT_KNOWN, f"{place}.animals: its cases are synthetic and do not tell; wanted simulated or measured")
        own = about.sources.get(source)
        licensed = kind == "simulated" or (own is not None and own.license is not None)
        require(licensed, f"{place}.license: is missing; wanted the licence of measured data, which must be {about.license}")
        yield source, origins.get(source, NOT_KNOWN), kind, frozenset(animals)


def sources_told(groups: Sequence[tuple[str, str, Animals, frozenset[str]]]) -> tuple[Source, ...]:
    """The same as cards tell them."""
    none: dict[str, Any] = {"synthetic": None, "learned": 0, "tested": 0, "sites": ()}
    found = (Source(name=n, origin=o, animals=k, names=tuple(sorted(a)), **none) for n, o, k, a in groups)
    return tuple(Source.model_validate(writable(s.model_dump())) for s in found)


def _tables(run: Path) -> Iterator[Path]:
    """Tables with a dictionary of their own, each name once: that of a task before a copy of it."""
    seen = set()
    for path in (*sorted(run.glob(f"[!.]*/all/*{DICTIONARY_END}")), *sorted(run.glob(f"[!.]*{DICTIONARY_END}"))):
        if (stem := path.name.removesuffix(DICTIONARY_END)) not in seen:
            seen.add(stem)
            yield path.with_name(stem)

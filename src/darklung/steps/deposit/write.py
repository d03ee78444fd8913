"""Write a deposit: data, tables, models and records, then the documents that tell of them; the same run, the same bytes."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from darklung.core.checks import require
from darklung.core.files import check_replaceable, make_folder, whole, write_text
from darklung.io.images import export_nifti, load_image
from darklung.io.names import CHANNELS, LABELS
from darklung.pipeline.artefacts import RUN_RECORD
from darklung.pipeline.contents import file_hash, files_of
from darklung.pipeline.record import SEAL, json_text, read_json, sealed_text
from darklung.publish import dataset
from darklung.publish.about import About
from darklung.publish.crate import crate
from darklung.publish.croissant import croissant
from darklung.publish.dataset import DOCUMENTS, IMAGES, MODELS, RUN, SUMS, DataSet, Listed
from darklung.publish.dataset_card import dataset_card
from darklung.publish.licences import notice
from darklung.publish.places import without_places
from darklung.publish.sums import read_sums
from darklung.publish.tables import write_dictionary, write_table
from darklung.steps.card.make import make_card, write_card
from darklung.steps.deposit.contents import CASES, MODEL_FILES, NIFTI, Contents
from darklung.steps.deposit.tables import make_tables

STUDY, CARD, LOCK = "study.yaml", "card.md", "requirements.txt"


@dataclass(frozen=True)
class Planned:
    """What is going to be copied, and how much it is [bytes]."""

    contents: Contents
    about: About
    images: tuple[str, ...]

    @property
    def copies(self) -> dict[Path, str]:
        """File or folder -> its place in the deposit, of what is copied as it is."""
        models = {m / n: f"{MODELS}/{m.name}/{n}" for m in self.contents.models for n in MODEL_FILES if (m / n).is_file()}
        return {**self.contents.images(self.images), **models}

    def told(self) -> str:
        """Number and size of files, for people."""
        files = [f for place in self.copies for f in files_of(place)]
        kinds = Counter(s.flag for s in self.contents.subjects)
        subjects = ", ".join(f"{count} {flag}" for flag, count in sorted(kinds.items()))
        more = "; NIfTI comes to it" if NIFTI in self.images else ""
        size = sum(f.stat().st_size for f in files) / 1e6
        models = len(self.contents.models)
        return (
            f"{len(self.contents.subjects)} subjects ({subjects}), {models} models; {len(files)} files, {size:.1f} MB{more}"
        )


def check_out(out: Path, run: Path) -> None:
    """Refuse to write over anything but a deposit, or into the run.

    Raises
    ------
    DarklungError
    """
    free = not out.exists() or (out.is_dir() and (not any(out.iterdir()) or (out / SUMS).is_file()))
    require(free, f"{out}: is there and is no deposit (no {SUMS}); wanted a new folder")
    check_replaceable(out)
    own = {*read_sums(out), out / SUMS} if (out / SUMS).is_file() else set()
    strange = next((f for f in (files_of(out) if own else ()) if f not in own), None)
    require(strange is None, f"{out}: holds {strange}, which is not of the deposit there; wanted a new folder")
    apart = not out.resolve().is_relative_to(run.resolve()) and not run.resolve().is_relative_to(out.resolve())
    require(apart, f"{out}: and the run {run} lie in each other; wanted another --out")


def write_deposit(planned: Planned, out: Path) -> DataSet:
    """Write all of a deposit, whole or not at all.

    Raises
    ------
    DarklungError
        A value that its field does not allow, or files that make no card.
    """
    make_folder(out.absolute().parent)
    with whole(out.absolute()) as partial:
        make_folder(partial)
        _copy(planned, partial)
        _write_records(planned.contents, partial / RUN)
        _write_cards(planned, partial / MODELS)
        rows, fields = make_tables(planned.contents, planned.images)
        for name, own in rows.items():
            write_table(partial, name, own, fields)
        write_dictionary(partial, fields)
        write_text(partial / dataset.ABOUT, _yaml(planned.about.model_dump(mode="json", exclude_none=True)))
        made = _data_set(planned, partial, fields, {name: len(own) for name, own in rows.items()})
        write_documents(made, partial)
    return made


def write_documents(data: DataSet, folder: Path) -> None:
    """The documents of a data set, and the checksums of all."""
    about = data.about
    texts = {
        dataset.README: dataset_card(data),
        dataset.LICENSE: notice(
            data.licence, title=about.title, holders="; ".join(c.name for c in about.creators), year=int(data.date[:4])
        ),
        dataset.DATACITE: dataset.json_text(dataset.datacite(data)),
        dataset.ZENODO: dataset.json_text(dataset.zenodo(data)),
        dataset.CRATE: dataset.json_text(crate(data)),
        dataset.CROISSANT: dataset.json_text(croissant(data)),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    write_text(folder / SUMS, dataset.sums_text([*data.files, *(_listed(folder, folder / n) for n in DOCUMENTS)]))


def _listed(folder: Path, file: Path) -> Listed:
    return Listed(file.relative_to(folder).as_posix(), file.stat().st_size, file_hash(file))


def _copy(planned: Planned, out: Path) -> None:
    for source, name in planned.copies.items():
        place = out / name
        make_folder(place.parent)
        if source.is_dir():
            shutil.copytree(source, place, copy_function=shutil.copyfile)
        elif source.suffix == ".json":
            _write_clean(source, place)
        else:
            shutil.copyfile(source, place)
    if NIFTI in planned.images:
        _export(planned.contents, out)


def _export(found: Contents, out: Path) -> None:
    """Channels and labels of each subject as NIfTI."""
    for subject in found.subjects:
        for name in (CHANNELS, LABELS):
            image = found.run / CASES / subject.name / name
            if image.exists():
                export_nifti(load_image(image), out / IMAGES / subject.name / NIFTI, stem=name.split(".")[0])


def _write_records(found: Contents, out: Path) -> None:
    """The run's own words: its study, its record, that of each task, and its results."""
    make_folder(out)
    write_text(out / STUDY, _yaml(without_places(found.about["study"])))
    write_text(out / LOCK, lock_of(found.about.get("environment") or {}))
    files = [found.run / RUN_RECORD, *found.records, *([found.comparison] if found.comparison else [])]
    for file in files:
        place = out / file.relative_to(found.run)
        make_folder(place.parent)
        _write_clean(file, place)


def lock_of(environment: Mapping[str, Any]) -> str:
    """Versions of the run as pip reads them; Python and the processor as a comment."""
    versions = dict(environment.get("versions") or {})
    head = f"# Python {versions.pop('python', None)}, {(environment.get('hardware') or {}).get('processor')}\n"
    versions.pop("commit", None)
    return head + "".join(f"{name}=={version}\n" for name, version in versions.items() if version)


def _write_clean(source: Path, place: Path) -> None:
    """A copy without the places of this machine; byte by byte the same where it names none."""
    content = read_json(source)
    clean = without_places(content)
    if clean == content:
        shutil.copyfile(source, place)
    else:
        write_text(place, sealed_text(clean) if SEAL in clean else json_text(clean))


def _write_cards(planned: Planned, out: Path) -> None:
    """A card of each model, whose figures are its arm's."""
    about = planned.about
    animals = {name: source.animals for name, source in about.sources.items() if source.animals is not None}
    for model in planned.contents.models:
        card = make_card(model, license=about.license, ethics=about.ethics, animals=animals)
        write_card(card, out / model.name / CARD)


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _files(folder: Path) -> Iterator[Listed]:
    yield from (
        _listed(folder, file) for file in files_of(folder) if file.name not in (*DOCUMENTS, SUMS) or file.parent != folder
    )


def _data_set(planned: Planned, folder: Path, fields: Sequence[Any], rows: dict[str, int]) -> DataSet:
    found, about = planned.contents, planned.about
    environment = without_places(found.about.get("environment") or {})
    date = about.date or found.date
    require(len(date) == 10, "date: is missing; the run's record does not tell its day")
    return DataSet(
        about=about,
        date=date,
        run=str(found.about["name"]),
        version=str((environment.get("versions") or {}).get("darklung")),
        environment=environment,
        flags=Counter(s.flag for s in found.subjects),
        statement=found.statement,
        fields=tuple(fields),
        rows=rows,
        files=tuple(_files(folder)),
    )

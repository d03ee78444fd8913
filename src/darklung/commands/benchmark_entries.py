"""``darklung benchmark pack``, ``score``, ``open`` and ``page``: entries, held to what was published and sealed."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darklung import __version__
from darklung.core.checks import check_one_of, printable, require
from darklung.core.files import check_replaceable, make_folder, reading, whole
from darklung.io.documents import validate
from darklung.io.names import CASE
from darklung.io.tables import load_table, save_json, save_table
from darklung.pipeline.artefacts import RUN_RECORD
from darklung.publish.commitments import content_of
from darklung.publish.sealed import (
    CASES,
    FORMAT,
    MAPS,
    MOST_ABOUT,
    REPLICATES,
    SCORE,
    SUBMISSION,
    Manifest,
    Score,
    Submission,
    check_apart,
    check_name,
    check_opening,
    check_subjects,
    open_benchmark,
    open_submission,
    read_json_as,
    read_seal,
)
from darklung.report.html import write_report
from darklung.report.leaderboard import Entry, leaderboard_lines, leaderboard_sections
from darklung.steps import cohort
from darklung.steps.evaluate import metrics_of, save_comparison
from darklung.steps.findings import PAGE
from darklung.steps.scoring.candidates import is_table, read_candidates
from darklung.steps.scoring.maps import KINDS, find_maps
from darklung.steps.scoring.names import ENDINGS
from darklung.steps.sealing import (
    METRICS,
    Scored,
    check_leaks,
    check_training,
    kind_of,
    labelled,
    score_submission,
    stabilities,
    training_of,
)
from darklung.study.learning import EvaluationPart

DETAILS = "details"
DETACHED = (".mhd", ".nhdr")


def pack_entry(
    benchmark: Path,
    predictions: Path,
    out: Path,
    *,
    name: str,
    about: str = "",
    trained_on: Sequence[Path] = (),
    kind: str = "",
) -> str:
    """Copy predictions of every case into `out` with their hashes and what was trained on; returns lines to print.

    Parameters
    ----------
    benchmark : Path
    predictions : Path
        What ``darklung evaluate`` takes: maps by the cases' names, a table of candidates, or a folder ``findings``.
    out : Path
        A new folder.
    name, about : str
    trained_on : sequence of Path
        Runs or folders of cases; fingerprints of their images, lesions and seeds are declared.
    kind : {"", "probability", "logit"}

    Raises
    ------
    DarklungError
        An altered benchmark, cases without a map, maps of no case or of another grid.
    """
    check_name(name, "--name")
    require(len(about) <= MOST_ABOUT, f"--about: wanted at most {MOST_ABOUT} characters, got {len(about)}")
    manifest, identity = open_benchmark(benchmark)
    _new(out, benchmark)
    if kind:
        check_one_of("--kind", kind, KINDS)
    files = _found(predictions, manifest)
    held = "" if "" in files else _kind(files, benchmark, kind)
    training = _training(trained_on)
    content = {
        "darklung_submission": FORMAT,
        "name": name,
        "about": about,
        "benchmark": identity,
        "kind": held,
        "candidates": "" in files,
        "training": training,
    }
    make_folder(out.absolute().parent)
    with whole(out.absolute()) as partial:
        _write_entry(partial, files, content)
    said = f"{len(training['images'])} images declared" if trained_on else "nothing is said of what was trained on"
    return f"{name}: {len(files)} file(s) of {len(manifest.cases)} cases, {said}\nentry: {out}; hand in the whole folder"


def _write_entry(folder: Path, files: Mapping[str, Path], content: Mapping[str, Any]) -> None:
    """The maps, and ``submission.json`` with their hashes."""
    make_folder(folder / MAPS)
    for case, source in files.items():
        target = folder / MAPS / (f"candidates{source.suffix}" if not case else f"{case}{_ending(source)}")
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
    hashes = {p.name: content_of(p) for p in sorted((folder / MAPS).iterdir())}
    entry: Submission = validate({**content, "files": hashes}, Submission, "entry")
    save_json(folder / SUBMISSION, entry.model_dump(mode="json"))


def _new(out: Path, benchmark: Path) -> None:
    free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    require(free, f"{out}: holds something already; wanted a new folder")
    check_replaceable(out)
    check_apart(out, benchmark)


def _found(predictions: Path, manifest: Manifest) -> dict[str, Path]:
    """The map of each case, or ``""`` -> table of candidates."""
    require(predictions.exists(), f"{predictions}: no such file or folder")
    names = list(manifest.cases)
    if is_table(predictions):
        strange = sorted(set(read_candidates(predictions)) - set(names))
        require(not strange, f"{predictions}: {', '.join(strange[:5])} is no case of the benchmark")
        return {"": predictions}
    pages = sorted(predictions.glob(f"*/{PAGE}")) if predictions.is_dir() else []
    if pages:  # findings of darklung predict, a folder a case
        files = {p.parent.name: p.parent / f"{p.parent.name}_probability.nii.gz" for p in pages}
    else:
        files = find_maps(predictions, names)
    check_subjects(set(files), manifest, where=str(predictions))
    for file in files.values():
        told = f"{file}: its values lie in another file; wanted a map that is one file, such as .nii.gz"
        require(file.suffix.lower() not in DETACHED, told)
        link = next((p for p in file.rglob("*") if p.is_symlink()), None) if file.is_dir() else None
        require(link is None, f"{link}: is a link, which would hand in what it leads to; wanted the files themselves")
    return dict(sorted(files.items()))


def _kind(files: dict[str, Path], benchmark: Path, kind: str) -> str:
    """What all maps hold, each read on its case's grid."""
    kinds = {kind_of(path, benchmark / CASES / case, kind) for case, path in files.items()}
    require(len(kinds) == 1, "some maps are inside 0 to 1 and some are not; say which they are by --kind")
    return kinds.pop()


def _ending(path: Path) -> str:
    return next((e for e in ENDINGS if path.name.lower().endswith(e)), path.suffix)


def _training(places: Sequence[Path]) -> dict[str, Any]:
    """What runs and folders of cases declare."""
    found: dict[str, Any] = {"sources": [], "seeds": [], "images": [], "truths": []}
    for place in places:
        run = (place / RUN_RECORD).is_file()
        rows = load_table(place / cohort.NAME / cohort.TABLE) if run else []
        learned = {str(r["subject"]) for r in rows if r["split"] == "train"}
        folders = [p.parent for p in sorted((place / "cases" if run else place).glob(f"*/{CASE}"))]
        folders = [f for f in folders if not run or f.name in learned]
        require(bool(folders), f"--trained-on {place}: wanted a run, or a folder of cases; found no case to learn from")
        own = training_of(folders, [r["seed"] for r in rows if str(r["subject"]) in learned and r.get("seed")])
        found = {k: [*found[k], *own.get(k, [place.resolve().name])] for k in found}
    return found


def open_sealed(benchmark: Path, seal: Path) -> str:
    """Hold a seal to the published hashes; one line a case.

    Raises
    ------
    DarklungError
        What does not open.
    """
    manifest, identity = open_benchmark(benchmark)
    opened = read_seal(seal)
    check_opening(manifest, opened, where=str(seal))
    lines = [f"{manifest.name}: manifest {identity}", f"the seal opens: truth of {len(opened.cases)} cases, seeds and study"]
    for name, secret in opened.cases.items():
        lesions = sum(i.kind == "lesion" for i in secret.truth.insertions)
        lines.append(f"{name}: {secret.was}, seed {secret.seed or '-'}, {lesions} lesion(s)")
    return "\n".join(lines)


def score_entry(benchmark: Path, entry: Path, seal: Path, out: Path) -> str:
    """Score an entry and return a table to print.

    Writes ``score.json`` and the table ``replicates`` (each metric in every bootstrap replicate), which tell nothing of
    single cases, and ``details`` with the comparison and the tables of tiles, from which the truth can be read.

    Raises
    ------
    DarklungError
        Altered cases or maps, a seal that does not open, other subjects, or a leaked label: one line with the reason.
    """
    manifest, identity = open_benchmark(benchmark)
    _new(out, benchmark)
    sealed = read_seal(seal)
    check_opening(manifest, sealed, where=str(seal))
    submission, files = open_submission(entry, manifest, identity)
    check_training(submission.training, benchmark, sealed, where=str(entry))
    cases = labelled(benchmark, manifest, sealed)
    check_leaks(files, cases, submission.kind, where=str(entry))
    found = score_submission(submission, files, cases, manifest)
    make_folder(out.absolute().parent)
    with whole(out.absolute()) as partial:
        score = _write_score(submission, entry, found, partial)
    lines = [f"{score.name}: {score.animals} animals, {score.scored}"]
    lines += [f"  {m.title:<36}{_told(m.value):>8} [{_told(m.low)}, {_told(m.high)}]" for m in score.metrics.values()]
    return "\n".join([*lines, f"score: {out / SCORE}; {out / DETAILS} tells the truth of tiles: keep it until the opening"])


def _write_score(submission: Submission, entry: Path, found: Scored, folder: Path) -> Score:
    make_folder(folder / DETAILS)
    save_comparison(folder / DETAILS, found.scores.comparison, found.scores.splits)
    columns = {name: f"{name} of the animals drawn" for name in METRICS}
    rows = [dict(zip(columns, map(float, row))) for row in zip(*(s.replicates for s in found.spreads.values()))]
    save_table(folder / REPLICATES, rows, columns)
    score = _score(submission, entry, found, folder)
    save_json(folder / SCORE, score.model_dump(mode="json"))
    return score


def _score(submission: Submission, entry: Path, found: Scored, out: Path) -> Score:
    titles = metrics_of(EvaluationPart())
    metrics = {}
    for name, high in METRICS.items():
        e = found.spreads[name].estimate(found.animals)
        plain = {k: v if v == v else None for k, v in (("value", e.value), ("low", e.low), ("high", e.high))}
        metrics[name] = {"title": titles[name].title, **plain, "higher_is_better": high}
    content = {
        "darklung_score": FORMAT,
        "benchmark": submission.benchmark,
        "submission": content_of(entry / SUBMISSION),
        "name": submission.name,
        "about": submission.about,
        "trained_on": submission.training.sources,
        "scored": "a table of candidates" if submission.candidates else f"{len(submission.files)} maps, {submission.kind}",
        "version": __version__,
        "animals": found.animals,
        "metrics": metrics,
        "replicates": content_of(out / f"{REPLICATES}.parquet"),
    }
    scored: Score = validate(content, Score, SCORE)
    return scored


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def write_page(benchmark: Path, scores: Sequence[Path], out: Path) -> str:
    """Write the page of all entries; returns the ranking with its intervals and stability, and where the page is.

    Raises
    ------
    DarklungError
        Scores of another benchmark, two of one name, or replicates that are not those that were written.
    """
    manifest, identity = open_benchmark(benchmark)
    require(out.suffix == ".html", f"{out}: wanted a file NAME.html")
    check_apart(out, benchmark)
    entries: dict[str, Entry] = {}
    for place in scores:
        entry = _entry(place, identity)
        require(entry.name not in entries, f"{place}: two entries are called {entry.name!r}")
        entries[entry.name] = entry
    counts = sorted({len(v) for e in entries.values() for v in e.replicates.values()})
    require(len(counts) == 1, f"scores: wanted the same number of replicates of all, got {counts}")
    listed = list(entries.values())
    make_folder(out.parent)
    facts = {"Cases": len(manifest.cases), "Entries": len(entries), "Replicates": counts[0]}
    commitments = {name: (case.content, case.truth) for name, case in manifest.cases.items()}
    where, stable = {"identity": identity, "origin": manifest.origin}, stabilities(listed)
    sections = leaderboard_sections(listed, commitments, stable, **where)
    write_report(
        out,
        title=f"Benchmark: {manifest.name}",
        summary=facts,
        sections=sections,
        footer=f"darklung {__version__}",
    )
    return "\n".join([*map(printable, leaderboard_lines(listed, stable)), f"page: {out}"])


def _entry(place: Path, identity: str) -> Entry:
    score: Score = read_json_as(place / SCORE, Score)
    require(score.benchmark == identity, f"{place / SCORE}: is of another benchmark")
    table = place / f"{REPLICATES}.parquet"
    require(table.is_file() and content_of(table) == score.replicates, f"{table}: is not what was written with {SCORE}")
    with reading(table, "the replicates of a score"):
        rows = load_table(table)
    replicates = {name: _column(rows, name, table) for name in score.metrics}
    infinite = [name for name, values in replicates.items() if any(map(math.isinf, values))]
    require(not infinite, f"{table}: {', '.join(infinite)}: wanted finite numbers, or none")
    metrics = {name: m.model_dump() for name, m in score.metrics.items()}
    return Entry(score.name, score.about, score.trained_on, score.submission, score.animals, metrics, replicates)


def _column(rows: Sequence[dict[str, Any]], name: str, table: Path) -> list[float]:
    """A metric in all replicates; NaN where it cannot be known."""
    require(bool(rows) and name in rows[0], f"{table}: has no column {name}")
    for number, row in enumerate(rows, start=1):
        told = f"{table}: row {number}: {name}: wanted a number, got {row[name]!r}"
        require(isinstance(row[name], int | float) and not isinstance(row[name], bool), told)
    return [float(row[name]) for row in rows]

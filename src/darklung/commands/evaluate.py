"""``darklung evaluate``: the maps or candidates of any program, scored as a study scores its arms."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darklung import __version__
from darklung.commands.run import comparison_table
from darklung.core.checks import DarklungError, require
from darklung.core.files import make_folder
from darklung.core.units import parse_number, parse_quantity
from darklung.evaluate.written_tables import TABLES
from darklung.io.names import REPORT
from darklung.pipeline.artefacts import RECORD, RUN_RECORD
from darklung.pipeline.provenance import provenance
from darklung.pipeline.record import read_json, write_json
from darklung.report.blocks import Bullets, Section, Table
from darklung.report.comparison import comparison_sections
from darklung.report.html import write_report
from darklung.steps.cohort import trained_cases
from darklung.steps.evaluate import ITEM, STAGE, save_comparison
from darklung.steps.scoring.labels import find_labels
from darklung.steps.scoring.score import Scores, Scoring, read_animals, score
from darklung.study.learning import EvaluationPart

# Written by a darklung evaluate into its folder: nothing else is written over.
OWN = "darklung evaluate"


@dataclass(frozen=True)
class Wanted:
    """What the user says beside predictions and labels, as words.

    Parameters
    ----------
    name : str
        Of the first arm; that of its file or folder by default.
    also : sequence of str
        Further arms, each ``NAME=PATH``.
    region : Path, optional
        Where to search, for label volumes.
    kind : str
        ``"probability"`` or ``"logit"``.
    thresholds : sequence of str
        A number for all arms, or ``NAME=number``; ``"none"`` for none.
    tile : str
        Edge of a tile, such as ``"2 mm"``; of a run's labels the run's, else 2 mm.
    animals : Path, optional
        Table of case and animal.
    resample : bool
    """

    name: str = ""
    also: Sequence[str] = ()
    region: Path | None = None
    kind: str = ""
    thresholds: Sequence[str] = ()
    tile: str = ""
    animals: Path | None = None
    resample: bool = False


def evaluate_files(predictions: Path, labels: Path, *, out: Path, wanted: Wanted | None = None) -> str:
    """Score predictions against labels and return a table to print.

    Writes ``comparison.json`` and the tables ``units`` and ``overlap`` as a run does, ``report.html`` and ``record.json``.
    Of a run's own cases tile, replicates, seed and animals are the run's, so that its own maps give its own numbers.

    Parameters
    ----------
    predictions : Path
        A map, a folder with one a case, or a table of candidates.
    labels : Path
        A run folder, labelled cases, or label volumes.
    out : Path
    wanted : Wanted, optional

    Raises
    ------
    DarklungError
        One line that names the file or option that does not fit.
    """
    w = wanted or Wanted()
    old = read_json(out / RECORD)
    held = any(not f.name.startswith(".") for f in out.iterdir()) if out.exists() else False
    free = not held or str((old or {}).get("command", "")).startswith(OWN)
    require(free, f"{out}: holds something else; give an empty folder, or one of darklung evaluate")
    arms = _arms(predictions, w)
    scoring = _scoring(labels, w, arms)
    cases = find_labels(labels, region=w.region, resample=w.resample)
    started = time.time()
    found = score(arms, cases, scoring)
    make_folder(out)
    # First, so that the folder is known as one of ours also after a kill.
    write_json(out / RECORD, {"command": f"{OWN} (not finished)"})
    for file in (f for table in TABLES for f in out.glob(f"{table}.*")):  # of an earlier evaluation in this folder
        file.unlink()
    save_comparison(out, found.comparison, found.splits)
    used = [cases[name].path for name in sorted(cases) if name in found.names]
    more = [p for p in (w.region, w.animals) if p is not None]
    about = provenance(f"{OWN} {predictions} {labels}", list(dict.fromkeys([*found.files, *used, *more])))
    settings = {
        "arms": {n: str(p) for n, p in arms.items()},
        "labels": str(labels),
        **_told(scoring),
        "region": str(w.region or ""),
    }
    write_json(out / RECORD, {**about, "settings": settings, "wall_s": round(time.time() - started, 3)})
    _page(out / REPORT, found, arms, labels, settings)
    told = [*(f"note: {note}" for note in found.notes), f"page: {out / REPORT}; numbers: {out / 'comparison.json'}"]
    return "\n".join([comparison_table(found.comparison), "", *told])


def _arms(predictions: Path, wanted: Wanted) -> dict[str, Path]:
    arms = {wanted.name or predictions.resolve().name.split(".ome")[0].removesuffix(".csv"): predictions}
    for text in wanted.also:
        name, equals, path = text.partition("=")
        require(bool(name and equals and path), f"--also: wanted NAME=FOLDER, got {text!r}")
        require(name not in arms, f"--also: two arms are called {name!r}")
        arms[name] = Path(path)
    return arms


def _scoring(labels: Path, wanted: Wanted, arms: Mapping[str, Path]) -> Scoring:
    known = _of_run(labels)
    part = EvaluationPart.model_validate(
        {k: v for k, v in known.get("evaluation", {}).items() if k not in ("metrics", "questions")}
    )
    if wanted.tile:
        part = part.model_copy(update={"tile": parse_quantity(wanted.tile, "length")})
        require(part.tile > 0, f"--tile: wanted a length > 0, got {wanted.tile}")
    return Scoring(
        evaluation=part,
        seed=int(known.get("seed", 1)),
        thresholds=_thresholds(wanted.thresholds, arms),
        kind=wanted.kind,
        resample=wanted.resample,
        animals=read_animals(wanted.animals) if wanted.animals else known.get("animals", {}),
        trained=trained_cases(labels),
    )


def _of_run(labels: Path) -> dict[str, Any]:
    """What a run says of its own evaluation; nothing of other labels."""
    if not (labels / RUN_RECORD).is_file():
        return {}
    record = read_json(labels / STAGE / ITEM / RECORD) or {}
    found: dict[str, Any] = record.get("parameters", {})
    return found


def _thresholds(texts: Sequence[str], arms: Mapping[str, Path]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if value == "none" and not equals:
            continue
        try:
            number = parse_number(value)
        except DarklungError as error:
            raise DarklungError(f"--threshold: wanted a number, NAME=number or none ({error})") from None
        found |= {name: number} if equals else dict.fromkeys(arms, number)
    return found


def _told(scoring: Scoring) -> dict[str, Any]:
    """How it was scored, in plain JSON."""
    return {
        "tile_m": scoring.evaluation.tile,
        "replicates": scoring.evaluation.replicates,
        "seed": scoring.seed,
        "thresholds": dict(scoring.thresholds),
        "kind": scoring.kind or "by values",
        "resample": scoring.resample,
    }


def _page(path: Path, found: Scores, arms: Mapping[str, Path], labels: Path, settings: Mapping[str, Any]) -> None:
    n = next(iter(found.comparison["results"]["test"].values()))["n"]
    facts = {"Animals": n["subjects"], "Lesions": n["positives"], "Negative tiles": n["negatives"], "Arms": len(arms)}
    rows = tuple((name, found.comparison["settings"]["scored"][name], str(p)) for name, p in arms.items())
    told = Table(("Arm", "What was scored", "Where"), rows)
    plain = Table(("Setting", "Value"), tuple((k, str(v)) for k, v in settings.items() if k != "arms"))
    said = (*found.notes, "Predictions and labels come from elsewhere: how they were made is not known here.")
    section = Section("What was scored", (told, Bullets(said, "note"), plain), f"Against the labels in {labels}.")
    sections = [*comparison_sections(found.comparison), section]
    write_report(
        path, title=f"Evaluation: {', '.join(arms)}", summary=facts, sections=sections, footer=f"darklung {__version__}"
    )

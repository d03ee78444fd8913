"""``darklung predict``: a trained model on anything its channels can be made from, ending in maps, candidates and a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from darklung.commands.chosen import Chosen, models_of, network_of
from darklung.commands.packed import find_models
from darklung.commands.predict_rules import Rule
from darklung.core.checks import DarklungError, require
from darklung.core.extras import require_extra
from darklung.core.files import write_bytes
from darklung.core.seams import importable
from darklung.evaluate.conformal import looked_at
from darklung.flow import chain, plugins
from darklung.flow.expected import expected_images, made_units
from darklung.io.documents import read_yaml, validate
from darklung.io.names import CASE
from darklung.io.tables import load_table
from darklung.learn.fits import why_not
from darklung.pipeline import Task, note_files, run_tasks
from darklung.pipeline.executors import Place, executor
from darklung.report.blocks import number
from darklung.steps import derive, findings, predict
from darklung.steps.lists import percent
from darklung.steps.members import Member
from darklung.study.study import Study

HDF5 = (".h5", ".hdf5", ".hdf", ".nxs")
# How a source is named in the study that a prediction stands for.
INPUT = "input"


@dataclass(frozen=True)
class Given:
    """What the user says of a source beside its files.

    Parameters
    ----------
    reading : mapping
        Of `VolumeOptions`: what the files of a volume do not say.
    region : Path, optional
        Where the lung of a volume is; found in the image if not given.
    energy : str
        That its values refer to, such as ``"70 keV"``.
    calibration : Path, optional
        Of wedges, for frames and projections.
    resample : bool
        Bring the volume to the model's voxel instead of refusing another one.
    code : bool
        Run functions that the models, or their study, name: code beside them or on Python's path.
    mirror : bool
        Average over mirror images, also where the run did not.
    """

    reading: Mapping[str, Any] = field(default_factory=dict)
    region: Path | None = None
    energy: str = ""
    calibration: Path | None = None
    resample: bool = False
    code: bool = False
    mirror: bool = False


def predict_files(
    models: Path,
    source: Path,
    *,
    out: Path,
    arm: str = "",
    given: Given | None = None,
    workers: int | None = None,
    dry_run: bool = False,
    place: Place = executor,
) -> str:
    """Apply trained models to scans and return a table to print.

    Writes ``out/findings/NAME/``: ``probability.ome.zarr`` and NIfTI files, the table ``candidates`` and ``findings.html``;
    and what was made on the way, as a run does (``reconstruct``, ``cases``, ``predict``). What is done is not done again.

    Parameters
    ----------
    models : Path
        A folder with ``model.json``, or a run or pack, whose folds are averaged; its processing is that of its study. Or
        the name of models that come with darklung.
    source : Path
        A description of raw scans (YAML), projections (HDF5), a volume in any format, or a labelled case.
    out : Path
    arm : str
        Of the run; not needed where there is one, or where only one can be made from the source.
    given : Given, optional
        What the user says of the source.
    workers : int, optional
    dry_run : bool
    place : callable
        Where tasks run, as `darklung.pipeline.run_tasks` takes it.

    Raises
    ------
    DarklungError
        No model there, or a source that no model fits: one line that says what differs, before anything is computed.
    """
    models = find_models(models)
    require(source.exists(), f"{source}: no such file or folder")
    require_extra("predict", "torch", "sklearn")
    known = given or Given()
    candidates = models_of(models, arm)
    code = {place: name for one in candidates for place, name in one.code().items()}
    with importable(models) if code else nullcontext():
        lines = plugins.told(code)
        told = f"{models}: names code; look at it, then give --code to run it"
        require(known.code or not code, "\n".join([told, *lines]))
        chosen = _mirrored(_chosen(candidates, source, known), known.mirror)
        study = _study(source, chosen, known)
        tasks, found = _tasks(study, chosen)
        if dry_run:
            return "\n".join(
                [*lines, *chosen.notes, *(t.name for t in tasks), f"{len(tasks)} tasks in {out}, arm {chosen.arm}"]
            )
        about = {"models": str(models), "source": str(source), "arm": chosen.arm, "study": study.model_dump(mode="json")}
        run_tasks(tasks, folder=out, targets=[t.name for t in found], workers=workers, about=about, place=place)
    return _told(out, found, chosen)


def _chosen(found: Sequence[Chosen], source: Path, given: Given) -> Chosen:
    """The models that are applied, which fit the source."""
    reasons = {c.arm: _misfit(c, source, given) for c in found}
    fitting = [c for c in found if not reasons[c.arm]]
    if not fitting:
        told = (
            "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) if len(reasons) > 1 else reasons[found[0].arm]
        )
        raise DarklungError(f"{source}: {told}")
    require(
        len(fitting) == 1,
        f"--arm: wanted one of {', '.join(c.arm for c in fitting)}; the source has channels for all of them",
    )
    return fitting[0]


def _mirrored(chosen: Chosen, wanted: bool) -> Chosen:
    """With mirror images, if the run or the user wants them, and what is told of them.

    What the run fixed on its validation animals holds for scores that are made as it made them.
    """
    from darklung.learn.mirrors import told_mirrors

    if not (wanted or chosen.how.mirroring):
        return chosen
    if not any(map(network_of, chosen.descriptions)):
        return replace(chosen, notes=(*chosen.notes, "Trees see the same in every mirror image: nothing is averaged."))
    first = chosen.descriptions[0]
    told = told_mirrors(chosen.channels, int(first["dims"]), (first.get("images") or {}).get("directions") or ())
    notes = (*chosen.notes, f"Each prediction is the {told}.")
    if not chosen.how.mirroring and chosen.rule != Rule(tile_m=chosen.rule.tile_m):
        notes += ("The run did not mirror: its threshold, probabilities and lists hold for other scores and are left out.",)
    rule = chosen.rule if chosen.how.mirroring else Rule(tile_m=chosen.rule.tile_m)
    return replace(chosen, rule=rule, how=replace(chosen.how, mirroring=True), notes=notes)


def _misfit(chosen: Chosen, source: Path, given: Given) -> str:
    """Why the models do not fit what the source's headers tell; empty where they may."""
    for image in expected_images(_study(source, chosen, given), INPUT):
        # Channels that a user's own method makes are known when they are made; the prediction looks at them then.
        units = dict.fromkeys(chosen.channels, "1/m") if image.channels is None else image.channels
        try:
            units = {**units, **made_units(image, chosen.channels)}
        except DarklungError as error:
            return str(error)
        beam = (image.energy_kev, None)
        reason = why_not(chosen.descriptions[0], spacing_m=image.spacing_m, units=units, beam=beam)
        hints = {"the energy": " (--energy says it)"}
        hints |= {} if _kind(source) == "cases" else {"spacing": " (--resample brings it there)"}
        if reason:
            return reason + next((hint for start, hint in hints.items() if reason.startswith(start)), "")
    return ""


def _kind(source: Path) -> str:
    """Which source of a study the user's file is."""
    if (source / CASE).is_file():
        return "cases"
    if source.suffix in (".yaml", ".yml"):
        content = read_yaml(source)
        require(isinstance(content, dict) and "sample" in content, f"{source}: wanted a description of raw scans")
        return "frames"
    return "projections" if source.suffix in HDF5 else "volumes"


def _study(source: Path, chosen: Chosen, given: Given) -> Study:
    """The study that a prediction stands for: one source, no labels."""
    kind = _kind(source)
    part: dict[str, Any] = {"from": kind, "files": [str(source.resolve())], "use": "predict"}
    if kind == "volumes":
        part |= {"reading": dict(given.reading), "region": str(given.region.resolve()) if given.region else ""}
    else:
        require(not given.reading and given.region is None, f"{source}: --read and --region are for volumes, this is {kind}")
    if given.energy:
        part["energy"] = given.energy
    require(not (given.resample and kind == "cases"), f"{source}: --resample: labelled cases are taken as they are")
    if given.calibration is not None:
        require(
            kind in ("frames", "projections"), f"{source}: --calibration belongs to frames and projections, this is {kind}"
        )
        part["calibrations"] = {"wedges": str(given.calibration.resolve())}
    processing = chosen.processing
    wanted = chosen.descriptions[0].get("images", {}).get("spacing_m")
    require(
        not given.resample or bool(wanted), f"--resample: {chosen.folders[0]} does not tell at which voxel it was trained"
    )
    if given.resample:
        processing = processing.model_copy(update={"voxel": float(wanted[0])})
    study: Study = validate({"name": "predict", "sources": {INPUT: part}}, Study, str(source))
    return study.model_copy(update={"processing": processing})


def _tasks(study: Study, chosen: Chosen) -> tuple[list[Task], list[Task]]:
    """All tasks, and those of the findings."""
    made = chain.build(study)
    tasks, found = list(made.tasks), []
    for member in made.members:
        derived = derive.names(chosen.channels, (member.task,))
        tasks += [*derive.tasks(chosen.channels, (member.task,)), _prediction(chosen, member)]
        about = findings.Parameters(
            arm=chosen.arm,
            models=tuple(f.name for f in chosen.folders),
            notes=_notes(chosen),
            channels=chosen.channels,
            normalised_by=chosen.descriptions[0]["normalisation"]["per"],
            **vars(chosen.rule),
        )
        found.append(findings.task(member.item, about, tasks[-1].name, member.task, derived))
    return [*tasks, *found], found


def _prediction(chosen: Chosen, member: Member) -> Task:
    parameters = predict.Parameters(
        arm=f"{member.item}.{chosen.arm}",
        fold=None,
        role="predict",
        network=network_of(chosen.descriptions[0]),
        channels=chosen.channels,
        animals=(member.animal,),
        **vars(chosen.how),
        folders=tuple(str(f.resolve()) for f in chosen.folders),
        each=chosen.rule.lists is not None,
    )
    return predict.task(parameters, (), (member.task,), derive.names(chosen.channels, (member.task,)))


def _notes(chosen: Chosen) -> tuple[str, ...]:
    """What a reader must know of the models."""
    images = chosen.descriptions[0].get("images", {})
    energies = sorted({f"{b[0]:g}" for b in images.get("beams", []) if b[0] is not None})
    per = chosen.descriptions[0]["normalisation"].get("per")
    told = [
        f"Arm {chosen.arm} sees {', '.join(chosen.channels)}; {len(chosen.folders)} model(s) averaged, trained on "
        f"{len(chosen.descriptions[0].get('subjects_train', ()))} animals each"
        + (f" at {', '.join(energies)} keV" if energies else "")
        + f"; channels normalised by the {per}."
    ]
    if chosen.rule.threshold is None:
        told.append(
            "No threshold is known for these models: nothing is called, and middles of a detection head have no probability."
        )
    return (*told, *chosen.notes, *(chosen.rule.lists.told if chosen.rule.lists else ()))


def _told(out: Path, found: Sequence[Task], chosen: Chosen) -> str:
    levels = chosen.rule.lists.levels if chosen.rule.lists else ()
    heads = "".join(f"{'promise ' + percent(level):>15}" for level in levels)
    lines = [f"{'image':<26}{'candidates':>11}{'called':>8}{'highest':>9}{heads}"]
    for task in found:
        place = out / task.name / findings.TABLE
        rows = load_table(place) if place.with_suffix(".parquet").exists() else []
        called = "-" if chosen.rule.threshold is None else str(sum(bool(r["called"]) for r in rows))
        # The best candidate need not lie in the best tile, whose probability it is; that of a lone head is not known.
        highest = number(max((r["probability"] for r in rows if not math.isnan(r["probability"])), default=None))
        listed = "".join(f"{sum(bool(looked_at(r['rank'], level)) for r in rows):15d}" for level in levels)
        lines.append(f"{task.item:<26}{len(rows):11d}{called:>8}{highest:>9}{listed}")
        write_bytes(out / f"{task.item}.html", (out / task.name / findings.PAGE).read_bytes())
    note_files(out, [f"{task.item}.html" for task in found])
    return "\n".join([*lines, *chosen.notes, f"pages: {out}/NAME.html; maps and tables: {out / findings.STAGE}"])

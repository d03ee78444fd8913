"""``darklung cohort``: the animals alone, each with phantom and truth; radiographs or a CT of the same animal on demand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.random import derive_seed
from darklung.core.types import Image, Phantom, Projections
from darklung.io.documents import validate
from darklung.io.hdf5 import load, save
from darklung.io.images import save_image
from darklung.io.tables import load_table, save_table
from darklung.pipeline import Context, Task, run_tasks
from darklung.pipeline.run import stale
from darklung.pipeline.task import task_keys
from darklung.steps.ct import plan_animals, without_hardening
from darklung.steps.plan import CODE, animal_tasks, cohort_task
from darklung.study.config import CorrectionPart, CTStudy, RetrievalPart, read_study
from darklung.study.scanner import EffectsPart, InstrumentPart, ScanPart

HERE = "darklung.commands.cohort"
COLLECT = "tables/all"
RADIOGRAPH_COUNTS = 1e5  # open-beam counts of a pixel in all steps and directions of one view, as in dey_2025_radiograph
TABLES = ("cohort", "mice", "insertions")


def make_cohort(
    study_file: Path | None,
    *,
    out: Path,
    changes: Mapping[str, Any] | None = None,
    radiographs: bool = False,
    ct: bool = False,
    workers: int | None = None,
    dry_run: bool = False,
) -> str:
    """Make the animals of a study and return what to print.

    Writes ``cohort``, ``mice`` and ``insertions`` as CSV and Parquet with a data dictionary each, the phantoms
    (``out/phantom/NAME/phantom.h5``) and, if wanted, ``out/radiograph/NAME`` and ``out/reconstruct/NAME``. What is done
    already, also by ``darklung run`` in the same folder, is not made again.

    Parameters
    ----------
    study_file : Path, optional
        A study of kind ct; without it a study with all defaults.
    out : Path
    changes : mapping, optional
        ``animals`` (text: training animals, or training and held-out ones as ``"150,50"``), ``voxel`` (text with unit) and
        ``seed`` in place of the study's; None leaves them.
    radiographs, ct : bool
        Simulate one radiograph, or the whole CT scan with its reconstruction, of each animal.
    workers : int, optional
    dry_run : bool
        Tell what would be made.

    Raises
    ------
    DarklungError
        A mistake in the study, or an animal that cannot be made as asked.
    """
    study = _study(study_file, changes or {})
    animals = plan_animals(study)
    tasks, targets = _tasks(study, animals, radiographs=radiographs, ct=ct)
    if dry_run:
        needed = stale({t.name: t for t in tasks}, task_keys(tasks), out, targets)
        told = [f"{'to do' if t.name in needed else 'done ':<6} {t.name}" for t in tasks]
        return "\n".join([*told, f"{len(needed)} of {len(tasks)} tasks to do in {out}", *_counts(animals)])
    about = {"name": study.name, "kind": "cohort", "seed": study.seed, "study": study.model_dump(mode="json")}
    computed = run_tasks(tasks, folder=out, targets=targets, workers=workers, about=about)
    (out / "study.yaml").write_text(yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    for name in TABLES:
        for found in sorted((out / ("cohort/all" if name == "cohort" else COLLECT)).glob(f"{name}.*")):
            shutil.copyfile(found, out / found.name)
    return "\n".join([*_told(out), f"{computed} task(s) computed. Tables, phantoms and records: {out}"])


def _study(study_file: Path | None, changes: Mapping[str, Any]) -> CTStudy:
    """The study with what the command line changes of it."""
    study = read_study(study_file) if study_file else CTStudy(kind="ct", name="cohort")
    if not isinstance(study, CTStudy):
        raise DarklungError(f"{study_file}: wanted a study of kind ct, got {study.kind}; it has no mice to make")
    origin = str(study_file or "options")
    update: dict[str, Any] = {}
    if changes.get("animals") is not None:
        counts = str(changes["animals"]).split(",")
        right = len(counts) <= 2 and all(c.strip().isdigit() for c in counts)
        require(right, f"animals: wanted a number, or training,held-out such as 150,50, got {changes['animals']!r}")
        numbers = dict(zip(("animals", "test_animals"), [int(c) for c in counts] + [0]))
        update["cohort"] = _changed(study.cohort, numbers, f"{origin}: cohort")
    if changes.get("voxel") is not None:
        update["body"] = _changed(study.body, {"voxel": changes["voxel"]}, f"{origin}: body")
    if changes.get("seed") is not None:
        update["seed"] = changes["seed"]
    # A copy: how many animals learning needs does not matter here.
    return study.model_copy(update=update)


def _changed(part: Any, values: Mapping[str, Any], origin: str) -> Any:
    return validate({**part.model_dump(mode="json"), **values}, type(part), origin)


def _tasks(
    study: CTStudy, animals: Sequence[Mapping[str, Any]], *, radiographs: bool, ct: bool
) -> tuple[list[Task], list[str]]:
    """All tasks, and the names of those whose outputs are wanted."""
    tasks, targets = [cohort_task(study, animals)], ["cohort/all", COLLECT]
    described = []
    for animal in animals:
        name, at = animal["name"], study.at(animal["site"])
        chain = animal_tasks(study, animal)
        tasks += chain if ct else chain[:1]
        phantom = {"phantom": (f"phantom/{name}",)}
        described.append(f"describe/{name}")
        told = {"subject": name, "site": animal["site"] or study.name, "variant": animal["variant"]}
        tasks.append(Task("describe", name, f"{HERE}:describe", told, phantom, CODE["describe"]))
        if ct:
            targets.append(f"features/{name}")
        if radiographs:
            parts = ("instrument", "scan", "effects", "retrieval", "correction")
            parameters = {p: getattr(at, p).model_dump(mode="json") for p in parts}
            parameters |= {"counts": RADIOGRAPH_COUNTS, "seed": derive_seed(study.seed, "radiograph", name)}
            function, files = f"{HERE}:radiograph", {**at.instrument.files(), **at.correction.files()}
            tasks.append(Task("radiograph", name, function, parameters, phantom, CODE["radiograph"], files))
            targets.append(tasks[-1].name)
    tasks.append(Task("tables", "all", f"{HERE}:collect", {}, {"describe": tuple(described)}, CODE["tables"]))
    return tasks, targets


def describe(context: Context) -> None:
    """``mouse.json``: what the animal and its insertions turned out to be."""
    from darklung.phantom.describe import describe_insertions, describe_mouse

    phantom = load(context.input("phantom") / "phantom.h5", Phantom)
    subject = {k: context.parameters[k] for k in ("subject", "site", "variant")}
    mouse = {k.replace(" ", "_"): v for k, v in describe_mouse(phantom).items()}
    rows = {
        "mouse": {**subject, **mouse, "synthetic_flag": True},
        "insertions": [{"subject": subject["subject"], **row} for row in describe_insertions(phantom)],
    }
    (context.out / "mouse.json").write_text(json.dumps(rows, indent=1))


def collect(context: Context) -> None:
    """``mice`` and ``insertions``: one row an animal and one an insertion, measured on the phantoms."""
    from darklung.phantom.describe import INSERTION_MEANINGS, MOUSE_MEANINGS

    rows = [json.loads((path / "mouse.json").read_text()) for path in context.inputs["describe"]]
    of_mice = {k.replace(" ", "_"): v for k, v in MOUSE_MEANINGS.items()}
    save_table(context.out / "mice", [r["mouse"] for r in rows], of_mice)
    insertions = [row for r in rows for row in r["insertions"]]
    if insertions:
        save_table(context.out / "insertions", insertions, INSERTION_MEANINGS)


def radiograph(context: Context) -> None:
    """One radiograph through the animal's back, retrieved and corrected, with its truth on the same pixels.

    ``radiograph.ome.zarr`` has the channels of a CT case, as line integrals; ``truth.ome.zarr`` the path in lung and in
    lesions [m] and the insertion that fills most of each ray.
    """
    from darklung.correct.flux import normalise_flux
    from darklung.correct.invalid import fill_invalid
    from darklung.features.channels import stack_channels
    from darklung.retrieve.stepping import retrieve
    from darklung.simulate.scan import simulate_scan

    p = context.parameters
    instrument = InstrumentPart.model_validate(p["instrument"]).instrument()
    protocol = ScanPart.model_validate({**p["scan"], "views": 1, "counts": p["counts"]})
    animal = load(context.input("phantom") / "phantom.h5", Phantom)
    effects = EffectsPart.model_validate(p["effects"])
    raw = simulate_scan(animal, instrument=instrument, protocol=protocol, effects=effects, seed=p["seed"])
    projections = retrieve(raw, reference=RetrievalPart.model_validate(p["retrieval"]).reference)
    correction = CorrectionPart.model_validate(p["correction"])
    if correction.flux:
        projections = normalise_flux(projections)
    projections, _ = fill_invalid(without_hardening(projections, instrument, correction))
    save(context.out / "projections.h5", projections)
    maps = _maps(projections)
    channels = stack_channels(attenuation=maps[0], dark_field=maps[1:], directions_rad=list(projections.directions_rad))
    save_image(context.out / "radiograph.ome.zarr", channels)
    save_image(context.out / "truth.ome.zarr", radiograph_truth(animal, channels, protocol.supersampling))


def _maps(projections: Projections) -> list[Image]:
    """Attenuation (mean over directions) and the dark field of each direction of the only view."""
    spacing = (projections.geometry.pixel_m,) * 2
    found = [("attenuation", projections.attenuation.mean(axis=0)[0])]
    found += [("dark_field", d[0]) for d in projections.dark_field]
    return [Image(values[None].astype(np.float32), (name,), ("1",), spacing, frame="detector") for name, values in found]


def radiograph_truth(animal: Phantom, pixels: Image, supersampling: int) -> Image:
    """Paths through lung and lesions [m] and the insertion with the longest path, along y, on the pixels of a radiograph."""

    def path(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        through = mask.sum(axis=1) * animal.voxel_m
        rows, cols = (n // supersampling for n in through.shape)
        blocks = through[: rows * supersampling, : cols * supersampling]
        return np.asarray(blocks.reshape(rows, supersampling, cols, supersampling).mean(axis=(1, 3)))

    longest, number = np.zeros(pixels.shape), np.zeros(pixels.shape)
    for k in np.unique(animal.instances[animal.instances > 0]):
        own = path(animal.instances == k)
        number[own > longest] = k
        longest = np.maximum(longest, own)
    layers = {"lung_path": path(animal.lobes > 0), "lesion_path": path(animal.lesion_mask()), "instance": number}
    data = np.stack([v.astype(np.float32) for v in layers.values()])
    return Image(data, tuple(layers), ("m", "m", "1"), pixels.spacing_m, pixels.origin_m, "detector")


def _counts(animals: Sequence[Mapping[str, Any]]) -> list[str]:
    """Animals and what is planned for them."""
    kinds = ("lesions", "shams", "mimics")
    return [f"{len(animals)} animals; " + ", ".join(f"{sum(len(a[k]) for a in animals)} {k}" for k in kinds)]


def _told(out: Path) -> list[str]:
    """One line for each split, family and site."""
    rows, mice = load_table(out / "cohort"), {m["subject"]: m for m in load_table(out / "mice")}
    lines = [f"{'split':<8}{'family':<8}{'site':<14}{'animals':>8}{'lesions':>9}{'shams':>7}{'mimics':>8}{'lung ml':>9}"]
    for split, variant, site in sorted({(r["split"], r["variant"], r["site"]) for r in rows}):
        own = [r for r in rows if (r["split"], r["variant"], r["site"]) == (split, variant, site)]
        sums = [sum(r[k] for r in own) for k in ("lesions", "shams", "mimics")]
        volume = np.mean([mice[r["subject"]]["lung_volume_ml"] for r in own])
        lines.append(f"{split:<8}{variant:<8}{site:<14}{len(own):8d}{sums[0]:9d}{sums[1]:7d}{sums[2]:8d}{volume:9.3f}")
    return lines

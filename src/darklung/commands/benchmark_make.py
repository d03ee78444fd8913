"""``darklung benchmark make``: animals of hidden seeds, their images published and their truth sealed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darklung import __version__
from darklung.commands.benchmark_pages import RULES
from darklung.commands.run import resolved, run_plan
from darklung.core.checks import DarklungError, require
from darklung.core.files import check_replaceable, make_folder, whole, write_text
from darklung.core.seams import importable
from darklung.flow import chain, plugins
from darklung.flow.plan import Plan
from darklung.io.case import LabelledCase, case_facts, load_case
from darklung.io.documents import validate
from darklung.io.tables import save_json
from darklung.pipeline import Owner
from darklung.pipeline.artefacts import require_as_written
from darklung.pipeline.record import read_json, write_json
from darklung.publish.commitments import SALT_BYTES, content_of, truth_commitment
from darklung.publish.places import without_places
from darklung.publish.sealed import (
    CASES,
    FORMAT,
    MANIFEST,
    Manifest,
    Seal,
    SealedCase,
    Secret,
    check_name,
    check_opening,
    open_benchmark,
    read_seal,
    write_seal,
)
from darklung.steps.members import Member
from darklung.steps.sealing import save_public, truth_of
from darklung.study.sources import SimulatedSource
from darklung.study.study import Study, read_study

HIDDEN = "hidden.json"  # of the run with the truth: its seed, so that a run that was stopped goes on with the same


@dataclass(frozen=True)
class Wanted:
    """What is said beside the study: the run's folder, the benchmark's name, how many simulated animals, and a seed."""

    work: Path | None = None
    name: str = ""
    animals: int | None = None
    seed: int | None = None


def make_benchmark(
    study_file: Path, out: Path, *, seal: Path | None = None, wanted: Wanted | None = None, workers: int | None = None
) -> str:
    """Make the held-out animals of a study under a hidden seed, publish their images in `out` and seal their truth.

    Of measured sources those with ``use: test`` are taken as they are. Cases get new names in an order that is drawn.

    Parameters
    ----------
    study_file : Path
    out : Path
        A new folder: cases, ``manifest.json``, ``README.md``.
    seal : Path, optional
        HDF5 file with seeds, salts and truth, outside of `out`; ``OUT.seal.h5`` by default.
    wanted : Wanted, optional
    workers : int, optional

    Raises
    ------
    DarklungError
        Mistakes in the study, no held-out animals, fewer than two, or folders and files that are there already.
    """
    w = wanted or Wanted()
    require(bool(out.name) and (seal is None or bool(seal.name)), f"{out if seal is None else seal}: wanted a new name")
    place = seal or out.with_name(f"{out.name}.seal.h5")
    work = w.work or place.with_name(f"{place.name}.run")
    inside = any(out.resolve() in (p.resolve(), *p.resolve().parents) for p in (place, work))
    require(not inside, f"{place}, {work}: lie in {out}, which is published; wanted them elsewhere")
    there = out.exists() and any(out.iterdir())
    stopped = f", {out} is not: if that was stopped while it was made, remove the seal and make it again (goes on in {work})"
    told = f"{place}: is there already{'' if there else stopped}; a seal is never written over"
    require(not place.exists(), told)
    if _published(out, place):
        return _put_seal(out, place, work)
    require(not there, f"{out}: holds something already; wanted a new folder")
    check_replaceable(out)
    said = read_study(study_file)
    check_name(w.name or said.name, "--name")
    study = hidden(said, w, work)
    with importable(study_file.parent) if plugins.named(study) else nullcontext():
        plugins.check_processing(study.processing)
        made = chain.build(study)
        members = [m for m in made.members if m.use == "test"]
        require(len(members) >= 2, f"{study_file}: wanted at least two held-out animals, got {len(members)}")
        plan = Plan(tuple(made.tasks), tuple(m.task for m in members), tuple(members))
        run_plan(plan, study, folder=work, owner=Owner("benchmark", study_file), workers=workers)
    make_folder(out.absolute().parent)
    with whole(out.absolute()) as partial:
        sealed = _seal(study, members, work, partial)
        manifest: Manifest = validate(_manifest(w.name or study.name, study, sealed, partial), Manifest, MANIFEST)
        save_json(partial / MANIFEST, manifest.model_dump(mode="json"))
        write_text(partial / "README.md", RULES.format(name=manifest.name, cases=len(manifest.cases)))
        write_seal(_waiting(place), sealed)
    return _put_seal(out, place, work)


def _waiting(seal: Path) -> Path:
    """Where a seal is until its benchmark is there: of two places neither can appear with the other."""
    return seal.with_name(f".{seal.name}.waiting")


def _published(out: Path, seal: Path) -> bool:
    """Whether a run was killed when the benchmark was there, and its seal not yet in its place."""
    if not (_waiting(seal).is_file() and (out / MANIFEST).is_file()):
        return False
    try:
        check_opening(open_benchmark(out)[0], read_seal(_waiting(seal)), where=str(seal))
    except DarklungError:
        return False
    return True


def _put_seal(out: Path, place: Path, work: Path) -> str:
    """Put the seal in its place; returns lines to print."""
    os.replace(_waiting(place), place)
    manifest, identity = open_benchmark(out)
    return "\n".join(
        [
            f"{len(manifest.cases)} cases in {out}; publish this folder, and this SHA-256 of its manifest: {identity}",
            f"seal: {place}; run with the truth: {work}. Keep both to yourself until the benchmark is opened",
        ]
    )


def hidden(study: Study, wanted: Wanted, work: Path) -> Study:
    """The study with its held-out animals alone, under the hidden seed that the folder `work` has, or gets.

    Raises
    ------
    DarklungError
        No held-out animals, or a folder that was begun with another seed.
    """
    make_folder(work)
    earlier = read_json(work / HIDDEN) or {}
    seed = int(earlier.get("seed", int.from_bytes(os.urandom(8), "little") >> 1 if wanted.seed is None else wanted.seed))
    require(wanted.seed in (None, seed), f"{work}: was begun with another hidden seed")
    write_json(work / HIDDEN, {"seed": seed})
    sources: dict[str, Any] = {}
    for name, source in study.sources.items():
        if isinstance(source, SimulatedSource):
            count = wanted.animals or source.cohort.test_animals
            if count:
                cohort = source.cohort.model_copy(update={"animals": 0, "test_animals": count})
                sources[name] = source.model_copy(update={"cohort": cohort})
        elif source.use == "test":
            sources[name] = source
    require(bool(sources), f"study {study.name}: no held-out animals (cohort.test_animals, or use: test); wanted some")
    return study.model_copy(update={"seed": seed, "sources": sources, "learning": None})


def _seal(study: Study, members: Sequence[Member], work: Path, out: Path) -> Seal:
    """Write the public cases and keep what is hidden of them."""
    import numpy as np

    order = np.random.default_rng(int.from_bytes(os.urandom(16), "little")).permutation(len(members))
    names: dict[str, str] = {}
    found: dict[str, Secret] = {}
    for number, at in enumerate(order, start=1):
        member, name = members[at], f"case-{number:04d}"
        require_as_written(work / member.task / "case.json")
        case = load_case(work / member.task)
        animal = names.setdefault(member.animal, f"animal-{len(names) + 1:04d}")
        save_public(case, out / CASES / name, name=name, animal=animal)
        seed = str(member.row.get("seed", "") or "")
        found[name] = Secret(truth_of(case), os.urandom(SALT_BYTES), member.item, seed)
    return Seal(found, os.urandom(SALT_BYTES), {"study": without_places(resolved(study)), "darklung": __version__})


def _manifest(name: str, study: Study, seal: Seal, out: Path) -> dict[str, Any]:
    cases: dict[str, SealedCase] = {}
    channels: dict[str, str] = {}
    for case, secret in seal.cases.items():
        folder = out / CASES / case
        content = content_of(folder)
        truth = truth_commitment(secret.salt, case, content, secret.truth)
        cases[case] = SealedCase(animal=case_facts(folder).animal, content=content, truth=truth)
        image: LabelledCase = load_case(folder)
        channels |= dict(zip(image.channels.names, image.channels.units))
    part = study.evaluation
    return {
        "darklung_benchmark": FORMAT,
        "name": name,
        "version": __version__,
        "cases": {k: v.model_dump() for k, v in sorted(cases.items())},
        "channels": channels,
        "lung": "given or everywhere, see the study" if study.processing.channels.lung == "all" else "found in the image",
        "origin": seal.origin_commitment(),
        "tile_m": part.tile,
        "specificity": part.specificity,
        "replicates": part.replicates,
        "bootstrap_seed": 1,
    }

"""What is trained and tested: runs on cases of the pools, each a study of its own, and the studies that they make up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from darklung.commands.run import run_study
from darklung.io.case import load_case, save_case
from darklung.io.names import CASE
from evidence_parts.limits import Stop, write
from evidence_parts.lobes import CELLS, make_lobes
from evidence_parts.pools import POOLS, TEST_TRIAL, TRAIN_TRIAL, simulate

TRANSMISSION, DARK = ["attenuation"], ["dark_field"]
HYBRID = ["attenuation", "dark_field_0", "dark_field_90"]
FOUR = {"transmission": TRANSMISSION, "dark_field": DARK, "directional": HYBRID[1:], "hybrid": HYBRID}
THREE = {name: FOUR[name] for name in ("transmission", "dark_field", "hybrid")}
FLAT = {"transmission": TRANSMISSION, "dark_field": DARK, "hybrid": ["attenuation", "dark_field"]}
CONTROL = {"two_channels": ["attenuation", "dark_field"], "noise_channel": ["attenuation", "noise"]}
OBSERVERS = ("network", "boosting")
NETWORK = {"observers": list(OBSERVERS), "folds": 3, "patch": 16, "batch": 4, "steps": 600, "keep_state": False}
FLAT_NETWORK = {**NETWORK, "patch": 32, "batch": 8}
TRIAL_NETWORK = {"folds": 3, "patch": 8, "batch": 2, "steps": 4, "boosting": {"trees": 5, "voxels": 500}}
REAL_LOBES = Path(__file__).parents[2] / "examples/real/mouse_lobes.yaml"


@dataclass(frozen=True)
class Part:
    """So many of the first animals of a pool, for training or as the held-out ones, under names with `site` before them."""

    pool: str
    train: int = 0
    test: int = 0
    site: str = ""


@dataclass(frozen=True)
class Job:
    """One study on cases: arms with both observers, and where its animals come from.

    Parameters
    ----------
    name : str
    parts : tuple of Part
        Empty for lobes.
    arms : mapping
        Arm -> channels.
    flat : bool
        On radiographs.
    cell : str
        Of `lobes.CELLS`, where simulated lobes take the place of pools.
    file : Path, optional
        A study file that is run as it is, if its data are there.
    """

    name: str
    parts: tuple[Part, ...] = ()
    arms: Mapping[str, list[str]] = field(default_factory=dict)
    flat: bool = False
    cell: str = ""
    file: Path | None = None


def _family(name: str, counts: Mapping[str, int]) -> Job:
    tests = {"A": "default-kept", "B": "family-B", "C": "family-C"}
    return Job(name, tuple(Part(pool, counts.get(s, 0), 24, s) for s, pool in tests.items()), THREE)


def _site(name: str, counts: Mapping[str, int]) -> Job:
    tests = {"default": "default-kept", "south": "site-south", "west": "site-west"}
    return Job(name, tuple(Part(pool, counts.get(s, 0), 24, s) for s, pool in tests.items()), THREE)


def _studies() -> dict[str, tuple[Job, ...]]:
    settings = ("default-kept", "default-lost", "hard-kept", "hard-lost")
    families, sites = ("A", "B", "C"), ("default", "south", "west")
    swept = (
        "edges-off",
        "tube",
        "tube-none",
        "tube-wrong",
        "dose-third",
        "dose-threefold",
        "v0-10",
        "v0-30",
        "xi-1",
        "xi-5",
    )
    base = "default-kept"
    return {
        "four-arm": tuple(Job(f"four-arm-{p}", (Part(p, 36, 66),), FOUR) for p in settings),
        "left-out": (
            _family("families-all", dict.fromkeys(families, 12)),
            *(_family(f"families-without-{x}", {s: 18 for s in families if s != x}) for x in families),
            _site("sites-all", dict.fromkeys(sites, 12)),
            *(_site(f"sites-without-{x}", {s: 18 for s in sites if s != x}) for x in sites),
        ),
        "radiographs": (
            Job("mice", (Part("mice", 60, 200),), FLAT, flat=True),
            *(Job(f"lobes-{cell}", arms=FLAT, flat=True, cell=cell) for cell in CELLS),
            Job("real-lobes", file=REAL_LOBES),
        ),
        "ablations": (
            Job("ablation-base", (Part(base, 24, 40),), THREE),
            *(Job(f"ablation-{p}", (Part(p, 24, 40),), THREE) for p in swept),
            Job("control", (Part(base, 36, 66),), CONTROL),
        ),
        "no-gratings": (Job("no-gratings", (Part("no-gratings", 36, 66),), {"attenuation": TRANSMISSION}),),
    }


STUDIES = _studies()
JOBS = {job.name: job for jobs in STUDIES.values() for job in jobs}
LETTERS = dict(zip(STUDIES, "abcde"))


def with_data(job: Job) -> bool:
    """Whether the measured data of a job that needs them are there."""
    if job.file is None:
        return True
    source = yaml.safe_load(job.file.read_text())["sources"]["lobes"]
    default = source["data"].removeprefix("${DARKLUNG_DATA:-").partition("}")
    data = Path(os.environ.get("DARKLUNG_DATA", default[0]) + default[2])
    return (data if data.is_absolute() else job.file.parent / data).is_dir()


def scaled(job: Job, *, trial: bool) -> Job:
    """The job, or the same of few animals."""
    if not trial:
        return job
    many = len(job.parts) > 1  # of several pools few each, and none of the one that is left out
    train = 3 if many else TRAIN_TRIAL
    return replace(job, parts=tuple(replace(p, train=train if p.train else 0, test=TEST_TRIAL) for p in job.parts))


def content(job: Job, cases: Mapping[str, list[str]], *, trial: bool = False) -> dict[str, Any]:
    """The study of a job; `cases` are folders for each use."""
    learning: dict[str, Any] = {"arms": dict(job.arms), **(FLAT_NETWORK if job.flat else NETWORK)}
    if trial:
        learning |= TRIAL_NETWORK
    sources = {use: {"from": "cases", "files": files, "use": use} for use, files in cases.items()}
    made = {"name": job.name, "seed": 1, "sources": sources, "learning": learning}
    return {**made, "evaluation": {"replicates": 200}} if trial else made


def cases_of(job: Job, out: Path, stop: Stop, *, trial: bool) -> dict[str, list[str]]:
    """The labelled cases that a job learns from and is tested on, made where they are not there."""
    if job.cell:
        folder = make_lobes(out / "pools" / "lobes" / job.cell, job.cell, stop, trial=trial)
        return {use: [str(folder.resolve() / f"{use}-*")] for use in ("train", "test")}
    found: dict[str, list[str]] = {"train": [], "test": []}
    for part in job.parts:
        folder = simulate(part.pool, out, stop, trial=trial)
        for use, count in (("train", part.train), ("test", part.test)):
            names = [f"{use}-{number:04d}" for number in range(1, count + 1)]
            places = [folder / ("radiograph" if job.flat else "cases") / f"{n}{'.x0' if job.flat else ''}" for n in names]
            if part.site:
                places = [renamed(p, out / "pools" / "renamed" / part.pool, part.site) for p in places]
            found[use] += [str(p.resolve()) for p in places]
    return found


def renamed(case: Path, into: Path, site: str) -> Path:
    """The case under a name and an animal of its own, so that pools whose animals have the same names stand in one study."""
    made = load_case(case)
    subject = f"{site}-{made.about.subject}"
    if not (into / subject / CASE).is_file():
        about = replace(made.about, subject=subject, animal=f"{site}-{made.about.animal}", site=site)
        save_case(into / subject, replace(made, about=about))
    return into / subject


def run_job(name: str, out: Path, stop: Stop, *, trial: bool) -> None:
    """A job to its comparison; what is done is kept."""
    stop.check()
    job = scaled(JOBS[name], trial=trial)
    if job.file is not None:
        made = yaml.safe_load(job.file.read_text())
        made["learning"] |= {"observers": list(OBSERVERS), **({**TRIAL_NETWORK, "folds": 6} if trial else {})}
        source = made["sources"]["lobes"]
        source["data"] = source["data"].replace(":-..", f":-{job.file.parent}/..")
        made["insertion"] |= {"copies": 1} if trial else {}
    else:
        made = content(job, cases_of(job, out, stop, trial=trial), trial=trial)
    path = write(out / "runs" / "studies" / f"{name}.yaml", made)
    run_study(path, out=out / "runs" / name, workers=stop.workers, place=stop.place)


def pools_of(name: str) -> set[str]:
    """Pools that a job reads."""
    return {p.pool for p in JOBS[name].parts} & set(POOLS)

"""What is simulated: pools of animals under one scanner, as studies that end with their cases.

Animal i of a family is the same in every pool of equal cohort and seed, so that studies pair animals by name. Pools that
scan the animals of another one take its phantoms (and its frames where only the processing differs) as they are, by hard
links: the pipeline's keys say whether they are the same, and what is not is computed again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darklung.calibrate.file import CALIBRATION
from darklung.commands.run import run_study
from darklung.core.files import make_folder
from darklung.correct.response import SpectralResponse
from darklung.io.documents import validate
from darklung.physics.materials import linear_attenuation
from darklung.pipeline import Owner
from darklung.pipeline.executors import Place
from darklung.pipeline.folder import mark, strip
from darklung.steps.calibrate.wedges import calibrate_wedges
from darklung.study.scanner import InstrumentPart
from evidence_parts.limits import Stop, write

KEPT, LOST = [0.8, 1.1], [0.05, 0.5]
"""S_V of dense mimics over that of healthy lung: as in lung that is only fuller, and as in lesions (solid to filled)."""
CARRIED = {"diameter": ["0.5 mm", "3 mm"], "lesions": [2, 5], "lesion_free": 0.25, "shams": [1, 2], "mimics": [0, 3]}
BODY = {"voxel": "120 um"}
SCAN = {"supersampling": 2, "views": 180, "counts": 1.5e7, "flats": 6, "flat_repeats": 6}  # flats: 20 % of the counts
TUBE = {"spectrum": "tube", "low": "30 keV", "high": "90 keV", "design_energy": "60 keV"}
OTHER_TUBE = {**TUBE, "high": "75 keV", "filters": {"al": "1 mm"}, "design_energy": "62 keV"}
# As dey_2025_radiograph: what is known of the published set-up; pixels of 150 um, the CT beside it shows where the lung is.
PUBLISHED = {"spectrum": "tube", "low": "20 keV", "high": "60 keV", "design_energy": "40 keV", "visibility": 0.2}
PUBLISHED |= {"correlation_length": "1.5 um", "reference_energy": "40 keV"}


@dataclass(frozen=True)
class Pool:
    """One cohort under one scanner: what differs from `CARRIED`, `BODY`, `SCAN` and the keys' defaults.

    Parameters
    ----------
    name : str
    animals, test_animals : int
    family : str
        Of both splits.
    cohort, body, instrument, scan, effects, correction : mapping
    radiographs : mapping, optional
    like : str
        Pool whose outputs of `stages` are taken.
    seed : int
        Of the animals; another one where the animals of two pools are learned from together.
    wrong : bool
        The correction believes a calibration by wedges that was made at another tube voltage.
    """

    name: str
    animals: int
    test_animals: int
    family: str = "A"
    cohort: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    instrument: Mapping[str, Any] = field(default_factory=dict)
    scan: Mapping[str, Any] = field(default_factory=dict)
    effects: Mapping[str, Any] = field(default_factory=dict)
    correction: Mapping[str, Any] = field(default_factory=dict)
    radiographs: Mapping[str, Any] | None = None
    like: str = ""
    stages: tuple[str, ...] = ("phantom",)
    seed: int = 1
    wrong: bool = False


def _pools() -> dict[str, Pool]:
    keep, lose = {"mimic_surface": KEPT}, {"mimic_surface": LOST}
    hard: dict[str, Any] = {"family": "B", "instrument": {"visibility": 0.10, "correlation_length": "2 um"}}
    hard |= {"scan": {"flats": 3, "flat_repeats": 3}, "effects": {"scatter_to_primary": 0.03}}
    south: dict[str, Any] = {"instrument": {"visibility": 0.12, "correlation_length": "2.5 um"}}
    south |= {"effects": {"electronic_noise": 20, "dark_counts": 200, "blur": "100 um", "scatter_to_primary": 0.02}}
    west: dict[str, Any] = {"instrument": {**TUBE, "visibility": 0.10}, "scan": {"views": 135, "counts": 1.0e7}}
    flaws = {"ring_gain": 0.005, "visibility_drift": -0.05, "flux_drift": 0.02, "bad_pixels": 0.001}
    frames = ("phantom", "scan", "retrieve")
    small: dict[str, Any] = {"diameter": ["0.75 mm", "1.5 mm"], **keep}
    tube: dict[str, Any] = {"instrument": TUBE, "scan": {"keep_frames": True}}
    few = {"voxel": "150 um"}
    made = [
        Pool("default-kept", 36, 66, cohort=keep),
        Pool("default-lost", 36, 66, cohort=lose),
        Pool("hard-kept", 36, 66, cohort={**keep, "mimics": [2, 5]}, **hard),
        Pool("hard-lost", 36, 66, cohort={**lose, "mimics": [2, 5]}, **hard),
        Pool("family-B", 18, 24, family="B", cohort=keep, seed=2),
        Pool("family-C", 18, 24, family="C", cohort=keep, seed=3),
        Pool("site-south", 18, 24, cohort=keep, seed=4, **south),
        Pool("site-west", 18, 24, cohort=keep, seed=5, effects=flaws, **west),
        Pool("edges-off", 24, 40, cohort=keep, like="default-kept", effects={"unresolved_refraction": False}),
        Pool("dose-third", 24, 40, cohort=keep, like="default-kept", scan={"counts": 5e6}),
        Pool("dose-threefold", 24, 40, cohort=keep, like="default-kept", scan={"counts": 5e7}),
        Pool("v0-10", 24, 40, cohort=keep, like="default-kept", instrument={"visibility": 0.10}),
        Pool("v0-30", 24, 40, cohort=keep, like="default-kept", instrument={"visibility": 0.30}),
        Pool("xi-1", 24, 40, cohort=keep, like="default-kept", instrument={"correlation_length": "1 um"}),
        Pool("xi-5", 24, 40, cohort=keep, like="default-kept", instrument={"correlation_length": "5 um"}),
        Pool("tube", 24, 40, cohort=keep, like="default-kept", **tube),
        Pool("tube-none", 24, 40, cohort=keep, like="tube", stages=frames, correction={"hardening": "none"}, **tube),
        Pool("tube-wrong", 24, 40, cohort=keep, like="tube", stages=frames, wrong=True, **tube),
        Pool(
            "no-gratings", 36, 66, cohort=keep, like="default-kept",
            scan={"directions": ["0 deg"], "counts": 3e7}, effects={"unresolved_refraction": False},
        ),
        Pool(
            "mice", 60, 200, cohort=small, body=few, instrument=PUBLISHED,
            scan={"supersampling": 1, "views": 60, "counts": 3e6, "directions": ["0 deg"]},
            radiographs={"angles": ["0 deg"], "counts": 1e5},
        ),
    ]  # fmt: skip
    return {pool.name: pool for pool in made}


POOLS = _pools()
TRIAL_BODY, TRIAL_SCAN = {"voxel": "400 um"}, {"supersampling": 1, "views": 40}
TRIAL_COHORT = {"lesion_free": 0.0, "diameter": ["1.2 mm", "3 mm"]}
TRAIN_TRIAL, TEST_TRIAL = 6, 3


def content(pool: Pool, *, trial: bool = False) -> dict[str, Any]:
    """The pool as a study file has it; of a trial a few animals on coarse voxels."""
    counts = {"animals": pool.animals, "test_animals": pool.test_animals}
    if trial:
        counts = {"animals": TRAIN_TRIAL, "test_animals": TEST_TRIAL}
    cohort = {**CARRIED, **pool.cohort, "variant": pool.family, "test_variant": pool.family, **counts}
    source: dict[str, Any] = {"from": "simulation", "cohort": cohort, "body": {**BODY, **pool.body}}
    source |= {"instrument": dict(pool.instrument), "scan": {**SCAN, **pool.scan}, "effects": dict(pool.effects)}
    if trial:
        cohort |= TRIAL_COHORT
        source |= {"body": TRIAL_BODY, "scan": {**source["scan"], **TRIAL_SCAN}}
    if pool.radiographs is not None:
        source["radiographs"] = dict(pool.radiographs)
    if pool.wrong:
        source["calibrations"] = {"wedges": f"../wedge/{CALIBRATION}"}
    made: dict[str, Any] = {"name": pool.name, "seed": pool.seed, "sources": {"mice": source}}
    return made | ({"processing": {"correction": dict(pool.correction)}} if pool.correction else {})


def chain_of(name: str) -> list[Pool]:
    """The pools that a pool takes from, first ones first, and itself."""
    pool = POOLS[name]
    return [*(chain_of(pool.like) if pool.like else []), pool]


def simulate(name: str, out: Path, stop: Stop, *, trial: bool) -> Path:
    """The cases of a pool, which other pools' outputs help to make; its folder."""
    pool, folder = POOLS[name], out / "pools" / name
    if pool.like:
        simulate(pool.like, out, stop, trial=trial)
    if pool.wrong:
        wrong_wedge(out / "pools" / "wedge")
    path = write(out / "pools" / "studies" / f"{name}.yaml", content(pool, trial=trial))
    if pool.like:
        make_folder(folder)
        mark(folder, Owner("run", path))  # outputs without it would be those of an older format
        for stage in pool.stages:
            take(out / "pools" / pool.like / stage, folder / stage, content(pool, trial=trial)["sources"]["mice"]["cohort"])
    place: Place = stop.place
    run_study(path, out=folder, workers=stop.workers, place=place)
    if all(other.like != name for other in POOLS.values()):
        for phantom in (folder / "phantom").glob("*-*"):
            strip(phantom)  # 65 MB each; made again if anything that reads them is due
    return folder


def take(theirs: Path, ours: Path, cohort: Mapping[str, Any]) -> None:
    """Hard links to what another pool made of the same animals, where nothing is yet."""
    for split, count in (("train", cohort["animals"]), ("test", cohort["test_animals"])):
        for number in range(1, count + 1):
            item = f"{split}-{number:04d}"
            if (theirs / item).is_dir() and not (ours / item).exists():
                shutil.copytree(theirs / item, ours / item, copy_function=os.link)


def wrong_wedge(folder: Path) -> None:
    """A calibration by wedges of `OTHER_TUBE`, noise-free steps of water: right for a scanner that this one is not."""
    from darklung.commands.measurements import read_measurements

    if (folder / CALIBRATION).is_file():
        return
    instrument = write(folder / "instrument.yaml", {"instrument": OTHER_TUBE})
    response = SpectralResponse.of(validate(OTHER_TUBE, InstrumentPart, str(instrument)).instrument())
    rows = ["water_mm,attenuation,dark_field"]
    for step in range(13):
        depth = linear_attenuation("water", 1.0, response.energies_kev) * 2.5e-3 * step
        a, d = response.measured(depth)
        rows.append(f"{2.5 * step:g},{float(a):.6f},{float(d):.6f}")
    (folder / "wedge.csv").write_text("\n".join(rows) + "\n")
    measured = read_measurements(folder / "wedge.csv", folder)
    calibrate_wedges(measured, folder, instrument=instrument, thickness="{water_mm} mm")

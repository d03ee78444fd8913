"""What would be computed, what it costs, what is less than wished, and what is expected."""

from __future__ import annotations

from pathlib import Path

from evidence_parts.expected import EXPECTED
from evidence_parts.jobs import LETTERS, OBSERVERS, STUDIES, Job, pools_of, with_data
from evidence_parts.lobes import TEST, TRAIN
from evidence_parts.pools import POOLS, chain_of, content
from evidence_parts.tables import Cost

# Processor seconds of one core: of an animal as records of two full-size ones told, of learning as guessed from 0.07 s for a
# training step of 16³ × 4. A folder's own records replace them.
SECONDS = {"phantom": 6.1, "scan": 12.7, "rest": 5.2, "radiograph": 1.8, "lobe": 0.2}
LEARNING = {
    "network": 75.0,
    "trees": 20.0,
    "network, flat": 60.0,
    "trees, flat": 8.0,
    "prediction": 2.0,
    "prediction, flat": 0.3,
}
FEWER = {"mice": 0.7}  # of an animal's cost, at coarser voxels and fewer views

REDUCED = (
    "Volumes have voxels of 240 µm (phantoms of 120 µm, two voxels a detector pixel) and 180 views, where the full "
    "protocol has "
    "120 µm and 360: a lesion of 0.5 mm fills five voxels, so that the smallest sizes are told by class and size and "
    "not relied on.",
    "One seed of training a model, three folds, networks of 600 steps. Intervals are over animals and know nothing of "
    "other weights.",
    "The hard setting wants a texture of 20 %, which is no key of a study: family B (25 %, holes and strands) stands "
    "for it, in "
    "training and test. So default and hard differ in the animals too.",
    "Dense mimics keep S_V (0.8 to 1.1 of healthy lung) or lose it (0.05 to 0.5, as in lesions); emphysema and knots "
    "of vessels stay.",
    "Left-out families and scanners: 24 test animals of each, always 36 to learn from: 12 of each, or 18 of both others.",
    "Ablations: 24 animals to learn from and 40 to test on, the first of the four-arm study, and one learning for "
    "each setting.",
    "The wrong spectrum is a calibration by wedges of 75 kV with half of the filter for a scanner of 90 kV.",
    "Mice in radiographs: one view, pixels of 150 µm (published set-up: assumed 100), the lung's shadow found in a "
    "coarse CT.",
    "Lobes are made of line integrals at one energy (40 keV) with normal photon noise; no hardening, scatter or blur. "
    "μ of the "
    "tumours is swept against one lung (0.085 /cm).",
    "Without gratings: twice the counts at equal dose, since the analyser grating behind the animal lets half of them "
    "pass; all steps "
    "added. Absorption of other gratings, which the animal's dose does not contain, is left out.",
)  # fmt: skip


def core_seconds(job: Job, cost: Cost) -> float:
    """Of training, prediction and evaluation of a job."""
    own = cost.seconds.get(f"runs/{job.name}")
    if own and "evaluate" in own:
        return sum(sum(seconds) for seconds in own.values())
    if job.file is not None:
        animals, arms = 180, 3
    else:
        animals, arms = (TRAIN + TEST if job.cell else sum(p.train + p.test for p in job.parts)), len(job.arms)
    flat = ", flat" if job.flat or job.file else ""
    folds = 6 if job.file else 3
    trained = arms * folds * (LEARNING[f"network{flat}"] + LEARNING[f"trees{flat}"])
    return trained + arms * len(OBSERVERS) * animals * LEARNING[f"prediction{flat}"]


def simulation_seconds(name: str, cost: Cost) -> float:
    """Of a pool, what it takes from others not counted."""
    own, pool = cost.seconds.get(f"pools/{name}"), POOLS[name]
    animals = pool.animals + pool.test_animals
    if own and len(own.get("cases", ())) >= animals:
        return sum(sum(seconds) for seconds in own.values())
    scan = content(pool)["sources"]["mice"]["scan"]
    each = SECONDS["rest"] + (0 if "phantom" in pool.stages and pool.like else SECONDS["phantom"])
    directions = len(scan.get("directions", (0, 90))) / 2
    each += 0 if "scan" in pool.stages else SECONDS["scan"] * directions * scan["views"] / 180
    each += SECONDS["radiograph"] if pool.radiographs else 0
    return animals * each * FEWER.get(name, 1.0)


def costs(out: Path | None) -> list[tuple[str, int, float, float]]:
    """(study, simulated animals, core-hours of simulation, of learning); a pool counts in the first study that reads it."""
    cost, seen, rows = Cost(out or Path("/nonexistent")), set[str](), []
    for study, jobs in STUDIES.items():
        used = {p.name for job in jobs for name in pools_of(job.name) for p in chain_of(name)} - seen
        seen |= used
        animals = sum(POOLS[n].animals + POOLS[n].test_animals for n in used)
        simulation = sum(simulation_seconds(n, cost) for n in used)
        simulation += sum(SECONDS["lobe"] * (TRAIN + TEST) for job in jobs if job.cell)
        learning = sum(core_seconds(job, cost) for job in jobs if with_data(job))
        rows.append((study, animals, simulation / 3600, learning / 3600))
    return rows


def cost_lines(out: Path | None) -> list[str]:
    """The same as a table."""
    rows = costs(out)
    lines = ["| study | simulated animals | core-hours, simulation | core-hours, learning |", "|---|---|---|---|"]
    lines += [f"| {s} | {n} | {a:.1f} | {b:.1f} |" for s, n, a, b in rows]
    total = [sum(r[k] for r in rows) for k in (1, 2, 3)]
    return [*lines, f"| all | {total[0]} | {total[1]:.1f} | {total[2]:.1f} |"]


def plan(out: Path | None) -> str:
    """All of it as text."""
    lines = ["Studies and their runs"]
    for study, jobs in STUDIES.items():
        lines.append(f"({LETTERS[study]}) {study}")
        for job in jobs:
            absent = "" if with_data(job) else "   [its measured data are not there]"
            parts = ", ".join(f"{p.site + ' ' if p.site else ''}{p.pool} {p.train}+{p.test}" for p in job.parts)
            what = parts or (f"simulated lobes {TRAIN}+{TEST}" if job.cell else str(job.file.name if job.file else ""))
            lines.append(f"    {job.name}: {what}; arms {', '.join(job.arms) or 'of the file'}{absent}")
    lines += ["", "What pools change of the common protocol", *pool_lines()]
    lines += ["", "Estimated cost (two free cores halve the hours)", *cost_lines(out)]
    lines += ["", "Less than was wished", *(f"- {text}" for text in REDUCED)]
    lines += ["", "Expected, before any result", *(f"- {e.study}: {e.text} ({e.metric}: {e.rule()})" for e in EXPECTED)]
    return "\n".join(lines)


def pool_lines() -> list[str]:
    """One line a pool: what it changes."""
    lines = []
    for pool in POOLS.values():
        parts = {k: getattr(pool, k) for k in ("cohort", "body", "instrument", "scan", "effects", "correction")}
        told = [f"{k}: {dict(v)}" for k, v in parts.items() if v]
        told += [f"takes {', '.join(pool.stages)} of {pool.like}"] if pool.like else []
        told += ["believes another tube"] if pool.wrong else []
        lines.append(f"    {pool.name}: {pool.animals}+{pool.test_animals} mice of family {pool.family}; {'; '.join(told)}")
    return lines

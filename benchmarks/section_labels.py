"""What it costs to train on labels that sections gave, against true labels of the same animals.

    python benchmarks/register.py --out cases --cases 30 --keep labels
    python benchmarks/register.py --held-out --first 31 --cases 16 --keep labels
    python benchmarks/section_labels.py OUT --labels labels [--seeds 1 2] [--steps 400] [--workers 2] [--report]

Four studies a seed, alike but for the labels of the animals that are trained on (KINDS in benchmarks/register.py): carried
from placed sections with voxels of doubtful borders unknown, carried and cut at one half, true ones of the voxels that
sections saw, true ones everywhere. From the first to the third is what placing costs, from there to the last what it
costs to have few sections. All are judged by true labels of other animals. Steps, patches, folds, channels and draws of
weights are the same. What is finished is not done again; OUT/section_labels.md is written at the end. Keep OUT outside
the checkout.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from arms import cell, lesions, mean, measured, write
from darklung.commands.run import run_study
from darklung.steps.scoring.finished import open_run
from register import KINDS

ARM = "hybrid"
SHOWN = {"auroc": "AUROC", "equal_sensitivity": "sensitivity at 95 % specificity", "froc": "search", "dice": "Dice"}
"""Sensitivity at the specificity of the test animals: labels on sections alone fix no threshold."""


def learn(options: argparse.Namespace, kind: str, seed: int) -> Path:
    """One study: the folder of its run."""
    placed = {p.name for p in (options.labels / "carried").iterdir()}
    every = {p.name for p in (options.labels / "true").iterdir()}
    files = {"train": (kind, sorted(placed)), "test": ("true", sorted(every - placed))}
    sources = {
        use: {"from": "cases", "files": [str((options.labels / of / name).resolve()) for name in names], "use": use}
        for use, (of, names) in files.items()
    }
    learning = {"arms": {ARM: ["attenuation", "dark_field"]}, "observers": ["network", "boosting"], "folds": 3}
    learning |= {"patch": 16, "batch": 4, "steps": options.steps, "keep_state": False}
    name = f"{kind}-{seed}"
    path = write(options.out / f"{name}.yaml", {"name": name, "seed": seed, "sources": sources, "learning": learning})
    run_study(path, out=options.out / name, workers=options.workers)
    return options.out / name


def table(options: argparse.Namespace) -> list[str]:
    """Of what is finished."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        runs = [open_run(p) for s in options.seeds if (p := options.out / f"{kind}-{s}", (p / "evaluate").is_dir())[1]]
        if len(runs) == len(options.seeds):
            found[kind], animals = measured(runs, tuple(SHOWN))
            counts = f"{len(runs)} seeds, {animals} test animals, {lesions(runs)} tiles with lesions"
    lines = [f"{counts}; [95 % interval over animals]; differences from true labels everywhere are paired by animal.", ""]
    lines += [f"| Labels | Observer | {' | '.join(SHOWN.values())} | AUROC − true | Dice − true |", "|" + "---|" * 8]
    for row in next(iter(found.values())):
        for kind, of in found.items():
            cells = [cell(mean(of[row][name]).estimate(animals)) for name in SHOWN]
            for name in ("auroc", "dice"):
                differs = mean(of[row][name]).minus(mean(found["true"][row][name]), animals)
                cells.append("–" if kind == "true" else cell(differs, "+"))
            lines.append(f"| {KINDS[kind]} | {row.partition('.')[2] or 'network'} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Run what is lacking and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=400, help="of the networks")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--report", action="store_true", help="write the table of what is finished alone")
    options = parser.parse_args()
    for seed in [] if options.report else options.seeds:
        for kind in KINDS:
            learn(options, kind, seed)
    lines = table(options)
    (options.out / "section_labels.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

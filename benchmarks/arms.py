"""Whether made channels help: arms with ratio, contrast, texture and variance channels against raw ones, and boosted trees.

    python benchmarks/arms.py OUT [--study examples/quick.yaml] [--animals 24] [--test-animals 30] [--cases FOLDER]
        [--seeds 1 2 3] [--steps 600] [--arms raw control ratio contrast texture variance] [--observers network boosting]

The animals of the study are simulated once (OUT/animals), or are there already (--cases). Each seed is a study of its own
on them (OUT/seed-N): other folds, weights and draws, the same test animals, which the mean of all folds' models predicts.
What is finished is not done again, so a command that was stopped is given once more. At the end, and with --report alone
at any time, OUT/arms.md has a table of every arm with every observer, whatever it shows: the mean over the seeds, 95 %
intervals over animals (the same bootstrap draws of animals for all seeds), the spread of the seeds, and the paired
difference from the raw channels of the same observer. The arm `control` has white noise in place of a made channel. Keep
OUT outside the checkout.
"""

import argparse
from functools import reduce
from pathlib import Path

import numpy as np
import yaml

from darklung.commands.run import run_study
from darklung.evaluate.metrics import METRICS
from darklung.evaluate.scored import Spread, scored
from darklung.evaluate.statistics import bootstrap_weights
from darklung.steps.scoring.finished import open_run

RAW = ("attenuation", "dark_field_0", "dark_field_90")
MADE = {
    "raw": (),
    "control": ("noise",),
    "ratio": ("ratio(dark_field, attenuation)",),
    "contrast": ("contrast(attenuation, 0.8 mm)", "contrast(dark_field, 0.8 mm)"),
    "texture": ("texture(attenuation, entropy, 5)", "texture(dark_field, entropy, 5)"),
    "variance": ("attenuation_noise", "dark_field_0_noise", "dark_field_90_noise"),
}
SHOWN = {"auroc": "AUROC", "sensitivity": "sensitivity", "dice": "Dice"}
REPLICATES, DRAW_SEED = 2000, 1


def write(path, content):
    """A study file, left alone where it is the same."""
    text = yaml.safe_dump(content, sort_keys=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
    return path


def simulate(options):
    """Cases of all animals."""
    content = yaml.safe_load(options.study.read_text())
    content.pop("learning", None)
    for source in content["sources"].values():
        source["cohort"] |= {"animals": options.animals, "test_animals": options.test_animals}
    path = write(options.out / "animals.yaml", content)
    run_study(path, out=options.out / "animals", workers=options.workers)
    return options.out / "animals" / "cases"


def learn(options, cases, seed):
    """One seed: every arm and observer, to its comparison and report."""
    learning = yaml.safe_load(options.study.read_text())["learning"]
    learning |= {"arms": {name: [*RAW, *MADE[name]] for name in options.arms}, "observers": options.observers}
    learning |= {"steps": options.steps, "keep_state": False}
    if options.trees:
        learning["boosting"] = {"trees": options.trees}
    sources = {use: {"from": "cases", "files": [f"{cases.resolve()}/{use}-*"], "use": use} for use in ("train", "test")}
    content = {"name": f"seed-{seed}", "seed": seed, "sources": sources, "learning": learning}
    run_study(write(options.out / f"seed-{seed}.yaml", content), out=options.out / f"seed-{seed}", workers=options.workers)


def mean(spreads):
    """Of the seeds, in every replicate too."""
    return Spread(float(np.mean([s.value for s in spreads])), np.mean([s.replicates for s in spreads], axis=0))


def measured(runs, names=tuple(SHOWN)):
    """Row -> metric -> one spread a seed, all on the same draws of animals; and the number of animals."""
    found = {}
    animals = sorted(set(runs[0].tables("test", runs[0].comparison["arms"][0]).voxels["subject"]))
    weights = bootstrap_weights(clusters=len(animals), seed=DRAW_SEED, replicates=REPLICATES)
    for run in runs:
        for row in run.comparison["arms"]:
            threshold = run.comparison["results"]["test"][row]["threshold"]
            view = scored(run.tables("test", row), weights, threshold=threshold)
            for name in names:
                found.setdefault(row, {}).setdefault(name, []).append(METRICS[name].function(view))
    return found, len(animals)


def cell(estimate, sign=""):
    """A value with its interval."""
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def row_of(row, found, animals):
    """One line of the table."""
    arm, dot, observer = row.partition(".")
    raw = found.get(f"raw{dot}{observer}")
    cells = [arm, observer or "network"]
    for name in SHOWN:
        seeds = found[row][name]
        cells.append(f"{cell(mean(seeds).estimate(animals))} ± {np.std([s.value for s in seeds]):.3f}")
    if raw and arm != "raw":
        cells += [cell(mean(found[row][n]).minus(mean(raw[n]), animals), "+") for n in ("auroc", "dice")]
    else:
        cells += ["–", "–"]
    return f"| {' | '.join(cells)} |"


def lesions(runs):
    """Positive tiles of the test animals."""
    return int(runs[0].tables("test", runs[0].comparison["arms"][0]).tiles["label"].sum())


def report(options):
    """Write and print the table of the seeds that are finished."""
    runs = [open_run(options.out / f"seed-{s}") for s in options.seeds if (options.out / f"seed-{s}" / "evaluate").is_dir()]
    found, animals = measured(runs)
    head = ["Arm", "Observer", *SHOWN.values(), "AUROC − raw", "Dice − raw"]
    lines = [
        f"{len(runs)} seeds, {animals} test animals with {lesions(runs)} lesions; mean over the seeds [95 % interval over "
        "animals] ± standard deviation over the seeds; differences from the raw channels of the same observer, paired by "
        "animal.",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(
            row_of(row, found, animals)
            for row in reduce(lambda a, b: [r for r in a if r in b], (r.comparison["arms"] for r in runs))
        ),
    ]
    (options.out / "arms.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--study", type=Path, default=Path(__file__).parents[1] / "examples/quick.yaml")
    parser.add_argument("--animals", type=int, default=24)
    parser.add_argument("--test-animals", type=int, default=30)
    parser.add_argument("--cases", type=Path, help="folder with labelled cases train-* and test-*, not simulated")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=600, help="of the networks")
    parser.add_argument("--trees", type=int, help="of the boosted trees, at most")
    parser.add_argument("--arms", nargs="+", choices=MADE, default=list(MADE))
    parser.add_argument("--observers", nargs="+", default=["network", "boosting"])
    parser.add_argument("--workers", type=int)
    parser.add_argument("--report", action="store_true", help="write the table of what is finished alone")
    options = parser.parse_args()
    if not options.report:
        cases = options.cases or simulate(options)
        for seed in options.seeds:
            learn(options, cases, seed)
    report(options)


if __name__ == "__main__":
    main()

"""The demo's arms with refraction at rims and without: ``python benchmarks/refraction_arms.py OUT [--study FILE]``.

The same study twice: as it is (OUT/on), and with `effects: {unresolved_refraction: false}` (OUT/off). The same animals,
lesions, noise, folds and first weights. What is finished is not done again; `--only off` runs one of the two, `--report`
none. OUT/edges.md has each arm's metrics on the test animals, 95 % intervals over animals, and their paired difference (the
same bootstrap draws of animals). Keep OUT outside the checkout.
"""

import argparse
from pathlib import Path

import yaml

from darklung.commands.run import run_study
from darklung.evaluate.metrics import METRICS
from darklung.evaluate.scored import scored
from darklung.evaluate.statistics import bootstrap_weights
from darklung.steps.scoring.finished import open_run

SHOWN = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity", "dice": "Dice"}
REPLICATES, DRAW_SEED = 10_000, 1
SETTINGS = {"off": False, "on": True}


def run(options, name):
    """One of the two studies, to its comparison."""
    content = yaml.safe_load(options.study.read_text()) | {"name": f"edges-{name}"}
    for source in content["sources"].values():
        source["effects"] = source.get("effects", {}) | {"unresolved_refraction": SETTINGS[name]}
    path = options.out / f"{name}.yaml"
    options.out.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    run_study(path, out=options.out / name, workers=options.workers)


def measured(folder):
    """Arm -> metric -> spread on the test animals; and the number of animals."""
    finished = open_run(folder)
    arms = finished.comparison["arms"]
    animals = len(set(finished.tables("test", arms[0]).voxels["subject"]))
    weights, found = bootstrap_weights(clusters=animals, seed=DRAW_SEED, replicates=REPLICATES), {}
    for arm in arms:
        threshold = finished.comparison["results"]["test"][arm]["threshold"]
        view = scored(finished.tables("test", arm), weights, threshold=threshold)
        found[arm] = {name: METRICS[name].function(view) for name in SHOWN}
    return found, animals


def cell(estimate, sign=""):
    """Value and interval."""
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def report(options):
    """Write and print the table."""
    (off, animals), (on, _) = measured(options.out / "off"), measured(options.out / "on")
    lines = ["| arm | | without | with | difference, paired |", "|---|---|---|---|---|"]
    for arm in off:
        for name, title in SHOWN.items():
            before, after = off[arm][name], on[arm][name]
            told = [cell(before.estimate(animals)), cell(after.estimate(animals)), cell(after.minus(before, animals), "+")]
            lines.append(f"| {arm if name == 'auroc' else ''} | {title} | {' | '.join(told)} |")
    (options.out / "edges.md").write_text("\n".join(lines) + "\n")
    print(f"{animals} test animals\n" + "\n".join(lines))


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--study", type=Path, default=Path(__file__).parents[1] / "examples/quick.yaml")
    parser.add_argument("--only", choices=SETTINGS)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--report", action="store_true", help="write the table of what is finished alone")
    options = parser.parse_args()
    if not options.report:
        for name in (options.only,) if options.only else SETTINGS:
            run(options, name)
    if not options.only:
        report(options)


if __name__ == "__main__":
    main()

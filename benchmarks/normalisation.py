"""What another gain, offset or spectrum changes of what trained models call: normalised by each volume, or by the cohort.

    python benchmarks/normalisation.py RUN [--arms hybrid hybrid.boosting] [--animals 6] [--spectrum STUDY --work FOLDER]

RUN is a finished run (`darklung run examples/quick.yaml`), whose test animals are predicted by the mean of its folds'
models. Every channel of an arm is changed as a whole: x -> gain x + offset m, m the channel's median inside the lung.
Printed are the largest change of a normalised channel inside the search region, the voxels called (logit > 0) before and
after, the share of them that changed (called before and not after, or the other way round, over those called before), and
Dice over all animals.

With --spectrum the test animals of that study (whose source is simulated, such as examples/quick.yaml) are scanned once more
with a harder beam (75 to 95 keV in place of 60 to 80 keV) in FOLDER; images then differ in noise too, and so does the lung
that is found in them, so voxels are counted and not matched.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from darklung.commands.run import run_study
from darklung.core.types import LESION
from darklung.io.case import load_case
from darklung.learn.boosted import BOOSTING
from darklung.learn.predict import load_boosted, load_model, predict, read_description
from darklung.steps.network_case import network_case

# gain and offset of even and of odd channels
CHANGES = {
    "gain 1.15": ((1.15, 0.0), (1.15, 0.0)),
    "gain 0.85": ((0.85, 0.0), (0.85, 0.0)),
    "offset +5 %": ((1.0, 0.05), (1.0, 0.05)),
    "offset -5 %": ((1.0, -0.05), (1.0, -0.05)),
    "gain 1.15 and 0.85, offset +5 % and -5 %": ((1.15, 0.05), (0.85, -0.05)),
}
HARD = {"low": "75 keV", "high": "95 keV"}


def changed(case, change):
    """The case with another gain and offset of its channels."""
    data = np.array(case.image.data, dtype=np.float64)
    for i, values in enumerate(data):
        gain, offset = change[i % 2]
        values *= gain
        values += offset * np.median(case.image.data[i][case.inside])
    return replace(case, image=case.image.with_data(data.astype(np.float32)))


def normalised(folder, case):
    """Channels as the model of a folder sees them."""
    load = load_boosted if read_description(folder).get("observer") == BOOSTING else load_model
    return load(folder).normalisation.apply(case)


def called(models, cases):
    """Voxels of each case with a logit above 0."""
    return [(predict(model_dir=models, case=c, overlap=0.0).logits > 0) & c.region for c in cases]


def dice(found, cases):
    """Over all cases together."""
    hit = sum((f & (c.target == LESION)).sum() for f, c in zip(found, cases))
    return 2 * hit / sum(f.sum() + (c.target == LESION).sum() for f, c in zip(found, cases))


def told(name, worst, before, after, share, dices):
    numbers = f"{worst:>10}{before:9d}{after:9d}{share:>9}{dices[0]:8.3f}{dices[1]:8.3f}"
    print(f"  {name:<42}{numbers}", flush=True)


def measure(run, arm, folders, other):
    """The lines of one arm."""
    models = sorted((run / "train").glob(f"{arm}.fold*"))
    about = read_description(models[0])
    cases = [network_case(load_case(f, tuple(about["channels"]))) for f in folders]
    before = called(models, cases)
    count, score = int(sum(b.sum() for b in before)), dice(before, cases)
    print(f"\n{arm}: {len(models)} models, {len(cases)} animals, normalised by the {about['normalisation']['per']}")
    print(f"  {'change':<42}{'largest':>10}{'before':>9}{'after':>9}{'changed':>9}{'Dice':>8}{'after':>8}")
    for name, change in CHANGES.items():
        new = [changed(c, change) for c in cases]
        worst = max(
            float(np.abs(normalised(models[0], n) - normalised(models[0], c))[:, c.region].max()) for n, c in zip(new, cases)
        )
        after = called(models, new)
        share = sum((a ^ b).sum() for a, b in zip(after, before)) / max(count, 1)
        told(name, f"{worst:.1e}", count, int(sum(a.sum() for a in after)), f"{share:.2%}", (score, dice(after, new)))
    if other:
        new = [network_case(load_case(other / f.name, tuple(about["channels"]))) for f in folders]
        after = called(models, new)
        total = int(sum(a.sum() for a in after))
        told("spectrum 75-95 keV", "-", count, total, f"{abs(total - count) / max(count, 1):.2%}", (score, dice(after, new)))


def other_spectrum(study, folder):
    """Cases of the test animals of a study, scanned with a harder beam."""
    content = yaml.safe_load(study.read_text())
    content.pop("learning")
    for source in content["sources"].values():
        source["cohort"]["animals"] = 0
        source["instrument"] |= HARD
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "hard.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    run_study(path, out=folder / "hard", workers=1)
    return folder / "hard" / "cases"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--arms", nargs="+", default=["hybrid"], help="rows of the run: ARM, or ARM.boosting")
    parser.add_argument("--animals", type=int, default=6, help="test animals at most")
    parser.add_argument("--spectrum", type=Path, help="study file with a simulated source")
    parser.add_argument("--work", type=Path, help="folder for its scans, outside the checkout")
    options = parser.parse_args()
    other = other_spectrum(options.spectrum, options.work) if options.spectrum else None
    folders = sorted((options.run / "cases").glob("test-*"))[: options.animals]
    if not folders:
        raise SystemExit(f"{options.run}: wanted a finished run with cases/test-*")
    for arm in options.arms:
        measure(options.run, arm, folders, other)


if __name__ == "__main__":
    main()

"""What physical augmentations cost, and what they are worth: each against none, on the same animals, draws and steps.

    python benchmarks/augmentation.py cost [--steps 10]
    python benchmarks/augmentation.py animals OUT [--study examples/quick.yaml] [--animals 12] [--test-animals 12]
    python benchmarks/augmentation.py noise OUT
    python benchmarks/augmentation.py effect OUT [--only dose noise] [--seeds 1 2 3] [--steps 400] [--arm attenuation ...]
    python benchmarks/augmentation.py report OUT

``cost``: processor time of drawing a batch with each setting, over that of the whole step of the default network (one
thread, alternating, medians). ``animals``: cases of a study's training and test animals in OUT/own, and the same test
animals in other scans (a quarter of the counts, V0 times 2/3, ξ times 2/3) in OUT/SCAN, without any learning. ``noise``:
the scan with a quarter of the counts less the scan with all of them, in the lung: its variance over what the errors say and
its correlation, beside those of the model, which is what the augmentation draws. ``effect``: for each setting and seed one
network on all training animals (no validation: the last step is taken), which predicts the test animals of every scan;
tiles go to OUT/tiles/SETTING.SEED.SCAN.parquet, and what is there is not done again, so a command that was stopped is given
once more, and further seeds or settings are added by naming them. ``report``, and ``effect`` at its end: AUROC of lesions
against tiles for each scan and setting, and its paired difference from none, with 95 % intervals that resample animals and
seeds (with three seeds those are a rough guide). Whatever it shows is printed. Keep OUT outside the checkout.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from darklung.commands.run import run_study
from darklung.core.random import stream
from darklung.core.types import Image
from darklung.evaluate.statistics import bootstrap_weights, count_pairs, interval
from darklung.evaluate.tables import subject_tiles
from darklung.io.case import load_case
from darklung.learn.data import Case, fit_normalisation
from darklung.learn.device import one_thread
from darklung.learn.losses import make_loss
from darklung.learn.network import make_network
from darklung.learn.noise import plane_correlation
from darklung.learn.patches import draw_batch, make_source
from darklung.learn.predict import predict
from darklung.learn.settings import AugmentationPart, TrainingPart
from darklung.learn.train import train
from darklung.steps.arm_reading import known_of
from darklung.steps.network_case import network_case

OFF = "none"
SETTINGS = {
    OFF: {},
    "noise": {"noise": 1.0},
    "dose": {"dose": [1, 4]},
    "dose, white": {"dose": [1, 4], "texture": "white"},
    "visibility": {"visibility": [0.5, 1]},
    "correlation_length": {"correlation_length": [0.67, 1.5]},
    "energy": {"energy": [0.85, 1.15]},
    "breathing": {"breathing": 1.0},
    "all": {
        "noise": 0.5, "dose": [1, 4], "visibility": [0.5, 1], "correlation_length": [0.67, 1.5], "energy": [0.85, 1.15],
        "breathing": 1.0,
    },
}  # fmt: skip
SCANS = {"own": 1.0, "counts": 0.25, "visibility": 2 / 3, "correlation_length": 2 / 3}  # what differs, times what
ARM = ("attenuation", "dark_field_0", "dark_field_90")
SHAPES = ((16, 4), (32, 2))  # patch, batch
SPACING_M = (3e-4,) * 3
REPLICATES, DRAW_SEED = 2000, 1


def made_up():
    """A noisy volume of lung with its errors, and one lesion."""
    rng, shape = np.random.default_rng(0), (54, 44, 58)
    levels = np.array([6.0, 90.0, 90.0, 0.5, 8.0, 8.0]).reshape(-1, 1, 1, 1)
    data = levels * np.concatenate([1 + 0.1 * rng.standard_normal((3, *shape)), rng.uniform(0.9, 1.1, (3, *shape))])
    names = (*ARM, *(f"{n}_noise" for n in ARM))
    target = np.zeros(shape, np.uint8)
    target[20:24, 20:24, 20:24] = 1
    image = Image(data.astype(np.float32), names, ("1/m",) * 6, SPACING_M)
    return Case("m", image, target, np.ones(shape, bool), energy_kev=70.0, correlation_length_m=3e-6)


def make_step(patch, batch):
    """A step of the default network on patches that are there: forward, loss, backward, update."""
    network = make_network("residual_attention_unet", channels=len(ARM), dims=3, widths=(16, 32, 48))
    optimizer, loss = torch.optim.AdamW(network.parameters(), lr=1e-3), make_loss("dice_focal_boundary")

    def step(cut):
        optimizer.zero_grad()
        data, *truth = (torch.from_numpy(np.ascontiguousarray(v)) for v in (cut.data, *cut.truth.values()))
        loss(network(data), *truth).backward()
        optimizer.step()

    return step


def cost(steps):
    case = made_up()
    normalisation = fit_normalisation(cases=[case], channels=ARM)
    print(f"{'patch':>8}{'batch':>7}  {'setting':<20}{'draw, ms':>10}{'step, ms':>10}{'more':>8}")
    for patch, batch in SHAPES:
        parts = {name: AugmentationPart.model_validate(said) for name, said in SETTINGS.items()}
        common = {"case": case, "normalisation": normalisation, "patch": (patch,) * 3}
        sources = {name: [make_source(**common, augmentation=part)] for name, part in parts.items()}
        step, times = make_step(patch, batch), {name: [] for name in (*SETTINGS, "step")}
        for number in range(steps + 1):
            for name, part in parts.items():
                began, rng = time.process_time(), stream(1, "patches", number)
                cut = draw_batch(
                    sources=sources[name], patch=(patch,) * 3, batch=batch, rng=rng, augmentation=part,
                    streams=lambda what, number=number: stream(1, what, number),
                )  # fmt: skip
                times[name].append(time.process_time() - began)
            began = time.process_time()
            step(cut)
            times["step"].append(time.process_time() - began)
        middle = {name: 1e3 * statistics.median(t[1:]) for name, t in times.items()}
        whole = middle[OFF] + middle["step"]
        for name in SETTINGS:
            numbers = f"{middle[name]:10.2f}{middle['step']:10.1f}{(middle[name] - middle[OFF]) / whole:8.1%}"
            print(f"{patch:>7}^3{batch:6d}  {name:<20}{numbers}", flush=True)


def animals(options):
    """Cases of every scan."""
    for scan, factor in SCANS.items():
        content = yaml.safe_load(options.study.read_text())
        content.pop("learning", None)
        for source in content["sources"].values():
            source["cohort"] |= {"animals": options.animals if scan == "own" else 0, "test_animals": options.test_animals}
            part = source["scan" if scan == "counts" else "instrument"]
            if scan == "correlation_length":
                part[scan] = f"{float(part[scan].split()[0]) * factor:g} um"
            elif scan != "own":
                part[scan] = float(part[scan]) * factor
        path = options.out / f"{scan}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        run_study(path, out=options.out / scan, workers=1)


def folders(out, scan, test):
    found = sorted((out / scan / "cases").iterdir())
    return [f for f in found if f.name.startswith("test-") == test]


def both(out, name):
    """A test animal's cases of all and of a quarter of the counts, on their common box."""
    cases = [load_case(out / scan / "cases" / name) for scan in ("own", "counts")]
    first, last = [], []
    for case in cases:
        away = np.subtract(case.channels.origin_m, cases[0].channels.origin_m)
        index = np.rint(away / case.channels.spacing_m).astype(int)
        first.append(index)
        last.append(index + case.channels.shape)
    low, high = np.max(first, axis=0), np.min(last, axis=0)
    boxes = [tuple(slice(a, b) for a, b in zip(low - f, high - f)) for f in first]
    images = [c.channels.cropped(box) for c, box in zip(cases, boxes)]
    return images, cases[0].lung[boxes[0]] & cases[1].lung[boxes[1]]


def product(values, inside, shift):
    """Mean product of voxels `shift` apart, both inside."""
    here = tuple(slice(s, None) for s in shift)
    there = tuple(slice(None, n - s) for s, n in zip(shift, values.shape))
    return float((values[here] * values[there])[inside[here] & inside[there]].mean())


def noise(options):
    shifts = {"z": (1, 0, 0), "y": (0, 1, 0), "x": (0, 0, 1), "yx": (0, 1, 1), "2y": (0, 2, 0), "2x": (0, 0, 2)}
    print(f"{'animal':<12}{'channel':<16}{'errors':>8}{'variance':>10}  correlation" + "".join(f"{s:>8}" for s in shifts))
    for folder in folders(options.out, "own", test=True):
        images, inside = both(options.out, folder.name)
        for name in options.arm:
            values = [image.channel(name).astype(float) for image in images]
            sigma = [image.channel(f"{name}_noise").astype(float) for image in images]
            away = (values[1] - values[0]) / np.hypot(*sigma)
            away -= away[inside].mean()
            variance = away[inside].var()
            found = "".join(f"{product(away, inside, s) / variance:8.3f}" for s in shifts.values())
            ratio = np.median(sigma[1][inside] / sigma[0][inside])
            print(f"{folder.name:<12}{name:<16}{ratio:8.3f}{variance:10.3f}  {'':<11}{found}", flush=True)
    plane = plane_correlation(4)
    print(
        f"{'model':<12}{'':<16}{2.0:8.3f}{1.0:10.3f}  {'':<11}"
        + "".join(f"{plane[s[1:]] * (not s[0]):8.3f}" for s in shifts.values())
    )


def learned(options, setting, seed):
    """Tiles of the test animals of every scan by one network, where they are not there yet."""
    scans = [s for s in SCANS if (options.out / s / "cases").is_dir()]
    wanted = {s: options.out / "tiles" / f"{setting}.{seed}.{s}.parquet" for s in scans}
    if all(path.is_file() for path in wanted.values()):
        return
    errors = tuple(f"{n}_noise" for n in options.arm)
    cases = [network_case(load_case(f, (*options.arm, *errors))) for f in folders(options.out, "own", test=False)]
    scratch = options.out / "models" / f"{setting}.{seed}"
    model = scratch / "out"
    if not (model / "model.json").is_file():
        train(
            cases_train=cases, cases_validation=[], channels=options.arm, seed=seed, scratch=scratch, out=model,
            patch=options.patch, steps=options.steps, keep_state=False,
            training=TrainingPart.model_validate({"augmentation": SETTINGS[setting]}),
        )  # fmt: skip
    for scan, path in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        tables = []
        for folder in folders(options.out, scan, test=True):
            case = load_case(folder, options.arm)
            logits = predict(model_dir=model, case=network_case(case)).logits
            tables.append(subject_tiles(subject=folder.name, logits=logits, **known_of(case)))
        with tempfile.TemporaryDirectory(dir=path.parent) as part:
            pd.concat(tables)[["subject", "label", "score"]].to_parquet(Path(part) / "tiles")
            (Path(part) / "tiles").rename(path)


def effect(options):
    if not (options.out / "own" / "cases").is_dir():
        raise SystemExit(f"{options.out}: wanted cases of `animals` first")
    said = {"arm": list(options.arm), "patch": options.patch, "steps": options.steps}
    kept = options.out / "effect.yaml"
    if kept.is_file() and yaml.safe_load(kept.read_text()) != said:
        raise SystemExit(
            f"{kept}: what is there was trained with {kept.read_text().strip()!r}; wanted the same, or another OUT"
        )
    kept.write_text(yaml.safe_dump(said))
    for seed in options.seeds:
        for setting in (OFF, *(s for s in SETTINGS if s != OFF and (not options.only or s in options.only))):
            began = time.perf_counter()
            learned(options, setting, seed)
            print(f"seed {seed}, {setting}: {time.perf_counter() - began:.0f} s", flush=True)
    report(options)


def counted(out):
    """Concordant pairs of each (scan, setting, seed), and how many animals there are."""
    paths = [p for p in sorted((out / "tiles").glob("*.parquet")) if p.name.count(".") >= 3]
    tables = {tuple(reversed(p.name.removesuffix(".parquet").rsplit(".", 2))): pd.read_parquet(p) for p in paths}
    names = sorted({s for table in tables.values() for s in table["subject"]})
    found = {}
    for (scan, seed, setting), table in tables.items():
        clusters = table["subject"].map(names.index)
        given = {"scores": table["score"], "labels": table["label"], "clusters": clusters}
        found[scan, setting, int(seed)] = count_pairs(**given, count=len(names))
    return found, len(names)


def report(options):
    pairs, count = counted(options.out)
    weights = np.concatenate([np.ones((1, count)), bootstrap_weights(clusters=count, seed=DRAW_SEED, replicates=REPLICATES)])
    aurocs = {key: p.auroc(weights) for key, p in pairs.items()}
    print(f"\n{count} test animals, {REPLICATES} replicates of animals and seeds")
    print(f"{'scan':<20}{'setting':<20}{'seeds':>6}{'AUROC':>8}  difference from none, 95 % interval")
    for scan in SCANS:
        for setting in SETTINGS:
            seeds = [s for (where, what, s) in aurocs if (where, what) == (scan, setting) and (scan, OFF, s) in aurocs]
            if not seeds:
                continue
            each = np.stack([aurocs[scan, setting, s] for s in seeds])
            away = each - np.stack([aurocs[scan, OFF, s] for s in seeds])
            line = f"{scan:<20}{setting:<20}{len(seeds):6d}{each[:, 0].mean():8.3f}"
            if setting != OFF:
                drawn = bootstrap_weights(clusters=len(seeds), seed=DRAW_SEED, replicates=REPLICATES, name="seeds")
                replicates = (drawn.T * away[:, 1:]).mean(axis=0)
                told = interval(value=float(away[:, 0].mean()), replicates=replicates, clusters=count)
                own = f"{told.value:+.3f} ({told.low:+.3f} to {told.high:+.3f})"
                line += f"  {own}, seeds {', '.join(f'{v:+.3f}' for v in away[:, 0])}"
            print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "animals", "noise", "effect", "report"))
    parser.add_argument("out", type=Path, nargs="?", help="folder outside the checkout")
    parser.add_argument("--study", type=Path, default=Path(__file__).parents[1] / "examples" / "quick.yaml")
    parser.add_argument("--animals", type=int, default=12, help="to learn from")
    parser.add_argument("--test-animals", type=int, default=12)
    parser.add_argument("--only", nargs="*", default=(), choices=[s for s in SETTINGS if s != OFF])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arm", nargs="+", default=ARM, help="channels, with errors in the cases")
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--steps", type=int, help="timed steps (10), or of a training (400)")
    options = parser.parse_args()
    if options.what == "cost":
        with one_thread():
            return cost(options.steps or 10)
    if options.out is None:
        raise SystemExit(f"{options.what}: wanted a folder OUT")
    options.steps, options.arm = options.steps or 400, tuple(options.arm)
    return {"animals": animals, "noise": noise, "effect": effect, "report": report}[options.what](options)


if __name__ == "__main__":
    main()

"""What the networks cost, and what their options are worth on made-up volumes.

    python benchmarks/networks.py cost [--steps 5]
    python benchmarks/networks.py swin [--steps 200]
    python benchmarks/networks.py learn [--seeds 3] [--steps 100] [--only NAME ...]

``cost``: parameters, field of view, memory and arithmetic of a step, and its processor time against MONAI's AttentionUnet of
the same widths where MONAI is installed, in one run (one thread, alternating, medians). ``swin``: the Swin U-Net in 3-D for
some steps; every value is looked at. ``learn``: noisy volumes with lesions and with rods that look alike in one of two
channels; each option against the default network on the same volumes, draws and steps, one difference a seed, and candidates
of the detection head against those of the logits of the same model. Decision 165 quotes them.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from darklung.core.checks import DarklungError
from darklung.core.types import Image, Insertion
from darklung.evaluate.froc import candidate_table, froc_curve, lesion_table
from darklung.learn.data import Case
from darklung.learn.device import one_thread, place
from darklung.learn.facts import measure_network
from darklung.learn.network import heads_of, make_network
from darklung.learn.objective import make_objective
from darklung.learn.predict import predict
from darklung.learn.selection import dice, tile_auroc
from darklung.learn.settings import BY_DEFAULT, TrainingPart
from darklung.learn.train import train

WIDTHS = (16, 32, 48)
CHANNELS = 3
UNET, SWIN = "residual_attention_unet", "swin_unet"
MONAI_UNET = ("monai", {"name": "AttentionUnet"})
COSTS = (  # title, network, options
    ("residual_attention_unet", UNET, {}),
    ("  norm: batch", UNET, {"norm": "batch"}),
    ("  deep_supervision", UNET, {"deep_supervision": True}),
    ("  detection", UNET, {"detection": True}),
    ("swin_unet", SWIN, {}),
    ("  with detection", SWIN, {"detection": True}),
    ("MONAI AttentionUnet", *MONAI_UNET),
    ("MONAI SwinUNETR, small", "monai", {"name": "SwinUNETR", "feature_size": 12, "window_size": 4, "depths": (1, 1, 1, 1)}),
)
SHAPES = ((3, 16, 4), (2, 32, 8))  # dims, patch, batch
VARIANTS = {  # name -> network options, training settings, network
    "default": ({}, {}, UNET),
    "norm: batch": ({"norm": "batch"}, {}, UNET),
    "deep supervision": ({"deep_supervision": True}, {}, UNET),
    "averaging 0.99": ({}, {"averaging": 0.99}, UNET),
    "quarter turns": ({}, {"augmentation": {"turns": True}}, UNET),
    "no boundary term": ({}, {"terms": {"boundary": 0}}, UNET),
    "boundary ramp 75": ({}, {"terms": {"boundary": {"weight": 0.5, "ramp": 75}}}, UNET),
    "detection": ({"detection": True}, {}, UNET),
    "detection, uncertainty": ({"detection": True}, {"weighting": "uncertainty"}, UNET),
    "swin": ({}, {}, SWIN),
    "swin, detection": ({"detection": True}, {}, SWIN),
}
SPACING_M = (3e-4,) * 3
SHAPE = (28, 32, 32)
TRAIN, TEST = 6, 12


def make_step(name, options, dims, patch, batch):
    """One step of training on random patches, and the network's facts."""
    torch.manual_seed(0)
    network = place(make_network(name, channels=CHANNELS, dims=dims, widths=WIDTHS, options=options), torch.device("cpu"))
    side = network.sizes.fit(patch)
    batch = max(2, batch * patch**dims // side**dims)

    def heads(data):
        return heads_of(network(data))

    facts, _ = measure_network(network, heads, channels=CHANNELS, patch=(side,) * dims, batch=batch)
    objective = make_objective("dice_focal_boundary", {}, BY_DEFAULT, detects=network.detects)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    shape = (batch, 1, *(side,) * dims)
    data = torch.randn(batch, CHANNELS, *shape[2:])
    truth = {n: torch.rand(shape) for n in ("distance", "centre", "diameter")}
    truth |= {"target": (torch.rand(shape) < 0.02).float(), "region": torch.ones(shape), "seen": torch.ones(shape)}
    truth["unknown"] = torch.zeros(shape)

    def step():
        optimizer.zero_grad()
        value, _ = objective(heads(data), truth, 0)
        value.backward()
        optimizer.step()

    return step, facts, batch * side**dims


def cost(steps):
    """A table for each shape."""
    for dims, patch, batch in SHAPES:
        print(f"\n{dims}-D, patches of {patch}, batch {batch} (as many voxels where a network wants larger ones)")
        heads = f"{'parameters':>11}{'sees':>6}{'MiB':>7}{'GFLOP':>8}{'s/step':>9}{'us/voxel':>10}{'of MONAI':>10}"
        print(f"{'network':<26}{heads}")
        made = []
        for title, name, options in COSTS:
            try:
                made.append((title, *make_step(name, options, dims, patch, batch)))
            except DarklungError as error:
                print(f"{title:<26} left out: {error}")
        times = {title: [] for title, *_ in made}
        for turn in range(steps + 1):
            for title, step, *_ in made:
                began = time.process_time()
                step()
                if turn:
                    times[title].append(time.process_time() - began)
        peer = times.get("MONAI AttentionUnet")
        for title, _, facts, voxels in made:
            ratio = [a / b for a, b in zip(times[title], peer)] if peer else []
            against = f"{statistics.median(ratio):10.2f}" if ratio else f"{'-':>10}"
            seconds = statistics.median(times[title])
            numbers = f"{facts.parameters:11,}{facts.field_of_view:6d}{facts.step_memory_mib:7.1f}{facts.step_gflop:8.2f}"
            print(f"{title:<26}{numbers}{seconds:9.4f}{1e6 * seconds / voxels:10.1f}{against}", flush=True)


def ball(grid, at, radius):
    return ((grid - np.reshape(at, (-1, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2


def volume(seed):
    """A case with three lesions (0.8 to 2 mm) in both channels and three rods in the first alone, and what is in it."""
    rng = np.random.default_rng([7, seed])
    grid = np.indices(SHAPE, dtype=float)
    instances = np.zeros(SHAPE, np.uint16)
    insertions, rods = [], np.zeros(SHAPE)
    contrast = np.zeros(SHAPE)
    while len(insertions) < 3:
        diameter_m = rng.uniform(0.8e-3, 2e-3)
        at, radius = rng.uniform(5, np.array(SHAPE) - 5), diameter_m / 2 / SPACING_M[0]
        own = ball(grid, at, radius)
        if not own.any() or (ndimage.binary_dilation(own, iterations=4) & (instances > 0)).any():
            continue
        insertions.append(Insertion(len(insertions) + 1, "lesion", "solid", tuple(np.multiply(at, SPACING_M)), diameter_m))
        instances[own] = len(insertions)
        contrast[own] = rng.uniform(0.8, 1.8)
    for _ in range(3):
        way, at = rng.normal(size=3), rng.uniform(5, np.array(SHAPE) - 5)
        away = grid - at.reshape(-1, 1, 1, 1)
        along = np.tensordot(way / np.linalg.norm(way), away, 1)
        rods[((away**2).sum(axis=0) - along**2 < 3) & (abs(along) < 7)] = rng.uniform(0.8, 1.8)
    rods[instances > 0] = 0
    smooth = [ndimage.gaussian_filter(rng.normal(size=SHAPE), 3) for _ in range(2)]
    data = [0.5 * s / s.std() + rng.normal(size=SHAPE) for s in smooth]
    data = np.stack([data[0] + contrast + rods, data[1] - contrast]).astype(np.float32)
    region = ((grid - np.reshape(np.array(SHAPE) / 2, (-1, 1, 1, 1))) ** 2 / 14**2).sum(axis=0) < 1.3
    image = Image(data, ("a", "b"), ("1", "1"), SPACING_M)
    case = Case(f"v{seed}", image, (instances > 0).astype(np.uint8), region | (instances > 0))
    return case, instances, tuple(insertions)


def search(tests, maps, rate=1.0):
    """Share of the lesions that is found at `rate` false positives a volume."""
    common = [{"subject": c.subject, "insertions": i} for c, _, i in tests]
    found = [
        candidate_table(logits=m, instances=n, region=c.region, spacing_m=SPACING_M, **about)
        for m, (c, n, _), about in zip(maps, tests, common)
    ]
    lesions = [lesion_table(**about) for about in common]
    curve = froc_curve(candidates=pd.concat(found), lesions=pd.concat(lesions))
    return float(curve.sensitivity[curve.fp_per_subject <= rate].max())


def learned(variant, seed, steps):
    """AUROC, Dice and search on the test volumes; search by the detection head too, where there is one."""
    options, said, network = VARIANTS[variant]
    cases = [volume(1000 * seed + i)[0] for i in range(TRAIN)]
    tests = [volume(1000 * seed + 500 + i) for i in range(TEST)]
    with tempfile.TemporaryDirectory() as folder:
        out = train(
            cases_train=cases, cases_validation=[], channels=("a", "b"), seed=seed, scratch=Path(folder) / "s",
            out=Path(folder) / "o", network=network, network_options=options, widths=(16, 32), patch=12, steps=steps,
            training=TrainingPart.model_validate(said),
        )  # fmt: skip
        found = [predict(model_dir=out, case=c) for c, *_ in tests]
    given = {
        "logits": [f.logits for f in found],
        "targets": [c.target for c, *_ in tests],
        "regions": [c.region for c, *_ in tests],
        "spacing_m": SPACING_M,
    }
    scores = {"auroc": tile_auroc(**given), "dice": dice(**given), "search": search(tests, [f.logits for f in found])}
    if options.get("detection"):
        scores["search by head"] = search(tests, [f.centre for f in found])
    return scores


def learn(seeds, steps, only):
    names = [n for n in VARIANTS if not only or n in only or n == "default"]
    print(f"{TRAIN} volumes to learn from, {TEST} to test ({3 * TEST} lesions), {steps} steps, {seeds} seeds; mean, and")
    print("difference to the default network of the same seed with its standard error")
    table = {}
    for name in names:
        began = time.perf_counter()
        table[name] = [learned(name, seed, steps) for seed in range(seeds)]
        line = f"{name:<24}"
        for score in table[name][0]:
            values = np.array([s[score] for s in table[name]])
            by_head = score == "search by head"  # against the logits of the same model
            base = table[name] if by_head else table["default"]
            away = values - np.array([s["search" if by_head else score] for s in base])
            error = away.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else float("nan")
            line += f"  {score} {values.mean():.3f} ({away.mean():+.3f} ± {error:.3f})"
        print(f"{line}  {(time.perf_counter() - began) / seeds:.0f} s", flush=True)


def swin(steps):
    """The training stops with an error at the first value that is not finite."""
    cases = [volume(i)[0] for i in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        out = train(
            cases_train=cases[:3], cases_validation=cases[3:], channels=("a", "b"), seed=1, scratch=Path(folder) / "s",
            out=Path(folder) / "o", network=SWIN, network_options={"detection": True}, patch=16, batch=4, steps=steps,
            progress=lambda share, text: print(text, flush=True) if share == 0 else None,
        )  # fmt: skip
        print(
            f"{steps} steps of swin_unet with detection, every loss and gradient finite, {time.perf_counter() - began:.0f} s"
        )
        print((out / "metrics.jsonl").read_text().strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "swin", "learn"))
    parser.add_argument("--steps", type=int, help="timed steps, or steps of a training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=(), help="variants beside the default")
    options = parser.parse_args()
    with one_thread():
        if options.what == "cost":
            cost(options.steps or 5)
        elif options.what == "swin":
            swin(options.steps or 200)
        else:
            learn(options.seeds, options.steps or 100, options.only)


if __name__ == "__main__":
    main()

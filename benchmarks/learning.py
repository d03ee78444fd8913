"""Time of one training step, and how near it comes to the arithmetic that one core can do, in one run.

    python benchmarks/learning.py [--steps 6] [--channels-last]
    python benchmarks/learning.py --mouse     what the prediction of one full-size mouse costs, alone

For patches and batches of several sizes: seconds a step (median), microseconds a voxel, and the share of the floating-point
rate that a matrix product of the same core reaches (the limit). Rows of one run are comparable; decision 070 quotes them.
Then what a bank costs (decision 049): reading a case, drawing other lesions for it and making it ready for patches.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from darklung.core.geometry import centred_axis
from darklung.core.types import Image
from darklung.insert.scale import Scale
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.learn.data import fit_normalisation
from darklung.learn.device import one_thread
from darklung.learn.losses import make_loss
from darklung.learn.network import make_network, sizes_of
from darklung.learn.patches import make_source
from darklung.learn.predict import apply_network, window_of
from darklung.steps.bank import make_redraw
from darklung.study.learning import BankPart

CASES = (  # dims, patch, batch, widths
    (3, 16, 4, (16, 32, 48)),
    (3, 24, 2, (16, 32, 48)),
    (3, 32, 2, (16, 32, 48)),
    (3, 32, 1, (16, 32, 48)),
    (3, 24, 2, (32, 64)),
    (2, 32, 8, (16, 32, 48)),
)
CHANNELS = 3
NAMES = ("attenuation", "dark_field", "dark_field_0", "dark_field_90", "noise", "anisotropy")
VOLUMES = ((300e-6, (54, 44, 58)), (120e-6, (135, 110, 145)))  # voxel [m], shape: lungs of a mouse


def median_seconds(work, repeats):
    """Median of `repeats` timings after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def matrix_rate(size=1024, repeats=5):
    """Floating-point operations a second of a float32 matrix product."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / median_seconds(lambda: a @ b, repeats)


def make_step(dims, patch, batch, widths, channels_last):
    """One step of training on random patches: forward, loss, backward, update."""
    layout = (torch.channels_last_3d if dims == 3 else torch.channels_last) if channels_last else torch.contiguous_format
    shape = (patch,) * dims
    network = make_network("residual_attention_unet", channels=CHANNELS, dims=dims, widths=widths).to(memory_format=layout)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    loss = make_loss("dice_focal_boundary")
    image = torch.randn(batch, CHANNELS, *shape).to(memory_format=layout)
    truth = (torch.rand(batch, 1, *shape) < 0.02).float()
    distance = torch.randn(batch, 1, *shape)
    region = torch.ones_like(truth)

    def step():
        optimizer.zero_grad()
        value = loss(network(image), truth, distance, region)
        value.backward()
        optimizer.step()

    return step


def lung_case(voxel_m, shape):
    """An ellipsoid of noisy lung in tissue, with no lesion."""
    z, y, x = np.meshgrid(*(centred_axis(n, voxel_m) / (0.45 * n * voxel_m) for n in shape), indexing="ij")
    region = z**2 + y**2 + x**2 < 1
    levels = np.array([0.3 * Scale("", 70.0, 3e-6).tissue_per_m, 40.0, 45.0, 35.0, 40.0, 0.1])[:, None, None, None]
    noise = np.random.default_rng(0).standard_normal((6, *shape))
    data = (levels * np.where(region, 1, 0.3) * (1 + 0.05 * noise)).astype(np.float32)
    data[0][~region] /= 0.1
    empty = np.zeros(shape, bool)
    image = Image(data, NAMES, ("1/m",) * 6, (voxel_m,) * 3)
    labels, instances = empty.astype(np.uint8), empty.astype(np.uint16)
    return LabelledCase(image, labels, region, region, instances, empty, (), CaseFacts("case", "m", synthetic=True))


def redraw_seconds(voxel_m, shape, repeats=5):
    """Median time of one case with two lesions and two shams, drawn by the hybrid arm."""
    part = BankPart(lesions=24, per_case=(2, 2))
    facts = {"variant": "A", "tissues": ["solid"], "diameter_m": [0.8e-3, 2e-3], "beams": [[70.0, 3e-6]]}
    channels = ("attenuation", "dark_field_0", "dark_field_90")
    with tempfile.TemporaryDirectory() as folder:
        save_case(Path(folder) / "case", lung_case(voxel_m, shape))
        redraw = make_redraw([Path(folder) / "case"], channels=channels, part=part, facts=facts, seed=1)
        normalisation = fit_normalisation(cases=redraw.cases(0), channels=channels)
        steps = iter(range(0, 1000, 50))

        def work():
            for case in redraw.cases(next(steps)):
                make_source(case=case, normalisation=normalisation, patch=(16, 16, 16))

        return median_seconds(work, repeats)


def predict_mouse(shape=(200, 150, 150), voxel_m=120e-6, patch=16, widths=(16, 32, 48)):
    """Processor time of one untrained network on a mouse, on one core, whatever else the machine does."""
    network = make_network("residual_attention_unet", channels=CHANNELS, dims=3, widths=widths)
    window = window_of(patch=patch, dims=3, sizes=sizes_of(network, widths))
    case = lung_case(voxel_m, shape)
    data = case.channels.data[:CHANNELS].astype(np.float32)
    for overlap in (0.25, 0.0):
        start = time.process_time()
        apply_network(network=network, data=data, region=case.region, window=window, overlap=overlap)
        used = time.process_time() - start
        name = (
            f"{'x'.join(map(str, shape))}, {case.region.mean():.0%} of it lung, windows of {window[0]}, overlap {overlap:g}"
        )
        print(
            f"{name}: {used:.1f} s of one core a model; three folds {3 * used:.0f} s, with 8 mirror images {24 * used:.0f} s"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6, help="timed steps of each row")
    parser.add_argument("--channels-last", action="store_true", help="channels-last memory")
    parser.add_argument("--mouse", action="store_true", help="the prediction of one mouse instead")
    options = parser.parse_args()
    torch.manual_seed(0)
    with one_thread():
        if options.mouse:
            predict_mouse()
            return
        rate = matrix_rate()
        print(f"one core, matrix product: {rate / 1e9:.1f} GFLOP/s\n")
        print(f"{'patch':>12} {'batch':>5} {'widths':>12} {'s/step':>8} {'us/voxel':>9} {'GFLOP/s':>8} {'of limit':>8}")
        for dims, patch, batch, widths in CASES:
            step = make_step(dims, patch, batch, widths, options.channels_last)
            with FlopCounterMode(display=False) as counter:
                step()
            seconds = median_seconds(step, options.steps)
            speed = counter.get_total_flops() / seconds
            name = f"{patch}^{dims}"
            text = f"{seconds:8.3f} {1e6 * seconds / (batch * patch**dims):9.1f} {speed / 1e9:8.1f} {speed / rate:8.0%}"
            print(f"{name:>12} {batch:5d} {'-'.join(map(str, widths)):>12} {text}", flush=True)
        base = median_seconds(make_step(*CASES[0], options.channels_last), options.steps)
        print(f"\nbank: two lesions and two shams in a case, drawn anew; a step of {CASES[0][1]}^3 takes {base:.3f} s")
        for voxel_m, shape in VOLUMES:
            seconds = redraw_seconds(voxel_m, shape)
            told = f"{seconds:.3f} s a case = {seconds / base:.1f} steps"
            print(f"  {'x'.join(map(str, shape))} at {1e6 * voxel_m:.0f} um: {told}", flush=True)


if __name__ == "__main__":
    main()

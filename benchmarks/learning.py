"""Time of one training step, and how near it comes to the arithmetic that one core can do, in one run.

    python benchmarks/learning.py [--steps 6] [--channels-last]

For patches and batches of several sizes: seconds a step (median), microseconds a voxel, and the share of the floating-point
rate that a matrix product of the same core reaches (the limit). Rows of one run are comparable; decision 070 quotes them.
"""

import argparse
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from darklung.learn.device import one_thread
from darklung.learn.losses import make_loss
from darklung.learn.network import make_network

CASES = (  # dims, patch, batch, widths
    (3, 16, 4, (16, 32, 48)),
    (3, 24, 2, (16, 32, 48)),
    (3, 32, 2, (16, 32, 48)),
    (3, 32, 1, (16, 32, 48)),
    (3, 24, 2, (32, 64)),
    (2, 32, 8, (16, 32, 48)),
)
CHANNELS = 3


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6, help="timed steps of each row")
    parser.add_argument("--channels-last", action="store_true", help="channels-last memory")
    options = parser.parse_args()
    torch.manual_seed(0)
    with one_thread():
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


if __name__ == "__main__":
    main()

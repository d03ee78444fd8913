"""Model observers: how long a curve takes, and how near d' of the channelised observer is to what is known exactly.

    python benchmarks/observers.py [--protocol mission_ct] [--radiograph] [--size "1 mm"] [--whole]

The curve is that of ``darklung detectability --clutter 240``: six doses, all classes and arms, noise and clutter.
Times are those that its tasks record. Without ``--whole`` four mice and two doses are run, and multiplied to twelve and six,
which is said.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from darklung.commands.cli import app
from darklung.core.random import stream
from darklung.evaluate.observers import hotelling, ideal_linear, laguerre_gauss, outputs
from darklung.physics.lung import LESIONS
from darklung.steps import backgrounds
from darklung.steps.detectability import FACTORS
from darklung.study.protocols import one_view, read_protocol

CLUTTER, FEW, WANTED_MIN = 240, 4, 20


def curve(options):
    """Processor time of the tasks of one run of the command."""
    found = read_protocol(options.protocol)
    counts = (one_view(found) if options.radiograph else found).scan.counts_per_pixel
    mice = backgrounds.MICE
    words = ["detectability", options.protocol, "--clutter", str(CLUTTER), "--size", options.size, "--workers", "1"]
    words += ["--radiograph"] if options.radiograph else []
    if not options.whole:
        backgrounds.MICE = FEW
        words += ["--sweep", f"counts={counts!r}:{2 * counts!r}:2"]
    with tempfile.TemporaryDirectory() as folder:
        done = CliRunner().invoke(app, [*words, "--out", folder], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        rows = json.loads((Path(folder) / "detections.json").read_text())
        spent = {}
        for stage in ("backgrounds", "detectability"):
            records = sorted(Path(folder).glob(f"{stage}/*/record.json"))
            seconds = [json.loads(r.read_text())["processor_s"] for r in records]
            # the first of a stage compiles: the others stand for what was not run
            wanted = {"backgrounds": mice, "detectability": len(FACTORS)}[stage]
            spent[stage] = sum(seconds) if options.whole else seconds[0] + (wanted - 1) * float(np.mean(seconds[1:]))
    arms = sorted({row["arm"] for row in rows})
    total = sum(spent.values()) / 60
    how = "all run" if options.whole else f"{FEW} mice and two doses run, multiplied to {mice} and {len(FACTORS)}"
    print(f"{options.protocol}: {len(FACTORS)} doses x {len(LESIONS)} classes x {len(arms)} arms ({', '.join(arms)}); {how}")
    print(f"mice {spent['backgrounds']:.0f} s, doses {spent['detectability']:.0f} s of processor: {total:.1f} min in all")
    print(f"on two cores {total / 2:.1f} min if both are free ({WANTED_MIN} allowed)")


def analytic(draws=6000, size=32, pixel=1e-4):
    """d′ of the channelised observer over that of its channels' exact covariance, in white and in correlated noise."""
    rng, axis = stream(0, "observers"), (np.arange(size) - size // 2) * pixel
    signal = 0.5 * np.exp(-np.pi * (axis[:, None] ** 2 + axis**2) / (8e-4) ** 2)[None]
    channels = laguerre_gauss((size, size), (pixel, pixel), width_m=8e-4, count=6)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij"))
    delta, waves = outputs(signal[None], channels)[0], np.fft.fftn(channels, axes=(1, 2))
    for name, power in (("white", np.ones_like(f)), ("falling", 0.2 + np.exp(-((f / 0.15) ** 2))), ("ramp", 0.02 + f)):
        covariance = np.einsum("ihw,jhw,hw->ij", waves, waves.conj(), power).real / size**2
        truth = float(np.sqrt(delta @ np.linalg.solve(covariance, delta)))
        drawn = np.fft.fftn(rng.standard_normal((draws, 1, size, size)), axes=(2, 3)) * np.sqrt(power)
        found = hotelling(delta, outputs(np.fft.ifftn(drawn, axes=(2, 3)).real, channels))
        ideal = ideal_linear(signal, power[None, None] * pixel**2, (pixel, pixel))
        print(
            f"{name:8s} noise: d' {found.value:.3f} ({found.low:.3f} to {found.high:.3f}), exact {truth:.3f}, off by "
            f"{100 * (found.value / truth - 1):+.2f} % (2 allowed); ideal {ideal:.3f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", default="mission_ct")
    parser.add_argument("--radiograph", action="store_true")
    parser.add_argument("--size", default="1 mm")
    parser.add_argument("--whole", action="store_true")
    analytic()
    curve(parser.parse_args())

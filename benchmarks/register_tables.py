"""Tables of benchmarks/register.py: ``python benchmarks/register_tables.py FOLDER`` of cases that are there already.

A failure is a median error beyond 4 voxels with a stack, 8 with one section.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.random import stream

CHANNELS = {"attenuation": ("attenuation",), "dark_field": ("dark_field",), "both": ("attenuation", "dark_field")}
LIMIT_VOXELS = {"stack": 4.0, "one": 8.0}


def told(cases: list[dict[str, Any]]) -> str:
    """The tables."""
    lines = ["| placed by | cases | median voxels | 95 % voxels | failures | seconds |", "|---|---|---|---|---|---|"]
    for kind in ("stack", "one"):
        for word in CHANNELS:
            own = [c[f"{kind} {word}"] for c in cases if f"{kind} {word}" in c]
            if not own:
                continue
            medians, worst = [o["median"] for o in own], [o["p95"] for o in own]
            failed = sum(m > LIMIT_VOXELS[kind] for m in medians)
            lines.append(
                f"| {kind}, {word} | {len(own)} | {np.median(medians):.2f} | {np.percentile(worst, 95):.2f} | {failed} | "
                f"{np.median([o['s'] for o in own]):.0f} |"
            )
    return "\n".join(
        [
            *lines,
            *_flagged(cases),
            *_predicted(cases),
            *_labels(cases),
            f"peak memory {max(c['peak_mib'] for c in cases):.0f} MiB",
        ]
    )


def _flagged(cases: list[dict[str, Any]]) -> list[str]:
    bad, caught, good, quiet = 0, 0, 0, 0
    for case in cases:
        for kind in ("stack", "one") if "one both" in case else ("stack",):
            own = case[f"{kind} both"]
            failed = own["median"] > LIMIT_VOXELS[kind]
            bad, caught = bad + failed, caught + (failed and bool(own["flags"]))
            good, quiet = good + (not failed), quiet + (not failed and not own["flags"])
        for one in case.get("wrong", {}).values():
            bad, caught = bad + 1, caught + bool(one["flags"])
    return [f"flagged: {caught} of {bad} failures (sensitivity), none on {quiet} of {good} good ones (specificity)"]


def _labels(cases: list[dict[str, Any]]) -> list[str]:
    pairs = np.array([p for c in cases for p in c["labels"]["lesions"]] or [[0.0, 0.0]])
    lines = []
    for low, high in ((0, 0.8), (0.8, 1.2), (1.2, 3)):
        own = pairs[(pairs[:, 0] >= low) & (pairs[:, 0] < high), 1]
        if len(own):
            lines.append(f"labels, lesions of {low} to {high} mm: Dice {np.mean(own):.2f} ({len(own)})")
    borders, inside = (sum(c["labels"][n] for c in cases) for n in ("borders", "in_band"))
    # Borders of one mouse err together: the interval is over mice.
    own = np.array([(c["labels"]["in_band"], c["labels"]["borders"]) for c in cases])
    drawn = stream(1, "benchmark", "bootstrap").integers(0, len(own), (2000, len(own)))
    low, high = 100 * np.quantile(own[drawn, 0].sum(1) / np.maximum(own[drawn, 1].sum(1), 1), (0.025, 0.975))
    told = f"{100 * inside / max(borders, 1):.0f} % [{low:.0f}, {high:.0f}] of {borders} borders"
    return [*lines, f"band of nominal 90 %: {told}"]


def _predicted(cases: list[dict[str, Any]]) -> list[str]:
    """How far errors are what was said of them."""
    told = []
    for kind in ("stack", "one"):
        own = [c[f"{kind} both"] for c in cases if f"{kind} both" in c]
        ratio = [o["rms"] / o["predicted"] for o in own]
        if not ratio:
            continue
        low, middle, high = np.quantile(ratio, (0.1, 0.5, 0.9))
        told.append(f"true error over predicted, {kind}: median {middle:.2f}, from {low:.2f} to {high:.2f} in 80 % of cases")
    return told


def main() -> None:
    """Print the tables."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("folder", type=Path)
    given = words.parse_args()
    print(told([json.loads(file.read_text()) for file in sorted(given.folder.glob("*.json"))]))


if __name__ == "__main__":
    main()

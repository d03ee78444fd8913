"""A sealed benchmark from end to end with the rows of a study as its first entries: networks and boosted trees.

    python benchmarks/sealed.py examples/quick.yaml --out runs/sealed [--animals 6] [--workers 1]

The study's arms learn on its own animals; the benchmark's are drawn under a hidden seed. Every row of the study predicts the
sealed cases, is packed and scored, and `board.html` ranks them. What is done already is not done again. Entries of other
programs are added by `darklung benchmark pack`, `score` and `page` (docs/benchmark.md; benchmarks/peers/nnunet for nnU-Net).
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from darklung.study.study import read_study


def darklung(*words: Any) -> None:
    """One of our commands."""
    subprocess.run([sys.executable, "-m", "darklung", *map(str, words)], check=True)


def main() -> None:
    """Make, learn, predict, score, rank."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("study", type=Path)
    read.add_argument("--out", type=Path, required=True)
    read.add_argument("--animals", type=int, default=6)
    read.add_argument("--workers", type=int, default=1)
    given = read.parse_args()
    out, workers = given.out.resolve(), ("--workers", given.workers)
    public, seal = out / "public", out / "public.seal.h5"
    if not seal.exists():
        darklung("benchmark", "make", given.study, "--out", public, "--animals", given.animals, *workers)
    study = read_study(given.study)
    content = study.model_dump(mode="json", by_alias=True)
    content["name"] = f"{study.name}_sealed"
    content["sources"]["sealed"] = {"from": "cases", "files": [str(public / "cases" / "*")], "use": "predict"}
    file = out / "study.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    run = out / "run"
    darklung("run", file, "--out", run, *workers)
    scores = []
    for row in study.learning.rows:
        entry, score = out / "entries" / row.name, out / "scores" / row.name
        maps = run / "predict" / f"{row.name}.predict"
        if not (entry / "submission.json").exists():
            about = f"{row.observer} of {study.name}"
            darklung(
                "benchmark", "pack", public, maps, "--name", row.name, "--about", about, "--trained-on", run, "--out", entry
            )
        if not (score / "score.json").exists():
            darklung("benchmark", "score", public, entry, "--seal", seal, "--out", score)
        scores.append(score)
    darklung("benchmark", "page", public, *scores, "--out", out / "board.html")


if __name__ == "__main__":
    main()

"""A sealed benchmark from end to end, with its first entries: our networks, boosted trees and nnU-Net.

    python benchmarks/sealed.py [STUDY] --out runs/sealed [--animals 10] [--workers 1] [--seed N] [--nnunet VENV --arm ARM]

The arms of the study (benchmarks/sealed.yaml if none is given) learn on its own animals; the benchmark's are drawn under a
hidden seed. Every row of the study predicts the sealed cases, and so does nnU-Net, trained by its own trainer on the same
animals, folds and voxels a step (benchmarks/peers/nnunet), where VENV is an environment with nnunetv2. All are packed and
scored; a changed map, a changed case and a truth handed in are shown to be refused; the ranking is printed and written to
`board.html`.

What is done already is not done again. `--seed` makes the same animals again, for a trial: who knows it knows the truth.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from darklung.core.types import LESION
from darklung.io.case import load_case
from darklung.io.nifti import write_nifti
from darklung.publish.sealed import read_seal
from darklung.steps.sealing import MOST_BY_CHANCE
from darklung.study.study import Study, read_study

HERE = Path(__file__).parent
NNUNET = "nnunet"


def darklung(*words: Any) -> None:
    """One of our commands."""
    subprocess.run([sys.executable, "-m", "darklung", *map(str, words)], check=True)


@contextmanager
def told(what: str) -> Iterator[None]:
    """What a stage cost, in minutes of processor of all the programs it called."""
    start = _processor_s()
    yield
    print(f"{what}: {(_processor_s() - start) / 60:.1f} minutes of processor", flush=True)


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make(given: argparse.Namespace, public: Path, seal: Path) -> None:
    """The benchmark, once."""
    if not seal.exists() or not public.exists():
        seed = () if given.seed is None else ("--seed", given.seed)
        words = ("--out", public, "--animals", given.animals, "--workers", given.workers)
        darklung("benchmark", "make", given.study, *words, *seed)


def learn(given: argparse.Namespace, study: Study, public: Path) -> Path:
    """The study's run, with the sealed cases as one more source that is predicted."""
    content = study.model_dump(mode="json", by_alias=True)
    content["name"] = f"{study.name}_sealed"
    content["sources"]["sealed"] = {"from": "cases", "files": [str(public / "cases" / "*")], "use": "predict"}
    file = given.out / "study.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    darklung("run", file, "--out", given.out / "run", "--workers", given.workers)
    return Path(given.out / "run")


def nnunet(given: argparse.Namespace, run: Path, arm: str) -> Path:
    """Maps of nnU-Net, trained on the run's cases; as ours without mirrored copies, eight of which it makes by default."""
    work = given.out / NNUNET
    words = ["--arm", arm, "--venv", given.nnunet, "--work", work, "--maps-only", "--no-mirroring"]
    subprocess.run([sys.executable, HERE / "peers/nnunet/compare.py", run, *map(str, words)], check=True)
    return Path(work / "unlabelled")


def entered(out: Path, run: Path, maps: Path, *, name: str, about: str) -> Path:
    """An entry, packed and scored."""
    entry, score = out / "entries" / name, out / "scores" / name
    if not (entry / "submission.json").exists():
        words = ("--name", name, "--about", about, "--trained-on", run, "--out", entry)
        darklung("benchmark", "pack", out / "public", maps, *words)
    if not (score / "score.json").exists():
        darklung("benchmark", "score", out / "public", entry, "--seal", out / "public.seal.h5", "--out", score)
    return score


def flip(place: Path) -> None:
    """One bit in the middle of a file, or of the largest in a folder."""
    files = [p for p in (place, *place.rglob("*")) if p.is_file()]
    file = max(files, key=lambda p: p.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def changed_map(public: Path, entry: Path, _: Path) -> None:
    """One bit of a map that was packed."""
    flip(sorted((entry / "maps").iterdir())[0])


def changed_case(public: Path, entry: Path, _: Path) -> None:
    """One bit of the image of a case."""
    flip(public / "cases/case-0001/channels.ome.zarr")


def leaked_label(public: Path, entry: Path, seal: Path) -> None:
    """The truth of one case as its map, packed as anybody would."""
    hidden = read_seal(seal).cases
    name = max(hidden, key=lambda n: int((hidden[n].truth.labels == LESION).sum()))
    lesion = hidden[name].truth.labels == LESION
    if lesion.sum() < MOST_BY_CHANCE:
        sys.exit(f"{name}: {lesion.sum()} voxels of lesions; too few to tell a leak from chance")
    grid, maps = load_case(public / "cases" / name, ()).channels, entry.with_name("leaked maps")
    kind = json.loads((entry / "submission.json").read_text())["kind"]
    shutil.copytree(entry / "maps", maps, ignore=lambda *_: [p.name for p in (entry / "maps").glob(f"{name}.*")])
    values = lesion[None].astype(np.float32) if kind == "probability" else 8 * lesion[None].astype(np.float32) - 4
    write_nifti(maps / f"{name}.nii.gz", grid.with_data(values, ("p",), ("1",)), "p")
    shutil.rmtree(entry)
    darklung("benchmark", "pack", public, maps, "--name", "leaked", "--kind", kind, "--out", entry)


PLANTED: dict[str, Callable[[Path, Path, Path], None]] = {
    "a changed map": changed_map,
    "a changed case": changed_case,
    "a leaked label": leaked_label,
}


def refusals(out: Path, name: str) -> None:
    """Plant each of these in a copy of an entry and of the benchmark, and show that it is not scored."""
    seal, work = out / "public.seal.h5", out / "planted"
    for what, plant in PLANTED.items():
        shutil.rmtree(work, ignore_errors=True)
        public = shutil.copytree(out / "public", work / "public")
        entry = shutil.copytree(out / "entries" / name, work / "entry")
        plant(public, entry, seal)
        words = ["benchmark", "score", public, entry, "--seal", seal, "--out", work / "score"]
        done = subprocess.run([sys.executable, "-m", "darklung", *map(str, words)], capture_output=True, text=True)
        if done.returncode == 0 or (work / "score").exists():
            sys.exit(f"{what} was scored:\n{done.stdout}")
        print(f"{what} is refused: {done.stderr.strip().replace(f'{work}/', '')}", flush=True)
    shutil.rmtree(work)


def main() -> None:
    """Make, learn, predict, score, refuse, rank."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("study", type=Path, nargs="?", default=Path(__file__).with_suffix(".yaml"))
    read.add_argument("--out", type=Path, required=True)
    read.add_argument("--animals", type=int, default=10)
    read.add_argument("--workers", type=int, default=1)
    read.add_argument("--seed", type=int, help="hidden seed of the benchmark's animals; drawn by the system if not given")
    read.add_argument("--nnunet", type=Path, metavar="VENV", help="environment with nnunetv2; else nnU-Net does not enter")
    read.add_argument("--arm", help="of the study, whose channels nnU-Net gets; the last one by default")
    given = read.parse_args()
    given.out = out = given.out.resolve()
    public, study = out / "public", read_study(given.study)
    out.mkdir(parents=True, exist_ok=True)
    with told("the benchmark"):
        make(given, public, out / "public.seal.h5")
    with told("our networks and trees"):
        run = learn(given, study, public)
    rows = study.learning.rows
    maps = {row.name: (run / f"predict/{row.name}.predict", f"{row.observer} of {study.name}") for row in rows}
    if given.nnunet:
        arm = given.arm or list(study.learning.arms)[-1]
        with told("nnU-Net"):
            maps[f"{arm}.{NNUNET}"] = nnunet(given, run, arm), f"nnU-Net on the cases, folds and steps of {study.name}"
    with told("scores"):
        scores = [entered(out, run, place, name=name, about=about) for name, (place, about) in maps.items()]
    refusals(out, next(iter(maps)))
    darklung("benchmark", "page", public, *scores, "--out", out / "board.html")


if __name__ == "__main__":
    main()

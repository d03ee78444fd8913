"""Builds the wheel, installs it into empty environments, and tells what each costs and what works in it.

    python benchmarks/install_matrix.py [--python python3.11 ...] [--extras "" tubes ...] [--work FOLDER]

A row is a Python, by its name or its path, and a set of extras. Size is that of the environment without pip's own: what its
files hold, and the blocks that they take on this disk; time is that of the processor for making and filling it. Where pip
finds no torch for CPUs alone, a row with `learn` is gigabytes.
A check passes where a command ends well, or, for what is left out, where it is refused in one line that names the extra.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROAD = """
from pathlib import Path
import darklung
from darklung.io.hdf5 import save_projections
mouse = darklung.make_mouse(voxel_m=600e-6)
scan = darklung.simulate(mouse, scan={"views": 40, "supersampling": 1})
made = darklung.correct(darklung.retrieve(scan, normalise="air"), instrument={})
print(darklung.reconstruct(made).names)
save_projections(Path("projections.h5"), [(slice(0, 40), made)], geometry=made.geometry)
"""
# What is tried, the words of it, and the extra without which it must be refused.
CHECKS = {
    "version": (["darklung", "--version"], ""),
    "help": (["darklung", "-h"], ""),
    "examples": (["darklung", "examples", "--out", "examples"], ""),
    "retrieve": (["darklung", "retrieve", "examples/raw_scan/scan.yaml", "--out", "maps"], ""),
    "mouse to volume": (["python", "-c", ROAD], ""),
    "reconstruct": (["darklung", "reconstruct", "projections.h5", "--out", "volume"], ""),
    "check tube": (["darklung", "check", "tube_ct"], "tubes"),
    "dry run": (["darklung", "run", "examples/quick.yaml", "--dry-run", "--out", "run"], "learn"),
}


def main() -> None:
    """Print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=["python3.11", "python3.12", "python3.13"])
    parser.add_argument("--extras", nargs="+", default=["", "tubes", "learn,tubes"])
    parser.add_argument("--work", type=Path, help="Folder for the environments; removed afterwards if not given.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = (given.work or Path(scratch)).resolve()
        wheel = build(work / "wheel")
        print(f"{wheel.name}: {wheel.stat().st_size / 2**20:.1f} MiB")
        print("| python | extras | MB of files | MiB on the disk | install, s of processor | " + " | ".join(CHECKS) + " |")
        print("|" + "---|" * (5 + len(CHECKS)), flush=True)
        for python in given.python:
            for extras in given.extras:
                print(row(python, extras, wheel, work), flush=True)


def build(folder: Path) -> Path:
    """The wheel of this checkout."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True, stderr=subprocess.DEVNULL
    )
    return next(folder.glob("darklung-*.whl"))


def row(python: str, extras: str, wheel: Path, work: Path) -> str:
    """One environment."""
    number = version(python)
    if not number:
        return f"| {python} | {extras or '-'} | not on this machine |"
    place = work / f"{number}-{extras or 'core'}".replace(",", "-")
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([python, "-m", "venv", place / "venv"], check=True)
    before, empty = processor(), size(place / "venv")
    wanted = f"darklung[{extras}] @ {wheel.as_uri()}" if extras else f"darklung @ {wheel.as_uri()}"
    lock = ["-c", str(ROOT / "constraints.txt")]
    done = subprocess.run([place / "venv/bin/pip", "install", "-q", *lock, wanted], capture_output=True, text=True)
    if done.returncode:
        return f"| {number} | {extras or '-'} | not installed: {done.stderr.strip().splitlines()[-1]} |"
    held, taken = (now - then for now, then in zip(size(place / "venv"), empty, strict=True))
    cost = f"{held / 1e6:.0f} | {taken / 2**20:.0f} | {processor() - before:.0f}"
    told = [judge(place, words, needs, extras.split(",")) for words, needs in CHECKS.values()]
    return f"| {number} | {extras or '-'} | {cost} | " + " | ".join(told) + " |"


def version(python: str) -> str:
    """Its number, as 3.13.0; empty where it cannot be run, as the stand-ins that managers of Pythons leave in the path."""
    if shutil.which(python) is None:
        return ""
    told = [python, "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(told, capture_output=True, text=True).stdout.strip()


def judge(place: Path, words: list[str], needs: str, have: list[str]) -> str:
    """``yes``; ``told`` where it is refused for the extra that is missing; else the last line of what it said."""
    bin_folder = place / "venv/bin"
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": ""}
    done = subprocess.run(
        [bin_folder / words[0], *words[1:]], cwd=place, env=environment, capture_output=True, text=True, timeout=600
    )
    lines = [line for line in done.stderr.strip().splitlines() if line]
    if needs and needs not in have:
        said = done.returncode == 2 and len(lines) == 1 and f"darklung[{needs}]" in lines[0]
        return "told" if said else f"NOT TOLD: {lines[-1:]}"
    return "yes" if done.returncode == 0 else f"NO: {lines[-1:]}"


def size(folder: Path) -> tuple[int, int]:
    """Of all files [byte]: what they hold, as ``du -b`` counts, and the blocks that they take."""
    found = [file.lstat() for file in folder.rglob("*")]
    return sum(f.st_size for f in found), sum(f.st_blocks for f in found) * 512


def processor() -> float:
    """Seconds that finished child processes took."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


if __name__ == "__main__":
    main()

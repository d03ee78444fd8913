"""Runs examples/workflows with Snakemake and with DVC, each in a new folder, and compares what they made.

    python benchmarks/workflows.py [--tools FOLDER/bin]

`--tools` is where snakemake and dvc are, in an environment of their own (they bring a hundred packages); PATH by default. A
tool that is not there is left out and said. Tried: the whole chain; that a second call does nothing; that another method is
reconstructed anew and nothing else; that both tools end in the same bits.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "workflows"
RESULTS = "volume/reconstruct/mouse/volume.ome.zarr"


def main() -> None:
    """Print a line a tool and a call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=Path, help="Folder with snakemake and dvc.")
    given = parser.parse_args()
    folders = [str(given.tools)] if given.tools else []
    path = os.pathsep.join([str(Path(sys.executable).parent), *folders, os.environ["PATH"]])
    made: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, road in (("snakemake", snakemake), ("dvc", dvc)):
            if shutil.which(name, path=path) is None:
                print(f"{name}: not installed, left out")
                continue
            place = Path(scratch) / name
            shutil.copytree(EXAMPLES, place)
            made[name] = road(Called(place, path))
    print("the same volume from both:", "one of them only" if len(made) < 2 else len(set(made.values())) == 1)
    sys.exit(len(set(made.values())) > 1)


class Called:
    """Commands in one folder, timed and told."""

    def __init__(self, place: Path, path: str) -> None:
        self.place = place
        # Snakemake and DVC report home and keep caches there unless told otherwise.
        self.environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "XDG_CACHE_HOME": str(place / ".cache")}

    def __call__(self, what: str, *words: str) -> str:
        """What a command said; it ends the script where it fails."""
        started = time.monotonic()
        done = subprocess.run(words, cwd=self.place, env=self.environment, capture_output=True, text=True)
        said = done.stdout + done.stderr
        if done.returncode:
            sys.exit(f"{' '.join(words)} failed:\n" + "\n".join(said.splitlines()[-20:]))
        print(f"{words[0]:10} {what:28} {time.monotonic() - started:6.1f} s", flush=True)
        return said

    def wanted(self, well: bool, what: str) -> None:
        """End the script in one line if it is not so."""
        if not well:
            sys.exit(f"{self.place.name}: wanted {what}")


def snakemake(call: Called) -> str:
    """The Snakefile; a digest of its volume."""
    call("all", "snakemake", "--cores", "1")
    said = call("again", "snakemake", "--cores", "1")
    call.wanted("Nothing to be done" in said, f"nothing done the second time, got {said!r}")
    return changed(call, lambda: replaced(call.place / "Snakefile"), ["snakemake", "--cores", "1"])


def dvc(call: Called) -> str:
    """The stages of dvc.yaml; a digest of their volume."""
    call("init", "dvc", "init", "--no-scm", "--quiet")
    call("all", "dvc", "repro")
    said = call("again", "dvc", "repro")
    call.wanted("up to date" in said, f"nothing done the second time, got {said!r}")
    return changed(call, lambda: replaced(call.place / "params.yaml"), ["dvc", "repro"])


def replaced(file: Path) -> None:
    """Another method in a file of a workflow."""
    text = file.read_text()
    file.write_text(text.replace("fbp", "cgls"))


def changed(call: Called, change: Callable[[], None], words: list[str]) -> str:
    """Digest of the first volume, after another method made another one and nothing else was made again."""
    volume, maps = call.place / RESULTS, call.place / "maps" / "retrieve" / "mouse" / "record.json"
    first, before = digest(volume), maps.stat().st_mtime_ns
    change()
    call("another method", *words)
    call.wanted(digest(volume) != first, "another volume from another method")
    call.wanted(maps.stat().st_mtime_ns == before, "maps left as they were")
    return first


def digest(folder: Path) -> str:
    """Of all files below a folder, by name and content."""
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    if not files:
        sys.exit(f"{folder}: is empty or missing")
    return hashlib.sha256(b"".join(str(f.relative_to(folder)).encode() + f.read_bytes() for f in files)).hexdigest()


if __name__ == "__main__":
    main()

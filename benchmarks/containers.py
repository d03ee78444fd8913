"""Builds the image of containers/Dockerfile and runs darklung in it. Apptainer's is benchmarks/containers_apptainer.py.

    python benchmarks/containers.py [--suite trixie] [--extras learn,tubes] [--work FOLDER]

Needs root and Debian's packages buildah and mmdebstrap; no registry of images, no Docker daemon. The base is a minimal
Debian of the suite, which stands for debian:SUITE-slim. buildah's chroot isolation works without user namespaces. pip's
configuration comes in as a secret, with what it names mounted: empty folders in /run/pip stay in an image.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE = "localhost/darklung-base"
IMAGE = "localhost/darklung"
STUDY = """
name: small
sources:
  mice:
    from: simulation
    cohort: {animals: 1, test_animals: 0}
    body: {voxel: 600 um}
    instrument: {spectrum: band, low: 60 keV, high: 80 keV, visibility: 0.15, correlation_length: 3 um}
    scan: {supersampling: 1, views: 40, steps: 5, directions: [0 deg, 90 deg], counts: 1.5e7}
"""
# What is run in the image as its user, in this order in one container.
COMMANDS = {
    "who": ["sh", "-c", "test $(id -u) -ne 0 && id -un && ! touch /opt/darklung/x 2>/dev/null"],
    "version": ["darklung", "--version"],
    "examples": ["darklung", "examples", "--out", "examples"],
    "retrieve": ["darklung", "retrieve", "examples/raw_scan/scan.yaml", "--out", "maps", "--workers", "1"],
    "run": ["sh", "-c", f"cat > small.yaml <<'END'\n{STUDY}END\ndarklung run small.yaml --out run --workers 1"],
    "again": ["darklung", "run", "small.yaml", "--out", "run", "--workers", "1"],
}
# docker run --user, in a container of its own: somebody whom the image does not know.
OTHERS = {
    "another user": [
        "sh",
        "-c",
        "mkdir /tmp/other && cd /tmp/other && darklung examples --out examples"
        " && darklung retrieve examples/raw_scan/scan.yaml --out maps --workers 1",
    ]
}


def main() -> None:
    """Print what was built, its size and time, and a line a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="trixie", help="Debian's suite of the base.")
    parser.add_argument("--extras", default="", help="Extras in the image; none by default.")
    parser.add_argument("--work", type=Path, help="Folder for bases and images; removed afterwards if not given.")
    given = parser.parse_args()
    if missing := [name for name in ("buildah", "mmdebstrap") if shutil.which(name) is None]:
        sys.exit(f"needs {' and '.join(missing)} (Debian's packages of that name)")
    if os.geteuid():
        sys.exit("needs root: chroot isolation and mmdebstrap --mode=root do")
    with tempfile.TemporaryDirectory() as scratch:
        work = (given.work or Path(scratch)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        made = Builder(work, given.suite, given.extras)
        made.base()
        wrong = image(made)
    sys.exit(f"failed: {', '.join(wrong)}" if wrong else None)


class Builder:
    """buildah with its storage and pip's configuration in one folder."""

    def __init__(self, work: Path, suite: str, extras: str) -> None:
        self.work, self.suite, self.extras = work, suite, extras
        self.head = ["buildah", "--root", work / "storage", "--runroot", work / "state", "--storage-driver", "vfs"]
        self.pip, self.mounts = pip_configuration(work / "pip.conf")

    def __call__(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command of buildah; its output is kept."""
        return checked([*self.head, *words], check=check)

    def base(self) -> None:
        """A minimal Debian as an image."""
        folder = self.work / "base"
        archive = folder / f"{self.suite}.tar"
        if not archive.exists():
            folder.mkdir(exist_ok=True)
            lean = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
            part = archive.with_suffix(".part.tar")
            checked(["mmdebstrap", "--mode=root", "--variant=minbase", "--include=ca-certificates", *lean, self.suite, part])
            part.rename(archive)
        (folder / "Dockerfile").write_text(f'FROM scratch\nADD {archive.name} /\nCMD ["bash"]\n')
        self("bud", "--isolation", "chroot", "-t", f"{BASE}:{self.suite}", "-f", folder / "Dockerfile", folder)

    def build(self) -> None:
        """The Dockerfile on that base."""
        values = {"BASE": f"{BASE}:{self.suite}", "EXTRAS": self.extras, "VERSION": version(), "REVISION": revision()}
        arguments = [word for name, value in values.items() for word in ("--build-arg", f"{name}={value}")]
        secret = ["--secret", f"id=pip,src={self.pip}"]
        ignored = ["--ignorefile", ROOT / ".dockerignore"]
        file = ROOT / "containers" / "Dockerfile"
        self("bud", "--isolation", "chroot", *secret, *self.mounts, *ignored, *arguments, "-t", IMAGE, "-f", file, ROOT)

    def run(self, container: str, words: list[str], *options: str) -> tuple[bool, str, float]:
        """Whether a command in a container ended well, the last line of what it said, and the time it took [s]."""
        started = time.monotonic()
        done = self("run", "--isolation", "chroot", *options, container, "--", *words, check=False)
        told = (done.stdout + done.stderr).splitlines()
        lines = [
            line for line in told if line.strip() and not line.startswith(("WARNING", "Error: exit status", "Error: while"))
        ]
        return done.returncode == 0, (lines or [""])[-1], time.monotonic() - started


def image(made: Builder) -> list[str]:
    """Build the Dockerfile, look at what it says of itself, run the commands in it; names of what failed."""
    started = time.monotonic()
    made.build()
    told = json.loads(made("inspect", "--type", "image", IMAGE).stdout)["OCIv1"]["config"]
    (row,) = json.loads(made("images", "--json", IMAGE).stdout)
    print(f"image on {made.suite}, extras {made.extras or '-'}: {row['size']}, built in {time.monotonic() - started:.0f} s")
    print(f"entry point {told['Entrypoint']}, user {told['User']}, labels {len(told['Labels'])}")
    wrong = [] if (told["Entrypoint"], told["User"]) == (["darklung"], "darklung") else ["configuration"]
    for commands, options in ((COMMANDS, []), (OTHERS, ["--user", "12345:12345"])):
        container = made("from", IMAGE).stdout.strip()
        try:
            for name, words in commands.items():
                wrong += tell(name, made.run(container, words, *options))
        finally:
            made("rm", container)
    return wrong


def tell(name: str, outcome: tuple[bool, str, float]) -> list[str]:
    """Print one line; the name if it failed."""
    well, said, seconds = outcome
    print(f"{name:12} {'yes' if well else 'NO'}  {seconds:6.1f} s  {said}", flush=True)
    return [] if well else [name]


def pip_configuration(file: Path) -> tuple[Path, list[str]]:
    """This machine's configuration of pip as one file for a container, and what of this machine it needs mounted."""
    listed = checked([sys.executable, "-m", "pip", "config", "list"]).stdout
    found: dict[str, str] = {}
    for place, key, value in re.findall(r"^(\S+?)\.([\w-]+)='(.*)'$", listed, flags=re.M):
        found[key] = value if place == ":env:" or key not in found else found[key]
    mounts: list[str] = []

    def inside(word: str) -> str:
        path = Path(word.removeprefix("file://"))
        if not path.is_absolute() or not path.exists():
            return word
        there = f"/run/pip/{len(mounts) // 2}"
        # Pages of an index lead to files beside its folder.
        mounts.extend(["--volume", f"{path.parent if word.startswith('file://') else path}:{there}:ro"])
        return f"file://{there}/{path.name}" if word.startswith("file://") else there

    lines = [f"{key} = {' '.join(inside(word) for word in value.split())}" for key, value in found.items()]
    file.write_text("\n".join(["[global]", *lines, ""]))
    return file, mounts


def version() -> str:
    """Of this checkout."""
    return re.findall(r'__version__ = "(.+?)"', (ROOT / "src" / "darklung" / "__init__.py").read_text())[0]


def revision() -> str:
    """The commit of this checkout."""
    return checked(["git", "-C", ROOT, "rev-parse", "HEAD"]).stdout.strip()


def checked(words: list[str | Path], check: bool = True) -> subprocess.CompletedProcess[str]:
    """A command's output; where it fails, its last lines end the script."""
    done = subprocess.run(words, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit("\n".join([f"failed: {' '.join(map(str, words))}", *(done.stdout + done.stderr).splitlines()[-15:]]))
    return done


if __name__ == "__main__":
    main()

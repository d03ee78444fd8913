"""Builds containers/darklung.def with Apptainer itself, then tests, runs and inspects the image.

    python benchmarks/containers_apptainer.py [--suite trixie] [--extras learn,tubes] [--work FOLDER]

Needs root and Debian's package mmdebstrap. Apptainer is that of Debian's suite sid (its package singularity-container), in a
folder of its own; the base is a minimal Debian in another, so the definition's bootstrap is `localimage`, its one change.
That folder is made the root of a mount namespace, since Apptainer refuses a chroot, and a user namespace in it gives its
root every capability, also where the machine withholds some.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from containers import ROOT, checked, pip_configuration

RECIPE = ROOT / "containers" / "darklung.def"
COPIED = ["pyproject.toml", "README.md", "LICENSE", "constraints.txt", "hatch_build.py", "src", "examples"]
# $1 is the folder; the rest are pairs of what is mounted and where.
OUTER = """
set -e
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount --rbind /sys "$root/sys"
while [ $# -gt 0 ]; do mount --bind "$1" "$root/$2"; shift 2; done
cd "$root"; pivot_root . mnt; cd /; umount -l /mnt
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
unshare -U -m sh -c 'until grep -q 65536 /proc/self/uid_map; do sleep 0.2; done; cd /build/source; exec sh /build/inner.sh' &
inner=$!
until [ "$(readlink /proc/$inner/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.2; done
echo "0 0 65536" > /proc/$inner/uid_map
echo "0 0 65536" > /proc/$inner/gid_map
wait $inner
"""
COMMANDS = {
    "build": "apptainer build --bind /build/pip.conf:/etc/pip.conf --bind /build/pip:/run/pip"
    " --build-arg BASE=/build/base --build-arg EXTRAS={extras} /build/darklung.sif darklung.def",
    "test": "apptainer test /build/darklung.sif",
    "run": "apptainer run /build/darklung.sif --version",
    "inspect": "apptainer inspect /build/darklung.sif",
}


def main() -> None:
    """A line a command; the size of the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="trixie", help="Debian's suite of the base.")
    parser.add_argument("--extras", default="", help="Extras in the image; none by default.")
    parser.add_argument("--work", type=Path, help="Folder for Apptainer, bases and images; removed afterwards if not given.")
    given = parser.parse_args()
    if shutil.which("mmdebstrap") is None or os.geteuid():
        sys.exit("needs root, and Debian's package mmdebstrap")
    with tempfile.TemporaryDirectory() as scratch:
        work = (given.work or Path(scratch)).resolve()
        root = debian(work / "apptainer", "sid", "singularity-container")
        mounts = laid_out(root, given.suite)
        wrong = 0
        for name, words in COMMANDS.items():
            wrong += not told(name, root, mounts, words.format(extras=given.extras))
            if wrong and name == "build":
                break
        if not wrong:
            print(f"{(root / 'build' / 'darklung.sif').stat().st_size / 2**20:.0f} MiB")
    sys.exit(wrong)


def debian(folder: Path, suite: str, *packages: str) -> Path:
    """A minimal Debian in a folder; as it is if it is there."""
    if not folder.exists():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        included = f"--include={','.join(['ca-certificates', *packages])}"
        fresh = '--aptopt=Acquire::Check-Valid-Until "false"'  # mirrors of sid that stand still
        checked(["mmdebstrap", "--mode=root", "--variant=minbase", fresh, included, suite, part])
        part.rename(folder)
    return folder


def laid_out(root: Path, suite: str) -> list[str]:
    """The source, the base and pip's configuration below the root; pairs of what is mounted and where."""
    build = root / "build"
    base = debian(build / "base", suite)
    shutil.rmtree(base / "dev")  # devices cannot be copied in a user namespace
    (base / "dev").mkdir()
    source = build / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for name in COPIED:
        checked(["cp", "-r", ROOT / name, source / name])
    (source / "darklung.def").write_text(RECIPE.read_text().replace("Bootstrap: docker", "Bootstrap: localimage"))
    _, volumes = pip_configuration(build / "pip.conf")
    pairs = [v.removesuffix(":ro").split(":/run/") for v in volumes if v != "--volume"]
    for here, there in [*pairs, ("/etc/resolv.conf", "../etc/resolv.conf")]:
        place = build / there
        place.parent.mkdir(exist_ok=True)
        _ = place.mkdir(exist_ok=True) if Path(here).is_dir() else place.touch()
    (build / "pip").mkdir(exist_ok=True)
    for folder in (base / "run" / "pip", root / "etc", base / "etc"):
        folder.mkdir(exist_ok=True)
    (base / "etc" / "pip.conf").touch()
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (build / "darklung.sif").unlink(missing_ok=True)
    return [word for here, there in pairs for word in (here, f"build/{there}")] + ["/etc/resolv.conf", "etc/resolv.conf"]


def told(name: str, root: Path, mounts: list[str], words: str) -> bool:
    """Whether a command in that root ended well; its last lines are printed."""
    (root / "build" / "inner.sh").write_text(f"exec {words}\n")
    started = time.monotonic()
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", OUTER, "sh", root, *mounts]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    shown = lines[-1:] if done.returncode == 0 and name != "inspect" else lines[-12:]
    print(
        f"{name:8} {'NO' if done.returncode else 'yes'} {time.monotonic() - started:6.1f} s", *shown, sep="\n  ", flush=True
    )
    return done.returncode == 0


if __name__ == "__main__":
    main()

"""What noting and verifying contents costs, and whether flipped bits are found.

python benchmarks/verify.py [--gib 2] [--flips 2000]

Hashes of one thread on this machine; the speed of ``darklung verify`` on a run of large files; and random flips in a run
folder with one artefact of each kind, all of which must be named.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from google_crc32c import value as crc32c

from darklung.pipeline import Task, run_tasks
from darklung.pipeline.verify import verify

STEP = """
import os
def step(context):
    for number in range(context.parameters["files"]):
        with (context.out / f"{number}.bin").open("wb") as file:
            for _ in range(context.parameters["mib"]):
                file.write(os.urandom(2**20))
"""
TESTS = Path(__file__).parents[1] / "tests/pipeline"


def hashes() -> None:
    """Bytes a second of one processor, the best of several."""
    data = os.urandom(2**26)
    known: dict[str, Callable[[bytes], object]] = {
        **{n: lambda b, n=n: hashlib.new(n, b).digest() for n in ("sha256", "md5", "sha1", "blake2b", "sha512", "sha3_256")},
        "crc32 (zlib)": zlib.crc32,
        "crc32c": crc32c,
    }
    for name, function in known.items():
        best = min(_timed(function, data) for _ in range(9))
        print(f"{name:<14} {len(data) / best / 1e6:7.0f} MB/s")


def _timed(function: Callable[[bytes], object], data: bytes) -> float:
    start = time.process_time()  # another program's share of the core does not count
    function(data)
    return time.process_time() - start


def filters() -> None:
    """What HDF5's own checksum costs the thread that writes views."""
    views = np.random.default_rng(0).normal(size=(64, 1024, 1024)).astype(np.float32)

    def write(path: Path, checksum: bool) -> None:
        with h5py.File(path, "w") as file:
            stored = file.create_dataset("x", views.shape, views.dtype, chunks=(1, *views.shape[1:]), fletcher32=checksum)
            for number, view in enumerate(views):
                stored[number] = view

    with tempfile.TemporaryDirectory() as folder:
        plain, checked = (
            min(_timed(lambda _, c=c: write(Path(folder, "x.h5"), c), b"") for _ in range(5)) for c in (False, True)
        )
    print(f"HDF5 fletcher32: {views.nbytes / (checked - plain) / 1e6:.0f} MB a second of the thread that writes")


def speed(gib: float) -> None:
    """Verify a run with that much data in files of 256 MiB, which were just written."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "large_step.py").write_text(STEP)
        sys.path.insert(0, folder)
        task = Task("large", "one", "large_step:step", {"files": max(1, round(4 * gib)), "mib": 256})
        run_tasks([task], folder=Path(folder, "run"), targets=[task.name], workers=1, about={})
        busy = time.process_time()
        found = verify(Path(folder, "run"))
        busy = time.process_time() - busy
        rate, share = found.size_bytes / found.seconds / 1e6, found.size_bytes / busy / 1e6
        told = f"{found.size_bytes / 1e9:.2f} GB in {found.seconds:.2f} s: {rate:.0f} MB/s on {os.cpu_count()} cores"
        print(f"verify: {told}, {share:.0f} MB a second of one processor")
        assert not found.wrong


def flips(count: int) -> None:
    """Random single bits in random files of all kinds."""
    sys.path.insert(0, str(TESTS))
    rng, named = random.Random(time.time_ns()), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        run_tasks(
            [Task("all", "one", "toy_stages:everything", {})],
            folder=Path(folder, "run"),
            targets=["all/one"],
            workers=1,
            about={},
        )
        files = sorted(p for p in Path(folder, "run").rglob("*") if p.is_file() and not p.name.startswith((".", "log")))
        for number in range(count):
            file = files[number % len(files)]
            content, about = file.read_bytes(), os.stat(file)
            bit = rng.randrange(8 * len(content))
            file.write_bytes(content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :])
            os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
            assert file in {path for path, _ in verify(file).wrong}, (file, bit)
            file.write_bytes(content)
            named["".join(file.suffixes[-2:]) or file.parent.name] += 1
    print(f"{sum(named.values())} of {count} flipped bits named: {dict(named)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=2)
    parser.add_argument("--flips", type=int, default=2000)
    given = parser.parse_args()
    hashes()
    filters()
    speed(given.gib)
    flips(given.flips)

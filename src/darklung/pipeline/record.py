"""Records: what was computed, from what, with which code, on which machine, at what cost."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

import darklung
from darklung.pipeline.task import PACKAGE, code_version

LIBRARIES = ("numpy", "scipy", "numba", "xraydb", "spekpy", "torch", "h5py", "zarr", "pandas", "matplotlib")


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the whole new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value, indent=1, sort_keys=False) + "\n")
    os.replace(partial, path)


def read_json(path: Path) -> Any:
    """The JSON in `path`, or None if it is missing or unreadable."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Versions and hardware."""
    versions = {"python": platform.python_version(), "darklung": darklung.__version__, "commit": _commit()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    hardware = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    return {"versions": versions, "hardware": hardware, "source": code_version(("",))}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str | None:
    """The git commit of the source, with a mark if it was changed since; None outside a checkout."""
    try:
        call = ["git", "-C", str(PACKAGE), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(call, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


class Cost:
    """Wall time and peak memory of a piece of work."""

    wall_s: float = 0.0
    peak_memory_mib: float = 0.0


@contextmanager
def measured(interval_s: float = 0.1) -> Iterator[Cost]:
    """Measure the block; memory is this process's resident set, sampled every `interval_s`."""
    cost, process, stop = Cost(), psutil.Process(), threading.Event()

    def sample() -> None:
        while True:
            cost.peak_memory_mib = max(cost.peak_memory_mib, process.memory_info().rss / 2**20)
            if stop.wait(interval_s):
                return

    sampler = threading.Thread(target=sample, daemon=True)
    start = time.perf_counter()
    sampler.start()
    try:
        yield cost
    finally:
        cost.wall_s = time.perf_counter() - start
        stop.set()
        sampler.join()


def task_record(*, key: str, inputs: Mapping[str, Any], parameters: Mapping[str, Any], cost: Cost, started: float) -> dict:
    """The record that lies beside a task's output."""
    return {
        "key": key,
        "parameters": dict(parameters),
        "inputs": dict(inputs),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "wall_s": round(cost.wall_s, 3),
        "peak_memory_mib": round(cost.peak_memory_mib, 1),
        "environment": environment(),
    }

"""Records: what was computed, from what, with which code, on which machine, at what cost."""

from __future__ import annotations

import hashlib
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
from darklung.core.files import write_text
from darklung.pipeline.artefacts import Notes
from darklung.pipeline.contents import source_hash
from darklung.pipeline.imports import PACKAGE

LIBRARIES = (
    *("numpy", "scipy", "numba", "xraydb", "spekpy", "torch", "scikit-learn", "monai"),
    *("h5py", "zarr", "nibabel", "tifffile", "pydicom", "pyarrow", "pandas", "matplotlib"),
)
SAMPLE_S = 0.1
# The last line of a record: SHA-256 of the record without it, so that a record answers for itself too.
SEAL = "seal"
_END = "\n}\n"
_ENCODE = json.JSONEncoder().encode


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the whole new one."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """As it is written to a file."""
    return json.dumps(value, indent=1, sort_keys=False) + "\n"


def read_json(path: Path) -> Any:
    """The JSON in `path`, or None if it is missing or unreadable."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def sealed_text(value: Mapping[str, Any]) -> str:
    """JSON that ends with its own SHA-256; a seal that `value` has is replaced.

    Entries stand on lines of their own, and so does what is directly inside them; a whole value is as long as its line.
    """
    text = "{\n" + ",\n".join(_entry({k: v}) for k, v in value.items() if k != SEAL) + _END
    return text.removesuffix(_END) + _seal_line(text)


def _entry(one: Mapping[str, Any]) -> str:
    """One entry of a record; json's own indenting is done in Python and takes longer than a small task."""
    ((key, value),) = one.items()
    if isinstance(value, dict) and value:
        lines = [_ENCODE({k: v})[1:-1] for k, v in value.items()]
        return f" {_ENCODE(str(key))}: {{\n  " + ",\n  ".join(lines) + "\n }"
    if isinstance(value, list | tuple) and value:
        return f" {_ENCODE(str(key))}: [\n  " + ",\n  ".join(map(_ENCODE, value)) + "\n ]"
    return f" {_ENCODE(one)[1:-1]}"


def _seal_line(text: str) -> str:
    return f',\n "{SEAL}": "{hashlib.sha256(text.encode()).hexdigest()}"{_END}'


def write_record(path: Path, value: Mapping[str, Any]) -> None:
    """Write a record with its seal, whole or not at all."""
    write_text(path, sealed_text(value))


def seal_holds(path: Path) -> bool:
    """Whether a record is, to the last byte, what was written; raises OSError where there is none."""
    return _sealed(path.read_bytes())


def _sealed(content: bytes) -> bool:
    head = content.rpartition(f',\n "{SEAL}": '.encode())[0].decode(errors="replace")
    return content == (head + _seal_line(head + _END)).encode()


def read_record(path: Path | str) -> dict[str, Any] | None:
    """A task's record, or None if it is missing, broken, or not what was written."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        record = json.loads(content.decode("utf-8")) if _sealed(content) else None
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "key" in record else None


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
    return {"versions": versions, "hardware": hardware, "source": source_hash(PACKAGE)}


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
    """Wall time, processor time of this process's threads, and peak memory of a piece of work."""

    wall_s: float = 0.0
    processor_s: float = 0.0
    peak_memory_mib: float = 0.0


class Sampler:
    """Watches the resident set of this process; one thread for all tasks, since to start one takes time."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._watched: set[Cost] = set()
        self._some = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while self._some.wait():
            time.sleep(SAMPLE_S)
            self._sample()

    def _sample(self) -> None:
        resident = self._process.memory_info().rss / 2**20
        for cost in tuple(self._watched):
            cost.peak_memory_mib = max(cost.peak_memory_mib, resident)

    def watch(self, cost: Cost) -> None:
        """From now on."""
        self._watched.add(cost)
        self._sample()
        self._some.set()

    def leave(self, cost: Cost) -> None:
        """No more."""
        self._sample()
        self._watched.discard(cost)
        if not self._watched:
            self._some.clear()


@lru_cache(maxsize=1)
def _sampler() -> Sampler:
    return Sampler()


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the block; memory is this process's resident set, sampled every `SAMPLE_S`, at the start and at the end."""
    cost, start, used = Cost(), time.perf_counter(), time.process_time()
    _sampler().watch(cost)
    try:
        yield cost
    finally:
        cost.wall_s, cost.processor_s = time.perf_counter() - start, time.process_time() - used
        _sampler().leave(cost)


def task_record(
    *,
    key: str,
    inputs: Mapping[str, Any],
    made_from: Mapping[str, str],
    parameters: Mapping[str, Any],
    cost: Cost,
    started: float,
    reads: Notes,
    outputs: Notes,
) -> dict[str, Any]:
    """The record that lies beside a task's output.

    `made_from` tells the key of each task that was read, `reads` notes files from outside the run by their paths.
    """
    return {
        "key": key,
        "parameters": dict(parameters),
        "inputs": dict(inputs),
        "made_from": dict(made_from),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "wall_s": round(cost.wall_s, 3),
        "processor_s": round(cost.processor_s, 3),
        "peak_memory_mib": round(cost.peak_memory_mib, 1),
        "environment": environment(),
        "reads": reads,
        "outputs": outputs,
    }

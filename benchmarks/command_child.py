"""One command of darklung in a forked child, with what shall go wrong in it; for `kills.py` and `broken_machines.py`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Moments at which a run folder changes.
EVENTS = ("replace", "rename", "mkdir", "unlink", "rmdir", "remove", "fsync")
ALLOWED_HIDDEN = {".lock", ".workers.lock", ".owner"}
# What a clock, a machine or a process writes into records.
VOLATILE = {"started", "created", "wall_s", "processor_s", "peak_memory_mib", "environment", "total_task_s", "inputs_stamp"}
VOLATILE |= {"mtime_ns", "seal"}  # of the outputs, and of the record itself


def warm() -> None:
    """Import all that commands import when they are called."""
    import importlib
    import pkgutil

    import darklung

    for found in pkgutil.walk_packages(darklung.__path__, "darklung."):
        if not found.name.endswith("__main__") and not found.name.startswith("darklung.napari"):  # an extra
            importlib.import_module(found.name)
    import pandas
    import pyarrow.parquet
    from matplotlib.backends import backend_agg

    assert all((pandas, pyarrow, backend_agg))


def plain_pictures() -> None:
    """Figures become a few bytes: to draw them is most of the time of a tiny command, and no part of what is tried."""
    import matplotlib.figure

    def savefig(figure: Any, target: Any, **options: Any) -> None:
        if options.get("format") == "svg":
            target.write("<svg></svg>")
        elif hasattr(target, "write"):
            target.write(b"picture")
        else:
            Path(target).write_bytes(b"picture")

    matplotlib.figure.Figure.savefig = savefig  # type: ignore[method-assign]


def fork_workers() -> None:
    """Workers are forked from this process, which has imported everything; as they are started otherwise is slow."""
    from multiprocessing import get_context

    from darklung.pipeline import executors

    executors.get_context = lambda kind: get_context("fork")  # type: ignore[attr-defined]


def child(text: str, folder: Path, log: Path, prepare: Callable[[], Any] = lambda: None) -> int:
    """Fork a child that runs the command line `text` in `folder`; returns its process number."""
    number = os.fork()
    if number:
        return number
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        sys.argv = ["darklung", *shlex.split(text)]
        prepare()
        from darklung.commands import cli

        try:
            cli.main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 0
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001  told in the log
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def ended(number: int, seconds: float = 120) -> int:
    """The exit code of a child (negative: the signal), or 999 where it hangs and is ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return 999


def at_event(number: int, action: Callable[[], Any], *, after: bool = False, worker: bool | None = None) -> None:
    """Call `action` at the `number`-th change of the file system by this process, or by one that it forks (`worker`)."""
    main, seen = os.getpid(), [0]

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **named: Any) -> Any:
            if worker is not None and (os.getpid() != main) != worker:
                return call(*args, **named)
            seen[0] += 1
            if seen[0] == number and not after:
                action()
            found = call(*args, **named)
            if seen[0] == number and after:
                action()
            return found

        return run

    for name in EVENTS:
        setattr(os, name, wrapped(getattr(os, name)))


def count_events(path: Path, worker: bool = False) -> None:
    """Write to `path` how many changes this process makes, at its end."""
    main, seen = os.getpid(), [0]

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **named: Any) -> Any:
            if (os.getpid() != main) == worker:
                seen[0] += 1
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.write(handle, str(seen[0]).encode())
                os.close(handle)
            return call(*args, **named)

        return run

    for name in EVENTS:
        setattr(os, name, wrapped(getattr(os, name)))


def kill_self() -> None:
    """As the kernel does."""
    os.kill(os.getpid(), signal.SIGKILL)


def contents(folder: Path) -> dict[str, str]:
    """Relative path -> hash of the content without what clocks write; logs and locks are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.name not in {"log.txt", *ALLOWED_HIDDEN} and "/errors/" not in f"/{name}":
            found[name] = hashlib.sha256(_settled(path)).hexdigest()
    return found


def _settled(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".json":
        with contextlib.suppress(ValueError):
            return json.dumps(_without(json.loads(content)), sort_keys=True).encode()
    if path.suffix == ".html":
        return re.sub(rb"[0-9.]+ (s|min|MiB|GiB)\b|\d{4}-\d\d-\d\dT[0-9:]+Z", b"", content)
    return content


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in VOLATILE}
    return [_without(v) for v in value] if isinstance(value, list) else value


def hidden(folder: Path) -> list[str]:
    """Hidden files and folders that a finished run has no use for."""
    names = (p for p in folder.rglob(".*") if p.name not in ALLOWED_HIDDEN and ".superseded" not in p.parts)
    # A prediction keeps the logits of its models under a hidden name: that is an output.
    return sorted(p.relative_to(folder).as_posix() for p in names if not p.name.startswith(".logits"))

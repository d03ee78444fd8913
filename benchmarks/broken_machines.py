"""What happens to every command on a full disk, in a read-only folder and without memory; and to a run in odd surroundings.

Disks are small file systems in memory, which only root may mount; elsewhere a limit on the size of files stands for a full
disk. After each failure the same command runs again on a whole machine and must leave what an undisturbed run leaves.

python benchmarks/broken_machines.py [--state broken-state] [--commands run,train]

Prints two tables.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue"}

import command_child as c
from kills import prepare
from small_inputs import COMMANDS

SPARE_BYTES = 24 * 2**20


class Machine:
    """Inputs, and a folder that may be broken."""

    def __init__(self, state: Path) -> None:
        self.state, self.inputs, self.place = state.resolve(), state.resolve() / "in", state.resolve() / "disk"
        self.log = self.state / "log.txt"
        self.place.mkdir(parents=True, exist_ok=True)
        prepare(self.inputs)

    @property
    def out(self) -> Path:
        return self.place / "out"

    def run(self, name: str, prepare: Callable[[], Any] = lambda: None, workers: int = 1) -> tuple[int, list[str]]:
        """Exit code and the lines on the terminal that are ours."""
        self.log.unlink(missing_ok=True)
        code = c.ended(c.child(COMMANDS[name].format(out=self.out, workers=workers), self.inputs, self.log, prepare))
        lines = self.log.read_text().splitlines()
        trouble = [line for line in lines if line.startswith("darklung: ") or "Traceback" in line or "Error" in line]
        return code, trouble

    def clear(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)

    @contextmanager
    def mounted(self, options: str) -> Iterator[bool]:
        """A small file system in place of the folder; False where that is not allowed."""
        self.clear()
        call = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.place)]
        done = subprocess.run(call, capture_output=True, check=False).returncode == 0
        try:
            yield done
        finally:
            if done:
                subprocess.run(["umount", str(self.place)], check=True)


def told(code: int, lines: list[str]) -> str:
    """``rc 2, one line: No space left on device``."""
    shown = lines[-1].rpartition(": ")[2] if lines else "nothing said"
    count = "one line" if len(lines) == 1 else f"{len(lines)} lines"
    return "done" if code == 0 else f"rc {code}, {count}: {shown}"


def small_files(limit: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def little_memory() -> None:
    with open("/proc/self/statm") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + SPARE_BYTES, now + SPARE_BYTES))


def one_command(machine: Machine, name: str) -> str:
    """A row of the first table."""
    machine.clear()
    assert machine.run(name)[0] == 0, machine.log.read_text()
    whole = c.contents(machine.out)
    size = sum(p.stat().st_size for p in machine.out.rglob("*") if p.is_file())
    with machine.mounted(f"size={max(16384, size // 2)}") as real:
        full = told(*machine.run(name, (lambda: None) if real else small_files(max(1000, size // 20))))
    with machine.mounted("ro") as real:
        closed = told(*machine.run(name)) if real else "not tried (not root)"
    machine.clear()
    memory = told(*machine.run(name, little_memory))
    code, _ = machine.run(name)
    after = c.contents(machine.out)
    same = code == 0 and set(after) == set(whole) and not c.hidden(machine.out)
    return f"| `{name}` | {full} | {closed} | {memory} | {'the same' if same else 'CHANGED'} |"


def _study(machine: Machine, *more: str, cwd: Path | None = None, **environment: str) -> tuple[int, str]:
    """`darklung train` in a process of its own; exit code and its last line."""
    call = [sys.executable, "-m", "darklung", "train", *more]
    env = {**os.environ, **environment}
    found = subprocess.run(call, cwd=cwd or machine.inputs, env=env, capture_output=True, text=True, check=False)
    return found.returncode, (found.stderr.strip().splitlines() or [""])[-1] if found.returncode else found.stdout


def surroundings(machine: Machine) -> Iterator[tuple[str, str, str]]:
    """(what is odd, what was done, what came of it)."""
    machine.clear()
    first = machine.place / "first"
    shutil.rmtree(machine.place, ignore_errors=True)
    machine.place.mkdir()
    study = str(machine.inputs / "study.yaml")
    code, _ = _study(machine, study, "--out", str(first), "--workers", "1")
    whole = {k: v for k, v in c.contents(first).items() if k.endswith(("safetensors", ".json")) and "run.json" not in k}

    def compared(folder: Path) -> str:
        after = c.contents(folder)
        return "the same to the byte" if all(after.get(k) == v for k, v in whole.items()) else "DIFFERS"

    def again(folder: Path, **environment: str) -> str:
        code, text = _study(machine, study, "--out", str(folder), **environment)
        return "nothing computed again" if code == 0 and "\n0 task(s) computed" in text else f"rc {code}: {text[-200:]}"

    for name, options, environment in (
        ("two workers", ["--workers", "2"], {}),
        ("another hash seed", [], {"PYTHONHASHSEED": "4711"}),
        ("a machine that is not in UTF-8", [], {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ("German", [], {"LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"}),
    ):
        out = machine.place / name.replace(" ", "_")
        code, text = _study(machine, study, "--out", str(out), *options, **environment)
        yield name, "`train` into another folder", f"rc {code}, {compared(out)}"
    deep = machine.place.joinpath(*["a" * 60] * 10)
    code, text = _study(machine, study, "--out", str(deep), "--workers", "1")
    yield f"a path of {len(str(deep))} letters", "`train` into it", f"rc {code}, {compared(deep)}"
    moved = machine.place / "moved" / "renamed"
    moved.parent.mkdir()
    shutil.move(first, moved)
    yield "a folder that was moved and renamed", "`train` again", again(moved)
    for name, when in (("clock set back by a year", -1), ("files of next year", 1)):
        stamp = time.time() + when * 365 * 86400
        for path in (*moved.rglob("*"), *machine.inputs.rglob("*")):
            os.utime(path, (stamp, stamp))
        yield name, "all times of files changed, `train` again", again(moved)
    held = subprocess.Popen([sys.executable, "-c", _HOLD, str(moved)], stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None
    held.stdout.readline()
    code, text = _study(machine, study, "--out", str(moved))
    held.kill()
    held.wait()
    yield "two runs in one folder", "`train` while another one works there", f"rc {code}, {text.rpartition(': ')[2]}"
    yield "", "`train` after the other one was killed", again(moved)


_HOLD = """
import sys, time
from pathlib import Path
from darklung.pipeline.folder import claim
with claim(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path("broken-state"))
    parser.add_argument("--commands", default=",".join(COMMANDS))
    given = parser.parse_args()
    machine = Machine(given.state)
    print("| command | full disk | read-only folder | no memory | the same command afterwards |\n|---|---|---|---|---|")
    for name in given.commands.split(","):
        print(one_command(machine, name), flush=True)
    print("\n| surroundings | what was done | what came of it |\n|---|---|---|")
    for row in surroundings(machine):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()

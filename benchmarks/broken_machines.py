"""What happens to every command on a full disk, in a read-only folder and without memory; and to a run in odd surroundings.

Disks are small file systems in memory, which only root may mount; elsewhere a limit on the size of files stands for a full
disk. After each failure the same command runs again in the same folder, when there is room, memory or a worker again, and
must leave what an undisturbed run leaves.

python benchmarks/broken_machines.py [--state broken] [--parts commands,large,surroundings,moves] [--commands run,train]

Prints three tables: every command, those that take memory on larger inputs, and the surroundings of a run.
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
from kills import empty, prepare
from small_inputs import COMMANDS, DRAWN, LARGE, ONCE, PARALLEL, make_large

SPARE_BYTES, ENOUGH_BYTES, MOST_SECONDS = 24 * 2**20, 6 * 2**30, 300
REASONS = (
    "No space left on device",
    "Read-only file system",
    "not enough memory",
    "Cannot allocate memory",
    "can't start new thread",
    "a worker process died (out of memory?)",
)
ENDED = "ended from outside of darklung, last words"


class Machine:
    """Inputs, and a folder that may be broken."""

    def __init__(self, state: Path) -> None:
        self.state, self.inputs, self.place = state.resolve(), state.resolve() / "in", state.resolve() / "disk"
        self.log = self.state / "log.txt"
        empty(self.place)
        prepare(self.inputs)

    def run(self, text: str, prepare: Callable[[], Any] = lambda: None, workers: int = 1) -> tuple[int, list[str]]:
        """Exit code and the lines on the terminal that are ours."""
        self.log.unlink(missing_ok=True)
        line = text.format(out=self.place / "out", workers=workers)
        code = c.ended(c.child(line, self.inputs, self.log, prepare), seconds=MOST_SECONDS)
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        ours = [line for line in lines if line.startswith("darklung: ")]
        # Without a word of ours a library has ended the process, or the kernel.
        return code, ours if ours or not code else [f"{ENDED}: {(lines or ['nothing said'])[-1]}"]

    @contextmanager
    def mounted(self, options: str) -> Iterator[bool]:
        """A small file system in place of the folder; False where that is not allowed."""
        empty(self.place)
        call = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.place)]
        done = subprocess.run(call, capture_output=True, check=False).returncode == 0
        try:
            yield done
        finally:
            if done:
                subprocess.run(["umount", str(self.place)], check=True)

    def undisturbed(self, text: str) -> tuple[dict[str, str], int]:
        """What a run leaves (empty: it differs between two runs), and its size in bytes."""
        found = []
        for _ in range(2):
            empty(self.place)
            assert self.run(text)[0] == 0, self.log.read_text()
            found.append(c.contents(self.place))
        size = sum(p.stat().st_size for p in self.place.rglob("*") if p.is_file())
        drawn = any(text == COMMANDS[name] for name in DRAWN)
        return {k: v if found[1].get(k) == v and not drawn else "" for k, v in found[0].items()}, size

    def afterwards(self, name: str, text: str, whole: dict[str, str], workers: int = 1) -> str:
        """Whether the same command now leaves what an undisturbed run leaves, to the byte where two of those agree."""
        code, _ = self.run(text, workers=workers)
        after = c.contents(self.place)
        same = set(after) == set(whole) and all(v in ("", after[k]) for k, v in whole.items())
        same = same and (name not in DRAWN or self.run(DRAWN[name])[0] == 0)
        ended = code == 0 or (name in ONCE and code == 2)
        return "the same" if ended and same and not c.hidden(self.place) else "CHANGED"


def told(code: int, lines: list[str]) -> str:
    """``rc 2, one line: No space left on device``."""
    if code == 0:
        return "done"
    if lines[0].startswith(ENDED):
        return f"rc {code}, {lines[0]}"
    count = "one line" if len(lines) == 1 else f"{len(lines)} lines"
    said = lines[-1].partition(" (traceback")[0]
    shown = next((reason for reason in REASONS if reason in said), said.rpartition(": ")[2])
    return f"rc {code}, {count}: {shown}"


def small_files(limit: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def little_memory(spare: int = SPARE_BYTES) -> None:
    with open("/proc/self/statm") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + spare, now + spare))


def one_command(machine: Machine, name: str) -> str:
    """A row of the first table."""
    text = COMMANDS[name]
    whole, size = machine.undisturbed(text)
    after = set()
    with machine.mounted(f"size={max(4096, size // 2)}") as real:
        full = told(*machine.run(text, (lambda: None) if real else small_files(max(1000, size // 20))))
        if real:
            subprocess.run(["mount", "-o", "remount,size=1g", str(machine.place)], check=True)
        after.add(machine.afterwards(name, text, whole))
    with machine.mounted("ro") as real:
        closed = told(*machine.run(text)) if real else "not tried (not root)"
    empty(machine.place)
    memory = told(*machine.run(text, little_memory))
    after.add(machine.afterwards(name, text, whole))
    dead = "-"
    if name in PARALLEL:
        empty(machine.place)
        dead = told(*machine.run(text, lambda: c.at_event(3, c.kill_self, worker=True), workers=2))
        after.add(machine.afterwards(name, text, whole, workers=2))
    return f"| `{name}` | {full} | {closed} | {memory} | {dead} | {' and '.join(sorted(after))} |"


def one_large(machine: Machine, name: str) -> str:
    """A row of the second table."""
    text = LARGE[name]
    empty(machine.place)
    memory = [told(*machine.run(text, little_memory, workers=workers)) for workers in ((1, 2) if name in PARALLEL else (1,))]
    code, lines = machine.run(text, lambda: little_memory(ENOUGH_BYTES))
    after = "done" if code == 0 and not c.hidden(machine.place) else told(code, lines)
    return f"| `{name}` | {memory[0]} | {memory[-1] if name in PARALLEL else '-'} | {after} |"


def _study(machine: Machine, *more: str, **environment: str) -> tuple[int, str]:
    """`darklung train` in a process of its own; exit code and its last line."""
    call = [sys.executable, "-m", "darklung", "train", *more]
    env = {**os.environ, **environment}
    found = subprocess.run(call, cwd=machine.inputs, env=env, capture_output=True, text=True, check=False)
    return found.returncode, (found.stderr.strip().splitlines() or [""])[-1] if found.returncode else found.stdout


def trained(machine: Machine) -> tuple[Path, dict[str, str]]:
    """A folder of `train` by one worker, and what is in it of models and records."""
    empty(machine.place)
    first = machine.place / "first"
    _study(machine, "study.yaml", "--out", str(first), "--workers", "1")
    found = c.contents(first)
    return first, {k: v for k, v in found.items() if k.endswith(("safetensors", ".json")) and "run.json" not in k}


def surroundings(machine: Machine) -> Iterator[tuple[str, str, str]]:
    """(what is odd, what was done, what came of it): a study trained where everything is odd but the study."""
    _, whole = trained(machine)
    assert whole
    deep = machine.place.joinpath(*["a" * 60] * 10)
    for name, out, options, environment in (
        ("two workers", "two", ["--workers", "2"], {}),
        ("another hash seed", "hash", [], {"PYTHONHASHSEED": "4711"}),
        ("a machine that is not in UTF-8", "C", [], {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ("German", "de", [], {"LC_ALL": german(), "LANGUAGE": "de"}),
        ("a clock that says the year before", "clock", [], {"LD_PRELOAD": fake_clock(), "FAKETIME": "-365d"}),
        (f"a path of {len(str(deep))} letters", deep, [], {}),
    ):
        if "" in environment.values():
            yield name, "not tried: is not on this machine", "-"
            continue
        code, _ = _study(machine, "study.yaml", "--out", str(machine.place / out), *options, **environment)
        after = c.contents(machine.place / out)
        same = all(after.get(k) == v for k, v in whole.items())
        yield name, "`train` into another folder", f"rc {code}, {'the same to the byte' if same else 'DIFFERS'}"


def moves(machine: Machine) -> Iterator[tuple[str, str, str]]:
    """The same of a folder that is there, and must be gone on with."""
    first, _ = trained(machine)
    moved = machine.place / "moved" / "renamed"
    moved.parent.mkdir()
    shutil.move(first, moved)

    def again(**environment: str) -> str:
        code, text = _study(machine, "study.yaml", "--out", str(moved), **environment)
        return "nothing computed again" if code == 0 and "\n0 task(s) computed" in text else f"rc {code}: {text[-200:]}"

    yield "a folder that was moved and renamed", "`train` again", again()
    if clock := fake_clock():
        back = again(LD_PRELOAD=clock, FAKETIME="-365d")
        yield "a clock set back by a year after the run", "`train` again", back
    for name, when in (("files of last year", -1), ("files of next year", 1)):
        stamp = time.time() + when * 365 * 86400
        for path in (*moved.rglob("*"), *machine.inputs.rglob("*")):
            os.utime(path, (stamp, stamp))
        yield name, "all times of files changed, `train` again", again()
    held = subprocess.Popen([sys.executable, "-c", _HOLD, str(moved)], stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None
    held.stdout.readline()
    code, text = _study(machine, "study.yaml", "--out", str(moved))
    held.kill()
    held.wait()
    yield "two runs in one folder", "`train` while another one works there", f"rc {code}, {text.rpartition(': ')[2]}"
    yield "", "`train` after the other one was killed", again()


def german() -> str:
    """Name of the German locale; empty where the machine has none."""
    names = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.split()
    return "de_DE.UTF-8" if "de_DE.utf8" in names else ""


def fake_clock() -> str:
    """The library of the package faketime; empty where the machine has none."""
    return next(map(str, Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), "")


_HOLD = """
import sys, time
from pathlib import Path
from darklung.pipeline.folder import claim
with claim(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def table(head: str, rows: Iterator[str]) -> None:
    print(head)
    for row in rows:
        print(row, flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path("broken-state"))
    parser.add_argument("--parts", default="commands,large,surroundings,moves")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    given = parser.parse_args()
    machine = Machine(given.state)
    parts = given.parts.split(",")
    if "commands" in parts:
        head = "| command | full disk | read-only folder | no memory | a worker killed | the same command afterwards |"
        table(f"{head}\n|---|---|---|---|---|---|", (one_command(machine, name) for name in given.commands.split(",")))
    if "large" in parts:
        if not (machine.inputs / "wide.yaml").exists():
            make_large(machine.inputs)
        head = "| on large inputs | no memory | no memory, two workers | the same command with it |"
        table(f"{head}\n|---|---|---|---|", (one_large(machine, n) for n in LARGE if n in given.commands.split(",")))
    for part, rows in (("surroundings", surroundings), ("moves", moves)):
        if part in parts:
            head = "| surroundings | what was done | what came of it |"
            table(f"{head}\n|---|---|---|", (f"| {' | '.join(row)} |" for row in rows(machine)))


if __name__ == "__main__":
    main()

"""Kills every command, and single workers, at random times and around every change of the file system; then runs it again.

A history is a command on tiny inputs that is killed one to three times and then left to end. Afterwards its folder must hold
what an undisturbed run leaves, to the byte but for times, and nothing hidden. Kills come at the n-th `replace`, `mkdir`,
`unlink`, `rmdir` or `fsync` (before or after it), or after a random time; of two workers either the main process or a single
worker dies. Pictures are stubs and workers are forked, to make histories short.

python benchmarks/kills.py [--seconds 600] [--state kills-state] [--commands run,train] [--page]

Histories are kept in the state folder; another call goes on from there. `--page` prints the table of all so far, those of
state folders in this one included, in which other processes try other commands.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import sys
import time
from collections import defaultdict
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue"}

import command_child as c
from small_inputs import COMMANDS, DRAWN, FIRST, ONCE, PARALLEL, make_inputs

HISTORIES = "histories.jsonl"


def here(text: str) -> None:
    """Run a command in this process, which then has compiled and read all that it needs."""
    from darklung.commands import cli

    sys.argv, told = ["darklung", *shlex.split(text)], StringIO()
    try:
        with redirect_stdout(StringIO()), redirect_stderr(told):
            cli.main()
    except SystemExit as error:
        if error.code:
            raise RuntimeError(f"{text}: {told.getvalue()}") from error


def prepare(inputs: Path) -> None:
    """A warm process, in a folder of inputs with what the commands under trial need of earlier ones."""
    c.warm()
    c.fork_workers()
    c.plain_pictures()
    if not (inputs / "wedges").is_dir():
        make_inputs(inputs)
    os.chdir(inputs)
    for name, first in FIRST.items():
        if not (inputs / name).is_dir():
            here(first) if isinstance(first, str) else first(inputs / name)


def empty(box: Path) -> None:
    """A folder with nothing in it."""
    shutil.rmtree(box, ignore_errors=True)
    box.mkdir(parents=True)


class Campaign:
    """Inputs, what undisturbed runs leave, and the histories so far."""

    def __init__(self, state: Path, commands: list[str]) -> None:
        self.state, self.inputs = state.resolve(), state.resolve() / "in"
        self.state.mkdir(parents=True, exist_ok=True)
        prepare(self.inputs)
        self.runs = [(n, w) for n in commands for w in ((1, 2) if n in PARALLEL else (1,))]
        self.whole = {run: self._undisturbed(*run) for run in self.runs}

    def line(self, name: str, workers: int) -> tuple[str, Path]:
        """The command line, and the folder around its ``--out``: the same for all histories, since records may tell it."""
        box = self.state / "out" / f"{name.replace(' ', '_')}_{workers}"
        return COMMANDS[name].format(out=box / "made", workers=workers), box

    def _undisturbed(self, name: str, workers: int) -> dict[str, Any]:
        """What a run leaves, which of it differs between two runs, how long it takes, and how many changes it makes."""
        text, box = self.line(name, workers)
        empty(box)
        here(text.replace("--workers 2", "--workers 1"))
        found, counts, count = [], [], self.state / "count"
        for worker in (False, workers == 2):
            empty(box)
            count.write_text("1")
            started = time.perf_counter()
            code = c.ended(c.child(text, self.inputs, self.log, lambda w=worker: c.count_events(count, w)))
            seconds = time.perf_counter() - started
            assert code == 0, f"{text}: ended with {code}: {self.log.read_text()[-800:]}"
            found.append(c.contents(box))
            counts.append(int(count.read_text()))
        loose = sorted(k for k in found[0] if name in DRAWN or found[0].get(k) != found[1].get(k))
        print(f"{name}, {workers} worker(s): {seconds:.1f} s, changes {counts}, times in {len(loose)} files", flush=True)
        return {"contents": found[1], "loose": loose, "seconds": seconds, "changes": counts}

    @property
    def log(self) -> Path:
        return self.state / "log.txt"

    def history(self, name: str, workers: int, rng: random.Random) -> dict[str, Any]:
        """One to three kills, then a run to the end."""
        text, box = self.line(name, workers)
        known = self.whole[name, workers]
        empty(box)
        self.log.unlink(missing_ok=True)
        kinds = []
        for _ in range(rng.randint(1, 3)):
            kinds.append(self._kill(text, known, workers, rng))
        code = c.ended(c.child(text, self.inputs, self.log))
        after = c.contents(box)
        loose = set(known["loose"])
        changed = sorted(k for k, v in known["contents"].items() if k not in loose and after.get(k) != v)
        more = sorted(set(after) - set(known["contents"]))
        changed += sorted(k for k in loose if k not in after) + more
        if name in DRAWN and c.ended(c.child(DRAWN[name].format(out=box / "made"), self.inputs, self.log)):
            changed.append(DRAWN[name])
        done_before = name in ONCE and code == 2 and not changed  # killed after its last change
        return {
            "command": name,
            "workers": workers,
            "kills": [k for k in kinds if k],
            "code": 0 if done_before else code,
            "changed": changed,
            "hidden": c.hidden(box),
            "log": self.log.read_text()[-600:] if code else "",
        }

    def _kill(self, text: str, known: dict[str, Any], workers: int, rng: random.Random) -> str:
        """How the command died; empty where it was done before."""
        worker = workers == 2 and rng.random() < 0.5
        if rng.random() < 0.3:
            number = c.child(text, self.inputs, self.log)
            time.sleep(rng.uniform(0, known["seconds"]))
            kind = self._kill_now(number, worker)
            code = c.ended(number)
            return kind if code else ""
        event, after = rng.randint(1, max(1, known["changes"][int(worker)])), rng.random() < 0.5
        which = worker if workers == 2 else None
        number = c.child(text, self.inputs, self.log, lambda: c.at_event(event, c.kill_self, after=after, worker=which))
        code = c.ended(number)
        return ("worker" if worker else "main") + " at a change" if code else ""

    def _kill_now(self, number: int, worker: bool) -> str:
        import psutil

        try:
            below = psutil.Process(number).children() if worker else []
            victim = below[0].pid if below else number
            os.kill(victim, 9)
        except (psutil.Error, ProcessLookupError):
            return ""
        return ("worker" if below else "main") + " at a time"


def go_on(state: Path, seconds: float, commands: list[str]) -> None:
    """More histories for some time, all commands in turn; those that have the fewest kills for their time first."""
    campaign = Campaign(state, commands)
    file = state / HISTORIES
    spent = dict.fromkeys(campaign.runs, 0.0)
    seed = sum(1 for _ in file.open()) if file.exists() else 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        run = min(spent, key=lambda r: spent[r])
        started = time.monotonic()
        found = campaign.history(*run, random.Random(seed))
        spent[run] += time.monotonic() - started
        with file.open("a") as stream:
            stream.write(json.dumps({"seed": seed, **found}) + "\n")
        if found["code"] or found["changed"] or found["hidden"]:
            print(json.dumps({"seed": seed, **found}), flush=True)
        seed += 1


def page(state: Path) -> str:
    """The table of all histories so far."""
    rows: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for line in "".join(file.read_text() for file in sorted(state.rglob(HISTORIES))).splitlines():
        found = json.loads(line)
        rows[found["command"], found["workers"]].append(found)
    lines = [
        "| command | workers | histories | kills | of single workers | ended | changed or lost | hidden leftovers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    total = [0] * 6
    for (name, workers), own in sorted(rows.items()):
        kills = [k for h in own for k in h["kills"]]
        numbers = [
            len(own),
            len(kills),
            sum(k.startswith("worker") for k in kills),
            sum(h["code"] == 0 for h in own),
            sum(bool(h["changed"]) for h in own),
            sum(bool(h["hidden"]) for h in own),
        ]
        total = [a + b for a, b in zip(total, numbers)]
        lines.append(f"| `{name}` | {workers} | {' | '.join(map(str, numbers))} |")
    return "\n".join([*lines, f"| all | | {' | '.join(map(str, total))} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--state", type=Path, default=Path("kills-state"))
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if not given.page:
        go_on(given.state, given.seconds, given.commands.split(","))
    print(page(given.state))


if __name__ == "__main__":
    main()

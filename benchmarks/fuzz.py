"""Damages small valid files of every kind and reads them: each must be read, or be refused in one line of ours.

Inputs are read in forked children that may take no more memory than `MEMORY` beyond what they start with, and are ended when
one input takes longer than `SECONDS` of processor time, or waits for `PATIENCE` seconds. A fault is any other exception than
ours, a line that does not name the file, a crash, a hang, or a reader that asked for more memory; its input is kept.

python benchmarks/fuzz.py [--seconds 60] [--state fuzz-state] [--readers edf,tiff] [--page]

`--seconds` of processor time are spent on each reader. What was tried is kept in the state folder and another call goes on
from there; `--page` prints the table of all so far.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from darklung.core.checks import DarklungError
from fuzz_readers import READERS, Reader

SECONDS, PATIENCE, MEMORY, BATCH = 5.0, 60.0, 2**30, 100
_TEXTS = {".yaml", ".csv", ".json", ".txt", ".zattrs", ".zgroup", ".zarray", ""}
_ODD = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_WORDS = (
    "", "null", "[]", "{}", "[[[[", "1e999", "-1", "nan", ".inf", "0", "true", "*a", "&a [*a]", "~", "9" * 400, "'",
    '"', "\0",
    "\u2028", "2024-01-01", "a: b", "- ", "1:2:3", "<<", "? ", "!!python/name:os.system ", "{a: 1, a: 1}", "1 m", "é",
)  # fmt: skip


def damaged(content: bytes, rng: random.Random, *, text: bool) -> bytes:
    """One to four mutations: bits, numbers, words, runs that are cut out, repeated or filled, and the end cut off."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if not data:
            break
        # Headers lie at the start: half of the damage goes there.
        at = rng.randrange(min(len(data), 1024) if rng.random() < 0.5 else len(data))
        length = min(len(data) - at, 1 << rng.randrange(8))
        kind = rng.randrange(8 if text else 7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(_ODD) & (256**width - 1)
            data[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 2:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length] * rng.randint(1, 3)
        elif kind == 5:
            data[at : at + length] = bytes([rng.choice((0, 255, 32))]) * length
        elif kind == 6:
            del data[at if rng.random() < 0.3 else max(len(data) - length, 0) :]
        else:
            data = _word(data, rng)
    return bytes(data)


def _word(data: bytearray, rng: random.Random) -> bytearray:
    """Another word in place of one."""
    parts = bytes(data).decode("utf-8", "replace")
    at = [i for i, letter in enumerate(parts) if letter in " \n,:[{"]
    start = rng.choice(at) + 1 if at else 0
    end = next((i for i in at if i > start), len(parts))
    return bytearray((parts[:start] + rng.choice(_WORDS) + parts[end:]).encode("utf-8", "replace"))


def input_of(reader: Reader, number: int) -> tuple[Path, bytes]:
    """The file that input `number` damages, and what it then holds: the same in every call."""
    rng = random.Random(f"{reader.name} {number}")
    path = rng.choice(list(reader.kept))
    return path, damaged(reader.kept[path], rng, text=path.suffix in _TEXTS)


def attempt(reader: Reader, path: Path) -> str:
    """What came of reading it: "read", "refused", or a fault's first word and its text."""
    try:
        for read in reader.reads(path):
            try:
                read()
            except DarklungError as error:
                if "not enough memory" in str(error) or "Unable to allocate" in str(error):
                    return f"memory {error}"
                if path.name not in str(error) and reader.root.name not in str(error):
                    return f"unnamed {error}"
                return "refused"
    except BaseException:  # noqa: BLE001  that is what is looked for
        return "other " + traceback.format_exc()
    return "read"


def _batch(reader: Reader, first: int, count: int, pipe: int) -> None:
    """In a child: read inputs and tell of each."""
    with open("/proc/self/statm") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for number in range(first, first + count):
        path, content = input_of(reader, number)
        os.write(pipe, f"{number} begun\n".encode())
        path.write_bytes(content)
        told = attempt(reader, path)
        path.write_bytes(reader.kept[path])
        os.write(pipe, (json.dumps([number, told[:3000]]) + "\n").encode())


def batch(reader: Reader, first: int, count: int) -> dict[int, str]:
    """What came of `count` inputs; of a crash or a hang the batch ends with it."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(read_end)
            _batch(reader, first, count, write_end)
        finally:
            os._exit(0)
    os.close(write_end)
    found, begun, rest, hung = {}, first, b"", False
    wall, spent = time.monotonic(), 0.0
    while True:
        ready, _, _ = select.select([read_end], [], [], SECONDS / 5)
        if not ready:
            # On a machine with other work, time passes that the reader does not get.
            if _spent(pid) - spent > SECONDS or time.monotonic() - wall > PATIENCE:
                os.kill(pid, signal.SIGKILL)
                hung = True
                break
            continue
        wall, spent = time.monotonic(), _spent(pid)
        data = os.read(read_end, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.endswith(b" begun"):
                begun = int(line.split()[0])
            else:
                number, told = json.loads(line)
                found[number] = told
    os.close(read_end)
    _, status = os.waitpid(pid, 0)
    if begun not in found:
        found[begun] = "hang" if hung else f"crash of status {status}"
        path, _ = input_of(reader, begun)
        path.write_bytes(reader.kept[path])
    return found


def campaign(reader: Reader, seconds: float, state: Path | None, *, first: int = 0, most: int = 10**9) -> Counter[str]:
    """Read damaged files for some processor time; counts of what came of them."""
    counts: Counter[str] = Counter()
    for path in reader.kept:
        told = attempt(reader, path)
        if told != "read":
            raise RuntimeError(f"{path}: is not damaged yet, but: {told}")
    begin, number = _cpu(), first
    while _cpu() - begin < seconds and number - first < most:
        found = batch(reader, number, min(BATCH, most - (number - first)))
        number = max(found) + 1
        for one, told in found.items():
            kind = told.split(" ", 1)[0]
            counts[kind] += 1
            if kind not in ("read", "refused"):
                counts["faults"] += 1
                _keep(reader, one, told, state)
    counts["seconds"] = round(_cpu() - begin)
    counts["next"] = number
    return counts


def _spent(pid: int) -> float:
    """Processor time of a child so far [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cpu() -> float:
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime


def _keep(reader: Reader, number: int, told: str, state: Path | None) -> None:
    if state is None:
        print(f"{reader.name} {number}: {told}", file=sys.stderr)
        return
    folder = state / "faults"
    folder.mkdir(exist_ok=True)
    path, content = input_of(reader, number)
    (folder / f"{reader.name}.{number}.{path.name}").write_bytes(content)
    with (state / "faults.txt").open("a") as stream:
        stream.write(f"=== {reader.name} {number} {path.name}\n{told}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--state", type=Path, default=Path("fuzz-state"))
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    given.state.mkdir(parents=True, exist_ok=True)
    for name in given.readers.split(",") if not given.page else ():
        with tempfile.TemporaryDirectory() as folder:
            reader = READERS[name](Path(folder))
            file = given.state / f"{name}.json"
            before = Counter(json.loads(file.read_text()) if file.exists() else {})
            started = time.monotonic()
            found = campaign(reader, given.seconds, given.state, first=before["next"])
            total = before + found
            total["next"] = found["next"]
            file.write_text(json.dumps(total))
            print(f"{name}: {dict(found)}, {time.monotonic() - started:.0f} s", flush=True)
    print(page(given.state))


def page(state: Path) -> str:
    """The table of all inputs so far."""
    kinds = ("read", "refused", "other", "unnamed", "crash", "hang", "memory")
    heads = ("reader", "inputs", "CPU s", "read", "one line", "other exception", "file not named", "crash", "hang", "memory")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for file in sorted(state.glob("*.json")):
        found = Counter(json.loads(file.read_text()))
        numbers = [sum(found[k] for k in kinds), found["seconds"], *(found[k] for k in kinds)]
        lines.append(f"| {file.stem} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

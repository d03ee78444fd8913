"""Study files, descriptions, protocols and command lines with one mistake each, drawn with a seed: is each refused?

A mutant is made from a document in which every default is written out. It makes no sense, and has to be refused, if
- a quantity has no unit, another dimension's, a decimal comma, another sign than + and -, or is no single finite number;
- it is negative where nothing is (all but angles and what `SIGNED` lists), or beyond what there is (`DOMAIN`, `MOST`);
- a value has another type, a key is unknown, a name is a path or no name.
Everything else that could be changed is not judged. Whatever a command does with a mutant, it must end in one line: any
exception but darklung's own is a fault.

    python benchmarks/fuzz_studies.py --studies 3000 --commands 300 --seed 1
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from darklung.commands import cli
from darklung.commands.run import opened, resolved
from darklung.core.checks import DarklungError
from darklung.core.units import KINDS, parse_quantity
from darklung.io.description import read_raw
from darklung.io.frames import load_scan
from darklung.study.protocols import read_protocol
from darklung.study.study import read_study

EXAMPLES = Path(__file__).parents[1] / "examples"
# Beyond these nothing of this field lies: kind -> unit, more than the most, less than the least.
DOMAIN = {
    "length": ("m", 2e4, 1e-14),
    "energy": ("keV", 1e5, 1e-3),
    "time": ("s", 1e11, 1e-13),
    "voltage": ("kV", 1e6, 1e-5),
}
MOST = 10**15  # of whole numbers and reals alike, the seed and counts of photons excepted
# Numbers that may be negative, or have no bound: places, exponents, seeds.
SIGNED = {
    "axis_col",
    "missing",
    "materials",
    "moire_fringes",
    "flux_drift",
    "stripe_drift",
    "visibility_drift",
    "first",
    "view_times",
    "flat_times",
}
# Reals that files write as whole numbers.
REAL = {"electronic_noise", "dark_counts"}
ENDLESS = {"seed", "counts", "fluence", "most_misfit", "least_strength", "saturation", "view_doses", "flat_doses"}
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Mutant:
    """A document, or a command line, and what was done to it."""

    text: str
    told: str


def leaves(content: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """All values of a document with their places, mappings and lists too."""
    yield place, content
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inside:
        yield from leaves(value, (*place, key))


def kind_of(value: Any) -> str:
    """The kind of quantity that a text is; empty where it is none."""
    for kind in KINDS:
        with contextlib.suppress(DarklungError):
            parse_quantity(str(value), kind)
            return kind
    return ""


def _quantity(value: str, key: str, rng: random.Random) -> Any:
    kind = kind_of(value)
    number, unit = str(value).split(maxsplit=1)
    other = rng.choice([KINDS[k][0] for k in KINDS if k != kind] + ["foo", "m/m", "px", "%", f"{unit} {unit}"])
    wrong = [
        number, f"{number} {other}", f"1,5 {unit}", f"nan {unit}", f"inf {unit}", f"-inf {unit}", f"\N{EN DASH}5 {unit}",
        f"2*3 {unit}", f"5..6 {unit}", f"~5 {unit}", f"(1 {unit}", f"9**9**9 {unit}", f"1/2 {unit}", f"1_0 {unit}", unit, "",
        f"0x10 {unit}", f"1 000 {unit}", f"5 {unit} 5 {unit}", f"1e400 {unit}", f"1e-400 {unit}", f"5 - 3 {unit}", float(5),
        [value, value, value, value, value, value, value], {"value": value}, True, f"\N{FULLWIDTH DIGIT FIVE} {unit}",
    ]  # fmt: skip
    if kind in DOMAIN:
        base, most, least = DOMAIN[kind]
        wrong += [f"{most!r} {base}", f"{-most!r} {base}", f"{least!r} {base}"]
        wrong += [f"-5 {base}", f"-1e-6 {base}"] if key not in SIGNED else []
    return rng.choice(wrong)


def _number(value: Any, key: str, rng: random.Random) -> Any:
    wrong: list[Any] = ["many", "1,5", "5 m", [value] * 9, {"a": value}, "", "nan", float("nan"), float("inf")]
    if key not in SIGNED:
        wrong += [-1 if isinstance(value, int) else -0.5, -(10**6)]
    if key not in ENDLESS:
        wrong += [MOST, 10**30, 1e300]
    if isinstance(value, int) and key not in REAL:
        wrong += [value + 0.5]
    return rng.choice(wrong)


def _word(value: str, key: str, rng: random.Random) -> Any:
    return rng.choice([[value] * 3, {"a": value}, 3.5, ["x"], True])


def _mapping(value: dict[str, Any], key: str, rng: random.Random) -> Any:
    other = dict(value)
    kind = rng.randrange(3)
    if kind == 0 or not other:
        return rng.choice(["x", 3, [1, 2], -1.5])
    if kind == 1:
        return {**other, "no_such_key": rng.choice([1, "x", None])}
    old = rng.choice(sorted(other, key=str))
    return {(f"{k}z" if k == old else k): v for k, v in other.items()}


# Where any key may stand, so that a new or another one says nothing wrong.
FREE = {"arms", "materials", "sites", "sources", "filters", "subjects", "metrics", "options", "network_options",
        "loss_options"}  # fmt: skip


def mutate(content: dict[str, Any], rng: random.Random) -> Mutant | None:
    """One senseless change; None where the drawn place allows none."""
    place, value = rng.choice([found for found in leaves(content) if found[0]])
    names = [p for p in place if isinstance(p, str)]
    key = names[-1]
    if "origin" in names or value is None:  # where a protocol's numbers come from, in words
        return None
    if isinstance(value, dict):
        new = _mapping(value, key, rng) if key not in FREE else rng.choice(["x", 3, [1, 2]])
    elif isinstance(value, list):
        new = rng.choice([{"a": 1}, {"a": value}])
    elif isinstance(value, bool):
        new = rng.choice(["perhaps", 7, -1, [value], 0.5])
    elif isinstance(value, int | float):
        new = _number(value, key, rng)
    elif kind_of(value):
        new = _quantity(value, key, rng)
    elif key == "name":
        new = rng.choice(["../up", "..", ".", "/etc/x", "a/b", "", "x" * 400, "a\\b\x1b[2J", ["a"], {"a": 1}])
    else:
        new = _word(value, key, rng)
    changed = copy.deepcopy(content)
    inside: Any = changed
    for part in place[:-1]:
        inside = inside[part]
    inside[place[-1]] = new
    return Mutant(
        yaml.safe_dump(changed, sort_keys=False, allow_unicode=True), f"{'.'.join(map(str, place))}: {value!r} -> {new!r}"
    )


def break_text(text: str, rng: random.Random) -> Mutant:
    """The same of a file's text: what YAML could misread."""
    lines = text.splitlines()
    at = rng.randrange(len(lines))
    bomb = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    ways = {
        "a line twice": [*lines, lines[0], lines[0]],
        "an alias that grows": ["a0: &a0 [x, x]", *bomb.splitlines(), *lines],
        "nested": [*lines, "deep: " + "[" * 2000],
        "a tag": [*lines, "code: !!python/object/apply:os.system [true]"],
        "a number of 5000 digits": [*lines, "big: " + "9" * 5000],
        "a control character": [*lines, 'text: "\\e[2J"'],
        "a tab": [*lines[:at], "\tx: 1", *lines[at:]],
        "an octal": [*lines, "eight: 010"],
        "a circle": [*lines, "circle: &c [*c]"],
    }
    told = rng.choice(sorted(ways))
    return Mutant("\n".join(ways[told]) + "\n", told)


# --- what a mutant is made of, and what has to refuse it ---------------------------------------------------------------


def raw_scan(folder: Path) -> dict[str, Any]:
    """A small scan of npy files in `folder`, and its description with every key that it may have."""
    rng, steps, views, flats = np.random.default_rng(1), 5, 6, 2
    curve = 1 + 0.3 * np.cos(2 * np.pi * np.arange(steps)[:, None, None] / steps + np.linspace(0, 6, 16)) + np.zeros((8, 16))
    np.save(folder / "s.npy", rng.poisson(900 * curve, (views, steps, 8, 16)).astype(np.uint16))
    np.save(folder / "f.npy", rng.poisson(1000 * curve, (flats, steps, 8, 16)).astype(np.uint16))
    return {
        "name": "scan", "description": "", "repeat": "mean",
        "sample": {"kind": "npy", "files": "s.npy", "axes": ["view", "step", "row", "col"]},
        "flat": {"kind": "npy", "files": "f.npy", "axes": ["flat", "step", "row", "col"]},
        "steps": {"count": steps, "periods": 1.0, "endpoint_repeated": False}, "pixel": "75 um", "directions": ["90 deg"],
        "angles": {"first": "0 deg", "step": "30 deg"}, "view_times": {"first": "0 s", "step": "2 s"},
        "flat_times": ["0 s", "12 s"], "view_doses": [1.0] * views, "flat_doses": [1.0] * flats, "axis_col": 7.5,
        "region": {"rows": [0, 7], "cols": [0, 15]},
        "retrieval": {"reference": "mean", "steps": "nominal", "harmonics": 1, "gain": 1.0, "air_cols": [[0, 1]],
                      "find_bad_pixels": False, "normalise": "none", "covariance": False},
    }  # fmt: skip


def _open_study(path: Path) -> None:
    with opened(path):
        pass


def _open_raw(path: Path) -> None:
    for raw, _ in read_raw(path):
        load_scan(raw, path)


def _open_protocol(path: Path) -> None:
    read_protocol(path).plan()


Opener = Callable[[Path], None]


def documents(folder: Path) -> list[tuple[str, dict[str, Any], Opener, Opener]]:
    """(name, content, quick reader, all that refuses before a run) of every base."""
    found: list[tuple[str, dict[str, Any], Opener, Opener]] = []
    for name in ("quick", "cross_site"):
        content = resolved(read_study(EXAMPLES / f"{name}.yaml"))
        found.append((name, content, lambda p: read_study(p) and None, _open_study))
    for path in sorted((EXAMPLES / "protocols").glob("*.yaml")):
        content = read_protocol(path).model_dump(mode="json")
        found.append((path.stem, content, lambda p: read_protocol(p) and None, _open_protocol))
    found.append(("raw", raw_scan(folder), lambda p: list(read_raw(p)) and None, _open_raw))
    return found


def outcome(run: Callable[[], None]) -> str:
    """``refused``, ``accepted``, or what else was raised."""
    try:
        run()
    except DarklungError as error:
        return "refused" if "\x1b" not in str(error) else "refused with what a terminal obeys"
    except Exception as error:  # noqa: BLE001 what is looked for
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return "accepted"


def fuzz_studies(count: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Outcomes of `count` mutants, and a line for each that is a fault."""
    rng, counts, faults = random.Random(seed), Counter[str](), list[str]()
    bases, path = documents(folder), folder / "mutant.yaml"
    while counts.total() < count:
        name, content, read, check = rng.choice(bases)
        plain = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        mutant = break_text(plain, rng) if rng.random() < 0.05 else mutate(content, rng)
        if mutant is None:
            continue
        path.write_text(mutant.text, encoding="utf-8")
        start = time.process_time()
        found = outcome(lambda read=read: read(path))  # type: ignore[misc]
        if found == "accepted":
            found = outcome(lambda check=check: check(path))  # type: ignore[misc]
        if time.process_time() - start > 60:
            found = "took more than a minute of processor time"
        counts[found.partition(":")[0]] += 1
        if found != "refused":
            faults.append(f"{name}: {mutant.told[:160]}: {found}")
            print(f"  {faults[-1]}", flush=True)
    return counts, faults


# --- command lines ------------------------------------------------------------------------------------------------------

BAD_VALUES = [
    "nan",
    "inf",
    "-1",
    "1,5 mm",
    "5 5",
    "5 kg",
    "",
    "x" * 500,
    "../../x",
    "1e400 mm",
    "\N{EN DASH}5 mm",
    "9**9**9 m",
    "[[[[",
    "{a: ",
]


def command_lines(folder: Path) -> list[list[str]]:
    """Commands that end soon: each with options whose values can be wrong."""
    raw, out, quick = str(folder / "scan.yaml"), str(folder / "out"), str(EXAMPLES / "quick.yaml")
    (folder / "scan.yaml").write_text(yaml.safe_dump(raw_scan(folder)))
    return [
        ["run", quick, "--out", out, "--workers", "1", "--dry-run"],
        ["cohort", quick, "--out", out, "--animals", "2,1", "--voxel", "600 um", "--seed", "1", "--dry-run"],
        ["retrieve", raw, "--out", out, "--workers", "1"],
        ["import", raw, "--out", out, "--format", "hdf5"],
        ["qc", raw, "--out", out],
        ["reconstruct", raw, "--out", out, "--method", "fbp", "--set", "cutoff=0.8", "--axis", "7.5", "--rings", "0",
         "--memory", "1 GiB", "--tilt", "0 deg"],
        ["train", quick, "--out", out, "--arm", "hybrid", "--steps", "10", "--set", "learning_rate=0.001", "--dry-run"],
        ["check", "mission_ct", "--sweep", "visibility=0.05:0.3:2"],
        ["simulate", "mission_ct", "wedge", "--out", out, "--set", "thicknesses=0 mm,1 mm", "--field", "1 mm,2 mm",
         "--seed", "1", "--radiograph"],
        ["calibrate", "unit", raw, "--out", out, "--zero", "0:1,0:1,0:1", "--reference", "0:1,0:1,0:1", "--name", "x"],
        ["show", raw], ["compare", out, out], ["export", raw, "--out", out],
    ]  # fmt: skip


def mutate_command(words: list[str], rng: random.Random) -> list[str]:
    """One value, or option, that makes no sense."""
    values = [n for n, word in enumerate(words) if n and words[n - 1].startswith("--") and not word.startswith("--")]
    changed, way = list(words), rng.randrange(5)
    if way == 0 or not values:
        return [*words, rng.choice(["--no-such-option", "--seeed=1", "surplus", "--set"])]
    at = rng.choice(values)
    if way == 1:
        return [*words[:at], *words[at + 1 :]]
    equals = "=" in changed[at] and changed[at].partition("=")
    bad = rng.choice(BAD_VALUES)
    changed[at] = f"{equals[0]}={bad}" if equals and rng.random() < 0.7 else bad
    return changed


# Texts that are names or places, or may be any number: a strange one is no mistake.
ANY = {"--out", "--name", "--seed"}


def run_command(words: list[str]) -> str:
    """``refused`` (a code that is not 0), ``accepted``, or what else was raised."""
    before, sys.argv = sys.argv, ["darklung", *words]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            cli.main()
    except SystemExit as ended:
        return "refused" if ended.code else "accepted"
    except BaseException as error:  # noqa: BLE001 what is looked for
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    finally:
        sys.argv = before
    return "accepted"


def fuzz_commands(count: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """The same of command lines; those whose strange value is no mistake may be accepted."""
    rng, counts, faults = random.Random(seed), Counter[str](), list[str]()
    bases = command_lines(folder)
    while counts.total() < count:
        base = rng.choice(bases)
        words = mutate_command(base, rng)
        differs = next((n for n, (a, b) in enumerate(zip(base, words)) if a != b), len(base))
        judged = differs >= len(base) or base[differs - 1] not in ANY or len(words) != len(base)
        if not judged:
            continue
        found = run_command(words)
        counts[found.partition(":")[0]] += 1
        if found != "refused":
            faults.append(f"darklung {' '.join(words)[:200]}: {found}")
            print(f"  {faults[-1]}", flush=True)
    return counts, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=3000)
    parser.add_argument("--commands", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        for name, content, read, check in documents(folder):
            (folder / "base.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
            found = [outcome(lambda one=one: one(folder / "base.yaml")) for one in (read, check)]  # type: ignore[misc]
            assert found == ["accepted"] * 2, f"{name}: {found}"
        for what, fuzz, count in (("studies", fuzz_studies, wanted.studies), ("commands", fuzz_commands, wanted.commands)):
            start = time.process_time()
            counts, faults = fuzz(count, wanted.seed, folder)
            print(
                f"{what}: {dict(counts)}, {len(faults)} fault(s), in {time.process_time() - start:.0f} s of processor time"
            )


if __name__ == "__main__":
    main()

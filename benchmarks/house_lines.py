"""What became of the functions of an earlier `study` and of its two command files: their lines then, and now.

python benchmarks/house_lines.py [--commit d8a4be9] [--like 0.5] [--list]

Every function and method of src/darklung/study, cli.py and cli_calibrate.py at a commit is matched with its successor in
today's src/darklung, a successor used once: first those of one name, of several that whose words agree best, then the rest
by the words of their code alone, where at least `--like` of the words agree (Dice coefficient of the words with their
numbers; docstrings and comments count as nothing). The functions of all other files then take part too, so that what came
from another room is no successor. Names alone do not count: what shares the name needs half of `--like`.

Lines are those of the whole function, decorators and docstring included; functions within functions belong to the outer one.
Since a function that was split leaves more than one behind, the lines of today's further functions that resemble one of the
old are printed too, as the bound above. The second table does the same with whole classes and functions outside of classes.
Files hold imports, constants and blank lines besides: successors are given the share of their files' that their lines have,
which is what may be held against the lines of the old files.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOUSE = "src/darklung"
ROOMS = (f"{HOUSE}/study/", f"{HOUSE}/cli.py", f"{HOUSE}/cli_calibrate.py")
WORDS = {tokenize.NAME, tokenize.NUMBER, tokenize.STRING}


@dataclass(frozen=True)
class Part:
    """A function or a class: where it stands, its lines, and the words of its code."""

    file: str
    name: str
    lines: int
    words: frozenset[tuple[str, int]]

    @property
    def counted(self) -> bool:
        """Whether it stood in one of the rooms that are asked about."""
        return self.file.startswith(ROOMS)


def git(*words: str) -> str:
    """What git prints; ends the script in one line where it cannot."""
    try:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"house_lines: wanted a full clone of the repository, got none at {ROOT} (git {' '.join(words)})")


def texts_then(commit: str) -> dict[str, str]:
    """Each Python file of the house at a commit."""
    names = git("ls-tree", "-r", "--name-only", commit, HOUSE).split()
    return {name: git("show", f"{commit}:{name}") for name in names if name.endswith(".py")}


def texts_now() -> dict[str, str]:
    """Each Python file of the house as it lies here."""
    return {str(f.relative_to(ROOT)): f.read_text() for f in sorted((ROOT / HOUSE).rglob("*.py"))}


def words_of(code: str) -> frozenset[tuple[str, int]]:
    """Names, numbers and texts, the n-th of the same as one of its own."""
    found = Counter(t.string for t in tokenize.generate_tokens(io.StringIO(code).readline) if t.type in WORDS)
    return frozenset((word, n) for word, count in found.items() for n in range(count))


def part_of(file: str, text: list[str], node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Part:
    """One part; its docstring counts among the lines, not among the words."""
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    kept = list(range(first, node.end_lineno + 1))
    told = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
    code = [text[i - 1] for i in kept if told is None or not told.lineno <= i <= told.end_lineno]
    indent = len(code[0]) - len(code[0].lstrip())
    return Part(file, node.name, len(kept), words_of("\n".join(line[indent:] for line in code)))


def parts(texts: dict[str, str], whole: bool) -> Iterator[Part]:
    """Functions and methods, or with `whole` functions outside of classes and classes."""
    for file, text in texts.items():
        waiting = list(ast.parse(text).body)
        for node in waiting:
            if isinstance(node, ast.ClassDef) and not whole:
                waiting.extend(node.body)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield part_of(file, text.splitlines(), node)


def agreement(a: Part, b: Part) -> float:
    """Dice coefficient of the words."""
    return 2 * len(a.words & b.words) / max(len(a.words) + len(b.words), 1)


def may_agree(a: Part, b: Part, least: float) -> bool:
    """Whether their sizes allow it."""
    few, many = sorted((len(a.words), len(b.words)))
    return 2 * few >= least * (few + many)


def closest_first(olds: list[Part], news: list[Part], least: float, named: bool) -> dict[int, tuple[int, float]]:
    """Old part -> its successor and how far they agree; each used once, the closest pairs first."""
    pairs = [
        (agreement(old, new), i, j)
        for i, old in enumerate(olds)
        for j, new in enumerate(news)
        if (not named or old.name == new.name) and may_agree(old, new, least)
    ]
    found: dict[int, tuple[int, float]] = {}
    taken: set[int] = set()
    for agrees, i, j in sorted(pairs, key=lambda p: (-p[0], p[1], p[2])):
        if agrees >= least and i not in found and j not in taken:
            found[i] = j, agrees
            taken.add(j)
    return found


def successors(olds: list[Part], news: list[Part], like: float) -> list[tuple[Part, Part | None, float]]:
    """(old part, its successor if it has one, how far they agree)."""
    found = closest_first(olds, news, like / 2, named=True)
    rest_old = [i for i in range(len(olds)) if i not in found]
    taken = {j for j, _ in found.values()}
    rest_new = [j for j in range(len(news)) if j not in taken]
    more = closest_first([olds[i] for i in rest_old], [news[j] for j in rest_new], like, named=False)
    found |= {rest_old[i]: (rest_new[j], agrees) for i, (j, agrees) in more.items()}
    return [(old, news[found[i][0]], found[i][1]) if i in found else (old, None, 0.0) for i, old in enumerate(olds)]


def further(olds: list[Part], matched: list[tuple[Part, Part | None, float]], news: list[Part], like: float) -> list[Part]:
    """Today's parts that are nobody's successor and resemble a counted old one more than any other."""
    taken = {id(new) for _, new, _ in matched if new is not None}
    found = []
    for new in news:
        if id(new) not in taken:
            agrees = {agreement(old, new): old for old in olds if may_agree(old, new, like)}
            closest = max(agrees, default=0.0)
            if closest >= like and agrees[closest].counted:
                found.append(new)
    return found


def with_rest(kept: list[Part], every: list[Part], texts: dict[str, str]) -> float:
    """Lines of parts, with their share of the lines of their files that belong to no part."""
    inside = Counter[str]()
    for part in every:
        inside[part.file] += part.lines
    return sum(part.lines * len(texts[part.file].splitlines()) / inside[part.file] for part in kept)


def table(then: dict[str, str], now: dict[str, str], like: float, whole: bool, listed: bool) -> None:
    """Print one measure."""
    olds, news = list(parts(then, whole)), list(parts(now, whole))
    matched = successors(olds, news, like)
    asked = [m for m in matched if m[0].counted]
    kept = [(old, new, agrees) for old, new, agrees in asked if new is not None]
    gone = [old for old, new, _ in asked if new is None]
    alike = further(olds, matched, news, like)
    same, after = sum(old.lines for old, _, _ in kept), sum(new.lines for _, new, _ in kept)
    print(f"{'Classes, and functions outside of them' if whole else 'Functions and methods'}:")
    print(f"  then                         {len(asked):4d}  {sum(old.lines for old, _, _ in asked):5d} lines")
    print(f"  with a successor             {len(kept):4d}  {same:5d} lines then, {after} today")
    print(f"    of those of another name   {sum(old.name != new.name for old, new, _ in kept):4d}")
    print(f"  without one                  {len(gone):4d}  {sum(old.lines for old in gone):5d} lines then")
    print(f"  today's others that resemble {len(alike):4d}  {sum(new.lines for new in alike):5d} lines")
    if whole:
        own = [new for _, new, _ in kept]
        print(f"  with the rest of their files       {with_rest(own, news, now):6.0f} lines today")
        print(f"  and with those that resemble one   {with_rest([*own, *alike], news, now):6.0f} lines today")
    if listed:
        for old, new, agrees in sorted(asked, key=lambda m: m[2]):
            told = f"{new.file}:{new.name} {new.lines} ({agrees:.2f})" if new else "-"
            print(f"    {old.file}:{old.name} {old.lines} -> {told}")
        for new in alike:
            print(f"    resembles: {new.file}:{new.name} {new.lines}")


def main() -> None:
    """Print both measures, and the lines of the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", default="d8a4be9")
    parser.add_argument("--like", type=float, default=0.5, help="Part of the words that must agree.")
    parser.add_argument("--list", action="store_true", help="Name every function with its successor.")
    given = parser.parse_args()
    then, now = texts_then(given.commit), texts_now()
    files = {name: len(text.splitlines()) for name, text in then.items() if name.startswith(ROOMS)}
    print(f"src/darklung/study and the two command files at {given.commit}: {len(files)} files, {sum(files.values())} lines")
    for whole in (False, True):
        table(then, now, given.like, whole, given.list)


if __name__ == "__main__":
    main()

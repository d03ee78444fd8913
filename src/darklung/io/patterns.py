"""Names and patterns of files: ``*`` and ``?`` stand for any characters, every other sign for itself; natural order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from darklung.core.checks import require

_DIGITS = re.compile(r"(\d+)")
# A number of a name as a person would read it: with decimals (``0.5``, ``0,5``, ``0p5``) and a power of ten; and its sign,
# which elsewhere than after _, = or a space may as well be a dash between two words.
_NUMBER = re.compile(r"((?:[-+\u2212]|(?<=[_= ])[mp])?)(\d+(?:[.,p]\d+)?(?:e-?\d+)?)")


def matching(pattern: Path) -> list[Path]:
    """What there is under a name or pattern, in natural order (``step2`` before ``step10``); folders may have wildcards too.

    A part that exists as it is written is a name, whatever its signs. ``*`` does not stand for a dot at the start.

    Raises
    ------
    DarklungError
        The order depends on how the numbers in the names are read.
    """
    found = [Path(pattern.anchor)]
    for part in pattern.relative_to(pattern.anchor).parts:
        found = [child for folder in found for child in _children(folder, part)]
    return [Path(name) for name in in_order(str(pattern), map(str, found))]


def in_order(pattern: str, names: Iterable[str]) -> list[str]:
    """Names or paths in natural order.

    Raises
    ------
    DarklungError
        The order depends on how the numbers in them are read.
    """
    ordered = sorted(names, key=lambda name: [natural(part) for part in Path(name).parts])
    _check_order(pattern, ordered)
    return ordered


def is_pattern(text: str) -> bool:
    """Whether a name has wildcards."""
    return "*" in text or "?" in text


def _children(folder: Path, part: str) -> Iterator[Path]:
    if (folder / part).exists() or not is_pattern(part):
        yield from [folder / part] if (folder / part).exists() else []
        return
    letters = {"*": ".*", "?": "."}
    form = re.compile("".join(letters.get(sign) or re.escape(sign) for sign in part), re.DOTALL)
    if folder.is_dir():
        yield from (p for p in folder.iterdir() if form.fullmatch(p.name) and (part[0] == "." or p.name[0] != "."))


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """The key by which names are sorted: numbers in them by their value, the rest letter by letter, whatever their case.

    A dot stands before all else, so that ``scan.tif`` is before ``scan (2).tif``.
    """
    parts = _DIGITS.split(name.casefold().replace(".", "\0"))
    return [(int(t), "") if _DIGITS.fullmatch(t) else (-1, t) for t in parts], name


def _check_order(pattern: str, ordered: Sequence[str]) -> None:
    """Refuse names whose numbers are no counters: ``x_0.5`` and ``x_0.25``, ``x_-1`` and ``x_1``, ``x1`` and ``x01``."""
    before: dict[str, tuple[str, list[str], list[Decimal]]] = {}
    for path in ordered:
        kind, signs, numbers = _read(path.casefold())
        first, its_signs, its_numbers = before.get(kind, (path, signs, []))
        one, other = Path(first).name, Path(path).name
        told = f"{pattern}: the order of {one} and {other} depends on how their numbers are read"
        require(signs == its_signs and its_numbers <= numbers, f"{told}; list the files in their order")
        twice = numbers and numbers == its_numbers
        require(not twice, f"{pattern}: {one} and {other} have the same numbers; list the files that are meant")
        before[kind] = path, signs, numbers


def _read(text: str) -> tuple[str, list[str], list[Decimal]]:
    """A name without its numbers, their signs, and the numbers: below 0 where a sign can be nothing else."""
    found = list(_NUMBER.finditer(text))
    below = [m[1] in ("-", "\u2212") and text[: m.start()].endswith(("_", "=", " ")) for m in found]
    values = [Decimal(re.sub("[,p]", ".", m[2])) * (-1 if negative else 1) for m, negative in zip(found, below)]
    return _NUMBER.sub("#", text), [m[1] for m in found], values


def told_order(files: Sequence[Path]) -> str:
    """The order that was taken, in a few words."""
    names = [p.name for p in files] if len({p.parent for p in files}) == 1 else ["/".join(p.parts[-2:]) for p in files]
    shown = names if len(names) <= 5 else [*names[:3], "...", names[-1]]
    return ", ".join(shown)

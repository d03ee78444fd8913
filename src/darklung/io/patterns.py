"""Names and patterns of files: ``*`` and ``?`` stand for any characters, every other sign for itself; natural order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from darklung.core.checks import DarklungError

_DIGITS = re.compile(r"([0-9]+)")
# A number of a name as a person would read it: with a sign after _, = or a space, and with decimals.
_SIGNED = re.compile(r"(?:(?<=[_= ])-)?[0-9]+(?:\.[0-9]+)?")


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
    if len(found) < 2:
        return found
    ordered = sorted(found, key=lambda path: [natural(part) for part in path.parts])
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
    """The key by which names are sorted: numbers in them by their value, the rest letter by letter."""
    return [(int(t), "") if _DIGITS.fullmatch(t) else (-1, t) for t in _DIGITS.split(name)], name


def _check_order(pattern: Path, ordered: Sequence[Path]) -> None:
    """Refuse names such as ``x_0.5`` and ``x_0.25``, or ``x_-1`` and ``x_1``, whose numbers are no counters."""
    read = [(_SIGNED.sub("#", str(p)), [float(n) for n in _SIGNED.findall(str(p))]) for p in ordered]
    for (kind, numbers), (next_kind, next_numbers), first, second in zip(read, read[1:], ordered, ordered[1:]):
        if kind == next_kind and next_numbers < numbers:
            told = f"the order of {first.name} and {second.name} depends on how their numbers are read"
            raise DarklungError(f"{pattern}: {told}; list the files in their order")


def told_order(files: Sequence[Path]) -> str:
    """The order that was taken, in a few words."""
    names = [p.name for p in files] if len({p.parent for p in files}) == 1 else ["/".join(p.parts[-2:]) for p in files]
    shown = names if len(names) <= 5 else [*names[:3], "...", names[-1]]
    return ", ".join(shown)

"""The checksums of a deposit, as a list that anybody can check."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from darklung.core.checks import require
from darklung.core.files import read_text
from darklung.publish.dataset import DATACITE, SUMS
from darklung.publish.tables import DICTIONARY

LONGEST_NAME = 255  # bytes, of a file in any common file system
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def is_deposit(folder: Path) -> bool:
    """Whether a folder is a deposit."""
    return (folder / SUMS).is_file() and ((folder / DICTIONARY).is_file() or (folder / DATACITE).is_file())


def read_sums(folder: Path) -> dict[Path, str]:
    """File -> SHA-256, of ``checksums.sha256``.

    Raises
    ------
    DarklungError
        A line that is none, a file that lies outside, or a name that is longer than any.
    """
    found = {}
    for number, line in enumerate(read_text(folder / SUMS).splitlines(), start=1):
        told = _LINE.fullmatch(line)
        name = PurePosixPath(told[2]) if told else PurePosixPath("..")
        short = 0 < max((len(p.encode()) for p in name.parts), default=0) <= LONGEST_NAME
        inside = short and not name.is_absolute() and ".." not in name.parts
        require(told is not None and inside, f"{folder / SUMS}: line {number}: wanted a SHA-256 and a file of the deposit")
        found[folder / name] = told[1] if told else ""
    return found

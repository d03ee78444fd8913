"""What the user of ``darklung reconstruct`` may choose, and how it is read from the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from darklung.core.checks import DarklungError, require
from darklung.core.units import parse_quantity
from darklung.io.documents import read_yaml_text


@dataclass(frozen=True)
class Choices:
    """What the user may choose.

    Parameters
    ----------
    method : str
        One of `darklung.tomo.methods.METHODS`, or package.module:function.
    options : mapping
        Keyword arguments of the method.
    axis : str
        ``"file"``, ``"estimate"``, or a column.
    rings : int
        Width [columns] of ring suppression, odd; 0 for none.
    memory_bytes : float
    tilt_rad : float, optional
        The detector's turn in its own plane; what the file says by default.
    source_m : float, optional
        Distance from the source to the rotation axis of a cone beam; what the file says by default.
    """

    method: str
    options: dict[str, Any]
    axis: str
    rings: int
    memory_bytes: float
    tilt_rad: float | None = None
    source_m: float | None = None


def options_of(given: Sequence[str]) -> dict[str, Any]:
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        require(bool(name and equals and value), f"--set: wanted name=value, such as cutoff=0.8, got {text!r}")
        options[name.strip()] = read_yaml_text(value)
    return options


def bytes_of(text: str) -> float:
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 1e3, "MB": 1e6, "GB": 1e9}
    found = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]+)\s*", text)
    try:
        size = float(found[1]) * units[found[2]] if found else 0.0
    except (KeyError, ValueError):
        size = 0.0
    require(size > 0, f"--memory: wanted a size such as '4 GiB', got {text!r}")
    return size


def quantity(name: str, text: str, kind: str) -> float | None:
    if not text:
        return None
    try:
        return parse_quantity(text, kind)
    except DarklungError as error:
        raise DarklungError(f"{name}: {error}") from None


def axis_column(axis: str) -> float | None:
    """The column if one is given, None if the file's or the data's is wanted."""
    if axis in ("file", "estimate"):
        return None
    try:
        return float(axis)
    except ValueError:
        raise DarklungError(f"--axis: wanted file, estimate or a column, got {axis!r}") from None

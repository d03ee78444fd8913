"""Words of the command line as values of documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from darklung.core.checks import DarklungError, require
from darklung.core.units import parse_number
from darklung.io.documents import read_yaml_text


def pairs(given: Sequence[str] | None, option: str = "set") -> dict[str, Any]:
    """``name=value`` texts of an option that may be given several times, values as YAML reads them."""
    found: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        require(bool(name and equals and value), f"--{option}: wanted name=value, such as cutoff=0.8, got {text!r}")
        require(name.strip() not in found, f"--{option}: wanted {name.strip()!r} once")
        found[name.strip()] = read_yaml_text(value)
    return found


def with_changes(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a file with others in their place; ``training.steps`` is the key ``steps`` of its part ``training``."""
    made = dict(content)
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        inner = made.get(first)
        require(not rest or inner is None or isinstance(inner, Mapping), f"--set {name}: {first} has no keys in it")
        made[first] = with_changes(inner or {}, {rest: value}) if rest else value
    return made


def numbers(option: str, given: Sequence[str] | None, example: str) -> dict[str, float]:
    """``name=number`` texts of an option that may be given several times."""
    found = {}
    for text in given or ():
        name, equals, value = text.rpartition("=")
        require(bool(name.strip() and equals), f"--{option}: wanted name=number, such as {example}, got {text!r}")
        require(name.strip() not in found, f"--{option}: wanted {name.strip()!r} once")
        try:
            found[name.strip()] = parse_number(value)
        except DarklungError as error:
            raise DarklungError(f"--{option} {text!r}: {error}") from error
    return found

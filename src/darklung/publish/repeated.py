"""A study that was run again: its results beside those that were published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PARTS = ("value", "low", "high")
Name = tuple[str, str, str, str]


@dataclass(frozen=True)
class Difference:
    """One number of the results: of the deposit, and of now; None where it cannot be computed.

    Parameters
    ----------
    name : tuple
        Split, arm, metric, and which of value, low and high.
    deposited, now : float, optional
    """

    name: Name
    deposited: float | None
    now: float | None

    @property
    def size(self) -> float:
        """Of the difference; infinite where one of them is not there."""
        if self.deposited is None or self.now is None:
            return 0.0 if self.deposited is self.now else float("inf")
        return abs(self.now - self.deposited)


@dataclass(frozen=True)
class Repeated:
    """A study that was run again.

    Parameters
    ----------
    differences : tuple of Difference
    other : tuple of str
        In what versions and processor of now are others; where there is none, results must be the same to the last bit.
    models, same_models : int
        How many there are, and how many have the same weights.
    tolerance : float
        That is allowed where versions or processor differ.
    """

    differences: tuple[Difference, ...]
    other: tuple[str, ...]
    models: int
    same_models: int
    tolerance: float

    @property
    def allowed(self) -> float:
        """The largest difference that still counts as the same."""
        return self.tolerance if self.other else 0.0

    @property
    def apart(self) -> tuple[Difference, ...]:
        """Those that differ by more."""
        return tuple(d for d in self.differences if d.size > self.allowed)


def values_of(content: Mapping[str, Any]) -> dict[Name, float | None]:
    """Every number of a comparison by its name."""
    return {
        (split, arm, metric, part): found.get(part)
        for split, arms in content["results"].items()
        for arm, result in arms.items()
        for metric, found in result["metrics"].items()
        for part in PARTS
    }


def differing(first: Any, second: Any, place: str) -> Iterator[str]:
    """Keys with points in which two mappings differ."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in dict.fromkeys([*first, *second]):
            yield from differing(first.get(name), second.get(name), f"{place}.{name}" if place else str(name))
    elif first != second:
        yield place


def other_than(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Versions, source and processor that are not those of the deposit; how much memory there is does not matter."""
    for part, keys in (("versions", None), ("hardware", ("system", "processor"))):
        first, second = then.get(part) or {}, now.get(part) or {}
        chosen: Sequence[str] = keys or [k for k in dict.fromkeys([*first, *second]) if k != "commit"]
        yield from (f"{k}: {first.get(k)}, now {second.get(k)}" for k in chosen if first.get(k) != second.get(k))
    if then.get("source") != now.get("source"):
        yield f"source of darklung: {str(then.get('source'))[:12]}, now {str(now.get('source'))[:12]}"

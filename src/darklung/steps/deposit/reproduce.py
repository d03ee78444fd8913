"""Whether a study that was run again gives what its deposit says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darklung.core.checks import require
from darklung.core.files import read_object
from darklung.io.names import COMPARISON
from darklung.learn.files import DESCRIPTION_FILE
from darklung.pipeline.artefacts import RUN_RECORD
from darklung.pipeline.record import read_json
from darklung.publish.dataset import MODELS, RUN
from darklung.steps.deposit.places import without_places
from darklung.steps.deposit.sums import is_deposit
from darklung.steps.evaluate import ITEM, STAGE

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


def study_of(deposit: Path) -> Path:
    """The study file of a deposit that has results.

    Raises
    ------
    DarklungError
        No deposit, or one without results.
    """
    require(is_deposit(deposit), f"{deposit}: is no deposit; wanted what darklung deposit made")
    results = deposit / RUN / STAGE / ITEM / COMPARISON
    require(results.is_file(), f"{deposit}: has no results to compare (no {results.relative_to(deposit)})")
    return deposit / RUN / "study.yaml"


def check_same_study(deposit: Path, resolved: Mapping[str, Any], origin: str) -> None:
    """Refuse a study file that differs from the deposited one in more than the places of its files.

    Raises
    ------
    DarklungError
        One line that names the first key.
    """
    said = without_places(read_object(deposit / RUN / RUN_RECORD)["study"])
    key = next(_differing(said, without_places(resolved), ""), None)
    require(
        key is None,
        f"{origin}: {key}: is not as in the deposit; wanted the same study, with other places of its files alone",
    )


def _differing(first: Any, second: Any, place: str) -> Iterator[str]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in dict.fromkeys([*first, *second]):
            yield from _differing(first.get(name), second.get(name), f"{place}.{name}" if place else str(name))
    elif first != second:
        yield place


def compare_results(deposit: Path, run: Path, *, tolerance: float) -> Repeated:
    """Results of a run against those of a deposit."""
    place = Path(STAGE) / ITEM / COMPARISON
    then, now = (_values(read_object(folder / place)) for folder in (deposit / RUN, run))
    names = dict.fromkeys([*then, *now])
    models = sorted(deposit.glob(f"{MODELS}/*/{DESCRIPTION_FILE}"))
    same = sum(_weights(m) == _weights(run / "train" / m.parent.name / DESCRIPTION_FILE) for m in models)
    about = [(read_json(folder / RUN_RECORD) or {}).get("environment") or {} for folder in (deposit / RUN, run)]
    return Repeated(
        differences=tuple(Difference(n, then.get(n), now.get(n)) for n in names),
        other=tuple(_other(*about)),
        models=len(models),
        same_models=same,
        tolerance=tolerance,
    )


def _values(content: Mapping[str, Any]) -> dict[Name, float | None]:
    return {
        (split, arm, metric, part): found.get(part)
        for split, arms in content["results"].items()
        for arm, result in arms.items()
        for metric, found in result["metrics"].items()
        for part in PARTS
    }


def _weights(description: Path) -> Any:
    """SHA-256 of a model's weights; a value of its own where nothing tells."""
    found = read_json(description)
    return (found.get("weights_sha256") if isinstance(found, dict) else None) or str(description)


def _other(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Versions, source and processor that are not those of the deposit; how much memory there is does not matter."""
    for part, keys in (("versions", None), ("hardware", ("system", "processor"))):
        first, second = then.get(part) or {}, now.get(part) or {}
        chosen: Sequence[str] = keys or [k for k in dict.fromkeys([*first, *second]) if k != "commit"]
        yield from (f"{k}: {first.get(k)}, now {second.get(k)}" for k in chosen if first.get(k) != second.get(k))
    if then.get("source") != now.get("source"):
        yield f"source of darklung: {str(then.get('source'))[:12]}, now {str(now.get('source'))[:12]}"

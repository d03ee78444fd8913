"""Whether a study that was run again gives what its deposit says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darklung.core.checks import require
from darklung.core.files import read_object, reading
from darklung.io.names import COMPARISON
from darklung.learn.files import DESCRIPTION_FILE
from darklung.pipeline.artefacts import RUN_RECORD
from darklung.pipeline.record import read_json
from darklung.publish.dataset import MODELS, RUN
from darklung.publish.places import without_places
from darklung.publish.repeated import Difference, Name, Repeated, differing, other_than, values_of
from darklung.publish.sums import is_deposit
from darklung.steps.evaluate import ITEM, STAGE


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


def results_of(deposit: Path) -> dict[Name, float | None]:
    """Every number of a deposit's results.

    Raises
    ------
    DarklungError
        Results that are none.
    """
    return _values(deposit / RUN / STAGE / ITEM / COMPARISON)


def _values(file: Path) -> dict[Name, float | None]:
    content = read_object(file)
    with reading(file, "the results of a run"):
        found = values_of(content)
        strange = [v for v in found.values() if v is not None and not isinstance(v, (int, float))]
        require(not strange, f"{file}: wanted numbers as results, got {strange[:1]}")
    return found


def check_same_study(deposit: Path, resolved: Mapping[str, Any], origin: str) -> None:
    """Refuse a study file that differs from the deposited one in more than the places of its files.

    Raises
    ------
    DarklungError
        One line that names the first key.
    """
    said = without_places(read_object(deposit / RUN / RUN_RECORD).get("study"))
    key = next(differing(said, without_places(resolved), ""), None)
    require(
        key is None,
        f"{origin}: {key}: is not as in the deposit; wanted the same study, with other places of its files alone",
    )


def compare_results(deposit: Path, run: Path, *, tolerance: float) -> Repeated:
    """Results of a run against those of a deposit."""
    place = Path(STAGE) / ITEM / COMPARISON
    then, now = results_of(deposit), _values(run / place)
    names = dict.fromkeys([*then, *now])
    models = sorted(deposit.glob(f"{MODELS}/*/{DESCRIPTION_FILE}"))
    same = sum(_weights(m) == _weights(run / "train" / m.parent.name / DESCRIPTION_FILE) for m in models)
    about = [(read_json(folder / RUN_RECORD) or {}).get("environment") or {} for folder in (deposit / RUN, run)]
    return Repeated(
        differences=tuple(Difference(n, then.get(n), now.get(n)) for n in names),
        other=tuple(other_than(*about)),
        models=len(models),
        same_models=same,
        tolerance=tolerance,
    )


def _weights(description: Path) -> Any:
    """SHA-256 of a model's weights; a value of its own where nothing tells."""
    found = read_json(description)
    return (found.get("weights_sha256") if isinstance(found, dict) else None) or str(description)

"""Results at each site: the same models and thresholds, on the animals that one scanner saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darklung.evaluate.metrics import Metric
    from darklung.evaluate.tables import ArmTables

KEPT = ("n", "metrics", "froc")

Splits = Mapping[str, Mapping[str, "ArmTables"]]


def results_by_site(
    splits: Splits,
    sites: Mapping[str, Sequence[str]],
    *,
    seed: int,
    replicates: int,
    specificity: float,
    metrics: Mapping[str, Metric],
) -> list[dict]:
    """One entry for each split and site: ``split``, ``site``, ``seen`` and the arms' counts, metrics and FROC.

    Threshold and probability come from all validation animals, as in the whole comparison; ``seen`` tells whether any
    animal of the site was in training or validation. An animal that several scanners saw is one animal, whose images count
    together: it has an entry of its own, ``A + B``. NOT separated: what the families of mice at each site contribute.

    Parameters
    ----------
    splits : split -> arm -> ArmTables
    sites : mapping
        Animal -> names of its sites, most often one.
    seed, replicates, specificity, metrics
        As in `darklung.evaluate.comparison.compare`.
    """
    from darklung.evaluate.comparison import compare
    from darklung.evaluate.paired import only

    arms = splits["validation"]
    seen = {site for a in _animals(next(iter(arms.values()))) for site in sites[a]}
    entries = []
    for split, tables in splits.items():
        for names in sorted({tuple(sites[a]) for a in _animals(next(iter(tables.values())))}):
            own = {arm: only(t, {a for a in sites if tuple(sites[a]) == names}) for arm, t in tables.items()}
            found = compare(
                tables={"validation": arms, "test": own}, seed=seed, replicates=replicates,
                specificity=specificity, crossed=True, metrics=metrics, questions=(),
            )["results"]["test"]  # fmt: skip
            results = {arm: {k: result[k] for k in KEPT} for arm, result in found.items()}
            site = " + ".join(names)
            entries.append({"split": split, "site": site, "seen": not seen.isdisjoint(names), "results": results})
    return entries


def _animals(tables: ArmTables) -> set[str]:
    return set(tables.voxels["subject"])


def site_lines(comparison: Mapping[str, Any]) -> list[str]:
    """AUROC and sensitivity at each site, as text."""
    lines = []
    for entry in comparison.get("by_site", ()):
        first = next(iter(entry["results"].values()))["n"]
        held = "" if entry["seen"] else ", held out"
        head = f"{entry['split']} at {entry['site']}{held}: {first['subjects']} animals, {first['positives']} positive tiles"
        lines += ["", head]
        for arm, result in entry["results"].items():
            shown = "".join(
                f"{name} {_value(result['metrics'][name]):<10}" for name in ("auroc", "sensitivity", "specificity")
            )
            lines.append(f"  {arm:<16}{shown.rstrip()}")
    return lines


def _value(metric: Mapping[str, Any]) -> str:
    return "-" if metric["value"] is None else f"{metric['value']:.3f}"

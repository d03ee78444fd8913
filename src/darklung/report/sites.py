"""Results at each site, and how far a model falls at a scanner that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from darklung.report.blocks import Cell, Interval, Section, Table, Text

METRICS = (("auroc", "AUROC"), ("sensitivity", "Sensitivity"), ("specificity", "Specificity"))


def sites_section(entries: Sequence[Mapping[str, Any]]) -> Section:
    """One row for each split, site and arm.

    Parameters
    ----------
    entries : sequence of mappings
        ``split``, ``site``, ``seen`` (in training or validation) and ``results`` (arm -> ``n``, ``metrics``).
    """
    rows: list[tuple[Cell, ...]] = []
    for entry in entries:
        for arm, result in entry["results"].items():
            n = result["n"]
            size = f"{n['subjects']}: {n['positives']} / {n['negatives']}"
            cells = [_interval(result["metrics"][key]) for key, _ in METRICS]
            place = entry["site"] if entry["seen"] else f"{entry['site']} (held out)"
            rows.append((f"{entry['split']}, {place}", arm.replace("_", " "), size, *cells))
    header = ("Split and site", "Arm", "Subjects: pos. / neg.", *(label for _, label in METRICS))
    caution = (
        "Few animals a site make wide intervals. Where the held-out animals are also of another family of mice, a fall "
        "is not the scanner's alone."
    )
    table = Table(header, tuple(rows), "Thresholds are those of the whole comparison. Small: 95 % intervals over animals.")
    return Section("Results by site", (table, Text(caution, "note")), "Does what was learned hold at another scanner?")


def _interval(metric: Mapping[str, Any]) -> Interval:
    return Interval(metric.get("value"), metric.get("low"), metric.get("high"))

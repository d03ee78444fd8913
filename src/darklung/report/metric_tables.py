"""Tables of what the arms reached: main figures, all metrics, differences, rates with their numbers, animals, folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from darklung.report.blocks import Block, Cell, Details, Interval, Table
from darklung.report.verdicts import Comparison, metric, result

# What a reader looks for first; everything is in the table of all metrics.
MAIN = ("auroc", "equal_sensitivity", "sensitivity", "specificity")
DIGITS = 2


def interval(m: Mapping[str, Any] | None, value: str = "value", digits: int = DIGITS) -> Interval:
    """A cell of a value with its interval."""
    known = m or {}
    return Interval(known.get(value), known.get("low"), known.get("high"), digits)


def name(text: Any) -> str:
    """A name as words."""
    return str(text).replace("_", " ")


def count(value: Any) -> str:
    """A number of things, or a dash."""
    return "–" if value is None else str(value)


def metric_titles(comparison: Comparison, split: str) -> dict[str, str]:
    """Name -> title of all metrics that any arm has."""
    arms = comparison.get("arms") or ()
    known = dict.fromkeys(m for arm in arms for m in result(comparison, split, arm).get("metrics") or {})
    titles = comparison.get("metrics") or {}
    return {m: titles.get(m) or name(m).capitalize() for m in known}


def froc_keys(comparison: Comparison, split: str) -> list[str]:
    """False positives a subject at which the lesions found are told, rising."""
    keys: dict[str, None] = {}
    for arm in comparison.get("arms") or ():
        keys.update(dict.fromkeys((result(comparison, split, arm).get("froc") or {}).get("points") or {}))
    return sorted(keys, key=_as_number)


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def froc(comparison: Comparison, split: str, arm: str, mimics: bool) -> Mapping[str, Any]:
    """FROC of an arm with or without mimics counted as false positives; an empty mapping where there is none."""
    found = result(comparison, split, arm).get("froc") or {}
    return found if mimics else found.get("mimics_not_counted") or {}


def main_table(comparison: Comparison, split: str, caption: str) -> Table:
    """The figures that decide: AUROC, sensitivity at equal specificity, the validated threshold, one false positive."""
    arms = comparison.get("arms") or ()
    titles = metric_titles(comparison, split)
    shown = [m for m in MAIN if m in titles]
    one = [k for k in froc_keys(comparison, split) if k in ("0.25", "1")]
    rows: list[tuple[Cell, ...]] = []
    for arm in arms:
        n = result(comparison, split, arm).get("n") or {}
        points = froc(comparison, split, arm, True).get("points") or {}
        size = f"{count(n.get('subjects'))}: {count(n.get('positives'))} / {count(n.get('negatives'))}"
        cells = [interval(metric(comparison, split, arm, m)) for m in shown]
        rows.append((name(arm), size, *cells, *(interval(points.get(k)) for k in one)))
    header = (
        "Arm",
        "Subjects: pos. / neg.",
        *(titles[m] for m in shown),
        *(f"Lesions found at {k} FP an animal" for k in one),
    )
    values = [metric(comparison, split, a, "auroc").get("value") for a in arms]
    known = [v for v in values if v is not None]
    best = tuple(i for i, v in enumerate(values) if known and v == max(known))
    return Table(header, tuple(rows), caption, best)


def all_metrics(comparison: Comparison, split: str) -> Details:
    """Every metric, one row each, with what has no interval below."""
    arms = list(comparison.get("arms") or ())
    rows: list[tuple[Cell, ...]] = [
        (title, *(interval(metric(comparison, split, a, m), digits=3) for a in arms))
        for m, title in metric_titles(comparison, split).items()
    ]
    for k in froc_keys(comparison, split):
        points = [(froc(comparison, split, a, True).get("points") or {}).get(k) for a in arms]
        rows.append((f"Lesions found at {k} FP an animal", *(interval(p, digits=3) for p in points)))
    for title, part, key in PLAIN:
        values = [(result(comparison, split, a).get(part) or {}).get(key) for a in arms]
        if any(v is not None for v in values):
            rows.append((title, *(Interval(v, digits=3) for v in values)))
    caption = "All metrics, 95 % intervals where an animal can be drawn again"
    return Details("All metrics", (Table(("Metric", *map(name, arms)), tuple(rows), caption),))


PLAIN = (
    ("Brier score of saying the prevalence everywhere", "probability", "brier_of_prevalence"),
    ("AUROC of voxels", "voxels", "auroc"),
    ("Average precision of voxels", "voxels", "average_precision"),
    ("Dice of a single lesion, mean over all (0 if missed)", "outlines", "dice_of_all"),
    ("Dice of a single lesion, mean over those outlined", "outlines", "dice"),
    ("Volume error of those (outlined / true − 1)", "outlines", "volume_error"),
    ("Share of their surface within 0.25 mm or a voxel", "outlines", "surface_share"),
    ("Outlines recognised (F1)", "outlines", "recognition"),
    ("Panoptic quality", "outlines", "panoptic"),
)


def difference_table(comparison: Comparison, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Each question in every metric."""
    titles = comparison.get("metrics") or {}
    header = ("Difference", "Metric", "Value", "p", "p (Holm)")
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        head = f"{name(row.get('a'))} − {name(row.get('b'))}"
        known = titles.get(row.get("metric")) or name(row.get("metric") or "auroc")
        cells.append((head, known, interval(row, digits=3), row.get("p"), row.get("p_holm")))
    return Table(header, tuple(cells), "Paired differences, 95 % intervals; p for AUROC, by which a question is decided")


def lesion_rates(comparison: Comparison, split: str) -> list[Block]:
    """Sensitivity by class and size, with its number and interval."""
    found = _of_arms(comparison, split)
    classes = {a: r.get("by_class") or {} for a, r in found.items()}
    sizes = {a: _sizes(r.get("by_size")) for a, r in found.items()}
    parts = (("Sensitivity by class", classes), ("Sensitivity by diameter", sizes))
    return [t for title, rates in parts if (t := _rates(title, rates, "sensitivity"))]


def negative_rates(comparison: Comparison, split: str) -> list[Block]:
    """What is called wrongly by kind of negative, with its number and interval."""
    title = "Called positive by kind of negative; a sham is the same editing with healthy parameters"
    kinds = {a: r.get("by_kind") or {} for a, r in _of_arms(comparison, split).items()}
    return [t for t in (_rates(title, kinds, "value"),) if t]


def _of_arms(comparison: Comparison, split: str) -> dict[str, Mapping[str, Any]]:
    return {a: result(comparison, split, a) for a in comparison.get("arms") or ()}


def _sizes(bins: Sequence[Mapping[str, Any]] | None) -> dict[str, Mapping[str, Any]]:
    return {size_range(b): b for b in bins or () if b}


def size_range(found: Mapping[str, Any]) -> str:
    """Diameters of a row of ``by_size``, such as ``1 to 1.5 mm``; the last has no upper end."""
    ends = (found.get(end) for end in ("low_mm", "high_mm"))
    low, high = (f"{v:g}" if isinstance(v, int | float) else count(v) for v in ends)
    return f"{low} mm and more" if found.get("high_mm") is None else f"{low} to {high} mm"


def _rates(title: str, rates: Mapping[str, Mapping[str, Any]], key: str) -> Table | None:
    groups = list(dict.fromkeys(g for own in rates.values() for g in own))
    if not any((own.get(g) or {}).get(key) is not None for own in rates.values() for g in groups):
        return None
    rows: list[tuple[Cell, ...]] = []
    for group in groups:
        numbers = [(own.get(group) or {}).get("n") for own in rates.values()]
        n = next((v for v in numbers if v is not None), None)
        rows.append((name(group), count(n), *(interval(own.get(group), key) for own in rates.values())))
    return Table((title.split(";")[0], "n", *map(name, rates)), tuple(rows), f"{title}, 95 % intervals")


def reliability_table(comparison: Comparison, split: str) -> Table | None:
    """Bins of predicted probability with the observed share, its interval and the number of tiles."""
    rows: list[tuple[Cell, ...]] = []
    for arm in comparison.get("arms") or ():
        curve = result(comparison, split, arm).get("reliability") or {}
        columns = [curve.get(k) or () for k in ("predicted", "observed", "low", "high", "count")]
        for predicted, observed, low, high, tiles in zip_longest(*columns):
            share = Interval(observed, low, high, DIGITS)
            rows.append((name(arm), Interval(predicted, digits=DIGITS), share, count(tiles)))
    header = ("Arm", "Predicted", "Observed", "Tiles")
    return Table(header, tuple(rows), "Predicted and observed share of lesions among tiles") if rows else None


def animals_and_folds(comparison: Comparison, split: str) -> list[Block]:
    """What came of each animal, and of each fold where each has a model of its own."""
    blocks: list[Block] = []
    rows: list[tuple[Cell, ...]] = []
    folds: list[tuple[Cell, ...]] = []
    for arm in comparison.get("arms") or ():
        own = result(comparison, split, arm)
        for r in own.get("by_animal") or ():
            found = f"{count(r.get('found'))} of {count(r.get('lesions'))}"
            false = f"{count(r.get('false'))} of {count(r.get('negatives'))}"
            highest, dice = (Interval(r.get(k), digits=DIGITS) for k in ("highest", "dice"))
            rows.append((str(r.get("animal")), name(arm), found, false, highest, dice))
        for f in own.get("by_fold") or ():
            cells = (interval(f.get("sensitivity")), interval(f.get("specificity")))
            folds.append((name(arm), count(f.get("fold")), count(f.get("animals")), *cells))
    if folds:
        blocks.append(Details("By fold", (Table(("Arm", "Fold", "Animals", "Sensitivity", "Specificity"), tuple(folds)),)))
    if rows:
        header = ("Animal", "Arm", "Lesions found", "Negatives called", "Highest score", "Dice")
        blocks.append(Details("By animal", (Table(header, tuple(rows)),)))
    return blocks

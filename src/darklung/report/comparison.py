"""Sections that show a comparison of arms: the table first, then differences, curves, lesions and errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darklung.report import figures
from darklung.report.blocks import Block, Bullets, Cell, Details, Figure, Interval, Row, Section, Table, Text
from darklung.report.verdicts import (
    DEY_SOURCE,
    Comparison,
    expectations,
    main_split,
    metric,
    published_rows,
    result,
    verdicts,
)

SPLIT_TITLES = {"test": "Held-out test", "validation": "Validation"}


def comparison_sections(comparison: Comparison) -> list[Section]:
    """Results: table and verdicts; differences; curves; lesions by class and size; where the arms err.

    Parameters
    ----------
    comparison : mapping
        ``arms``, ``splits``, ``results`` (split -> arm -> metrics, curves, confusion, FROC, by class and size),
        ``differences`` (split -> rows a, b, value, low, high, p, p_holm), ``settings``. Any value may be None and any
        entry may be missing: what is not there is left out or shown as a dash.
    """
    split = main_split(comparison)
    sections = [_results(comparison, split)]
    if split is None:
        return sections
    others = [s for s in comparison.get("splits") or () if s != split and (comparison["results"] or {}).get(s)]
    sections += [s for s in (_differences(comparison, split), _curves(comparison, split), _lesions(comparison, split)) if s]
    sections += [s for s in (_errors(comparison, split),) if s]
    for other in others:
        inner: list[Block] = [_arms_table(comparison, other)]
        for made in (_differences(comparison, other), _curves(comparison, other), _lesions(comparison, other)):
            inner += made.blocks if made else ()
        sections.append(
            Section(_split_title(other), tuple(inner), "The same figures on the data that chose the thresholds.")
        )
    return sections


def published_section(comparison: Comparison, *, kind: str) -> Section:
    """What was published and what was expected before the run, beside what came.

    Parameters
    ----------
    comparison : mapping
    kind : {"ct", "radiograph"}
    """
    rows = tuple(
        (label, ours, f"{100 * sensitivity:.1f} %", f"{100 * specificity:.1f} %", _interval(a), _interval(b))
        for label, ours, sensitivity, specificity, a, b in published_rows(comparison)
        if sensitivity is not None and specificity is not None
    )
    header = ("Published arm", "Our arm", "Published sensitivity", "specificity", "Our sensitivity", "specificity")
    table = Table(header, rows, f"Published: {DEY_SOURCE} (abstract). Ours: with 95 % intervals.")
    caution = (
        "The two are not the same experiment: other animals, another scanner, other lesions, patches and operating points. "
        "The published study is of radiographs; its six percentages fit 49 positives and 42 negatives (inferred)."
    )
    expected = Table(("Stated before the run", "What came", "Verdict"), expectations(comparison, kind=kind), "Expectations")
    return Section(
        "Published and expected", (table, Text(caution, "note"), expected), "Our numbers beside what others claim."
    )


def _results(comparison: Comparison, split: str | None) -> Section:
    blocks: list[Block] = [Bullets(verdicts(comparison), "verdict")]
    if split is not None:
        blocks.insert(0, _arms_table(comparison, split))
    settings = comparison.get("settings") or {}
    if settings:
        rows = tuple((str(k), str(v)) for k, v in settings.items())
        blocks.append(Details("How it was compared", (Table(("Setting", "Value"), rows),)))
    return Section("Results", tuple(blocks))


def _arms_table(comparison: Comparison, split: str) -> Table:
    arms = comparison.get("arms") or ()
    titles = _metric_titles(comparison, split)
    rows: list[tuple[Cell, ...]] = []
    for arm in arms:
        n = result(comparison, split, arm).get("n") or {}
        cells = [_interval(metric(comparison, split, arm, m)) for m in titles]
        points = (result(comparison, split, arm).get("froc") or {}).get("points") or {}
        froc = [_interval(points.get(k) or {}) for k in _froc_keys(comparison, split)]
        size = f"{_count(n.get('subjects'))}: {_count(n.get('positives'))} / {_count(n.get('negatives'))}"
        rows.append((_name(arm), size, *cells, *froc))
    froc_heads = [f"Lesions found at {k} FP" for k in _froc_keys(comparison, split)]
    header = ("Arm", "Subjects: pos. / neg.", *titles.values(), *froc_heads)
    caption = (
        f"{_split_title(split)}. Small: 95 % intervals. {_threshold(comparison, 'Sensitivity, specificity: at {}. ')}"
        f"{_unit(comparison)}"
    )
    values = [metric(comparison, split, a, "auroc").get("value") for a in arms]
    known = [v for v in values if v is not None]
    best = tuple(i for i, v in enumerate(values) if known and v == max(known))
    return Table(header, tuple(rows), caption, best)


def _metric_titles(comparison: Comparison, split: str) -> dict[str, str]:
    """Name -> title of all metrics that any arm has."""
    arms = comparison.get("arms") or ()
    known = dict.fromkeys(m for arm in arms for m in result(comparison, split, arm).get("metrics") or {})
    titles = comparison.get("metrics") or {}
    return {m: titles.get(m, _name(m)) for m in known}


def _froc_keys(comparison: Comparison, split: str) -> list[str]:
    keys: dict[str, None] = {}
    for arm in comparison.get("arms") or ():
        keys.update(dict.fromkeys((result(comparison, split, arm).get("froc") or {}).get("points") or {}))
    return sorted(keys, key=_as_number)


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def _differences(comparison: Comparison, split: str) -> Section | None:
    rows = (comparison.get("differences") or {}).get(split) or ()
    if not rows:
        return None
    lines = [(f"{_name(r.get('a'))} − {_name(r.get('b'))}", r.get("value"), r.get("low"), r.get("high")) for r in rows]
    drawing = figures.forest(lines, name=f"differences {split}", label="Difference in AUROC, 95 % interval")
    table = Table(
        ("Difference", "Value", "p", "p (Holm)"),
        tuple((line[0], Interval(*line[1:]), row.get("p"), row.get("p_holm")) for line, row in zip(lines, rows)),
    )
    caption = "Paired over animals. Blue: the interval leaves zero out; grey: it does not."
    alt = "; ".join(f"{t}: {v}" for t, v, _, _ in lines)
    return Section(
        "Differences between arms", (Row((Figure(drawing, caption, alt), table)),), "Which gaps are more than chance?"
    )


def _curves(comparison: Comparison, split: str) -> Section | None:
    arms = comparison.get("arms") or ()
    colours = figures.arm_colours(arms)
    wanted = (
        ("roc", ("fpr", "tpr"), ("1 − specificity", "sensitivity"), "ROC", True, False),
        ("pr", ("recall", "precision"), ("recall", "precision"), "Precision and recall", False, False),
        ("reliability", ("predicted", "observed"), ("predicted probability", "observed share"), "Reliability", True, True),
    )
    blocks = []
    for key, (x, y), labels, caption, diagonal, markers in wanted:
        series = {}
        for arm in arms:
            curve = result(comparison, split, arm).get(key) or {}
            if curve.get(x) and curve.get(y):
                series[arm] = (curve[x], curve[y])
        if series:
            svg = figures.curves(
                series, name=f"{key} {split}", colours=colours, labels=labels, diagonal=diagonal, markers=markers
            )
            blocks.append(Figure(svg, caption, f"{caption} of {', '.join(map(_name, series))}"))
    if not blocks:
        return None
    return Section("Curves", (Row(tuple(blocks)),), _unit(comparison))


def _lesions(comparison: Comparison, split: str) -> Section | None:
    colours = figures.arm_colours(comparison.get("arms") or ())
    blocks: list[Block] = []
    drawing = _froc_figure(comparison, split, colours)
    if drawing is not None:
        blocks.append(drawing)
    for made in (_by_class(comparison, split, colours), _by_size(comparison, split, colours)):
        if made is not None:
            blocks.append(made)
    if not blocks:
        return None
    tables = [t for t in (_search_table(comparison, split), _dice_table(comparison, split)) if t]
    return Section("Lesions", (Row(tuple(blocks)), *tables), "Lesion by lesion: which are found, at which price?")


def _froc(comparison: Comparison, split: str, arm: str, mimics: bool) -> Mapping[str, Any]:
    """FROC of an arm with or without mimics counted as false positives; an empty mapping where there is none."""
    froc = result(comparison, split, arm).get("froc") or {}
    return froc if mimics else froc.get("mimics_not_counted") or {}


def _froc_figure(comparison: Comparison, split: str, colours: figures.Colours) -> Figure | None:
    series: dict[bool, dict[str, Any]] = {}
    for mimics in (True, False):
        found = {arm: _froc(comparison, split, arm, mimics) for arm in colours}
        series[mimics] = {
            arm: (f["fp_per_subject"], f["sensitivity"])
            for arm, f in found.items()
            if f.get("fp_per_subject") and f.get("sensitivity")
        }
    if not series[True]:
        return None
    most = max((float(v) for x, _ in series[True].values() for v in x if v is not None), default=1.0)
    svg = figures.curves(
        series[True],
        name=f"froc {split}",
        colours=colours,
        labels=("false positives per subject", "share of lesions found"),
        limits=((0.0, max(min(most, 8.0), 0.5)), (-0.02, 1.02)),
        dashed=series[False],
    )
    dashes = " Dashed: mimics not counted as false positives." if series[False] else ""
    return Figure(svg, f"FROC: search of the whole lung.{dashes}", "Lesions found against false positives per subject")


def _search_table(comparison: Comparison, split: str) -> Table | None:
    """FROC points with and without mimics; only where both are known, since the arms' table has the first."""
    arms, keys = comparison.get("arms") or (), _froc_keys(comparison, split)
    if not any(_froc(comparison, split, a, False).get("points") for a in arms):
        return None
    header = ["Arm"]
    header += [f"{k} FP a subject{', mimics not counted' if not m else ''}" for k in keys for m in (True, False)]
    rows: list[tuple[Cell, ...]] = []
    for arm in arms:
        points = [(_froc(comparison, split, arm, m).get("points") or {}).get(k) or {} for k in keys for m in (True, False)]
        rows.append((_name(arm), *map(_interval, points)))
    return Table(tuple(header), tuple(rows), "Share of lesions found by searching the whole lung, 95 % intervals")


def _dice_table(comparison: Comparison, split: str) -> Table | None:
    """How well the outlines fit, animal by animal."""
    found = {a: result(comparison, split, a).get("dice_by_subject") or {} for a in comparison.get("arms") or ()}
    if not any(found.values()):
        return None
    keys = list(dict.fromkeys(k for row in found.values() for k in row))
    header = ("Arm", *(k.replace("_", " ").capitalize() for k in keys))
    rows = tuple((_name(a), *(row.get(k) for k in keys)) for a, row in found.items())
    return Table(header, rows, "Dice: over all animals together, and of single animals with a lesion")


def _by_class(comparison: Comparison, split: str, colours: figures.Colours) -> Figure | None:
    found: dict[str, Mapping[str, Any]] = {a: result(comparison, split, a).get("by_class") or {} for a in colours}
    names = list(dict.fromkeys(n for v in found.values() for n in v))
    if not any((v.get(n) or {}).get("sensitivity") is not None for v in found.values() for n in names):
        return None
    groups = [f"{n}\nn = {_count(_first(found, n))}" for n in names]
    values = {a: [(v.get(n) or {}).get("sensitivity") for n in names] for a, v in found.items()}
    svg = figures.grouped_bars(groups, values, name=f"class {split}", colours=colours, label="sensitivity")
    return Figure(svg, "Sensitivity by class of lesion; n is the number of lesions", f"Sensitivity for {', '.join(names)}")


def _first(found: Mapping[str, Mapping[str, Any]], name: str) -> Any:
    return next((v[name].get("n") for v in found.values() if v.get(name)), None)


def _by_size(comparison: Comparison, split: str, colours: figures.Colours) -> Figure | None:
    found = {a: result(comparison, split, a).get("by_size") or [] for a in colours}
    longest = max(found.values(), key=len, default=[])
    if not any(b.get("sensitivity") is not None for bins in found.values() for b in bins):
        return None
    groups = [f"{b.get('low_mm'):g} to {b.get('high_mm'):g} mm\nn = {_count(b.get('n'))}" for b in longest]
    keys = [(b.get("low_mm"), b.get("high_mm")) for b in longest]
    values = {}
    for arm, bins in found.items():
        known = {(b.get("low_mm"), b.get("high_mm")): b.get("sensitivity") for b in bins}
        values[arm] = [known.get(k) for k in keys]
    svg = figures.grouped_bars(groups, values, name=f"size {split}", colours=colours, label="sensitivity")
    return Figure(svg, "Sensitivity by diameter of the lesion", "Sensitivity in each range of diameters")


def _errors(comparison: Comparison, split: str) -> Section | None:
    arms = comparison.get("arms") or ()
    matrices = {a: result(comparison, split, a).get("confusion") for a in arms}
    known = {a: m for a, m in matrices.items() if m}
    blocks: list[Block] = []
    if known:
        svg = figures.confusion(known, name=f"confusion {split}")
        blocks.append(Figure(svg, _threshold(comparison, "At {}; % of the true class"), "Confusion matrices"))
    rates = {a: result(comparison, split, a).get("false_positive_rate_by_kind") or {} for a in arms}
    kinds = list(dict.fromkeys(k for r in rates.values() for k in r))
    if kinds:
        header = ("Arm", "Threshold", *(f"Called positive: {k}" for k in kinds))
        rows = tuple(
            (_name(a), result(comparison, split, a).get("threshold"), *(r.get(k) for k in kinds)) for a, r in rates.items()
        )
        caption = (
            "Share of each kind of negative that was called positive. A sham is the same editing with healthy parameters."
        )
        blocks.append(Table(header, rows, caption))
    return Section("Errors", tuple(blocks), "What is called wrongly?") if blocks else None


def _interval(m: Mapping[str, Any]) -> Interval:
    return Interval(m.get("value"), m.get("low"), m.get("high"))


def _threshold(comparison: Comparison, text: str) -> str:
    """A text with the threshold's origin in it; empty where there is no threshold."""
    origin = str((comparison.get("settings") or {}).get("threshold_from") or "validation")
    known = {"validation": "the threshold fixed on validation", "given": "the threshold given"}
    return text.format(known[origin]) if origin in known else ""


def _unit(comparison: Comparison) -> str:
    """What one positive or negative is."""
    unit = (comparison.get("settings") or {}).get("unit")
    return f"Unit: {unit}." if unit else ""


def _count(value: Any) -> str:
    return "–" if value is None else str(value)


def _name(arm: Any) -> str:
    return str(arm).replace("_", " ")


def _split_title(split: str) -> str:
    return SPLIT_TITLES.get(split, _name(split).capitalize())

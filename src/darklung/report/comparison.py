"""Sections that show a comparison of arms: the table first, then differences, curves, lesions and errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darklung.report import figures
from darklung.report.blocks import Block, Bullets, Cell, Details, Figure, Interval, Row, Section, Table, Text
from darklung.report.metric_tables import (
    all_metrics,
    animals_and_folds,
    count,
    difference_table,
    froc,
    froc_keys,
    interval,
    lesion_rates,
    main_table,
    name,
    negative_rates,
    reliability_table,
    size_range,
)
from darklung.report.verdicts import (
    DEY_SOURCE,
    Comparison,
    expectations,
    main_split,
    published_rows,
    result,
    told,
    verdicts,
)

RELIABILITY = "Reliability of the tiles' probabilities; thin lines: 95 % intervals of the observed share"
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
        (label, ours, f"{100 * sensitivity:.1f} %", f"{100 * specificity:.1f} %", interval(a), interval(b))
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
        blocks = [_arms_table(comparison, split), *blocks, all_metrics(comparison, split)]
    settings = comparison.get("settings") or {}
    if settings:
        rows = tuple((str(k), str(v)) for k, v in settings.items())
        blocks.append(Details("How it was compared", (Table(("Setting", "Value"), rows),)))
    return Section("Results", tuple(blocks))


def _arms_table(comparison: Comparison, split: str) -> Table:
    caption = (
        f"{_split_title(split)}. Small: 95 % intervals. {_threshold(comparison, 'Sensitivity, specificity: at {}. ')}"
        f"{_unit(comparison)}"
    )
    return main_table(comparison, split, caption)


def _differences(comparison: Comparison, split: str) -> Section | None:
    rows = (comparison.get("differences") or {}).get(split) or ()
    if not rows:
        return None
    decided = [r for r in rows if (r.get("metric") or "auroc") == "auroc"]
    lines = [(f"{name(r.get('a'))} − {name(r.get('b'))}", r.get("value"), r.get("low"), r.get("high")) for r in decided]
    drawing = figures.forest(lines, name=f"differences {split}", label="Difference in AUROC, 95 % interval")
    caption = "Paired over animals. Blue: the interval leaves zero out; grey: it does not."
    alt = "; ".join(f"{t}: {v}" for t, v, _, _ in lines)
    answers = Bullets(tuple(f"{line[0]}: {told(row)}." for line, row in zip(lines, decided)), "verdict")
    others = Details("Differences in every metric", (difference_table(comparison, rows),))
    blocks = (Row((Figure(drawing, caption, alt), answers)), difference_table(comparison, decided), others)
    return Section("Differences between arms", blocks, "Which gaps are more than chance?")


def _curves(comparison: Comparison, split: str) -> Section | None:
    arms = comparison.get("arms") or ()
    colours = figures.arm_colours(arms)
    wanted = (
        ("roc", ("fpr", "tpr"), ("1 − specificity", "sensitivity"), "ROC", True, False),
        ("pr", ("recall", "precision"), ("recall", "precision"), "Precision and recall", False, False),
        ("reliability", ("predicted", "observed"), ("predicted probability", "observed share"), RELIABILITY, True, True),
    )
    blocks = []
    for key, (x, y), labels, caption, diagonal, markers in wanted:
        known = {arm: result(comparison, split, arm).get(key) or {} for arm in arms}
        series = {arm: (c[x], c[y]) for arm, c in known.items() if c.get(x) and c.get(y)}
        if series:
            style: dict[str, Any] = {"diagonal": diagonal, "markers": markers}
            bands = {a: (known[a].get("low"), known[a].get("high")) for a in series}
            svg = figures.curves(series, name=f"{key} {split}", colours=colours, labels=labels, bands=bands, **style)
            blocks.append(Figure(svg, caption, f"{caption} of {', '.join(map(name, series))}"))
    if not blocks:
        return None
    counts = reliability_table(comparison, split)
    folded = (Details("Reliability in numbers", (counts,)),) if counts else ()
    return Section("Curves", (Row(tuple(blocks)), *folded), _unit(comparison))


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
    tables = lesion_rates(comparison, split)
    tables += [t for t in (_search_table(comparison, split), _dice_table(comparison, split)) if t]
    return Section("Lesions", (Row(tuple(blocks)), *tables), "Lesion by lesion: which are found, at which price?")


def _froc_figure(comparison: Comparison, split: str, colours: figures.Colours) -> Figure | None:
    series: dict[bool, dict[str, Any]] = {}
    for mimics in (True, False):
        found = {arm: froc(comparison, split, arm, mimics) for arm in colours}
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
        labels=("false positives per animal", "share of lesions found"),
        limits=((0.0, max(min(most, 8.0), 0.5)), (-0.02, 1.02)),
        dashed=series[False],
    )
    dashes = " Dashed: mimics not counted as false positives." if series[False] else ""
    return Figure(svg, f"FROC: search of the whole lung.{dashes}", "Lesions found against false positives per animal")


def _search_table(comparison: Comparison, split: str) -> Table | None:
    """Lesions found at each number of false positives, with and without mimics; only where both are known."""
    arms, keys = list(comparison.get("arms") or ()), froc_keys(comparison, split)
    if not any(froc(comparison, split, a, False).get("points") for a in arms):
        return None
    rows: list[tuple[Cell, ...]] = []
    for mimics, end in ((True, ""), (False, ", mimics not counted")):
        for k in keys:
            points = [(froc(comparison, split, a, mimics).get("points") or {}).get(k) for a in arms]
            rows.append((f"{k} FP an animal{end}", *map(interval, points)))
    caption = "Share of lesions found by searching the whole lung, 95 % intervals"
    return Table(("At", *map(name, arms)), tuple(rows), caption)


def _dice_table(comparison: Comparison, split: str) -> Table | None:
    """How well the outlines fit, animal by animal."""
    found = {a: result(comparison, split, a).get("dice_by_subject") or {} for a in comparison.get("arms") or ()}
    if not any(found.values()):
        return None
    keys = list(dict.fromkeys(k for row in found.values() for k in row))
    header = ("Arm", *(name(k).capitalize() for k in keys))
    rows = tuple((name(a), *(_dice_cell(k, row.get(k)) for k in keys)) for a, row in found.items())
    return Table(header, rows, "Dice: over all animals together, and of single animals with a lesion")


def _dice_cell(key: str, value: Any) -> Cell:
    return Interval(value, digits=1 if "voxels" in key else 2) if isinstance(value, float) else value


def _by_class(comparison: Comparison, split: str, colours: figures.Colours) -> Figure | None:
    found: dict[str, Mapping[str, Any]] = {a: result(comparison, split, a).get("by_class") or {} for a in colours}
    names = list(dict.fromkeys(n for v in found.values() for n in v))
    if not any((v.get(n) or {}).get("sensitivity") is not None for v in found.values() for n in names):
        return None
    groups = [f"{n}\nn = {count(_first(found, n))}" for n in names]
    values = {a: [(v.get(n) or {}).get("sensitivity") for n in names] for a, v in found.items()}
    limits = {a: [_limits(v.get(n)) for n in names] for a, v in found.items()}
    svg = figures.grouped_bars(groups, values, name=f"class {split}", colours=colours, label="sensitivity", limits=limits)
    return Figure(svg, "Sensitivity by class of lesion; n is the number of lesions", f"Sensitivity for {', '.join(names)}")


def _first(found: Mapping[str, Mapping[str, Any]], name: str) -> Any:
    return next((v[name].get("n") for v in found.values() if v.get(name)), None)


def _by_size(comparison: Comparison, split: str, colours: figures.Colours) -> Figure | None:
    found = {a: result(comparison, split, a).get("by_size") or [] for a in colours}
    longest = max(found.values(), key=len, default=[])
    if not any(b.get("sensitivity") is not None for bins in found.values() for b in bins):
        return None
    groups = [f"{size_range(b)}\nn = {count(b.get('n'))}" for b in longest]
    keys = [(b.get("low_mm"), b.get("high_mm")) for b in longest]
    known = {arm: {(b.get("low_mm"), b.get("high_mm")): b for b in bins} for arm, bins in found.items()}
    values = {arm: [(own.get(k) or {}).get("sensitivity") for k in keys] for arm, own in known.items()}
    limits = {arm: [_limits(own.get(k)) for k in keys] for arm, own in known.items()}
    svg = figures.grouped_bars(groups, values, name=f"size {split}", colours=colours, label="sensitivity", limits=limits)
    return Figure(svg, "Sensitivity by diameter of the lesion", "Sensitivity in each range of diameters")


def _limits(rate: Mapping[str, Any] | None) -> tuple[Any, Any]:
    return (rate or {}).get("low"), (rate or {}).get("high")


def _errors(comparison: Comparison, split: str) -> Section | None:
    arms = comparison.get("arms") or ()
    matrices = {a: result(comparison, split, a).get("confusion") for a in arms}
    known = {a: m for a, m in matrices.items() if m}
    blocks: list[Block] = []
    if known:
        svg = figures.confusion(known, name=f"confusion {split}")
        blocks.append(Figure(svg, _threshold(comparison, "At {}; % of the true class"), "Confusion matrices"))
    blocks += negative_rates(comparison, split)
    blocks += animals_and_folds(comparison, split)
    return Section("Errors", tuple(blocks), "What is called wrongly?") if blocks else None


def _threshold(comparison: Comparison, text: str) -> str:
    """A text with the threshold's origin in it; empty where there is no threshold."""
    origin = str((comparison.get("settings") or {}).get("threshold_from") or "validation")
    known = {"validation": "the threshold fixed on validation", "given": "the threshold given"}
    return text.format(known[origin]) if origin in known else ""


def _unit(comparison: Comparison) -> str:
    """What one positive or negative is."""
    unit = (comparison.get("settings") or {}).get("unit")
    return f"Unit: {unit}." if unit else ""


def _split_title(split: str) -> str:
    return SPLIT_TITLES.get(split, name(split).capitalize())

"""Sentences made from the numbers of a comparison, whatever they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from darklung.report.blocks import fixed, number

Comparison = Mapping[str, Any]
# The names that arms have in studies, by what they stand for.
ALIASES = {
    "attenuation": ("transmission", "attenuation", "ATTN"),
    "dark field": ("dark_field", "darkfield", "DFI"),
    "both": ("hybrid", "both", "ATTN+DFI"),
    "directional": ("directional",),
}
FEW = 20


def find_arm(comparison: Comparison, role: str) -> str | None:
    """The arm that plays `role` (a key of `ALIASES`), or None."""
    return next((a for a in ALIASES[role] if a in (comparison.get("arms") or ())), None)


def main_split(comparison: Comparison) -> str | None:
    """The split that the conclusions rest on: test if it has results, else the last one with any."""
    splits = [s for s in comparison.get("splits") or () if (comparison.get("results") or {}).get(s)]
    return "test" if "test" in splits else (splits[-1] if splits else None)


def result(comparison: Comparison, split: str | None, arm: str | None) -> Mapping[str, Any]:
    """Results of an arm, an empty mapping where there are none."""
    return ((comparison.get("results") or {}).get(split) or {}).get(arm) or {}


def metric(comparison: Comparison, split: str | None, arm: str | None, name: str) -> Mapping[str, Any]:
    """``{"value", "low", "high"}`` of a metric, an empty mapping where there is none."""
    return (result(comparison, split, arm).get("metrics") or {}).get(name) or {}


def difference(
    comparison: Comparison, split: str | None, a: str | None, b: str | None, name: str = "auroc"
) -> dict[str, Any] | None:
    """The row a − b of a metric's differences, turned round if it is there as b − a; None if absent or without a value."""
    for row in (comparison.get("differences") or {}).get(split) or ():
        if row.get("value") is None or (row.get("metric") or "auroc") != name:
            continue
        if (row.get("a"), row.get("b")) == (a, b):
            return dict(row)
        if (row.get("a"), row.get("b")) == (b, a):
            low, high = row.get("low"), row.get("high")
            turned = {"a": a, "b": b, "value": -row["value"], "low": None if high is None else -high}
            return {**row, **turned, "high": None if low is None else -low}
    return None


def verdicts(comparison: Comparison) -> tuple[str, ...]:
    """What the run shows, in sentences, negative results as plainly as positive ones."""
    split = main_split(comparison)
    if split is None:
        return ("There are no results to compare.",)
    sentences = [_ranking(comparison, split)]
    sentences += [_pair(comparison, split, a, b) for a, b in asked(comparison, split)]
    sentences += [*_least(comparison, split), *_cautions(comparison, split)]
    return tuple(s for s in sentences if s)


def judged(row: Mapping[str, Any]) -> str:
    """``"higher"``, ``"lower"`` or ``"open"``: the interval leaves zero out and p, where there is one, agrees at 0.05."""
    low, high, p = row.get("low"), row.get("high"), corrected_p(row)
    if low is None or high is None or (p is not None and p >= 0.05):
        return "open"
    return "higher" if low > 0 else "lower" if high < 0 else "open"


def corrected_p(row: Mapping[str, Any]) -> float | None:
    """p after Holm's correction, or as it is where none was made."""
    return row.get("p") if row.get("p_holm") is None else row.get("p_holm")


def told(row: Mapping[str, Any]) -> str:
    """What a difference says: which is higher, or how far it may still be either way."""
    low, high, state = row.get("low"), row.get("high"), judged(row)
    if low is None or high is None:
        return "cannot tell: there is no interval"
    if state != "open":
        return f"{_arm(str(row.get('a')))} is {state}"
    if low > 0 or high < 0:
        return "cannot tell: the interval leaves zero out, but p does not support it at 0.05"
    return f"cannot tell: an {_metric(row)} {number(-low, 2)} lower to {number(high, 2)} higher is possible"


def _ranking(comparison: Comparison, split: str) -> str:
    scores = [(a, metric(comparison, split, a, "auroc")) for a in comparison.get("arms") or ()]
    known = sorted((x for x in scores if x[1].get("value") is not None), key=lambda x: -x[1]["value"])
    if not known:
        return f"No AUROC could be computed on {_split(split)}."
    parts = [f"{_arm(a)} {_with_interval(m)}" for a, m in known]
    return f"AUROC on {_split(split)}, highest first: {'; '.join(parts)}."


def asked(comparison: Comparison, split: str | None) -> list[tuple[str, str]]:
    """The questions of the comparison; of one that names none, those that its differences answer."""
    named = comparison.get("questions")
    if named is not None:
        return [(a, b) for a, b in (q for q in named if q) if a and b]
    rows = (comparison.get("differences") or {}).get(split) or ()
    pairs = [(r.get("a"), r.get("b")) for r in rows if r and r.get("a") and r.get("b")]
    return list(dict.fromkeys(pairs))


def _pair(comparison: Comparison, split: str, a: str, b: str) -> str:
    row = difference(comparison, split, a, b)
    if row is None:
        return f"{_arm(a)} against {_arm(b)}: no difference with an interval was computed."
    p = corrected_p(row)
    kind = " after Holm's correction" if row.get("p_holm") is not None else ""
    chance = "" if p is None else f", p = {number(p, 2)}{kind}"
    numbers = f"{fixed(row['value'])} ({fixed(row.get('low'))} to {fixed(row.get('high'))}{chance})"
    return f"{_arm(a)} minus {_arm(b)} in {_metric(row)}: {numbers}: {told(row)}."


def _least(comparison: Comparison, split: str) -> list[str]:
    """Whether so few animals can give a p below 0.05 at all."""
    least = ((comparison.get("least_p") or {}).get(split) or {}).get("p_holm")
    if least is None or least < 0.01:
        return []
    end = "so no difference can be significant at 0.05, however large" if least >= 0.05 else "smaller ones need more animals"
    return [f"The least p that so many animals can give is {number(least, 2)} after Holm's correction, {end}."]


def _cautions(comparison: Comparison, split: str) -> list[str]:
    out = []
    counts = [result(comparison, split, a).get("n") or {} for a in comparison.get("arms") or ()]
    fewest = [min(c.get("positives") or 0, c.get("negatives") or 0) for c in counts if c]
    if fewest and min(fewest) < FEW:
        out.append(f"The smaller class of {_split(split)} has {min(fewest)} members: only large differences can be seen.")
    for arm in comparison.get("arms") or ():
        m = metric(comparison, split, arm, "specificity")
        low, high = m.get("low"), m.get("high")
        wanted = (comparison.get("settings") or {}).get("specificity")
        if wanted is not None and low is not None and high is not None and not low <= wanted <= high:
            out.append(
                f"{_arm(arm)}: the threshold chosen for specificity {number(wanted, 2)} gives {_with_interval(m)} on "
                f"{_split(split)}, so its sensitivity belongs to another operating point."
            )
    return out


def _with_interval(m: Mapping[str, Any]) -> str:
    if m.get("low") is None or m.get("high") is None:
        return number(m.get("value"))
    return f"{number(m.get('value'))} ({number(m['low'])} to {number(m['high'])})"


def _metric(row: Mapping[str, Any]) -> str:
    name = str(row.get("metric") or "auroc")
    return {"auroc": "AUROC"}.get(name, name)


def _arm(name: str) -> str:
    return str(name).replace("_", " ")


def _split(name: str) -> str:
    return {"test": "the held-out test set", "validation": "the validation folds"}.get(name, str(name))


# Published: Dey, Meyer, Taqi 2025, radiographs of euthanized mice with synthetic tumours of 0.75-1.5 mm.
DEY_2025 = {"attenuation": (0.51, 0.929), "dark field": (0.837, 0.905), "both": (0.796, 0.976)}
DEY_SOURCE = "Dey, Meyer, Taqi 2025, arXiv 2510.27679"


def expectations(comparison: Comparison, *, kind: str) -> tuple[tuple[str, str, str], ...]:
    """The three expectations stated before running: (expectation, what came, verdict).

    Parameters
    ----------
    comparison : mapping
    kind : {"ct", "radiograph"}
        An expectation about the other kind is answered "not tested here".
    """
    split = main_split(comparison)
    attenuation, dark = find_arm(comparison, "attenuation"), find_arm(comparison, "dark field")
    both = find_arm(comparison, "both")
    elsewhere = ("–", "not tested here")
    scores = {a: metric(comparison, split, a, "auroc").get("value") for a in (attenuation, dark) if a}
    known = {a: v for a, v in scores.items() if v is not None}
    best = max(known, key=lambda a: known[a]) if len(known) == 2 else None
    return (
        (
            "1. CT, solid nodules: attenuation is at least as good as dark field",
            *(_solid(comparison, split, attenuation, dark) if kind == "ct" else elsewhere),
        ),
        (
            "2. Radiographs: dark field is better, because of anatomical clutter",
            *(_against(comparison, split, dark, attenuation) if kind == "radiograph" else elsewhere),
        ),
        ("3. Both together are at least as good as the better single modality", *_against(comparison, split, both, best)),
    )


def _solid(comparison: Comparison, split: str | None, a: str | None, b: str | None) -> tuple[str, str]:
    """As `_against`, which is over all lesions, with the sensitivities for solid ones, for which there is no interval."""
    came, verdict = _against(comparison, split, a, b)
    solid = [(result(comparison, split, arm).get("by_class") or {}).get("solid") or {} for arm in (a, b)]
    if any(s.get("sensitivity") is None for s in solid):
        return came, verdict
    found = " and ".join(f"{number(s['sensitivity'])} ({_arm(str(arm))})" for s, arm in zip(solid, (a, b)))
    return (
        f"{came} over all classes; sensitivity for the {number(solid[0].get('n'))} solid ones {found}",
        f"{verdict}, over all classes",
    )


def _against(comparison: Comparison, split: str | None, a: str | None, b: str | None) -> tuple[str, str]:
    """What came of a against b over all lesions, and whether that a is better is borne out."""
    row = difference(comparison, split, a, b)
    if row is None:
        return "–", "cannot be told: no difference was computed"
    p = corrected_p(row)
    chance = "" if p is None else f", p = {number(p, 2)}"
    came = f"AUROC {_arm(str(a))} − {_arm(str(b))} = {_with_interval(row)}{chance}"
    state = judged(row)
    if state == "higher":
        return came, "borne out"
    if state == "lower":
        return came, "contradicted"
    return came, told(row)


def published_rows(comparison: Comparison) -> Sequence[tuple[str, str, float | None, float | None, Any, Any]]:
    """(published arm, our arm, published sensitivity, specificity, our sensitivity, our specificity)."""
    split = main_split(comparison)
    rows: list[tuple[str, str, float | None, float | None, Any, Any]] = []
    for role, label in (("attenuation", "ATTN"), ("dark field", "DFI"), ("both", "ATTN+DFI")):
        arm = find_arm(comparison, role)
        ours = [metric(comparison, split, arm, m) for m in ("sensitivity", "specificity")]
        rows.append((label, _arm(arm) if arm else "–", *DEY_2025[role], ours[0], ours[1]))
    return rows

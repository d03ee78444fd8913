"""The page of a sealed benchmark: entries with intervals, and in how many bootstraps of the animals each has each rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darklung.report.blocks import Block, Bullets, Cell, Details, Figure, Interval, Section, Table, Text
from darklung.report.figures import arm_colours, grouped_bars

HEADS = (
    "Intervals are of 95 % over animals: another draw of as many animals would give other values and another order.",
    "Ranks are taken again in each bootstrap of the animals, the same draws for all entries. An entry whose rank changes "
    "from draw to draw has no rank that these animals can tell.",
    "Sensitivity is at the threshold that gives the benchmark's specificity on these animals: all entries at equal "
    "false alarms. Dice is at probability 0.5.",
    "The Brier score is of the probabilities as they were handed in, of the tiles; where they are of single voxels it is no "
    "judgement of a program's calibration.",
    "Training is as the entries declare it; of the others only leaks that their maps show are known.",
)


FEW = 20  # animals, below which bootstraps repeat the same few too often to tell how stable a ranking is


@dataclass(frozen=True)
class Entry:
    """One entry: metrics as in ``score.json``, and each metric in every bootstrap replicate."""

    name: str
    about: str
    trained_on: Sequence[str]
    submission: str
    animals: int
    metrics: Mapping[str, Mapping[str, Any]]
    replicates: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Stability:
    """Ranks of the entries in a metric: `names` best first, the rank of each, and the share of replicates in each rank."""

    metric: str
    title: str
    names: tuple[str, ...]
    ranks: tuple[int, ...]
    shares: tuple[tuple[float, ...], ...]
    used: int


def leaderboard_sections(
    entries: Sequence[Entry],
    commitments: Mapping[str, tuple[str, str]],
    stabilities: Sequence[Stability],
    *,
    identity: str,
    origin: str,
) -> list[Section]:
    """Sections of the page.

    Parameters
    ----------
    entries : sequence of Entry
    commitments : mapping case -> (SHA-256 of its files, commitment to its truth)
    stabilities : sequence of Stability
        The first is by which entries are ordered.
    identity, origin : str
        SHA-256 of the manifest, and the commitment to seeds and study.
    """
    order = {name: i for i, name in enumerate(stabilities[0].names)} if stabilities else {}
    listed = sorted(entries, key=lambda e: (order.get(e.name, len(order)), e.name))
    sections = [Section("Entries", (_table(listed, stabilities), Bullets(HEADS, "note")), "Every metric with its interval.")]
    if stabilities:
        lead = "In how many bootstraps of the animals each entry has each rank."
        blocks = [*_warning(min(e.animals for e in entries)), *_stability(stabilities)]
        sections.append(Section("How stable the ranking is", tuple(blocks), lead))
    told = tuple((e.name, e.about or "–", ", ".join(e.trained_on) or "nothing declared", e.submission) for e in listed)
    about = Table(("Entry", "What it is", "Trained on", "SHA-256 of submission.json"), told)
    sealed = Table(
        ("Case", "SHA-256 of its files", "Commitment to its truth"), tuple((n, *c) for n, c in commitments.items())
    )
    said = f"SHA-256 of the manifest: {identity}. Commitment to seeds and study: {origin}."
    sections.append(Section("What the entries are", (about,)))
    sections.append(Section("What is sealed", (Text(said), Details("All cases", (sealed,)))))
    return sections


def leaderboard_lines(entries: Sequence[Entry], stabilities: Sequence[Stability]) -> Iterator[str]:
    """The same for a terminal: in each metric the entries by rank, with intervals and in which share each has each rank."""
    known = {e.name: e for e in entries}
    for found in stabilities:
        shares = " ".join(f"{f'rank {k}':>7}" for k in range(1, len(found.names) + 1))
        yield f"{found.title:<40}{'rank':>4} {'value':>6} {'of 95 %':>14}  {shares}  of {found.used} bootstraps"
        for name, rank, own in zip(found.names, found.ranks, found.shares):
            value, low, high = (known[name].metrics[found.metric][k] for k in ("value", "low", "high"))
            within = "-" if None in (low, high) else f"{low:.3f}..{high:.3f}"
            told = " ".join(f"{_percent(share):>7}" for share in own)
            yield f"  {name:<38}{rank:>4} {value:>6.3f} {within:>14}  {told}"
    yield from (block.text for block in _warning(min(e.animals for e in entries))) if stabilities else ()


def _table(entries: Sequence[Entry], stabilities: Sequence[Stability]) -> Table:
    titles = dict.fromkeys(name for e in entries for name in e.metrics)
    heads = {name: next(e.metrics[name]["title"] for e in entries if name in e.metrics) for name in titles}
    ranks = dict(zip(stabilities[0].names, stabilities[0].ranks)) if stabilities else {}
    rows: list[tuple[Cell, ...]] = []
    for e in entries:
        found = [e.metrics.get(name) or {} for name in titles]
        cells = [Interval(m.get("value"), m.get("low"), m.get("high")) for m in found]
        rows.append((e.name, str(ranks.get(e.name, "–")), *cells))
    first = tuple(i for i, e in enumerate(entries) if ranks.get(e.name) == 1)
    return Table(("Entry", "Rank", *heads.values()), tuple(rows), "All entries, 95 % intervals over animals", first)


def _warning(animals: int) -> list[Text]:
    """What shares of few animals do not say."""
    if animals >= FEW:
        return []
    told = "Bootstraps of so few repeat the same ones: shares near 0 and 100 % are no certainty here."
    return [Text(f"Only {animals} animals were scored. {told}", "warning")]


def _stability(stabilities: Sequence[Stability]) -> list[Block]:
    first = stabilities[0]
    groups = [f"rank {k}" for k in range(1, len(first.names) + 1)]
    values = {name: list(shares) for name, shares in zip(first.names, first.shares)}
    svg = grouped_bars(groups, values, name="ranks", colours=arm_colours(first.names), label="share of the bootstraps")
    caption = f"{first.title}: share of {first.used} bootstraps of the animals"
    return [Figure(svg, caption, "Share of the bootstraps in which each entry has each rank"), *map(_shares, stabilities)]


def _shares(found: Stability) -> Table:
    head = ("Entry", "Rank", *(f"in rank {k}" for k in range(1, len(found.names) + 1)))
    rows = tuple((n, str(r), *(_percent(v) for v in s)) for n, r, s in zip(found.names, found.ranks, found.shares))
    return Table(head, rows, f"{found.title}: share of {found.used} bootstraps; ties share the better rank")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"

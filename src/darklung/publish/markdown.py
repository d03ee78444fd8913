"""A card as Markdown: every sentence and number is of the card; text of other people's files cannot become markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from darklung.core.checks import printable
from darklung.publish.card import CALLED_FROM, Card, Ethics, Evaluation, Group, Measure, Split
from darklung.publish.head import head_of, head_text

NOT_KNOWN = "not known"
NOT_ENERGY = "Electric energy was not measured."
_MARKUP = re.compile(r"([\\`*_\[\]#|~$])")
_LISTED = ("scores", "environment", "training", "validation", "weights_sha256", "key", "kind", "names")


def markdown(card: Card) -> str:
    """The card, with its YAML head."""
    parts = [
        f"# {escaped(card.name)}",
        "\n\n".join(escaped(s) for s in card.use),
        _section("Limits", _bullets(card.limits)),
        _section("Architecture", _facts(card.architecture)),
        _section("Hyper-parameters", _facts(card.training)),
        _section("Evaluation", *_evaluation(card.evaluation)),
        _section("Data", *_data(card)),
        _section("Animals and 3Rs", *_ethics(card.ethics)),
        _section("Reproducibility", *_reproducibility(card)),
        _section("Time and energy", *_cost(card)),
        f"Written by darklung {escaped(card.version)}.",
    ]
    return head_text(head_of(card)) + "\n" + "\n\n".join(parts) + "\n"


def escaped(text: Any) -> str:
    """Text in one line that no reader of Markdown or HTML takes for markup, a link or the end of a table's cell."""
    line = " ".join(printable(str(text)).split())
    line = _MARKUP.sub(r"\\\1", line.replace("&", "&amp;"))  # before the entities, which have a # themselves
    line = line.replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;").replace("://", "&#58;//")
    return re.sub(r"(?i)www\.", lambda m: m[0][:3] + "&#46;", line)


def told(value: Any) -> str:
    """A value as text of a cell; ``not known`` where nothing tells it."""
    if value is None:
        return NOT_KNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "; ".join(f"{escaped(k)}: {told(v)}" for k, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(told(v) for v in value) or "none"
    return escaped(value)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; cells are escaped."""
    lines = [header, ["---"] * len(header)]
    lines += [[told(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _section(title: str, *blocks: str) -> str:
    return "\n\n".join([f"## {title}", *blocks])


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(s)}" for s in sentences)


def _shown(part: type[BaseModel]) -> dict[str, str]:
    """Field -> what it is called."""
    return {n: f.description or n for n, f in part.model_fields.items() if n not in _LISTED}


def _facts(part: BaseModel) -> str:
    """A row a field."""
    return table(("what", "value"), ((title, getattr(part, name)) for name, title in _shown(type(part)).items()))


def _rows(parts: Sequence[BaseModel]) -> str:
    """A row a part, a column a field."""
    shown = _shown(type(parts[0]))
    return table(tuple(shown.values()), ([getattr(p, name) for name in shown] for p in parts))


def _measure(measure: Measure | None) -> str:
    if measure is None or measure.value is None:
        return NOT_KNOWN
    if measure.low is None or measure.high is None:
        return f"{measure.value:.3f}"
    return f"{measure.value:.3f} ({measure.low:.3f} to {measure.high:.3f})"


def _evaluation(found: Evaluation | None) -> Iterator[str]:
    if found is None:
        yield "Nothing is known of how well it does: no comparison of a run is beside it."
        return
    yield escaped(found.scope)
    yield _metrics_table([s.whole for s in found.splits])
    for split in found.splits:
        yield from _split(split)
    if found.sites:
        yield f"### By site\n\n{_metrics_table(found.sites)}"
    yield "### How it was scored"
    yield table(("what", "value"), [(CALLED_FROM, found.threshold), *found.settings.items()])


def _split(split: Split) -> Iterator[str]:
    if split.folds:
        yield f"### Folds of {escaped(split.split)}\n\n{_metrics_table(split.folds)}"
    yield f"### Calibration in {escaped(split.split)}"
    yield f"Logistic curve of the tiles' scores: slope {told(split.slope)}, intercept {told(split.intercept)}."
    if split.reliability:
        yield _rows(split.reliability)


def _metrics_table(groups: Sequence[Group]) -> str:
    """A row a metric, a column a group."""
    titles = {m.name: m.title for g in groups for m in g.measures}
    rows: list[list[Any]] = [["animals", *(g.animals for g in groups)]]
    if any(g.positives is not None for g in groups):
        rows.append(["tiles with a lesion, without", *(f"{told(g.positives)}, {told(g.negatives)}" for g in groups)])
    for name, title in titles.items():
        own = [next((m for m in g.measures if m.name == name), None) for g in groups]
        rows.append([title, *map(_measure, own)])
    return table(["metric", *(escaped(g.title) for g in groups)], rows)


def _data(card: Card) -> Iterator[str]:
    data = card.data
    yield table(
        ("channel", "unit", "mean", "standard deviation"), ((c.name, c.unit, c.mean, c.deviation) for c in data.channels)
    )
    yield table(
        ("what", "value"),
        [
            ("voxel [um]", data.spacing_um),
            ("energy [keV]", data.energies_kev or None),
            ("correlation length [um]", data.correlation_lengths_um or None),
            ("channels are normalised by", data.normalisation),
        ],
    )
    yield _rows(data.sources) if data.sources else "The files of the model do not tell what sources its animals are from."


def _ethics(ethics: Ethics) -> Iterator[str]:
    yield _bullets(ethics.statement)
    named = ("approval", "authority", "justification", "welfare")
    if ethics.measured or any(getattr(ethics, n) for n in named):
        yield table(("what", "value"), ((n, getattr(ethics, n) or "to be filled in") for n in named))
    if ethics.arrive:
        yield "[ARRIVE 2.0](https://doi.org/10.1371/journal.pbio.3000410), what its authors say:"
        yield table(("", "item", "told"), ((a.number, a.item, a.told or "to be filled in") for a in ethics.arrive))


def _reproducibility(card: Card) -> Iterator[str]:
    yield _rows(card.members)
    yield table(
        ("model", "SHA-256 of the weights", "key of its task"), ((m.name, m.weights_sha256, m.key) for m in card.members)
    )
    animals = ((m.name, len(m.training), m.training, len(m.validation), m.validation) for m in card.members)
    yield table(("model", "", "training", "", "validation"), animals)
    for members, environment in _environments(card):
        yield f"Versions and machine of {escaped(', '.join(members))}:"
        yield table(("what", "value"), _machine(environment) if environment else [("all", None)])
    scores = [(m.name, s.step, s.loss, s.score, s.error) for m in card.members for s in m.scores]
    if scores:
        yield "### Scores while training"
        yield table(("model", "step", "loss", "score", "its standard error"), scores)


def _environments(card: Card) -> list[tuple[list[str], Any]]:
    """Models by the machine that they were trained on."""
    found: list[tuple[list[str], Any]] = []
    for member in card.members:
        same = next((names for names, known in found if known == member.environment), None)
        if same is None:
            found.append(([member.name], member.environment))
        else:
            same.append(member.name)
    return found


def _machine(environment: dict[str, Any]) -> list[tuple[str, Any]]:
    """Rows of an environment; records do not tell of a GPU."""
    rows = list(_flat(environment))
    return rows if any("gpu" in name for name, _ in rows) else [*rows, ("hardware: gpu", None)]


def _flat(value: dict[str, Any], begin: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{begin}{name}: ")
        else:
            yield f"{begin}{name}", inner


def _cost(card: Card) -> Iterator[str]:
    times = [m.processor_s for m in card.members]
    known = [t for t in times if t is not None]
    of = f" of {len(known)} of {len(times)} models" if len(known) < len(times) else ""
    yield f"Processor time of the training{of}: {f'{sum(known):.1f} s' if known else NOT_KNOWN}. {NOT_ENERGY}"
    if card.run is not None:
        yield _facts(card.run)

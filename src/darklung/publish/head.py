"""The YAML at the top of a card, as Hugging Face's hub reads it: library, tags, and the metrics of each split.

Keys and their types: https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, model_validator

from darklung.core.checks import DarklungError, printable, require
from darklung.io.documents import Document, validate
from darklung.io.strict_yaml import load_yaml
from darklung.publish.card import Card, Split

FENCE = "---\n"
# Our metrics by the names that the hub knows; others keep theirs.
HUB_METRICS = {"auroc": "roc_auc", "brier": "brier_score", "sensitivity": "recall"}
# Identifiers that the hub takes under `license`; any other is `other` with its name.
HUB_LICENSES = (
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0",
    "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "openrail", "unknown",
)  # fmt: skip
_PLAIN = re.compile(r"[a-z][a-z_]*(-[a-z_]+)*")
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))


class Task(Document):
    """What is measured."""

    type: Literal["image-segmentation"] = "image-segmentation"
    name: str = "Tumours in mouse lungs"


class Dataset(Document):
    """On what."""

    type: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    name: str
    split: str


class Metric(Document):
    """How well."""

    type: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    value: float
    name: str


class Result(Document):
    """Of one split."""

    task: Task = Task()
    dataset: Dataset
    metrics: tuple[Metric, ...] = Field(min_length=1)


class Model(Document):
    """An entry of ``model-index``."""

    name: str
    results: tuple[Result, ...] = Field(min_length=1)


class Head(Document):
    """The keys that a card of darklung has, of those that the hub knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    library_name: Literal["darklung"] = "darklung"
    pipeline_tag: Literal["image-segmentation"] = "image-segmentation"
    license: str | None = None
    license_name: str | None = Field(None, pattern=r"^[a-z0-9._-]+$")
    tags: tuple[str, ...]
    model_index: tuple[Model, ...] | None = Field(None, alias="model-index")

    @model_validator(mode="after")
    def _license_as_the_hub_knows_it(self) -> Head:
        named = self.license == "other" and self.license_name is not None
        fits = self.license is None or self.license in HUB_LICENSES or named
        require(fits, f"license: wanted one that the hub knows, or other with license_name, got {self.license!r}")
        return self


def head_of(card: Card) -> Head:
    """The head of a card."""
    animals = sorted({f"{s.animals}-animals".replace(" ", "-") for s in card.data.sources or ()})
    tags = ("x-ray", "dark-field", "lung", "mouse", card.architecture.kind, *animals)
    splits = [s for s in (card.evaluation.splits if card.evaluation else ()) if _metrics(s)]
    results = tuple(_result(card, s) for s in splits)
    index = (Model(name=_line(card.name), results=results),) if results else None
    return Head(tags=tags, model_index=index, **_license(card.license))


def head_text(head: Head) -> str:
    """As it stands at the top of the file, between its fences."""
    return yaml_head(head.model_dump(mode="json", by_alias=True, exclude_none=True))


def yaml_head(content: dict[str, Any]) -> str:
    """YAML between its fences, texts in quotes."""
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**20, default_flow_style=False)
    return f"{FENCE}{text}{FENCE}"


def head_of_text(markdown: str, origin: str = "card") -> str:
    """The YAML at the top of a Markdown file.

    Raises
    ------
    DarklungError
        None there.
    """
    begin, fence, rest = markdown.partition(FENCE)
    text, end, _ = rest.partition(f"\n{FENCE}")
    require(begin == "" and bool(fence and end), f"{origin}: wanted YAML between two lines of --- at its top")
    return text


def read_head(markdown: str, origin: str = "card") -> Head:
    """The head of a Markdown file.

    Raises
    ------
    DarklungError
        No head, no valid YAML, a key that is not known, or a value that does not fit.
    """
    text = head_of_text(markdown, origin)
    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        raise DarklungError(f"{origin}: no valid YAML ({' '.join(str(error).split())[:200]})") from error
    found: Head = validate(content, Head, origin)
    return found


def _license(name: str | None) -> dict[str, Any]:
    if name is None:
        return {}
    word = name.strip().lower()
    if word in HUB_LICENSES:
        return {"license": word}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9._]+", "-", word).strip("-") or "unnamed"}


def _result(card: Card, split: Split) -> Result:
    run = card.run.name if card.run else card.name
    return Result(dataset=Dataset(type=_slug(run), name=_line(run), split=split.split), metrics=_metrics(split))


def _metrics(split: Split) -> tuple[Metric, ...]:
    return tuple(
        Metric(type=HUB_METRICS.get(m.name, _slug(m.name)), value=m.value, name=_line(m.title + _within(m.low, m.high)))
        for m in split.whole.measures
        if m.value is not None
    )


def _within(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" (95 % {low:.3f} to {high:.3f})"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._") or "unnamed"


def _line(text: str) -> str:
    return " ".join(printable(text).split())


class _Dumper(yaml.SafeDumper):
    """Text in quotes unless it is a plain word, so that no reader takes it for a number, a date or a truth value."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    plain = _PLAIN.fullmatch(value) and value not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _text)

"""Every key that a study file may have, with its default and meaning, from the models themselves."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from darklung.core.checks import require
from darklung.io.documents import Document
from darklung.io.sections import Section, described
from darklung.study.study import Study

# Names of a union's parts: what their discriminator says.
TAG = "origin"


@dataclass(frozen=True)
class Part:
    """A section of a study file.

    Parameters
    ----------
    place : str
        Its path, such as ``sources.NAME (from: simulation).scan``.
    told : str
        What it is, in a line.
    keys : tuple of (key, default, meaning)
        The default as a file would say it; empty where the key must be given, ``-`` where nothing is the default.
    """

    place: str
    told: str
    keys: tuple[tuple[str, str, str], ...]


def study_parts() -> list[Part]:
    """All sections, outer ones first; a section that stands at several places is told at the first."""
    seen: set[type] = set()
    return list(_parts(Study, "", seen))


def _parts(kind: Any, place: str, seen: set[type]) -> Iterator[Part]:
    model = kind.document_model() if isinstance(kind, type) and issubclass(kind, Section) else kind
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        for inner in get_args(kind):
            yield from _parts(inner, place, seen)
        return
    tag = model.model_fields.get(TAG)
    here = f"{place} (from: {get_args(tag.annotation)[0]})" if tag is not None else place
    if kind in seen:
        return
    seen.add(kind)
    defaults = kind().model_dump(mode="json") if kind is not model else model.model_construct().model_dump(mode="json")
    rows = tuple(_row(model, name, field, defaults) for name, field in model.model_fields.items())
    yield Part(here, (inspect.getdoc(kind) or "").split("\n")[0], rows)
    for name, field in model.model_fields.items():
        many = ".NAME" if getattr(field.annotation, "__origin__", None) is dict else ""
        yield from _parts(field.annotation, f"{here}.{field.alias or name}{many}".lstrip("."), seen)


def _row(model: type[BaseModel], name: str, field: FieldInfo, defaults: dict[str, Any]) -> tuple[str, str, str]:
    key, told = field.alias or name, (field.description or described(model).get(name, "")).replace("|", "or")
    if name == TAG:
        return key, "", f"{get_args(field.annotation)[0]}: this source"
    if field.is_required():
        return key, "", told
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, Document | Section):
        return key, "below", told or (inspect.getdoc(type(default)) or "").split("\n")[0]
    value = defaults.get(name, default)
    return key, "-" if value is None else (json.dumps(value, ensure_ascii=False).strip('"') or '""'), told


def as_page(section: str = "") -> str:
    """The same as a page of tables, of one section with those in it or of all.

    Raises
    ------
    DarklungError
        No section has this name.
    """
    parts = study_parts()
    if section:
        parts = [p for p in parts if _is_in(p.place, section)]
        names = dict.fromkeys(_names(p.place)[0] for p in study_parts() if p.place)
        require(bool(parts), f"section {section!r} is not known; known: {', '.join(names)}, and those in them by their path")
    head = (
        "# Keys of a study\n\nWritten by `darklung keys`. Where no default stands the key must be given; "
        "`-`: nothing is the default.\n"
    )
    out = [head]
    for part in parts:
        lines = [f"| `{key}` | {f'`{default}`' if default else ''} | {told} |" for key, default, told in part.keys]
        title = f"`{part.place}`" if part.place else "A study"
        out.append(
            "\n".join([f"## {title}\n", f"{part.told}\n", "| key | default | meaning |", "|---|---|---|", *lines, ""])
        )
    return "\n".join(out)


def _names(place: str) -> list[str]:
    """Names along a path, without what a source is from."""
    return re.sub(r" \(from: \w+\)", "", place).split(".")


def _is_in(place: str, section: str) -> bool:
    """Whether the names of `section` stand one after another in a path: ``scan`` is in ``sources.NAME.scan``."""
    wanted, held = _names(section), _names(place)
    return any(held[k : k + len(wanted)] == wanted for k in range(len(held)))

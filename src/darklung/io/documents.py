"""YAML documents with units in the text, read into pydantic models; every mistake is told at once, each with its path."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from darklung.core.checks import DarklungError, require
from darklung.core.files import read_text, reading
from darklung.core.units import parse_number, parse_quantity
from darklung.io.strict_yaml import load_yaml


def _strict(schema: Any, model: type) -> Any:
    """A schema with `_plain` before each number of `model`; models within have their own."""
    if isinstance(schema, list):
        return [_strict(part, model) for part in schema]
    if not isinstance(schema, dict) or (schema.get("type") == "model" and schema["cls"] is not model):
        return schema
    if schema.get("type") in ("int", "float"):
        return no_info_before_validator_function(_plain, schema)
    return {key: _strict(part, model) for key, part in schema.items()}


def _plain(value: Any) -> Any:
    require(not isinstance(value, bool), f"wanted a number, got {value!r}")
    if not isinstance(value, str):
        return value
    parse_number(value)
    return value.replace("\N{MINUS SIGN}", "-")


class Document(BaseModel):
    """A part of a YAML document: unknown keys are refused, values cannot be changed afterwards.

    Text where a number belongs (a cell of a table) is read as `parse_number` does: pydantic alone takes ``1_0`` for
    10, and a truth value for 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        found: CoreSchema = _strict(handler(source), cls)
        return found


def _from_text(kind: str) -> BeforeValidator:
    return BeforeValidator(lambda value: parse_quantity(str(value), kind))


def _to_text(unit: str) -> PlainSerializer:
    return PlainSerializer(lambda value: f"{value!r} {unit}", return_type=str)


# Each is a plain number inside (m, keV, rad, s, kV) and text with its unit in a file, read or written.
Length = Annotated[float, _from_text("length"), _to_text("m")]
Energy = Annotated[float, _from_text("energy"), _to_text("keV")]
Angle = Annotated[float, _from_text("angle"), _to_text("rad")]
Time = Annotated[float, _from_text("time"), _to_text("s")]
Voltage = Annotated[float, _from_text("voltage"), _to_text("kV")]
QUANTITIES = {"length": Length, "energy": Energy, "angle": Angle, "time": Time, "voltage": Voltage}

T = TypeVar("T")

# Errors that say no more than that a value is of another kind: of a union each kind that it is not has one.
_OF_KIND = ("model_type", "model_attributes_type", "tuple_type", "list_type", "dict_type", "literal_error")


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, or one clear line about what is wrong with it."""
    text = read_text(path)
    try:
        with reading(path, "YAML"):
            return load_yaml(text)
    except DarklungError as error:
        cause = error.__cause__
        if not isinstance(cause, yaml.YAMLError):
            raise
        mark = getattr(cause, "problem_mark", None)
        place, told = f" in line {mark.line + 1}" if mark else "", getattr(cause, "problem", None) or str(cause)
        raise DarklungError(f"{path}: no valid YAML{place}: {' '.join(told.split())}") from cause


def read_yaml_text(text: str) -> Any:
    """A single value as YAML reads it: ``"3"`` is a number, ``"true"`` a truth value; text that is no YAML stays text."""
    try:
        return load_yaml(text)
    except yaml.YAMLError:
        return text


def read_document(path: Path, model: Any) -> Any:
    """Read `path` into `model` (a `Document` class, or a union of them).

    Raises
    ------
    DarklungError
        With one line for each mistake: ``FILE: PATH.TO.KEY: what was wanted, what came``.
    """
    return validate(read_yaml(path), model, str(path))


def validate(content: Any, model: Any, origin: str) -> Any:
    """Check `content` against `model`; `origin` names it in the error lines."""
    if not isinstance(content, dict):
        raise DarklungError(f"{origin}: wanted keys and values, got {type(content).__name__}")
    with reading(origin):
        try:
            return TypeAdapter(model).validate_python(content)
        except ValidationError as error:
            lines = [f"{origin}: {place}{_told(e, model)}" for place, e in _own(error.errors(), content)]
            raise DarklungError("\n".join(dict.fromkeys(lines))) from None


def _own(errors: list[Any], content: Any) -> list[tuple[str, Any]]:
    """(place, error) without what follows from another: a list is too short since its items are wrong, or the same value is
    also none of the other kinds that could stand there.
    """
    placed = [(_place(e, content), e) for e in errors]

    def follows(place: str, error: Any) -> bool:
        if error["type"] not in _OF_KIND and error["type"] != "too_short":
            return False
        within = place.removesuffix(": ") + "."
        return any(p.startswith(within) or (p == place and e["type"] not in _OF_KIND) for p, e in placed if e is not error)

    return [(p, e) for p, e in placed if not follows(p, e)]


def _place(error: Any, content: Any) -> str:
    """The path as the writer of the file knows it: tags that pydantic adds for unions are left out."""
    names, location = [], error["loc"]
    for number, part in enumerate(location, start=1):
        absent = error["type"] == "missing" and number == len(location)
        if not absent and not (part in content if isinstance(content, dict) else isinstance(part, int)):
            continue
        names.append(str(part))
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            content = None
    return ".".join(names) + ": " if names else ""


def _told(error: Any, model: Any) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        known = sorted(_known_keys(model, error["loc"][:-1]))
        near = get_close_matches(str(error["loc"][-1]), known, n=1)
        told = f"; {near[0]} is meant?" if near else ""
        return "unknown key" + (f"; known: {', '.join(known)}{told}" if known else "")
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{message}, got {error['input']!r}" if not isinstance(error["input"], dict) else message


def _known_keys(model: Any, location: tuple[int | str, ...]) -> set[str]:
    """Keys of the (nested) model at `location`; empty where it cannot be told."""
    from typing import get_args

    candidates = [model]
    for part in (None, *location):
        expanded: list[Any] = []
        pending = list(candidates)
        while pending:
            item = pending.pop()
            if model := _model_of(item):
                expanded.append(model)
            else:
                pending += list(get_args(item))
        if part is None or isinstance(part, int):
            candidates = expanded
            continue
        inner = [m.model_fields[part].annotation for m in expanded if part in m.model_fields]
        candidates = inner or expanded  # a union's tag is no field: stay
    return {name for m in candidates for c in _models(m) for name in c.model_fields}


def _models(annotation: Any) -> list[Any]:
    from typing import get_args

    if model := _model_of(annotation):
        return [model]
    return [m for a in get_args(annotation) for m in _models(a)]


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The model, also of a `darklung.io.sections.Section`; None if it is neither."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    model: type[BaseModel] | None = annotation.document_model() if hasattr(annotation, "document_model") else None
    return model

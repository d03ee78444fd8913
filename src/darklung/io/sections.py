"""A dataclass as a section of a YAML document: ``blur_m`` is written ``blur: 120 um``, and nothing is described twice."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from inspect import getdoc
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from pydantic import Field, GetCoreSchemaHandler, TypeAdapter, create_model
from pydantic_core import CoreSchema, core_schema

from darklung.core.checks import DarklungError, require
from darklung.core.units import split_unit
from darklung.io.documents import QUANTITIES, Document


class Section:
    """Makes a frozen dataclass a section of a `Document`; mix it in: ``class EffectsPart(Section, Effects)``.

    Inside it is the dataclass, with SI numbers. In a file its keys are the names of the fields without their unit, or
    those of ``words={"field": "key"}``; values have their unit in the text. Fields of dataclasses within it are keys of the
    same section. A float that is infinite by default is not given then. Types, defaults and bounds
    (`darklung.core.checks.check_fields`) are the dataclass's, descriptions those of its docstring. Every field needs a
    default. What is measured rather than said (another dataclass in place of a field's default) cannot be written.

    Raises
    ------
    pydantic.ValidationError
        On reading; `darklung.io.documents.validate` makes clear lines of it. What the dataclass itself refuses is told
        with the words of the file.
    """

    words: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, words: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.words = words or cls.words

    @classmethod
    def document_model(cls) -> type[Document]:
        """The document that a file holds."""
        return _document(cls)

    @classmethod
    def model_validate(cls, content: Any) -> Self:
        """The section that `content`, keys and texts as in a file, describes."""
        found: Self = TypeAdapter(cls).validate_python(content)
        return found

    def document(self) -> Document:
        """This section as its document: the keys are its attributes, the numbers plain."""
        values = {one.word: one.of(self) for one in _leaves(type(self))}
        return self.document_model().model_construct(**values)

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]:
        """Keys and values of the document; ``mode="json"`` as in a file, with units in the text."""
        return self.document().model_dump(mode=mode)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any, inner: Any) -> Any:
            return value if isinstance(value, cls) else _built(cls, inner(value))

        def write(value: Self, info: Any) -> dict[str, Any]:
            return value.model_dump(mode=info.mode)

        serialiser = core_schema.plain_serializer_function_ser_schema(write, info_arg=True)
        inner = handler.generate_schema(cls.document_model())
        return core_schema.no_info_wrap_validator_function(read, inner, serialization=serialiser)


@dataclass(frozen=True)
class _Leaf:
    """A field that is no dataclass, and the key that stands for it."""

    path: tuple[str, ...]
    word: str
    annotation: Any
    default: Any
    about: str

    def of(self, section: Any) -> Any:
        """Its value in a section; None where it is not given."""
        value = section
        for name in self.path:
            value = getattr(value, name, value)
        require(not is_dataclass(value), f"{self.word}: measured values cannot be written into a file")
        return None if self.default is None and value == math.inf else value


def _make_document(cls: type[Any]) -> type[Document]:
    keys: dict[str, Any] = {one.word: (one.annotation, Field(one.default, description=one.about)) for one in _leaves(cls)}
    return create_model(cls.__name__, __base__=Document, __doc__=cls.__doc__, **keys)


def _find_leaves(cls: type[Any]) -> tuple[_Leaf, ...]:
    found = tuple(_walk(cls(), (), cls.words))
    names = [one.word for one in found]
    require(len(set(names)) == len(names), f"{cls.__name__}: two fields have one key, among {', '.join(names)}")
    return found


# Made once for each class.
_document: Callable[[type], type[Document]] = lru_cache(maxsize=32)(_make_document)
_leaves: Callable[[type], tuple[_Leaf, ...]] = lru_cache(maxsize=32)(_find_leaves)


def _walk(one: Any, path: tuple[str, ...], words: Mapping[str, str]) -> Iterator[_Leaf]:
    hints, about = get_type_hints(type(one), include_extras=True), described(type(one))
    for f in fields(one):
        value, here = getattr(one, f.name), (*path, f.name)
        if is_dataclass(value):
            yield from _walk(value, here, words)
            continue
        word, kind = split_unit(f.name)
        annotation, endless = _in_text(hints[f.name], kind), value == math.inf
        yield _Leaf(
            here,
            words.get(f.name, word),
            annotation | None if endless else annotation,
            None if endless else value,
            about.get(f.name, ""),
        )


def _in_text(hint: Any, kind: str) -> Any:
    """The type of a value in a document: floats of a `kind` of quantity are texts with their unit."""
    if hint is float:
        return QUANTITIES.get(kind, float)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Annotated[(_in_text(inner[0], kind), *hint.__metadata__)]
    if not inner or not any(a is float or get_args(a) for a in inner):
        said = tuple(a for a in inner if not is_dataclass(a))
        return Union[said] if len(said) < len(inner) else hint  # noqa: UP007 of a tuple of types
    said = tuple(_in_text(a, kind) for a in inner if not is_dataclass(a))
    return Union[said] if isinstance(hint, _UNION) else origin[said]  # noqa: UP007


_UNION = (type(int | str), type(Union[int, "str"]))


def _built(cls: type[Section], document: Document) -> Section:
    """The dataclass of a checked document; what it refuses is told with the words of the file."""
    own = {one.path: getattr(document, one.word) for one in _leaves(cls)}

    def made(one: Any, path: tuple[str, ...]) -> Any:
        values = {}
        for f in fields(one):
            here = (*path, f.name)
            value = made(getattr(one, f.name), here) if here not in own else own[here]
            values[f.name] = math.inf if value is None else value
        return type(one)(**values)

    try:
        found: Section = made(cls(), ())
    except DarklungError as error:
        text = str(error)
        for one in _leaves(cls):
            text = re.sub(rf"\b{one.path[-1]}\b", one.word, text)
        raise DarklungError(text) from None
    return found


def described(cls: type) -> dict[str, str]:
    """What the numpydoc docstrings of a class and those that it is made of say of each parameter."""
    found: dict[str, str] = {}
    for own in reversed(cls.__mro__):
        text = (getdoc(own) or "").partition("Parameters\n----------\n")[2].partition("\n\n")[0]
        for head, body in re.findall(r"^(\S.*)\n((?: +.*\n?)*)", text + "\n", re.MULTILINE):
            for name in head.partition(":")[0].split(","):
                found[name.strip()] = " ".join(body.split()) or head
    return found

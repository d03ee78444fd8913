"""YAML that means one thing: no key twice, no number that is read in two ways, no text that grows when it is read."""

from __future__ import annotations

import re
from typing import Any

import yaml

from darklung.core.checks import printable

# Study files and descriptions are small; a list of ten thousand angles has as many nodes.
MOST_CHARACTERS, MOST_NODES, DEEPEST = 2**24, 1_000_000, 64
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_REAL = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_TAG = "tag:yaml.org,2002:"
_PLAIN = ("map", "seq", "str", "int", "float", "bool", "null")


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader` without its surprises: words, numbers, truth values, lists and mappings, nothing else.

    YAML 1.1 reads ``010`` as 8, ``1:30`` as 90, ``1_0`` as 10 and ``1e3`` as text; here the first three are refused and the
    last is a number. A date is text, such as a scan's name. Of a key given twice it would silently keep the last.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth = getattr(self, "depth", 0) + 1
        if self.depth > DEEPEST:
            raise _wrong(f"more than {DEEPEST} levels, one inside the other", self.peek_event())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None:
            _expanded(node, {})
        return node

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and printable(value) != value:
            raise _wrong("a control character in a text", node)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _wrong("wanted a word as a key", key_node)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise _wrong(f"key {key!r} is given twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: Any) -> Any:
        text = str(self.construct_scalar(node))
        if not _WHOLE.fullmatch(text):
            raise _wrong(f"{text[:40]!r} can be read as several numbers; write a plain number, or text in quotes", node)
        return int(text)

    def construct_yaml_float(self, node: Any) -> Any:
        text = str(self.construct_scalar(node))
        value = float(text) if _REAL.fullmatch(text) else float("inf")
        if value in (float("inf"), float("-inf")):
            raise _wrong(f"{text[:40]!r} is no plain finite number; write one, or text in quotes", node)
        return value


def load_yaml(text: str) -> Any:
    """The content of `text`.

    Raises
    ------
    yaml.YAMLError
        No YAML, or what `_Loader` refuses: with the place, where there is one.
    """
    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f"wanted at most {MOST_CHARACTERS} characters, got {len(text)}")
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("one inside the other too often") from None
    except (ValueError, KeyError) as error:  # of a value whose tag says that it is something else
        raise yaml.YAMLError(f"a value is not what its tag says ({error})") from error


def _expanded(node: Any, known: dict[int, int]) -> int:
    """Nodes that a tree has when every alias is written out; aliases of aliases double them at every level."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise _wrong("an alias that holds itself", node)
        return known[id(node)]
    known[id(node)] = 0
    inside = [n for pair in node.value for n in pair] if isinstance(node, yaml.MappingNode) else node.value
    count = 1 + (0 if isinstance(node, yaml.ScalarNode) else sum(_expanded(n, known) for n in inside))
    if count > MOST_NODES:
        raise _wrong(f"more than {MOST_NODES} values, aliases written out", node)
    known[id(node)] = count
    return count


def _wrong(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


def _resolvers() -> dict[str, list[tuple[str, Any]]]:
    """Those of SafeLoader without dates, and with ``1e3`` among the numbers."""
    found = {
        first: [(t, p) for t, p in pairs if t != f"{_TAG}timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    exponent = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\Z")
    for first in "-+0123456789":
        found[first] = [*found.get(first, []), (f"{_TAG}float", exponent)]
    return found


_Loader.yaml_implicit_resolvers = _resolvers()
_KEPT = {f"{_TAG}{name}": yaml.SafeLoader.yaml_constructors[f"{_TAG}{name}"] for name in _PLAIN}
_Loader.yaml_constructors = {**_KEPT, None: yaml.SafeLoader.yaml_constructors[None]}
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_yaml_int)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_yaml_float)

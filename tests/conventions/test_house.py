"""The house as it is built: sizes of functions, files and rooms, imports without circles, docstrings, tests."""

import ast
from collections import Counter
from pathlib import Path

import grimp
import numpy as np

import darklung

SOURCE = Path(darklung.__file__).parent
TESTS = Path(__file__).parents[1]
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {f: ast.parse(f.read_text()) for f in FILES}
LINES = {f: len(f.read_text().splitlines()) for f in FILES}


def bodies() -> dict[str, int]:
    """Lines of each function's body, without its docstring."""
    found = {}
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                own = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
                count = own[-1].end_lineno - own[0].lineno + 1 if own else 0
                found[f"{file.relative_to(SOURCE)}:{node.lineno} {node.name}"] = count
    return found


def public(body, prefix):
    """(name, has a docstring) of public functions, classes and methods; those that a decorator makes of others excepted."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", ast.get_docstring(node) is not None
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def test_no_file_is_longer_than_400_lines():
    assert {str(f.relative_to(SOURCE)): n for f, n in LINES.items() if n > 400} == {}


def test_functions_are_about_one_screen():
    found = bodies()
    assert {name: n for name, n in found.items() if n > 60} == {}
    assert np.percentile(list(found.values()), 90) <= 19


def test_no_room_holds_more_than_an_eighth_of_the_lines():
    rooms = Counter()
    for file, lines in LINES.items():
        rooms[file.relative_to(SOURCE).parts[0]] += lines
    most = sum(LINES.values()) / 8
    assert {name: n for name, n in rooms.items() if n > most} == {}


def test_public_names_have_docstrings():
    found = {f"{f.relative_to(SOURCE)}: {name}": told for f, tree in TREES.items() for name, told in public(tree.body, "")}
    without = [name for name, told in found.items() if not told]
    assert len(without) <= 0.02 * len(found), without


def test_modules_import_each_other_in_no_circle():
    graph = grimp.build_graph("darklung", cache_dir=None)
    left = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while free := {module for module, imported in left.items() if not (imported & left.keys()) - {module}}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert left == {}


def named(tree: ast.Module) -> set[str]:
    """Modules that a file imports or names in a text, as tasks and tables of short names do."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("darklung."):
            found.add(node.value.partition(":")[0])
    return found


def test_no_module_is_without_a_test():
    """Each is named by a test, or is within command, step and stage of one that is. Lines: ``make test`` prints them."""
    paths = {f: ".".join(("darklung", *f.relative_to(SOURCE).with_suffix("").parts)) for f in FILES}
    modules = {path.removesuffix(".__init__"): TREES[f] for f, path in paths.items()}
    tested = set().union(*(named(ast.parse(f.read_text())) for f in TESTS.rglob("*.py"))) & modules.keys()
    near = tested
    for _ in range(3):
        near = near.union(*(named(modules[m]) for m in near & modules.keys()))
    written = {m for m, tree in modules.items() if len(tree.body) > 1}  # more than a docstring
    assert sorted(written - near - {"darklung.__main__"}) == []

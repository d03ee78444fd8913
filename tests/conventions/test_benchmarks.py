"""Benchmarks are not run by the tests: every name that one imports of darklung is still there."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))


def names_of(module: str) -> set[str] | None:
    """What a module defines, imports and holds; None where there is no such module. Nothing is imported."""
    place = ROOT / "src" / Path(*module.split("."))
    file = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
    if not file.is_file():
        return {p.stem for p in place.iterdir()} if place.is_dir() else None
    found = {p.stem for p in place.iterdir()} if place.is_dir() else set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda f: f.stem)
def test_what_a_benchmark_imports_is_there(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "darklung":
            known = names_of(str(node.module))
            assert known is not None, node.module
            assert {alias.name for alias in node.names} - known == set(), node.module

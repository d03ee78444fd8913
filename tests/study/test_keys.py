"""A stage's key must cover every package whose code it runs, or an edit would leave old results in place."""

import ast
from pathlib import Path

import pytest

import darklung
from darklung.study.plan import CODE

PACKAGE = Path(darklung.__file__).parent


def imported(place):
    """Packages of darklung that a package or module imports, anywhere in it."""
    found = set()
    for source in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("darklung."):
                found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("stage", CODE)
def test_a_key_covers_what_the_stage_imports(stage):
    listed = {name.split(".")[0] for name in CODE[stage]}
    for name in CODE[stage]:
        if not name.startswith("study."):  # those wire stages together and import what other stages need
            assert imported(PACKAGE.joinpath(*name.split("."))) <= {*listed, "core"}

"""Every line of docs/conventions.md has a test of its number, and every test a line."""

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_each_line_has_a_test():
    document = (HERE.parents[1] / "docs/conventions.md").read_text()
    lines = set(re.findall(r"^\| (C\d+) \|", document, re.MULTILINE))
    tests = {m.upper() for path in HERE.glob("test_*.py") for m in re.findall(r"^def test_(c\d+)_", path.read_text(), re.M)}
    assert lines == tests

"""The description in the documentation and those in examples/ are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from darklung.io.description import RawScan, Series
from darklung.io.documents import validate
from darklung.io.readings import KINDS, Reading

ROOT = Path(__file__).parents[2]


def test_documented_description():
    text = (ROOT / "docs" / "raw-scans.md").read_text()
    first, *others = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.S))
    raw = validate(first, RawScan, "docs/raw-scans.md")
    assert raw.steps.phases_rad().shape == (8,)
    assert len(raw.retrieval.arguments()["air_cols"]) == 31 + 34
    assert raw.leave_out.kept("views", 50).tolist() == [v for v in range(50) if v not in (17, 40, 41, 42, 43, 44)]
    assert len(others) == 4
    for part in others:  # what changes the first, or stands alone
        readings = {key: part.pop(key) for key in KINDS if isinstance(part.get(key), dict)}
        for key, value in readings.items():
            validate(value, Reading, key)
        validate(part if "name" in part else {**first, **part}, RawScan, "docs/raw-scans.md")


def test_documented_functions_exist():
    import importlib

    text = (ROOT / "docs" / "raw-scans.md").read_text()
    table = text[text.index("| step | function") :]
    names = re.findall(r"`(\w+)\.(\w+)`", table)
    assert len(names) >= 8
    for module, function in names:
        if module != "darklung":
            assert hasattr(importlib.import_module(f"darklung.correct.{module}"), function), (module, function)


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "real").glob("*.yaml")), ids=lambda p: p.stem)
def test_examples(path):
    content = yaml.safe_load(path.read_text())
    if "sample" not in content:
        pytest.skip("not a raw scan")
    if "series" in content:
        validate(content.pop("series"), Series, path.name)
        content["name"] = "row"
        content["region"] = {"cols": [0, 1]}
    validate(content, RawScan, path.name)

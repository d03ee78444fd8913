"""Studies that the documentation shows can be read; files of the former format are told how to be changed."""

import re
from pathlib import Path

import pytest
import yaml

from darklung.core.checks import DarklungError
from darklung.flow.plan import plan
from darklung.study.study import OLD, read_study

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown():
    """(page, text) of every YAML snippet that is a whole study."""
    for page in PAGES:
        for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            content = yaml.safe_load(text)
            if isinstance(content, dict) and {"name", "sources"} <= content.keys():
                yield pytest.param(text, id=page.name)


def test_whole_studies_are_shown():
    assert {p.id for p in shown()} >= {"README.md", "studies.md"}


@pytest.mark.parametrize("text", list(shown()))
def test_a_study_that_is_shown_can_be_read(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    study = read_study(tmp_path / "study.yaml")
    if set(study.simulated()) == set(study.sources):  # files of measured ones are the reader's
        assert plan(study).tasks


@pytest.mark.parametrize("kind", ["ct", "radiographs"])
def test_the_former_format_is_refused_with_the_way_to_change_it(tmp_path, kind):
    (tmp_path / "study.yaml").write_text(f"kind: {kind}\nname: old\n")
    with pytest.raises(DarklungError) as caught:
        read_study(tmp_path / "study.yaml")
    assert str(caught.value) == f"{tmp_path / 'study.yaml'}: kind: {OLD}"
    assert (ROOT / re.search(r"docs/\S+\.md", OLD)[0]).is_file()


def test_no_page_shows_the_former_format():
    for page in (*PAGES, *sorted((ROOT / "examples").rglob("*.yaml"))):
        assert not re.search(r"^kind: (ct|radiographs)", page.read_text(), re.MULTILINE), page

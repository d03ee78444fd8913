"""The pages hold together: links lead somewhere, tables that they name exist, keys are told, decisions are listed."""

import importlib
import re
from pathlib import Path

import pytest
import yaml

from darklung.io.documents import validate
from darklung.study.reference import as_page, study_parts
from darklung.study.study import Study

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
DECISIONS = ROOT / "docs" / "decisions"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as common renderers make them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        place, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / place).resolve() if place else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_every_decision_is_listed_with_its_title_and_status():
    listed = {}
    for line in (DECISIONS / "README.md").read_text().splitlines():
        if found := re.fullmatch(r"\| \[(\d{3})\]\((\S+)\) \| (.+) \| (\d{4}-\d\d-\d\d) \| (accepted|replaced).* \|", line):
            listed[found[2]] = (found[1], found[3])
    assert sorted(listed) == sorted(p.name for p in DECISIONS.glob("[0-9]*.md"))
    for name, (number, title) in listed.items():
        assert name.startswith(f"{number}-")
        assert (DECISIONS / name).read_text().splitlines()[0] == f"# {number} {title}"


def test_where_a_new_idea_goes_names_tables_that_exist():
    """Rows of the table in docs/architecture.md: `NAME`, `file.py`."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\|.*?((?:`[A-Z]{3,}`,? ?)+)[^`\n]*`(\w+/\w+\.py)` ?[^|\n]*\|$", text, flags=re.M)
    assert len(rows) >= 8
    for names, file in rows:
        module = importlib.import_module("darklung." + file.removesuffix(".py").replace("/", "."))
        for name in re.findall(r"[A-Z]{3,}", names):
            assert len(getattr(module, name)) >= 1, (file, name)


def test_every_key_of_a_study_is_on_its_page_with_default_and_meaning():
    """Written anew by ``darklung keys > docs/study-keys.md``."""
    assert (ROOT / "docs" / "study-keys.md").read_text() == as_page()
    parts = study_parts()
    assert len({p.place for p in parts}) == len(parts) > 25
    assert [f"{p.place}.{key}" for p in parts for key, _, told in p.keys if not told] == []
    assert all(part.told for part in parts)


def test_the_example_on_the_studies_page_is_a_study():
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "studies.md").read_text(), flags=re.S)
    found = validate(yaml.safe_load(text), Study, "docs/studies.md")
    assert list(found.sources) == ["mice", "scans"]


def test_what_is_checked_before_a_commit_is_make_lint_and_nothing_from_elsewhere():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    assert [(h["entry"], h["pass_filenames"]) for h in repo["hooks"]] == [("make lint", False)]
    assert re.search(r"^lint:", (ROOT / "Makefile").read_text(), flags=re.M)

"""The forms for issues are forms that GitHub takes: the keys and kinds it knows, and one name an answer."""

from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / ".github"
FORMS = sorted(p for p in (FOLDER / "ISSUE_TEMPLATE").glob("*.yml") if p.name != "config.yml")


@pytest.mark.parametrize("file", FORMS, ids=lambda p: p.stem)
def test_a_form_has_what_github_asks_of_it(file):
    form = yaml.safe_load(file.read_text())
    assert form.keys() == {"name", "description", "labels", "body"}
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in asked}) == len(asked) > 0
    for part in form["body"]:
        assert part.keys() <= {"type", "id", "attributes", "validations"}
        assert part["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        wanted = "value" if part["type"] == "markdown" else "label"
        assert isinstance(part["attributes"][wanted], str)
        assert isinstance(part["attributes"].get("description", ""), str)


def test_pages_that_forms_name_are_there():
    text = "".join(p.read_text() for p in [*FORMS, FOLDER / "PULL_REQUEST_TEMPLATE.md"])
    for page in (
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/learning.md",
        "docs/architecture.md",
        "docs/study-keys.md",
    ):
        assert page in text
        assert (FOLDER.parent / page).is_file()

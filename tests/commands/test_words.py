"""Words of the command line that stand for keys of files."""

from __future__ import annotations

import pytest

from darklung.commands.words import pairs, with_changes
from darklung.core.checks import DarklungError
from darklung.study.reference import as_page


def test_a_name_with_points_reaches_into_parts_and_leaves_the_rest():
    before = {"steps": 5, "training": {"warmup": 3, "clip": 1.0}, "arms": {"a": ["x"]}}
    made = with_changes(before, {"training.warmup": 7, "arms": {"b": ["y"]}, "options.deep": True})
    assert made == {"steps": 5, "training": {"warmup": 7, "clip": 1.0}, "arms": {"b": ["y"]}, "options": {"deep": True}}
    assert before["training"]["warmup"] == 3


def test_a_name_that_is_set_twice_is_refused():
    assert pairs(["a=1", "b=[2, 3]"]) == {"a": 1, "b": [2, 3]}
    with pytest.raises(DarklungError, match="--set: wanted 'a' once"):
        pairs(["a=1", "b=3", " a=2"])
    with pytest.raises(DarklungError, match="--read: wanted name=value"):
        pairs(["axes"], "read")


def test_a_key_of_a_number_is_refused():
    with pytest.raises(DarklungError, match=r"--set steps\.more: steps has no keys in it"):
        with_changes({"steps": 5}, {"steps.more": 1})


@pytest.mark.parametrize(
    ("section", "holds", "leaves"),
    [
        ("learning", ["## `learning`", "## `learning.training`"], ["scan"]),
        ("scan", ["sources.NAME (from: simulation).scan`"], ["## `learning`"]),
        ("learning.training", ["## `learning.training`"], ["## `learning`\n"]),
        ("", ["## A study", "## `learning`"], []),
    ],
)
def test_sections_are_told_by_name(section, holds, leaves):
    heads = "\n".join(line for line in as_page(section).splitlines() if line.startswith("## ")) + "\n"
    assert all(head in heads for head in holds)
    assert not any(head in heads for head in leaves)


def test_an_unknown_section_is_refused_with_the_known_ones():
    with pytest.raises(DarklungError, match=r"section 'lerning' is not known; known: .*learning"):
        as_page("lerning")

"""Cells of a deposit's tables, as any program would read them."""

import math

import pytest

from darklung.publish.fields import Field

READ = [("1000", 1000), ("-1.5e-3", -0.0015), ("+2", 2), (".5", 0.5), ("-inf", -math.inf)]


def field(kind):
    return Field(table="tables/t", kind="column", name="n", description="d", type=kind, unit="1", provenance="p")


@pytest.mark.parametrize("text", ["1_000", " 1", "1 ", "\u0661", "1,5", "0x10", "--1", "1e", "infinity"])
@pytest.mark.parametrize("kind", ["integer", "number"])
def test_what_python_alone_takes_for_a_number_stays_text(kind, text):
    assert field(kind).parse(text) == text


@pytest.mark.parametrize(("text", "value"), READ)
def test_numbers_of_other_programs_are_read(text, value):
    assert field("number").parse(text) == value
    assert math.isnan(field("number").parse("nan"))

"""Lists that promise a share of the lesions, as the report tells them."""

from darklung.report.blocks import Bullets, Details, Table
from darklung.report.promises import promises_section

EMPTY = {"level": 0.9, "unit": "candidates", "animals": 9, "models": 3, "why": "90 % cannot be promised: too few"}


def test_a_reason_is_told_once_with_the_arms_that_it_holds_for():
    full = {**EMPTY, "unit": "tiles", "why": None, "proven": 0.5, "found": 3, "lesions": 4}
    arms = {"transmission": {"lists": [EMPTY]}, "dark_field": {"lists": [EMPTY, full]}, "hybrid": {"lists": []}}
    section = promises_section({"promises": arms})
    table, tiles, why = section.blocks
    assert isinstance(table, Table)
    assert isinstance(tiles, Details)
    assert why == Bullets(("transmission, dark field: 90 % cannot be promised: too few",), "note")
    assert "False positives an animal" in table.header
    assert promises_section({"promises": {"hybrid": {"lists": []}}}) is None

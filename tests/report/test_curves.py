"""Curves on the page of detectability: each arm's known places, and a word of those that are not."""

import pytest

from darklung.report.blocks import render
from darklung.report.detectability import COLUMNS, _figure, write_detectability
from darklung.study.protocols import changed, number_of, read_protocol, unit_of

COUNTS = (1e5, 2e5, 4e5)


@pytest.mark.parametrize(("known", "drawn"), [((1, 2, 3), True), ((1, None, 3), True), ((None, None, None), False)])
def test_an_arm_is_drawn_where_it_is_known_and_told_where_it_is_not(known, drawn):
    """Places with too few backgrounds have no d' in clutter; an arm that left the drawing without a word looked untried."""
    rows = []
    for arm, values in (("attenuation", (4, 5, 6)), ("dark_field", known)):
        for counts, value in zip(COUNTS, values):
            ends = (None, None) if value is None else (value - 0.5, value + 0.5)
            rows.append({"arm": arm, "counts": counts, **dict(zip(COLUMNS[" in clutter"], (value, *ends)))})
    figure = _figure(rows, ("counts", "counts"), ("solid", 1.0), ["attenuation", "dark_field"], " in clutter")
    assert (">dark field<" in render(figure)) == drawn  # in the legend
    absent = known.count(None)
    told = f"; not told: dark_field at {absent} of 3 places" if absent else ""
    assert figure.caption == f"solid, 1 mm in clutter{told}"


@pytest.mark.parametrize(("key", "unit"), [("correlation_length", "m"), ("low", "keV"), ("visibility", ""), ("counts", "")])
def test_a_swept_number_has_its_unit_on_every_axis_and_head(tmp_path, key, unit):
    protocol = read_protocol("mission_ct")
    assert unit_of(protocol, key) == unit
    value = 0.5 * number_of(protocol, key)
    assert number_of(changed(protocol, key, f"{value!r} {unit}".strip() if unit else value), key) == pytest.approx(value)
    row = {
        "dose_mgy": 1.0,
        "time_s": 60.0,
        "lesion": "solid",
        "size_mm": 1.0,
        "arm": "attenuation",
        "d_eye": 1.0,
        "d_ideal": 1.0,
    }
    row |= dict.fromkeys(("d_prime", "d_low", "d_high", "auc", "auc_low", "auc_high"), 0.9)
    rows = [{**row, key: factor * value} for factor in (1, 2)]
    page = write_detectability(tmp_path / "p.html", rows, {key: unit}, title="t").read_text()
    head = f"{key} [{unit}]" if unit else key
    assert page.count(f'<th scope="col">{head}</th>') == 2
    assert f">{head.replace('_', ' ')}<" in page or f">{head}<" in page.split("<svg")[1]

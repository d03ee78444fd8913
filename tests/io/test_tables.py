"""Tables of the user's are read as they are; tables that darklung writes hold nothing that a spreadsheet would compute."""

import csv

import pandas as pd
import pytest

from darklung.core.checks import DarklungError
from darklung.io.tables import plain_cell, read_rows, save_table
from darklung.steps.calibrate.measurements import read_table

FORMULAS = ["=1+1", '=HYPERLINK("http://x","y")', "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "\r=1", "\n=1", " =1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_and_no_head_is_a_formula_and_all_are_read_back(tmp_path, text):
    save_table(tmp_path / "t", [{"name": text, text: "x"}], {"name": "n", text: "m"})
    with (tmp_path / "t.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for cell in cells)
    assert pd.read_parquet(tmp_path / "t.parquet")["name"][0] == text
    if text.isprintable():
        assert read_rows(tmp_path / "t.csv")[0]["name"] == text


@pytest.mark.parametrize("value", [-2, -2.5, "-2.5", "+1e3", "plain", "it's", "", "a=b", None])
def test_numbers_and_words_stay_as_they_are(value):
    assert plain_cell(value) == value


@pytest.mark.parametrize("form", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_and_spaces_in_the_head(tmp_path, form):
    (tmp_path / "t.csv").write_text(" id , file\nä,s.npy\n\n", encoding=form)
    assert read_rows(tmp_path / "t.csv") == [{"id": "ä", "file": "s.npy"}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "wanted a header and at least one row"),
        ("a,b\n", "wanted a header and at least one row"),
        ("a,b\n1\n", "row 2: wanted 2 cells as in the header, got 1"),
        ("a,b\n1,2\n1,2,3\n", "row 3: wanted 2 cells as in the header, got 3"),
        ("a,b,a\n1,2,3\n", "two columns are named 'a'"),
        ("a,b\n1,\x1b[2J\n", "row 2: a control character in a cell"),
        ("a\x07,b\n1,2\n", "row 1: a control character in a cell"),
    ],
)
def test_tables_that_say_two_things(tmp_path, text, told):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DarklungError, match=told):
        read_rows(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"a\n\xff\xfe\n")
    with pytest.raises(DarklungError, match="cannot be read"):
        read_rows(tmp_path / "t.csv")


@pytest.mark.parametrize("text", ["1_0", "nan", "0,5", "0x10", "١"])
def test_numbers_of_a_calibrations_table_are_numbers(tmp_path, text):
    (tmp_path / "t.csv").write_text(f'name,attenuation,dark_field\na,"{text}",1\n', encoding="utf-8-sig")
    with pytest.raises(DarklungError, match="row 1: attenuation: wanted a number"):
        read_table(tmp_path / "t.csv").column("attenuation")


def test_lengths_that_came_from_metres_are_told_as_they_were_meant(tmp_path):
    lengths = [11 * 3e-4 / 1e-3, 0.45, 1e-5, 3.0, None]
    assert str(lengths[0]) == "3.2999999999999994"
    save_table(tmp_path / "t", [{"diameter_mm": v, "n": 1} for v in lengths], {"diameter_mm": "d", "n": "n"})
    assert [r["diameter_mm"] for r in read_rows(tmp_path / "t.csv")] == ["3.3", "0.45", "1e-05", "3.0", ""]
    assert [r["n"] for r in read_rows(tmp_path / "t.csv")] == ["1"] * 5
    assert pd.read_parquet(tmp_path / "t.parquet")["diameter_mm"][0] == lengths[0]  # nothing is lost for programs

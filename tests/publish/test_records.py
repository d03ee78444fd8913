"""What a deposit says of a run is what was there: every file that was read, every unit that was scored, every word."""

import pytest

from darklung.evaluate.written_tables import UNIT_MEANINGS
from darklung.publish.columns import FLAG, columns_of
from darklung.publish.fields import check_rows
from darklung.publish.places import without_places


def test_files_of_one_name_in_several_folders_stay_apart_without_their_places():
    reads = {f"/home/anna/{folder}/{n:03d}.tif": f"{folder}{n}" for folder in ("flat", "mouse") for n in range(3)}
    clean = without_places({"reads": {**reads, "001.tif": "own"}})["reads"]
    assert sorted(clean.values()) == sorted([*reads.values(), "own"])
    assert clean["001.tif"] == "own"
    assert not any("anna" in name or "mouse" in name for name in clean)
    assert without_places(clean) == clean


@pytest.mark.parametrize("tile", [7, -3])  # below 0: a lesion that the lung region missed
def test_a_unit_outside_the_region_may_be_deposited(tile):
    row = dict.fromkeys(UNIT_MEANINGS) | {"subject": "a", "kind": "lesion", "label": 1, "tile": tile, "number": 3}
    fields = columns_of("tables/units", [{**row, FLAG: "synthetic"}], {**UNIT_MEANINGS, FLAG: "flag"}, "darklung evaluate")
    assert check_rows("units", [{**row, FLAG: "synthetic"}], fields) == []

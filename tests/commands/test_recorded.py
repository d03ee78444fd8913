"""What a command read is in its record, however it was given."""

import json

import pytest

from darklung.commands.recorded import recorded


@recorded
def joined(first, *more, out=None):
    (out / "joined.txt").write_text("".join(p.read_text() for p in (first, *more)))


@pytest.mark.parametrize("by_place", [True, False])
def test_paths_given_by_place_or_by_name_are_what_was_read(tmp_path, by_place):
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_text(file.name)
    out = tmp_path / "out"
    out.mkdir()
    if by_place:
        joined(*files, out=out)
    else:
        joined(first=files[0], out=out)
    about = json.loads((out / "record.json").read_text())
    assert [name.rsplit("/", 1)[-1] for name in about["reads"]] == (["a", "b"] if by_place else ["a"])
    assert list(about["outputs"]) == ["joined.txt"]

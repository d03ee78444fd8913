"""What strangers hand in: names, links, sizes and days that no benchmark and no deposit has."""

import h5py
import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.publish.about import check_day
from darklung.publish.commitments import content_of
from darklung.publish.sealed import check_apart, check_name, read_seal
from darklung.publish.sums import SUMS, read_sums
from darklung.steps.deposit.check import verify_deposit


@pytest.mark.parametrize("name", ["../x", "<script>", "=cmd()", "a b", "", "x" * 101, "ünï", "x\n", ".x"])
def test_names_of_entries_and_benchmarks_are_plain(name):
    with pytest.raises(DarklungError, match="--name: wanted letters"):
        check_name(name, "--name")
    check_name("a.b_c-9", "--name")


@pytest.mark.parametrize("out", ["public", "public/cases/case-1/scores", "public/../public/x", "link/x"])
def test_nothing_is_written_into_a_benchmark(tmp_path, out):
    (tmp_path / "public").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "public")
    with pytest.raises(DarklungError, match="lies in the benchmark"):
        check_apart(tmp_path / out, tmp_path / "public")
    check_apart(tmp_path / "public-2", tmp_path / "public")


@pytest.mark.parametrize("target", ["file", "folder", "nothing"])
def test_a_link_in_a_hashed_folder_is_refused_since_readers_would_follow_it(tmp_path, target):
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "a").write_text("a")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("b")
    before = content_of(tmp_path / "case")
    (tmp_path / "case" / "more").symlink_to(tmp_path / target)
    with pytest.raises(DarklungError, match="more: is a link"):
        content_of(tmp_path / "case")
    (tmp_path / "case" / "more").unlink()
    assert content_of(tmp_path / "case") == before


@pytest.mark.parametrize("target", ["file", "folder", "nothing"])
def test_verify_tells_links_of_a_deposit(tmp_path, target):
    deposit = tmp_path / "deposit"
    deposit.mkdir()
    (deposit / SUMS).write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("b")
    (deposit / "more").symlink_to(tmp_path / target)
    told = dict(verify_deposit(deposit).wrong)
    assert "link" in told[deposit / "more"] or target == "file"  # which is told as one that came to it, too
    assert any(path == deposit / "more" and "link" in how for path, how in verify_deposit(deposit).wrong)


@pytest.mark.parametrize("name", ["x" * 256, "a/" + "x" * 9000, "ü" * 128, "."])
def test_a_name_that_no_file_has_is_one_line(tmp_path, name):
    (tmp_path / SUMS).write_text(f"{'0' * 64}  {name}\n", encoding="utf-8")
    with pytest.raises(DarklungError, match="line 1"):
        read_sums(tmp_path)
    (tmp_path / SUMS).write_text(f"{'0' * 64}  a/{'x' * 255}\n")
    assert len(read_sums(tmp_path)) == 1


@pytest.mark.parametrize("day", ["2026-13-01", "2026-02-30", "0000-00-00", "20260228", "2026-W09-6", "tomorrow"])
def test_days_are_those_of_the_calendar(day):
    with pytest.raises(DarklungError, match="wanted a day"):
        check_day(day)
    assert check_day("2024-02-29") == "2024-02-29"


@pytest.mark.parametrize("place", ["origin", "cases/case-1/labels", "cases/case-1/hard"])
def test_a_seal_that_says_to_be_huge_takes_no_memory(tmp_path, place):
    path = tmp_path / "seal.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update({"darklung_seal": 1, "salt": "00" * 32})
        if place != "origin":
            file["origin"] = np.frombuffer(b"{}", np.uint8)
        file.create_dataset(place, shape=(3000, 3000, 3000), dtype="u1", chunks=(100, 100, 100), compression="gzip")
    with pytest.raises(DarklungError, match=f"{place}: says to hold 27000000000 bytes, 0 are stored"):
        read_seal(path)

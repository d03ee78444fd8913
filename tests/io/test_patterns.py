"""Names are names, whatever their signs; patterns find files in the order in which people count."""

import pytest

from darklung.core.checks import DarklungError
from darklung.io.patterns import is_pattern, matching, told_order


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


def found(folder, pattern):
    return [p.relative_to(folder).as_posix() for p in matching(folder / pattern)]


@pytest.mark.parametrize("folder", ["mouse [7]", "a[bc]d", "[!x]", "mouse *", "what?", "plain"])
def test_signs_in_a_folders_name_are_letters(tmp_path, folder):
    place = files(tmp_path / folder, "s2.npy", "s1.npy")
    files(tmp_path / "mouse 7", "s3.npy")
    files(tmp_path / "what1", "s3.npy")
    assert found(place, "*.npy") == ["s1.npy", "s2.npy"]


def test_a_name_given_in_full_is_a_name(tmp_path):
    files(tmp_path, "s[1].npy", "s*.npy", "s2.npy", "s?.npy")
    assert found(tmp_path, "s[1].npy") == ["s[1].npy"]
    assert found(tmp_path, "s*.npy") == ["s*.npy"]
    assert found(tmp_path, "s?.npy") == ["s?.npy"]
    assert found(tmp_path, "s[2].npy") == []
    assert found(tmp_path, "none.npy") == []
    assert is_pattern("s*") and not is_pattern("s[1]")


def test_natural_order_of_files_and_folders(tmp_path):
    files(tmp_path, *(f"step{k}/view{v}.tif" for k in (1, 10, 11, 2) for v in (1, 2, 10)))
    assert found(tmp_path, "step*/view1.tif") == [f"step{k}/view1.tif" for k in (1, 2, 10, 11)]
    assert found(tmp_path, "step2/*") == [f"step2/view{v}.tif" for v in (1, 2, 10)]
    assert found(tmp_path, "step*/*")[:4] == ["step1/view1.tif", "step1/view2.tif", "step1/view10.tif", "step2/view1.tif"]
    assert told_order(matching(tmp_path / "step2/*")) == "view1.tif, view2.tif, view10.tif"


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("a1", "a10", "a9"), ["a1", "a9", "a10"]),
        (("a001", "a010", "a009"), ["a001", "a009", "a010"]),
        (("2b", "10a", "2a"), ["2a", "2b", "10a"]),
        (("f-1", "f-10", "f-9"), ["f-1", "f-9", "f-10"]),
        (("flat_2", "flat_10", "sample_1"), ["flat_2", "flat_10", "sample_1"]),
        (("t1_s10", "t1_s9", "t0_s11"), ["t0_s11", "t1_s9", "t1_s10"]),
        (("x_0.25", "x_0.75", "x_1.00"), ["x_0.25", "x_0.75", "x_1.00"]),
    ],
)
def test_orders(tmp_path, names, order):
    assert found(files(tmp_path, *names), "*") == order


@pytest.mark.parametrize(
    "names", [("x_0.5", "x_0.25"), ("x_-1.tif", "x_1.tif", "x_-10.tif"), ("a 1.9", "a 1.10"), ("p=-2", "p=-1")]
)
def test_numbers_that_are_no_counters_are_not_guessed(tmp_path, names):
    with pytest.raises(DarklungError, match="depends on how their numbers are read; list the files"):
        matching(files(tmp_path, *names) / "*")


def test_hidden_files_are_not_meant(tmp_path):
    files(tmp_path, ".a.npy.123", "._a.npy", "a.npy")
    assert found(tmp_path, "*.npy*") == ["a.npy"]
    assert found(tmp_path, "._*") == ["._a.npy"]

"""No animal on two sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.splits import folds_by_group, rotate


@given(st.lists(st.integers(0, 7), min_size=8, max_size=40), st.integers(2, 5), st.integers(0, 9))
def test_groups_stay_together_and_every_subject_is_in_one_fold(numbers, folds, seed):
    groups = {f"s{i}": f"m{n}" for i, n in enumerate([*numbers, *range(5)])}
    parts = folds_by_group(groups, folds=folds, seed=seed)
    assert sorted(s for p in parts for s in p) == sorted(groups)
    assert all(parts)
    for group in set(groups.values()):
        assert sum(any(groups[s] == group for s in p) for p in parts) == 1
    assert parts == folds_by_group(groups, folds=folds, seed=seed)


def test_every_fold_lists_its_subjects_in_order_and_none_is_much_longer():
    groups = {f"scan-{i:03d}": f"animal-{i % 40}" for i in reversed(range(400))}
    folds = folds_by_group(groups, folds=7, seed=3)
    assert all(list(fold) == sorted(fold) for fold in folds)
    assert {len(fold) for fold in folds} == {50, 60}  # whole animals of ten scans each


def test_rotation_tests_and_validates_each_once():
    folds = [("a",), ("b",), ("c", "d"), ("e",)]
    rounds = rotate(folds)
    assert sorted(s for _, _, test in rounds for s in test) == list("abcde")
    assert sorted(s for _, validation, _ in rounds for s in validation) == list("abcde")
    for training, validation, test in rounds:
        assert sorted((*training, *validation, *test)) == list("abcde")


def test_too_many_folds_are_refused():
    with pytest.raises(DarklungError, match="folds: wanted 2 to 2"):
        folds_by_group({"a": "m1", "b": "m2"}, folds=3, seed=1)
    with pytest.raises(DarklungError, match="at least 3"):
        rotate([("a",), ("b",)])

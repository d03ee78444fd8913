"""Plans of cohorts: independent subjects, both splits, lesion-free mice, clear refusals."""

import dataclasses
import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.types import Phantom
from darklung.phantom.cohort import TABLE_COLUMNS, CohortOptions, Subject, cohort_table, plan_cohort
from darklung.phantom.grid import make_grid
from darklung.phantom.lesions import draw_growth, lesion_fields

pytestmark = pytest.mark.slow(20)


def test_no_two_subjects_share_a_seed_and_splits_have_their_families():
    plan = plan_cohort(subjects=300, test_subjects=100, seed=5)
    assert len({s.seed for s in plan}) == len({s.name for s in plan}) == 400
    assert {(s.split, s.variant) for s in plan} == {("train", "A"), ("test", "B")}


@settings(max_examples=20, deadline=None)
@given(seeds=st.lists(st.integers(0, 2**31), min_size=2, max_size=3, unique=True), count=st.integers(1, 60))
def test_no_two_subjects_of_any_cohorts_share_a_seed(seeds, count):
    plans = [s for seed in seeds for s in plan_cohort(subjects=count, test_subjects=count, seed=seed)]
    assert len({s.seed for s in plans}) == 2 * count * len(seeds)


def test_sites_are_dealt_within_a_split_and_change_nothing_else():
    plain = plan_cohort(subjects=5, test_subjects=2, seed=3)
    placed = plan_cohort(subjects=5, test_subjects=2, seed=3, sites={"train": ("a", "b"), "test": ("c",)})
    assert [s.site for s in placed] == ["a", "b", "a", "b", "a", "c", "c"]
    assert [dataclasses.replace(s, site="") for s in placed] == plain


def test_a_subject_has_one_site():
    with pytest.raises(DarklungError, match="a scan is made at one site, got"):
        Subject("one", 1, "A", "train", site=("a", "b"))


def test_a_longer_cohort_begins_with_the_same_mice():
    short = plan_cohort(subjects=3, test_subjects=2, seed=7)
    long = plan_cohort(subjects=9, test_subjects=4, seed=7)
    assert short == long[:3] + long[9:11]


def test_lesion_free_mice_are_there_in_the_wanted_share():
    plan = plan_cohort(subjects=400, test_subjects=0, seed=1, lesion_free_fraction=0.25)
    free = [s for s in plan if not s.lesions]
    assert 70 < len(free) < 130
    assert all(1 <= len(s.shams) <= 2 for s in free)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), low=st.integers(1, 3), more=st.integers(0, 4))
def test_plans_keep_their_bounds(seed, low, more):
    plan = plan_cohort(
        subjects=5, test_subjects=1, seed=seed, lesions_per_subject=(low, low + more), diameters_m=(0.6e-3, 1.2e-3),
        classes=("solid", "lepidic"), lesion_free_fraction=0.0,
    )  # fmt: skip
    for s in plan:
        assert low <= len(s.lesions) <= low + more
        assert all(0.6e-3 <= r.diameter_m <= 1.2e-3 and r.tissue in ("solid", "lepidic") for r in s.lesions)
        sizes = [r.diameter_m for r in s.lesions]
        assert sizes == sorted(sizes, reverse=True)


def test_a_subject_builds_what_its_plan_says():
    subject = next(s for s in plan_cohort(subjects=9, test_subjects=0, seed=3) if s.lesions and s.mimics)
    phantom = subject.make(voxel_m=3e-4)
    for kind, requests in (("lesion", subject.lesions), ("sham", subject.shams), ("mimic", subject.mimics)):
        made = [(i.tissue, i.diameter_m) for i in phantom.insertions if i.kind == kind]
        assert made == [(r.tissue, r.diameter_m) for r in requests]


def _digest(phantom: Phantom) -> str:
    return hashlib.sha256(phantom.density.tobytes() + phantom.instances.tobytes() + phantom.axis.tobytes()).hexdigest()


def test_mice_are_the_same_made_alone_or_by_two_workers():
    plan = plan_cohort(subjects=2, test_subjects=2, seed=8)
    alone = [_digest(subject.make(voxel_m=4e-4)) for subject in plan]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        made = [pool.submit(Subject.make, subject, voxel_m=4e-4) for subject in plan[::-1]]
        together = [_digest(one.result()) for one in made][::-1]
    assert alone == together
    assert len(set(alone)) == 4


def test_every_planned_mouse_can_be_made():
    """Default options leave room for everything, in each family."""
    for variant in ("A", "B", "C"):
        for subject in plan_cohort(subjects=3, test_subjects=0, seed=99, variants={"train": variant}):
            phantom = subject.make(voxel_m=4e-4)
            assert len(phantom.insertions) == len(subject.lesions) + len(subject.shams) + len(subject.mimics)


def test_table_rows_are_plain_and_flagged():
    plan = plan_cohort(subjects=4, test_subjects=2, seed=2)
    rows = cohort_table(plan)
    assert len(rows) == 6
    assert all(list(row) == list(TABLE_COLUMNS) for row in rows)
    assert all(row["synthetic_flag"] is True for row in rows)
    assert [row["subject"] for row in rows] == [s.name for s in plan]
    assert [row["lesions"] for row in rows] == [len(s.lesions) for s in plan]


def test_plans_are_frozen():
    subject = plan_cohort(subjects=1, test_subjects=0, seed=0)[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        subject.seed = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subjects": 0, "test_subjects": 0}, "wanted at least one subject, got 0 and 0"),
        ({"subjects": -1}, "wanted at least one subject"),
        ({"classes": ()}, "classes: wanted at least one of"),
        ({"classes": ("granite",)}, "classes: 'granite' is not known; known:"),
        ({"lesions_per_subject": (3, 1)}, "lesions_per_subject: wanted .low, high."),
        ({"diameters_m": (0.5, 0.6)}, "diameters_m: wanted"),
        ({"lesion_free_fraction": 1.5}, "lesion_free_fraction: wanted 0 to 1"),
        ({"variants": {"train": "Q"}}, "variant: 'Q' is not known"),
        ({"variants": {"valid": "A"}}, "variants: 'valid' is not known"),
        ({"mimic_surface": (0.5, 0.1), "mimics": (9, 9)}, "surface: wanted 0 < low <= high"),
        ({"colour": 3}, "option: 'colour' is not known; known: classes"),
    ],
)
def test_bad_plans_end_in_one_clear_line(change, message):
    with pytest.raises(DarklungError, match=message) as caught:
        plan_cohort(**{"subjects": 2, "test_subjects": 1, "seed": 0, **change})
    assert "\n" not in str(caught.value)


def test_default_options_are_valid():
    assert CohortOptions().lesion_free_fraction == 0.25


def test_dense_mimics_keep_or_lose_their_interfaces_and_nothing_else_changes():
    counts = {"subjects": 12, "test_subjects": 0, "seed": 3, "mimics": (3, 3)}
    own, lost = plan_cohort(**counts), plan_cohort(**counts, mimic_surface=(0.05, 0.5))
    changed = {r.tissue for s in lost for r in s.mimics if r.surface == (0.05, 0.5)}
    assert changed == {"atelectasis", "pneumonia"}
    assert {r.tissue for s in lost for r in s.mimics if r.surface is None} == {"emphysema", "vessel_cluster"}
    plain = [tuple(dataclasses.replace(r, surface=None) for r in s.mimics) for s in lost]
    assert [dataclasses.replace(s, mimics=m) for s, m in zip(lost, plain)] == own
    request = next(r for s in lost for r in s.mimics if r.surface)
    _, surface = lesion_fields(draw_growth(request, "mimic", "A", 1), make_grid((2e-3, 2e-3), 2e-4))
    assert 0.05 < surface.min() < surface.max() < 0.5

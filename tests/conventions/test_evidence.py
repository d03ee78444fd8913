"""Plan and page of ``benchmarks/evidence.py``: studies can be read, share what they say they share, are judged by rule."""

import sys
from pathlib import Path

import numpy as np
import pytest

from darklung.evaluate.statistics import Estimate
from darklung.flow.chain import build
from darklung.io.case import load_case
from darklung.io.documents import validate
from darklung.study.study import Study

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from evidence_parts import jobs, lobes, pools
from evidence_parts.expected import EXPECTED, Expectation
from evidence_parts.limits import OutOfTime, Stop
from evidence_parts.page import page
from evidence_parts.plan import plan
from evidence_parts.tables import against_mimics, drawn


def study_of(pool, **cohort):
    made = pools.content(pool)
    made["sources"]["mice"]["cohort"] |= cohort
    made["sources"]["mice"].pop("calibrations", None)  # a file that a run makes
    return validate(made, Study, pool.name)


def test_every_study_can_be_read():
    for name, job in jobs.JOBS.items():
        for trial in (False, True):
            cases = {"train": ["a/*"], "test": ["b/*"]}
            assert job.file or validate(jobs.content(job, cases, trial=trial), Study, name).learning.arms == {
                arm: tuple(channels) for arm, channels in job.arms.items()
            }
    for pool in pools.POOLS.values():
        assert study_of(pool).sources["mice"].cohort.test_animals == pool.test_animals


def test_pools_take_only_what_they_would_make_themselves():
    taken = 0
    for pool in (p for p in pools.POOLS.values() if p.like):
        theirs = pools.POOLS[pool.like]
        assert pool.animals <= theirs.animals
        assert pool.test_animals <= theirs.test_animals
        made = [{t.name: t for t in build(study_of(p, animals=1, test_animals=1)).tasks} for p in (pool, theirs)]
        for stage in pool.stages:
            own, other = (tasks[f"{stage}/train-0001"] for tasks in made)
            assert (own.parameters, own.inputs) == (other.parameters, other.inputs), f"{pool.name}: {stage}"
            taken += 1
    assert taken == 15


def test_no_animal_is_learned_from_under_two_names():
    for job in jobs.JOBS.values():
        made = [(pools.POOLS[p.pool].seed, pools.POOLS[p.pool].family) for p in job.parts if p.train]
        assert len({seed for seed, _ in made}) == len(made), job.name


def test_expectations_are_of_runs_and_arms_that_are_planned():
    for one in EXPECTED:
        for _, run, arm, animals in one.terms:
            assert arm in jobs.JOBS[run].arms
            assert not animals or animals[:-1] in {p.site for p in jobs.JOBS[run].parts if p.test}


@pytest.mark.parametrize(
    ("wanted", "margin", "interval", "verdict"),
    [
        ("above", 0.0, (0.01, 0.2), "borne out"),
        ("above", 0.0, (-0.2, -0.01), "not borne out"),
        ("above", 0.0, (-0.1, 0.2), "cannot tell"),
        ("not below", 0.02, (-0.01, 0.2), "borne out"),
        ("not below", 0.02, (-0.2, 0.1), "cannot tell"),
        ("not below", 0.1, (-0.2, -0.05), "cannot tell"),
        ("not below", 0.02, (-0.2, -0.05), "not borne out"),
        ("nothing", 0.05, (-0.04, 0.04), "borne out"),
        ("nothing", 0.05, (0.01, 0.2), "cannot tell"),
        ("nothing", 0.05, (0.06, 0.2), "not borne out"),
        ("nothing", 0.05, (-0.2, 0.1), "cannot tell"),
        ("above", 0.0, (float("nan"), float("nan")), "cannot tell"),
    ],
)
def test_verdicts_are_those_of_the_interval(wanted, margin, interval, verdict):
    found = Estimate(float(np.mean(interval)), *interval)
    assert Expectation("four-arm", "", "search", (), wanted, margin).verdict(found) == verdict


def test_lobes_of_two_cells_differ_in_their_tumours_attenuation_alone():
    light, dense = (lobes.lobe("test-0001", mu, 3e-3) for mu in (18.0, 39.0))
    assert light.insertions == dense.insertions
    tumour, differs = light.lesion, np.abs(light.channels.data - dense.channels.data)
    noise = 5e-3  # the counts change with the attenuation, and the noise by a few per cent with them
    assert differs[0][tumour].max() > 0.01
    assert differs[0][~tumour & light.region].max() < noise
    found = {i.tissue: np.isin(light.instances, i.number) for i in light.insertions}
    around = np.median(light.channels.data[:, light.region & (light.instances == 0)], axis=1)
    change = {name: np.median(light.channels.data[:, mask], axis=1) - around for name, mask in found.items()}
    assert change["solid"][1] < 0
    assert change["missing_lung"][1] < 0 < change["thickness_bump"][1]


def test_a_stop_comes_before_the_next_lobe_and_what_is_made_stays(tmp_path):
    with pytest.raises(OutOfTime):
        lobes.make_lobes(tmp_path, "0.24-3mm", Stop(at_s=0.0), trial=True)
    assert not list(tmp_path.iterdir())
    lobes.make_lobes(tmp_path, "0.24-3mm", Stop(), trial=True)
    assert len(list(tmp_path.iterdir())) == 12
    assert load_case(tmp_path / "test-0001").lesion.any()
    lobes.make_lobes(tmp_path, "0.24-3mm", Stop(at_s=0.0), trial=True)  # nothing is left to do


def test_what_is_missing_is_told_as_missing(tmp_path):
    told = page(tmp_path)
    assert f"**0 of {len(jobs.JOBS)} runs are there.**" in told
    assert all(one.text in told for one in EXPECTED)
    assert "Missing: no-gratings.\n" in told
    assert "borne out" not in told.replace("borne out, not", "")
    planned = plan(None)
    assert all(name in planned for name in (*jobs.JOBS, *pools.POOLS))


def test_draws_of_few_tiles_spread_as_shares_do():
    from pandas import DataFrame

    from darklung.evaluate.scored import scored
    from darklung.evaluate.statistics import bootstrap_weights
    from darklung.evaluate.tables import ArmTables

    rng = np.random.default_rng(1)
    labels = np.repeat([1, 0], [600, 2000])
    kinds = np.where(labels == 1, "lesion", np.where(rng.uniform(size=2600) < 0.1, "mimic", "none"))
    scores = rng.normal(np.where(labels == 1, 1.5, np.where(kinds == "mimic", 1.5, 0.0)))
    subjects = [f"m{i % 20:02d}" for i in range(2600)]
    tiles = DataFrame({"subject": subjects, "tile": range(2600), "number": 0, "kind": kinds, "label": labels})
    tiles = tiles.assign(tissue="", diameter_m=np.nan, reachable=True)
    voxels = DataFrame({"subject": sorted(set(subjects)), "predicted": 0, "true": 0, "overlap": 0})
    weights = bootstrap_weights(clusters=20, seed=1, replicates=50)
    view = scored(ArmTables(tiles.assign(score=scores), voxels, None, None), weights, threshold=1.0)
    found = drawn(view)
    assert np.isclose(found["sensitivity"].mean(), (scores[labels == 1] >= 1).mean(), atol=0.01)
    assert 0.05 < found["sensitivity"].std() < 0.08  # sqrt(.69 × .31 / 49) = .066
    assert abs(against_mimics(view).value - 0.5) < 0.06

"""Sites change how animals are scanned and nothing else; a split may hold one out; a scan has one site."""

import json
from dataclasses import asdict

import pytest
import yaml

from darklung.commands.run import run_study
from darklung.core.checks import DarklungError
from darklung.flow.plan import plan
from darklung.io.tables import load_table
from darklung.steps.phantom import plain as written
from darklung.steps.phantom import plan_animals, plan_subjects, subject_of
from darklung.study.study import read_study

SITES = {
    "north": {},
    "south": {"instrument": {"visibility": 0.1}, "scan": {"views": 18}},
    "west": {"instrument": {"correlation_length": "2 um"}, "effects": {"electronic_noise": 5.0, "dark_counts": 50.0}},
}
MICE = {
    "from": "simulation",
    "cohort": {
        "animals": 4, "test_animals": 2, "test_variant": "A", "diameter": ["1.6 mm", "2.2 mm"], "lesions": [2, 2],
        "lesion_free": 0.0, "mimics": [0, 0], "sites": ["north", "south"], "test_sites": ["north", "west"],
    },
    "sites": SITES,
    "body": {"voxel": "400 um"},
    "scan": {"supersampling": 1, "views": 24, "flats": 2, "flat_repeats": 2},
}  # fmt: skip
STUDY = {
    "name": "sites",
    "seed": 4,
    "learning": {"arms": {"hybrid": ["attenuation", "dark_field"]}, "widths": [16, 32], "patch": 12, "steps": 6, "folds": 2},
    "evaluation": {"replicates": 100},
}  # fmt: skip


def study_file(folder, **parts):
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "sources": {"mice": {**MICE, **parts}}}, sort_keys=False))
    return path


def animals_of(path):
    study = read_study(path)
    return plan_animals(study.sources["mice"], study.seed)


def tasks_of(path):
    return {t.name: t for t in plan(read_study(path)).tasks}


def test_sites_are_dealt_in_turn_and_may_be_set_for_an_animal(tmp_path):
    animals = animals_of(study_file(tmp_path))
    assert [a["site"] for a in animals] == ["north", "south", "north", "south", "north", "west"]
    listed = {**SITES, "west": {"subjects": ["train-0001"]}}
    animals = animals_of(study_file(tmp_path, sites=listed))
    assert [a["site"] for a in animals] == ["west", "south", "north", "south", "north", "west"]


def test_a_site_changes_the_scan_and_nothing_of_the_animal(tmp_path):
    with_sites = tasks_of(study_file(tmp_path))
    without = {k: v for k, v in MICE["cohort"].items() if "sites" not in k}
    plain = tasks_of(study_file(tmp_path, sites={}, cohort=without))
    for name in ("train-0001", "train-0002", "test-0002"):
        assert with_sites[f"phantom/{name}"].parameters == plain[f"phantom/{name}"].parameters
    assert with_sites["scan/train-0001"].parameters == plain["scan/train-0001"].parameters
    south, west = with_sites["scan/train-0002"].parameters, with_sites["scan/test-0002"].parameters
    assert (south["instrument"]["visibility"], south["scan"]["views"]) == (0.1, 18)
    assert (west["instrument"]["correlation_length"], west["scan"]["views"]) == ("2e-06 m", 24)
    assert with_sites["correct/test-0002"].parameters["instrument"] == west["instrument"]


def test_animals_of_a_site_share_what_is_the_same_and_nothing_else(tmp_path):
    study = read_study(study_file(tmp_path))
    subjects = plan_subjects(study.sources["mice"], study.seed)
    assert [written(one) for one in subjects] == [asdict(one) for one in subjects]
    assert [subject_of(written(one)) for one in subjects] == subjects
    by_name = {t.name: t for t in plan(study).tasks}
    for one in subjects:
        own = by_name[f"phantom/{one.name}"], by_name[f"scan/{one.name}"]
        assert own[0].parameters["subject"] == {**asdict(one), "site": ""}
        at = study.sources["mice"].at(one.site)
        for part in ("instrument", "scan", "effects"):
            assert own[1].parameters[part] == getattr(at, part).model_dump(mode="json")
    assert len({by_name[f"scan/{one.name}"].parameters["seed"] for one in subjects}) == len(subjects)


def test_results_are_told_by_site(tmp_path):
    result = run_study(study_file(tmp_path), out=tmp_path / "run", workers=1)
    assert "test at west, held out: 1 animals" in result.table
    entries = json.loads((tmp_path / "run/evaluate/all/comparison.json").read_text())["by_site"]
    told = [(e["split"], e["site"], e["seen"], e["results"]["hybrid"]["n"]["subjects"]) for e in entries]
    assert told == [
        ("validation", "north", True, 2), ("validation", "south", True, 2),
        ("test", "north", True, 1), ("test", "west", False, 1),
    ]  # fmt: skip
    assert "Results by site" in (tmp_path / "run/report.html").read_text()
    rows = load_table(tmp_path / "run/cohort/all/cohort")
    assert [r["site"] for r in rows][-2:] == ["north", "west"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"cohort": {"sites": ["north+south"]}}, "cohort.sites: wanted one site an animal, each a key of sites"),
        ({"cohort": {"sites": [["north", "south"]]}}, "cohort.sites.0: input should be a valid string"),
        ({"sites": {"a": {"subjects": ["test-0001"]}, "b": {"subjects": ["test-0001"]}}, "cohort": {}},
         "test-0001 is at a and at b; a scan is made at one site"),
        ({"sites": {"a": {"scan": {"directions": ["0 deg"]}}}, "cohort": {}}, "sites.a.scan.directions: all sites share"),
        ({"sites": {"a": {"instrument": {"colour": 3}}}, "cohort": {}}, "sites.a.instrument: colour: unknown key; known:"),
        ({"sites": {"a": {"instrument": {"low": "3 mm"}}}, "cohort": {}}, "sites.a.instrument: low: wanted a"),
        ({"sites": {"a": {"subjects": ["mickey"]}}, "cohort": {}}, "sites: subject: 'mickey' is not known"),
    ],
)  # fmt: skip
def test_mixed_and_unknown_sites_end_in_one_clear_line(tmp_path, parts, message):
    with pytest.raises(DarklungError) as caught:
        animals_of(study_file(tmp_path, **parts))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

"""What a study says of its sources, and what its scans say themselves, reaches cohort, cases, results and banks."""

import numpy as np
import pandas as pd
import pytest

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.evaluate.sites import results_by_site
from darklung.evaluate.tables import ArmTables
from darklung.features.labels import parts_as_insertions
from darklung.flow.expected import expected_images
from darklung.flow.plan import plan
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.io.documents import validate
from darklung.pipeline import Context
from darklung.steps import cases
from darklung.study.study import Study

CT = {"from": "simulation", "cohort": {"animals": 3, "test_animals": 1}}


def study(sources, **more) -> Study:
    return validate({"name": "s", "sources": sources, "learning": {"arms": {"a": ["attenuation"]}, **more}}, Study, "s.yaml")


def stored(folder, name, **about):
    grid = Image(np.ones((1, 4, 4, 4), np.float32), ("attenuation",), ("1/m",), (1e-4,) * 3)
    labels = np.zeros((4,) * 3, np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    instances, insertions = parts_as_insertions(labels == 1, grid)
    everywhere, facts = np.ones((4,) * 3, bool), CaseFacts(name, about.pop("animal", name), **about)
    case = LabelledCase(grid, labels, everywhere, everywhere, instances, ~everywhere, insertions, facts)
    save_case(folder / name, case)


@pytest.fixture
def four(tmp_path):
    for k, site in enumerate("ABAB"):
        stored(tmp_path, f"c{k}", site=site, synthetic=k < 2, provenance={"correlation_length_m": 3e-6})
    return tmp_path


def test_labelled_cases_keep_their_site_and_say_that_their_lesions_are_synthetic(four):
    made = plan(study({"a": {"from": "cases", "files": [str(four / "c*")]}}))
    assert [m.row["site"] for m in made.members] == [*"ABAB"]
    assert [m.row["synthetic_flag"] for m in made.members] == [True, True, False, False]
    assert made.tasks[-2].parameters["sites"] == {f"c{k}": [site] for k, site in enumerate("ABAB")}
    said = plan(study({"a": {"from": "cases", "files": [str(four / "c*")], "site": "C"}}))
    assert {m.row["site"] for m in said.members} == {"C"}


def test_the_energy_of_a_source_of_cases_reaches_them_unless_they_tell_another(four, tmp_path):
    told = study({"a": {"from": "cases", "files": [str(four / "c*")], "energy": "70 keV"}})
    task = next(t for t in plan(told).tasks if t.stage == "cases")
    (tmp_path / "out").mkdir()
    cases.adopt(Context(tmp_path / "out", tmp_path, {}, task.parameters, {}, print))
    assert load_case(tmp_path / "out", ()).about.provenance == {"energy_kev": 70.0, "correlation_length_m": 3e-6}
    assert [i.energy_kev for i in expected_images(told, "a")] == [70.0] * 4
    stored(four, "c9", provenance={"energy_kev": 50.0})
    with pytest.raises(DarklungError, match=r"c9: its values are at 50.0 keV; energy: wanted none beside that, got 70"):
        plan(told)


def test_an_animal_of_a_scan_that_is_not_there_is_refused(four):
    part = {"from": "cases", "files": [str(four / "c*")], "subjects": {"c1": {"animal": "m"}, "C2": {"animal": "m"}}}
    with pytest.raises(DarklungError, match=r"sources.a.subjects: 'C2' is not known; known: c0, c1, c2, c3"):
        plan(study({"a": part}))
    part["subjects"] = {"c1": {"animal": "m"}, "c2": {"animal": "m"}}
    assert [m.animal for m in plan(study({"a": part}, folds=3)).members] == ["c0", "m", "m", "c3"]


def tables(animals) -> ArmTables:
    rows = [(a, k, "lesion" if k else "tile", k, k + 0.1 * i) for i, a in enumerate(animals) for k in (0, 1)]
    tiles = pd.DataFrame(rows, columns=["subject", "tile", "kind", "label", "score"])
    tiles = tiles.assign(number=tiles["label"], tissue="solid", diameter_m=1e-3, reachable=True, fold=0, rank=np.nan)
    voxels = pd.DataFrame({"subject": list(animals), "predicted": 4, "true": 4, "overlap": 2})
    return ArmTables(tiles, voxels)


def test_an_animal_at_two_sites_is_told_at_both_and_not_at_the_last(four):
    part = {"from": "cases", "files": [str(four / "c*")], "subjects": {k: {"animal": "m"} for k in ("c0", "c1")}}
    sites = plan(study({"a": part})).tasks[-2].parameters["sites"]
    assert sites == {"m": ["A", "B"], "c2": ["A"], "c3": ["B"]}
    splits = {"validation": {"a": tables(["m"])}, "test": {"a": tables(["m", "c2", "c3"])}}
    options = {"seed": 1, "replicates": 100, "specificity": 0.9, "metrics": {}}
    found = results_by_site(splits, {**sites, "c3": ["C"]}, **options)
    told = {(e["split"], e["site"]): (e["seen"], e["results"]["a"]["n"]["subjects"]) for e in found}
    assert {place: n for place, (_, n) in told.items()} == dict.fromkeys(told, 1)
    assert {place for place in told if place[0] == "test"} == {("test", site) for site in ("A + B", "A", "C")}
    assert [told["test", site][0] for site in ("A + B", "A", "C")] == [True, True, False]


def test_a_bank_is_drawn_like_all_animals_that_train_or_refused():
    other = {**CT, "cohort": {**CT["cohort"], "diameter": ["2 mm", "3 mm"]}}
    with pytest.raises(DarklungError, match=r"learning.bank: .*; sources.b.cohort.diameter: wanted that of the others"):
        plan(study({"a": CT, "b": other}, bank={}))
    plan(study({"a": CT, "b": {**other, "cohort": {**other["cohort"], "animals": 0}}}, bank={}))
    plain = study({"a": CT}, bank={})
    uncorrected = plain.processing.model_copy(
        update={"correction": plain.processing.correction.model_copy(update={"hardening": "none"})}
    )
    with pytest.raises(DarklungError, match="wanted animals corrected to it, got hardening: none"):
        plan(plain.model_copy(update={"processing": uncorrected}))

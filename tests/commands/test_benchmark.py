"""``darklung benchmark``: truth that is sealed before anybody predicts, entries that are held to it, and a page of them."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from darklung.commands.benchmark_entries import open_sealed, pack_entry, score_entry, write_page
from darklung.commands.benchmark_make import Wanted, hidden, make_benchmark
from darklung.commands.cli import app
from darklung.core.checks import DarklungError
from darklung.core.types import LESION, UNKNOWN, Image, Insertion
from darklung.evaluate.ranking import ranking
from darklung.features.labels import hard_negatives
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.io.images import load_image, save_image
from darklung.io.nifti import write_nifti
from darklung.publish.commitments import commitment, content_of, of_images, of_seed, of_truth
from darklung.publish.sealed import Training, open_benchmark, read_seal, write_seal
from darklung.steps.scoring.labels import find_labels
from darklung.steps.scoring.score import Scoring, score
from darklung.steps.sealing import check_training
from darklung.study.learning import EvaluationPart
from darklung.study.study import Study

SHAPE, SPACING, COUNT = (14, 16, 14), (4e-4,) * 3, 5


def labelled(name, seed):
    """A case with two lesions of some 80 voxels and a mimic; every third has no lesion."""
    rng = np.random.default_rng(seed)
    image = Image(rng.normal(20, 2, (1, *SHAPE)).astype(np.float32), ("attenuation",), ("1/m",), SPACING)
    grid, instances, things = np.indices(SHAPE).reshape(3, -1).T, np.zeros(SHAPE, np.uint16), []
    kinds = ("lesion", "lesion", "mimic") if seed % 3 else ("mimic",)
    for number, (at, kind) in enumerate(zip(rng.permutation([(4, 4, 4), (4, 11, 9), (9, 4, 9)]), kinds), start=1):
        centre = at + rng.uniform(-0.4, 0.4, 3)
        instances[(np.linalg.norm(grid - centre, axis=1) < 2.7).reshape(SHAPE)] = number
        things.append(Insertion(number, kind, "solid", image.position_m(centre), 2e-3))
    lesions = [i.number for i in things if i.kind == "lesion"]
    labels = np.where(np.isin(instances, lesions), LESION, 0).astype(np.uint8)
    region = np.zeros(SHAPE, bool)
    region[1:-1, 1:-1, 1:-1] = True
    about = CaseFacts(
        name, f"mouse of {name}", source="made up", synthetic=True, provenance={"energy_kev": 70.0, "x": "told"}
    )
    return LabelledCase(
        image, labels, region, region, instances, hard_negatives(things, instances, image), tuple(things), about
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A benchmark of cases that exist, its seal, and the run with the truth."""
    folder = tmp_path_factory.mktemp("sealed")
    for i in range(1, COUNT + 1):
        save_case(folder / f"own/secret-{i}", labelled(f"secret-{i}", i))
    (folder / "study.yaml").write_text(
        "name: small\nsources: {mine: {from: cases, files: [own/*], use: test}}\nevaluation: {replicates: 200}\n"
    )
    told = make_benchmark(folder / "study.yaml", folder / "public", wanted=Wanted(seed=3), workers=1)
    assert "5 cases" in told
    return folder


@pytest.fixture
def places(made, tmp_path):
    """The same as a copy that a test may spoil: benchmark and seal."""
    shutil.copytree(made / "public", tmp_path / "public")
    shutil.copyfile(made / "public.seal.h5", tmp_path / "seal.h5")
    return tmp_path / "public", tmp_path / "seal.h5"


def maps_of(made, folder, *, skill, seed=1, change=None):
    """Maps as a program of some skill would make them, from the truth and noise."""
    seal = read_seal(made / "public.seal.h5")
    folder.mkdir(parents=True)
    for name, secret in seal.cases.items():
        grid = load_case(made / "public/cases" / name, ()).channels
        noise = np.random.default_rng([seed, int(name[-1])]).normal(-3, 1.2, SHAPE)
        values = (1 / (1 + np.exp(-noise - skill * (secret.truth.labels == LESION))))[None].astype(np.float32)
        values = values if change is None else change(name, values, secret.truth)
        if values is not None:
            write_nifti(folder / f"{name}.nii.gz", grid.with_data(values, ("probability",), ("1",)), "probability")
    return folder


@pytest.fixture(scope="module")
def scores(made, tmp_path_factory):
    """Two entries of different skill, packed and scored."""
    folder = tmp_path_factory.mktemp("scores")
    for name, skill in (("good", 3.0), ("<b>fair</b>", 2.0)):
        safe = name.strip("<b>/")
        maps = maps_of(made, folder / f"maps-{safe}", skill=skill)
        pack_entry(made / "public", maps, folder / f"entry-{safe}", name=safe, about=name)
        score_entry(made / "public", folder / f"entry-{safe}", made / "public.seal.h5", folder / safe)
    return folder


def test_published_cases_have_nothing_of_the_truth(made):
    seal, (manifest, _) = read_seal(made / "public.seal.h5"), open_benchmark(made / "public")
    assert sorted(s.was for s in seal.cases.values()) == [f"secret-{i}" for i in range(1, COUNT + 1)]
    assert list(manifest.cases) == [f"case-{i:04d}" for i in range(1, COUNT + 1)]
    for name, secret in seal.cases.items():
        case, own = load_case(made / "public/cases" / name), load_case(made / "own" / secret.was)
        assert (case.labels == UNKNOWN).all()
        assert not case.instances.any()
        assert not case.hard.any()
        assert case.insertions == ()
        assert case.about.provenance == {"energy_kev": 70.0}
        np.testing.assert_array_equal(case.channels.data, own.channels.data)
        np.testing.assert_array_equal(secret.truth.labels, own.labels)
        assert secret.truth.insertions == own.insertions
    text = b"".join(p.read_bytes() for p in (made / "public").rglob("*") if p.is_file())
    assert b"secret-" not in text
    assert b"mouse of" not in text


def test_the_commitment_opens_and_to_nothing_else(made, places):
    public, seal = places
    assert "the seal opens: truth of 5 cases" in open_sealed(public, seal)
    opened = read_seal(seal)
    assert commitment(b"a", [b"bc", b""]) != commitment(b"a", [b"b", b"c"])
    with h5py.File(seal, "r+") as file:
        file["cases/case-0002/labels"][7, 7, 7] ^= 1
    with pytest.raises(DarklungError, match="the truth of case-0002 is not the one that was committed to"):
        open_sealed(public, seal)
    # Truths that changed places do not open either.
    cases = dict(opened.cases)
    cases["case-0001"], cases["case-0003"] = cases["case-0003"], cases["case-0001"]
    write_seal(seal, type(opened)(cases, opened.salt, opened.origin))
    with pytest.raises(DarklungError, match="not the one that was committed to"):
        open_sealed(public, seal)
    write_seal(seal, type(opened)(opened.cases, opened.salt, {**opened.origin, "study": {}}))
    with pytest.raises(DarklungError, match="seeds and study are not those"):
        open_sealed(public, seal)


def test_a_score_has_the_numbers_of_evaluate_and_intervals(made, scores, tmp_path):
    told = json.loads((scores / "good/score.json").read_text())
    seal = read_seal(made / "public.seal.h5")
    for name, secret in seal.cases.items():  # evaluate against the maker's own cases, under the public names
        case = load_case(made / "own" / secret.was)
        save_case(tmp_path / "truth" / name, case)
    how = Scoring(EvaluationPart(replicates=200), seed=1)
    own = score({"good": scores / "maps-good"}, find_labels(tmp_path / "truth"), how).comparison
    own = own["results"]["test"]["good"]["metrics"]
    for name in ("auroc", "equal_sensitivity", "froc", "dice"):
        assert told["metrics"][name]["value"] == pytest.approx(own[name]["value"], abs=1e-9)
        assert told["metrics"][name]["low"] <= told["metrics"][name]["value"] <= told["metrics"][name]["high"]
    # Animals were drawn anew: intervals rest on the same seed but another order of the names.
    assert told["metrics"]["auroc"]["low"] == pytest.approx(own["auroc"]["low"], abs=0.05)
    assert 0 < told["metrics"]["brier"]["value"] < 1
    drawn = pd.read_parquet(scores / "good/replicates.parquet")
    assert drawn.shape == (200, 5)
    assert "case-" not in (scores / "good/score.json").read_text()


def test_an_altered_case_an_altered_map_and_an_added_file_are_refused(made, scores, places, tmp_path):
    public, seal = places
    entry = shutil.copytree(scores / "entry-good", tmp_path / "entry")
    grid = load_image(public / "cases/case-0003/channels.ome.zarr")
    save_image(public / "cases/case-0003/channels.ome.zarr", grid.with_data(grid.data + 1))
    with pytest.raises(DarklungError, match="case-0003: is not the case that was published"):
        score_entry(public, entry, seal, tmp_path / "out")
    write_nifti(entry / "maps/case-0001.nii.gz", grid, "attenuation")
    with pytest.raises(DarklungError, match=r"case-0001\.nii\.gz: was changed after it was packed"):
        score_entry(made / "public", entry, seal, tmp_path / "out")
    shutil.copyfile(scores / "entry-good/maps/case-0001.nii.gz", entry / "maps/case-0001.nii.gz")
    shutil.copyfile(scores / "entry-good/maps/case-0001.nii.gz", entry / "maps/case-0001b.nii.gz")
    with pytest.raises(DarklungError, match=r"case-0001b\.nii\.gz is not in"):
        score_entry(made / "public", entry, seal, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    shutil.rmtree(public / "cases/case-0003")
    with pytest.raises(DarklungError, match="case-0003: is missing"):
        score_entry(public, entry, seal, tmp_path / "out")


def test_missing_and_unknown_cases_are_refused_when_packing_and_when_scoring(made, scores, tmp_path):
    fewer = maps_of(made, tmp_path / "fewer", skill=2.0, change=lambda n, v, t: None if n == "case-0004" else v)
    with pytest.raises(DarklungError, match="case-0004 is missing; wanted a map of every case"):
        pack_entry(made / "public", fewer, tmp_path / "entry", name="fewer")
    shutil.copyfile(fewer / "case-0001.nii.gz", fewer / "mouse-9.nii.gz")
    with pytest.raises(DarklungError, match="belongs to no labelled case"):
        pack_entry(made / "public", fewer, tmp_path / "entry", name="fewer")
    entry = shutil.copytree(scores / "entry-good", tmp_path / "taken")
    content = json.loads((entry / "submission.json").read_text())
    del content["files"]["case-0002.nii.gz"]
    (entry / "submission.json").write_text(json.dumps(content))
    (entry / "maps/case-0002.nii.gz").unlink()
    with pytest.raises(DarklungError, match="case-0002 is missing"):
        score_entry(made / "public", entry, made / "public.seal.h5", tmp_path / "out")


@pytest.mark.parametrize("end", [".a_logit_spread.nii.gz", ".raw"])
def test_no_case_is_left_out_by_the_name_of_its_map(made, scores, tmp_path, end):
    """Names that a folder's maps are not looked for by, though they begin with their case."""
    entry = shutil.copytree(scores / "entry-fair", tmp_path / "entry")
    content = json.loads((entry / "submission.json").read_text())
    content["files"][f"case-0003{end}"] = content["files"].pop("case-0003.nii.gz")
    (entry / "maps/case-0003.nii.gz").rename(entry / f"maps/case-0003{end}")
    (entry / "submission.json").write_text(json.dumps(content))
    score_entry(made / "public", entry, made / "public.seal.h5", tmp_path / "out")
    found, honest = (json.loads((f / "score.json").read_text()) for f in (tmp_path / "out", scores / "fair"))
    assert found["animals"] == honest["animals"] == COUNT
    assert found["metrics"] == honest["metrics"]


def leak_of_ranks(name, values, truth):
    return (0.5 * values + 0.5 * (truth.labels[None] == LESION)).astype(np.float32)


def test_a_leaked_label_is_refused(made, tmp_path):
    seal = read_seal(made / "public.seal.h5")
    ill = next(n for n, s in seal.cases.items() if s.truth.labels.any())

    def one(name, values, truth):
        return (truth.labels[None] == LESION).astype(np.float32) if name == ill else values

    for what, change, line in (("one", one, f"the map of {ill} is its truth"), ("ranks", leak_of_ranks, "a leak")):
        pack_entry(
            made / "public", maps_of(made, tmp_path / f"m-{what}", skill=1.0, change=change), tmp_path / what, name=what
        )
        with pytest.raises(DarklungError, match=line):
            score_entry(made / "public", tmp_path / what, made / "public.seal.h5", tmp_path / "out")
    rows = [
        {"case": n, **dict(zip(("z_mm", "y_mm", "x_mm"), 1e3 * np.array(i.center_m))), "score": 1.0}
        for n, s in seal.cases.items() for i in s.truth.insertions if i.kind == "lesion"
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "found.csv", index=False)
    pack_entry(made / "public", tmp_path / "found.csv", tmp_path / "listed", name="listed")
    with pytest.raises(DarklungError, match="to a micrometre; the truth has leaked"):
        score_entry(made / "public", tmp_path / "listed", made / "public.seal.h5", tmp_path / "out")


def test_candidates_of_somebody_honest_are_scored_without_dice(made, tmp_path):
    seal = read_seal(made / "public.seal.h5")
    rows = [
        {"case": n, **dict(zip(("z_mm", "y_mm", "x_mm"), 1e3 * np.array(i.center_m) + 0.13)), "score": 1.0 + i.number}
        for n, s in seal.cases.items() for i in s.truth.insertions
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "found.csv", index=False)
    pack_entry(made / "public", tmp_path / "found.csv", tmp_path / "entry", name="listed")
    score_entry(made / "public", tmp_path / "entry", made / "public.seal.h5", tmp_path / "out")
    found = json.loads((tmp_path / "out/score.json").read_text())["metrics"]
    assert found["dice"]["value"] is None
    assert found["brier"]["value"] is None
    assert found["froc"]["value"] > 0.5


def test_training_on_a_hidden_animal_is_refused(made, scores, tmp_path):
    words = {"name": "cheat", "trained_on": [made / "own"]}
    pack_entry(made / "public", scores / "maps-good", tmp_path / "entry", **words)
    with pytest.raises(DarklungError, match=r"was trained on the animal of case-000\d \(its (image|lesions)"):
        score_entry(made / "public", tmp_path / "entry", made / "public.seal.h5", tmp_path / "out")
    words["trained_on"] = [made / "public/cases"]
    pack_entry(made / "public", scores / "maps-good", tmp_path / "again", **words)
    with pytest.raises(DarklungError, match="its image is among those declared"):
        score_entry(made / "public", tmp_path / "again", made / "public.seal.h5", tmp_path / "out")
    # Lesions say whose an animal is although its image is another.
    things = labelled("secret-1", 1).insertions
    assert of_truth(things) == of_truth(things[::-1]) != of_truth(things[:1])
    assert of_seed(7) == of_seed("7") != of_seed(8)
    # A mask that is the same in many animals tells nobody's image.
    image = labelled("secret-1", 1).channels
    mask = image.with_data(np.concatenate([image.data, np.ones_like(image.data)]), ("a", "valid(a)"), ("1/m", "1"))
    assert of_images(mask) == of_images(image) != []


def test_seeds_are_hidden_drawn_by_the_system_and_kept_when_a_run_is_stopped(tmp_path):
    study = Study(name="s", sources={"mice": {"from": "simulation", "cohort": {"animals": 9, "test_animals": 4}}})
    first, other = (hidden(study, Wanted(), tmp_path / name) for name in "ab")
    assert first.seed != other.seed
    assert hidden(study, Wanted(), tmp_path / "a").seed == first.seed
    cohort = hidden(study, Wanted(animals=3, seed=8), tmp_path / "c").sources["mice"].cohort
    assert (cohort.animals, cohort.test_animals) == (0, 3)
    with pytest.raises(DarklungError, match="no held-out animals"):
        source = {"from": "cases", "files": ["x"], "use": "train"}
        hidden(Study(name="s", sources={"x": source}), Wanted(), tmp_path / "d")


def test_a_declared_seed_of_a_hidden_animal_is_refused(made):
    seal = read_seal(made / "public.seal.h5")
    cases = {n: replace(s, seed="12345678901") if n == "case-0002" else s for n, s in seal.cases.items()}
    declared = Training(sources=("run",), seeds=(of_seed(12345678901),))
    with pytest.raises(DarklungError, match=r"the animal of case-0002 \(its seed"):
        check_training(declared, made / "public", replace(seal, cases=cases), where="entry")
    check_training(declared, made / "public", seal, where="entry")


def test_the_page_ranks_entries_with_intervals_and_escapes_what_they_say(made, scores, tmp_path):
    told = write_page(made / "public", [scores / "fair", scores / "good"], tmp_path / "site/board.html")
    text = (tmp_path / "site/board.html").read_text()
    assert "board.html" in told
    first, second = [line.split() for line in told.splitlines()[1:3]]
    assert (first[:2], second[:2]) == (["good", "1"], ["fair", "2"])
    auroc = json.loads((scores / "good/score.json").read_text())["metrics"]["auroc"]
    assert first[2:4] == [f"{auroc['value']:.3f}", f"{auroc['low']:.3f}..{auroc['high']:.3f}"]
    drawn = [pd.read_parquet(scores / name / "replicates.parquet")["auroc"].to_numpy() for name in ("good", "fair")]
    defined = np.isfinite(drawn).all(axis=0)
    assert float(first[4]) == pytest.approx(100 * (drawn[0] >= drawn[1])[defined].mean(), abs=0.06)
    assert "Only 5 animals were scored." in told
    assert "<b>fair</b>" not in text
    assert "&lt;b&gt;fair&lt;/b&gt;" in text
    assert text.index(">good<") < text.index(">fair<")
    assert "Content-Security-Policy" in text
    assert "Only 5 animals were scored." in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    other = shutil.copytree(scores / "good", tmp_path / "other")
    content = json.loads((other / "score.json").read_text())
    (other / "score.json").write_text(json.dumps({**content, "benchmark": 64 * "0"}))
    with pytest.raises(DarklungError, match="is of another benchmark"):
        write_page(made / "public", [other], tmp_path / "b.html")
    (other / "score.json").write_text(json.dumps({**content, "replicates": 64 * "0"}))
    with pytest.raises(DarklungError, match=r"replicates\.parquet: is not what was written"):
        write_page(made / "public", [other], tmp_path / "b.html")


def test_ranks_over_replicates_are_counted_as_by_hand():
    drawn = np.array([[3, 1, 2, np.nan], [2, 2, 2, 1], [1, 3, 1, 1]], float)
    found = ranking(values=np.array([3.0, 2.0, 1.0]), replicates=drawn, higher_is_better=True)
    assert found.ranks.tolist() == [1, 2, 3]
    assert found.used == 3
    np.testing.assert_allclose(found.shares, np.array([[2, 0, 1], [1, 2, 0], [1, 0, 2]]) / 3)
    low = ranking(values=np.array([3.0, 2.0, 1.0]), replicates=drawn, higher_is_better=False)
    assert low.ranks.tolist() == [3, 2, 1]
    np.testing.assert_allclose(low.shares, np.array([[1, 1, 1], [0, 3, 0], [2, 0, 1]]) / 3)


def test_what_does_not_fit_ends_in_one_line(made, tmp_path):
    study = made / "study.yaml"
    with pytest.raises(DarklungError, match=r"lie in .*, which is published"):
        make_benchmark(study, tmp_path / "out", seal=tmp_path / "out/seal.h5")
    with pytest.raises(DarklungError, match="a seal is never written over"):
        make_benchmark(study, tmp_path / "out", seal=made / "public.seal.h5")
    with pytest.raises(DarklungError, match="holds something already"):
        make_benchmark(study, made / "public", seal=tmp_path / "s.h5")
    with pytest.raises(DarklungError, match="was begun with another hidden seed"):
        make_benchmark(study, tmp_path / "out", seal=tmp_path / "s.h5", wanted=Wanted(made / "public.seal.h5.run", seed=4))
    done = CliRunner().invoke(app, ["benchmark", "open", str(made / "own"), "--seal", str(made / "public.seal.h5")])
    assert "wanted a benchmark" in str(done.exception)


@pytest.mark.parametrize("column", [None, "=cmd()", np.inf, "missing"])
def test_strange_replicates_end_in_one_line(made, scores, tmp_path, column):
    shutil.copytree(scores / "good", tmp_path / "good")
    table = tmp_path / "good/replicates.parquet"
    rows = pd.read_parquet(table)
    (rows.drop(columns="auroc") if column == "missing" else rows.assign(auroc=column)).to_parquet(table)
    told = json.loads((tmp_path / "good/score.json").read_text())
    (tmp_path / "good/score.json").write_text(json.dumps({**told, "replicates": content_of(table)}))
    with pytest.raises(
        DarklungError, match=r"replicates.parquet: .*(has no column auroc|row 1: auroc: wanted a number|finite)"
    ):
        write_page(made / "public", [tmp_path / "good"], tmp_path / "page.html")


def test_a_name_is_refused_before_anything_is_made(made, tmp_path):
    maps = maps_of(made, tmp_path / "maps", skill=2.0)
    for words in ({"name": "../x"}, {"name": "ok", "about": "x" * 1001}):
        with pytest.raises(DarklungError, match=r"--name|--about"):
            pack_entry(made / "public", maps, tmp_path / "entry", **words)
        assert not (tmp_path / "entry").exists()
    with pytest.raises(DarklungError, match="--name"):
        make_benchmark(made / "study.yaml", tmp_path / "other", wanted=Wanted(name="a b", work=tmp_path / "work"))
    with pytest.raises(DarklungError, match="wanted a new name"):
        make_benchmark(made / "study.yaml", tmp_path / "other", seal=Path())
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "work").exists()
    with pytest.raises(DarklungError, match="lies in the benchmark"):
        write_page(made / "public", [], made / "public/page.html")


def test_a_benchmark_is_there_whole_or_not_at_all(made, tmp_path, monkeypatch):
    monkeypatch.setattr("darklung.commands.benchmark_make.write_seal", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_benchmark(made / "study.yaml", tmp_path / "public", wanted=Wanted(seed=3), workers=1)
    assert not (tmp_path / "public").exists()
    monkeypatch.undo()
    assert "5 cases" in make_benchmark(made / "study.yaml", tmp_path / "public", wanted=Wanted(seed=3), workers=1)


class Killed(BaseException):
    pass


def killed_at(monkeypatch, number, *, after):
    """`os.replace` ends what runs at its `number`-th call."""
    calls, replace_ = [0], os.replace

    def replaced(*args):
        calls[0] += 1
        if calls[0] == number and not after:
            raise Killed
        replace_(*args)
        if calls[0] == number and after:
            raise Killed

    monkeypatch.setattr(os, "replace", replaced)


def test_a_make_that_is_killed_around_its_last_changes_goes_on_to_the_seal_that_opens_it(made, tmp_path, monkeypatch):
    calls = []
    with monkeypatch.context() as counting:
        replace_ = os.replace
        counting.setattr(os, "replace", lambda *args: (calls.append(args), replace_(*args)))
        make_benchmark(made / "study.yaml", tmp_path / "0/public", wanted=Wanted(seed=3), workers=1)
    for number, after in ((len(calls) - 2, False), (len(calls) - 2, True), (len(calls) - 1, True), (len(calls), False)):
        place = tmp_path / f"{number}{after}"
        with monkeypatch.context() as killing, pytest.raises(Killed):
            killed_at(killing, number, after=after)
            make_benchmark(made / "study.yaml", place / "public", wanted=Wanted(seed=3), workers=1)
        assert not (place / "public.seal.h5").exists()  # a seal is never there without its benchmark
        assert "5 cases" in make_benchmark(made / "study.yaml", place / "public", wanted=Wanted(seed=3), workers=1)
        assert open_sealed(place / "public", place / "public.seal.h5")
        assert sorted(p.name for p in place.iterdir()) == ["public", "public.seal.h5", "public.seal.h5.run"]


def test_a_seal_that_waits_for_another_benchmark_is_not_put_beside_this_one(made, places, tmp_path):
    public, _ = places
    (public.parent / ".public.seal.h5.waiting").write_bytes(b"no seal")
    with pytest.raises(DarklungError, match="holds something already"):
        make_benchmark(made / "study.yaml", public, wanted=Wanted(seed=3), workers=1)
    assert not (public.parent / "public.seal.h5").exists()


def test_a_score_that_is_killed_is_made_by_the_same_command(made, scores, tmp_path, monkeypatch):
    told = (made / "public", scores / "entry-good", made / "public.seal.h5", tmp_path / "score")
    for number in (1, 4):
        with monkeypatch.context() as killing, pytest.raises(Killed):
            killed_at(killing, number, after=True)
            score_entry(*told)
        assert not (tmp_path / "score").exists()
    score_entry(*told)
    for name in ("score.json", "replicates.parquet"):
        assert (tmp_path / "score" / name).read_bytes() == (scores / "good" / name).read_bytes()

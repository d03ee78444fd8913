"""Predictions of any program, scored: as a run scores its own, from every format, with nothing claimed that is not known."""

import json

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from darklung.commands.cli import app
from darklung.commands.evaluate import Wanted, evaluate_files
from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.evaluate.froc import candidate_table
from darklung.evaluate.logits import logits_of
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.io.images import load_image, save_image
from darklung.io.nifti import write_nifti
from darklung.io.tables import load_table


def comparison(folder):
    return json.loads((folder / "comparison.json").read_text())


def scored(predictions, labels, out, **words):
    told = evaluate_files(predictions, labels, out=out, wanted=Wanted(**words))
    return comparison(out), told


@pytest.fixture(scope="module")
def truth(run):
    return comparison(run / "evaluate/all")


@pytest.fixture
def maps(run):
    return {p.name.split(".")[0]: load_image(p) for p in sorted((run / "predict/hybrid.test").iterdir())}


def probabilities(image):
    p = 1 / (1 + np.exp(-image.data.astype(np.float64)))
    return image.with_data(p, ("probability",), ("1",))


def write_maps(folder, maps, ending=".nii.gz"):
    folder.mkdir()
    for name, image in maps.items():
        write_nifti(folder / f"{name}{ending}", image, image.names[0])
    return folder


def test_own_maps_of_a_run_give_the_numbers_of_the_run(run, truth, tmp_path):
    found, told = scored(run / "predict/hybrid.test", run, tmp_path / "out", name="hybrid")
    for arm, path in (("hybrid", "hybrid.test"), ("transmission", "transmission.test")):
        one, _ = scored(run / "predict" / path, run, tmp_path / arm, name=arm)
        mine, its = one["results"]["test"][arm], truth["results"]["test"][arm]
        for metric in ("auroc", "dice"):
            assert mine["metrics"][metric] == its["metrics"][metric]
        for part in ("n", "roc", "pr", "froc", "dice_by_subject"):
            assert mine[part] == its[part]
    assert found["results"]["test"]["hybrid"]["n"]["subjects"] == 5
    assert "4 case(s) that the run trained on are not scored, as should be: train-0001" in told
    assert "left out" not in told
    assert {"comparison.json", "units.parquet", "overlap.parquet", "report.html", "record.json"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }
    units = pd.DataFrame(load_table(run / "evaluate/all/units"))
    units = (
        units[(units["split"] == "test") & (units["arm"] == "hybrid")].reset_index(drop=True).drop(columns=["fold", "rank"])
    )
    pd.testing.assert_frame_equal(pd.DataFrame(load_table(tmp_path / "out/units")), units)


def test_arms_are_compared_as_in_the_run(run, truth, tmp_path):
    also = [f"hybrid={run / 'predict/hybrid.test'}"]
    found, _ = scored(run / "predict/transmission.test", run, tmp_path / "out", name="transmission", also=also)
    free = ("auroc", "equal_sensitivity", "average_precision", "animal_auroc", "froc", "dice")  # of thresholds
    mine, its = ([r for r in c["differences"]["test"] if r["metric"] in free] for c in (found, truth))
    assert mine == its
    assert len(mine) == len(free)
    with pytest.raises(DarklungError, match="--threshold: other is no arm; these are hybrid"):
        scored(run / "predict/hybrid.test", run, tmp_path / "x", name="hybrid", thresholds=["other=1"])


def test_without_a_threshold_no_sensitivity_is_claimed_and_with_the_runs_it_is_the_runs(run, truth, tmp_path):
    arm = "hybrid"
    plain, _ = scored(run / "predict/hybrid.test", run, tmp_path / "plain", name=arm)
    entry = plain["results"]["test"][arm]
    for name in ("sensitivity", "specificity", "brier"):
        assert entry["metrics"][name] == {"value": None, "low": None, "high": None}
    assert entry["threshold"] is entry["confusion"] is entry["by_kind"] is None
    page = (tmp_path / "plain/report.html").read_text()
    assert "no sensitivity or specificity is claimed" in page
    assert "Sensitivity, specificity: at" not in page
    assert "Sensitivity by" not in page  # no empty figures
    its = truth["results"]["test"][arm]
    given, _ = scored(run / "predict/hybrid.test", run, tmp_path / "given", name=arm, thresholds=[repr(its["threshold"])])
    mine = given["results"]["test"][arm]
    assert mine["confusion"] == its["confusion"]
    for part in ("by_class", "by_kind"):  # intervals differ: a given threshold is not uncertain
        told = [{k: (v["n"], v.get("sensitivity", v.get("value"))) for k, v in r[part].items()} for r in (mine, its)]
        assert told[0] == told[1]
    for name in ("sensitivity", "specificity"):
        assert mine["metrics"][name]["value"] == its["metrics"][name]["value"]


@pytest.mark.parametrize("ending", [".nii.gz", "_probability.nii.gz", ".ome.zarr"])
def test_every_format_gives_the_same_numbers(run, truth, maps, tmp_path, ending):
    folder = tmp_path / "maps"
    folder.mkdir()
    for name, image in maps.items():
        shown = probabilities(image)
        if ending == ".ome.zarr":
            save_image(folder / f"{name}{ending}", shown)
        else:
            write_nifti(folder / f"{name}{ending}", shown, "probability")
    found, _ = scored(folder, run, tmp_path / "out", name="hybrid")
    mine, its = found["results"]["test"]["hybrid"], truth["results"]["test"]["hybrid"]
    assert mine["metrics"]["dice"] == its["metrics"]["dice"]
    assert mine["metrics"]["auroc"]["value"] == pytest.approx(its["metrics"]["auroc"]["value"], abs=1e-12)
    assert mine["froc"]["points"] == its["froc"]["points"]


def write_itk(path, image):
    """As another program writes it: (x, y, z), mm, LPS."""
    shown = sitk.GetImageFromArray(image.data[0])
    shown.SetSpacing([1e3 * s for s in reversed(image.spacing_m)])
    shown.SetOrigin([1e3 * o for o in reversed(image.origin_m)])
    sitk.WriteImage(shown, str(path))


def test_maps_and_labels_of_other_programs(run, truth, maps, tmp_path):
    for folder in ("maps", "labels"):
        (tmp_path / folder).mkdir()
    for name, image in maps.items():
        write_itk(tmp_path / "maps" / f"{name}.nrrd", probabilities(image))
        write_itk(tmp_path / "labels" / f"{name}_seg.mha", label_image(load_case(run / "cases" / name, ())))
    found, _ = scored(tmp_path / "maps", tmp_path / "labels", tmp_path / "out", name="hybrid")
    mine, its = found["results"]["test"]["hybrid"], truth["results"]["test"]["hybrid"]
    # Everything is searched, and nobody says what a mimic is.
    assert mine["n"]["positives"] == its["n"]["positives"]
    assert mine["metrics"]["dice"]["value"] == pytest.approx(its["metrics"]["dice"]["value"], abs=0.1)


def label_image(case):
    lesion = np.isin(case.instances, (1, 2))
    values = np.where(case.unknown, 255, np.where(lesion, case.instances, 0)).astype(np.uint16)
    return case.channels.with_data(values[None], ("label",), ("1",))


def test_label_volumes_instances_and_masks_agree_and_unknown_counts_nowhere(run, maps, tmp_path):
    cases = {n: load_case(run / "cases" / n, ()) for n in maps}
    numbered = {n: label_image(c) for n, c in cases.items()}
    masks = {n: i.with_data(np.where(i.data == 255, 255, i.data > 0).astype(np.uint8)) for n, i in numbered.items()}
    regions = {n: c.channels.with_data(c.region[None], ("region",), ("1",)) for n, c in cases.items()}
    predictions = write_maps(tmp_path / "maps", maps, "_pred.nii.gz")
    region = write_maps(tmp_path / "region", regions)
    results = []
    for name, labels in (("numbered", numbered), ("masks", masks)):
        folder = write_maps(tmp_path / name, labels, "_labels.nii.gz")
        found, _ = scored(predictions, folder, tmp_path / f"out-{name}", name="a", region=region)
        results.append(found["results"]["test"]["a"])
    assert results[0] == results[1]
    assert results[0]["n"]["positives"] == 9  # of ten lesions one is unknown
    # Whatever a program says of unknown voxels changes nothing.
    loud = {n: i.with_data(np.where(cases[n].unknown, 50, i.data).astype(np.float32)) for n, i in maps.items()}
    again, _ = scored(
        write_maps(tmp_path / "loud", loud), tmp_path / "masks", tmp_path / "out-loud", name="a", region=region
    )
    assert again["results"]["test"]["a"] == results[0]


def test_candidates_of_a_table_give_the_froc_of_their_maps(run, truth, maps, tmp_path):
    rows = []
    for name, image in maps.items():
        case = load_case(run / "cases" / name, ())
        found = candidate_table(
            subject=name, logits=image.data[0], instances=case.instances, insertions=case.insertions,
            region=case.region & ~case.unknown, spacing_m=image.spacing_m,
        )  # fmt: skip
        for row in found.to_dict("records"):
            place = image.position_m([row[f"axis{a}"] for a in range(3)])
            rows.append(
                {"subject": name, **dict(zip(("z_mm", "y_mm", "x_mm"), 1e3 * np.array(place))), "score": row["score"]}
            )
    rows.append({"subject": name, "z_mm": 900.0, "y_mm": 0.0, "x_mm": 0.0, "score": 99.0})
    evaluate_files(run / "predict/hybrid.test", run, out=tmp_path / "out")  # its overlap must not stay
    table = tmp_path / "found.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    own = tmp_path / "cases"
    for case in maps:
        save_case(own / case, load_case(run / "cases" / case))
    found, told = scored(table, own, tmp_path / "out", name="a")
    mine, its = found["results"]["test"]["a"], truth["results"]["test"]["hybrid"]
    assert mine["froc"]["sensitivity"] == its["froc"]["sensitivity"]
    assert mine["froc"]["fp_per_subject"] == its["froc"]["fp_per_subject"]
    assert mine["metrics"]["dice"]["value"] is None
    assert mine["dice_by_subject"] is None
    assert 0.5 < mine["metrics"]["auroc"]["value"] <= 1
    assert "1 candidate(s) outside the search region" in told
    assert not (tmp_path / "out/overlap.parquet").exists()


def test_the_findings_of_predict_are_tables_of_the_cases_they_name(run, truth, tmp_path):
    for name in ("test-0001", "test-0002"):
        folder = tmp_path / "findings" / name
        folder.mkdir(parents=True)
        (folder / "findings.html").write_text("<html></html>")
    (lesion, _, _, _) = load_case(run / "cases/test-0001", ()).insertions
    place = dict(zip(("z_mm", "y_mm", "x_mm"), 1e3 * np.array(lesion.center_m)))
    pd.DataFrame([{"subject": "test-0001", **place, "score": 2.0}]).to_parquet(
        tmp_path / "findings/test-0001/candidates.parquet"
    )
    found, _ = scored(tmp_path / "findings", run, tmp_path / "out", name="a")
    entry = found["results"]["test"]["a"]
    assert entry["n"]["subjects"] == 2
    assert entry["froc"]["points"]["1"]["value"] == pytest.approx(1 / 3)  # of 2 + 1 known lesions


def test_other_grids_are_refused_in_a_line_and_resampled_only_when_asked(run, truth, maps, tmp_path):
    fine = {}
    for name, image in maps.items():
        double = np.repeat(np.repeat(np.repeat(image.data, 2, 1), 2, 2), 2, 3)
        spacing = tuple(s / 2 for s in image.spacing_m)
        origin = tuple(o - s / 2 for o, s in zip(image.origin_m, spacing))
        fine[name] = type(image)(double, ("logit",), ("1",), spacing, origin, image.frame)
    folder = write_maps(tmp_path / "fine", fine)
    with pytest.raises(DarklungError, match=r"labels and map differ in shape .*--resample") as error:
        scored(folder, run, tmp_path / "out")
    assert "\n" not in str(error.value)
    found, _ = scored(folder, run, tmp_path / "out", name="hybrid", resample=True)
    its = truth["results"]["test"]["hybrid"]["metrics"]
    assert found["results"]["test"]["hybrid"]["metrics"]["auroc"]["value"] == pytest.approx(its["auroc"]["value"], abs=0.05)
    small = {n: i.cropped((slice(0, 8), slice(None), slice(None))) for n, i in maps.items()}
    with pytest.raises(DarklungError, match="voxels of the search region of test-0001 have no finite value"):
        scored(write_maps(tmp_path / "small", small), run, tmp_path / "small-out", resample=True)


def test_animals_of_a_table_are_what_intervals_resample(run, tmp_path):
    table = tmp_path / "animals.csv"
    names = [f"test-{i:04d}" for i in range(1, 6)]
    pd.DataFrame({"case": names, "animal": ["a", "a", "b", "c", "c"]}).to_csv(table, index=False)
    found, _ = scored(run / "predict/hybrid.test", run, tmp_path / "out", name="h", animals=table)
    assert found["results"]["test"]["h"]["n"]["subjects"] == 3
    pd.DataFrame({"case": names, "animal": [f"mouse {i}" for i in range(5)]}).to_csv(table, index=False)
    renamed, _ = scored(run / "predict/hybrid.test", run, tmp_path / "again", name="h", animals=table)
    plain, _ = scored(run / "predict/hybrid.test", run, tmp_path / "plain", name="h")
    one, other = (c["results"]["test"]["h"] for c in (renamed, plain))
    assert [r.pop("animal") for r in one["by_animal"]] == [f"mouse {i}" for i in range(5)]
    assert [r.pop("animal") for r in other["by_animal"]] == names
    assert one == other


def bad(maps, tmp_path, change):
    return write_maps(tmp_path / "bad", {n: change(n, i) for n, i in maps.items()})


@pytest.mark.parametrize(
    ("change", "words", "line"),
    [
        (lambda n, i: i, {"kind": "probability"}, "wanted probabilities from 0 to 1, got -"),
        (lambda n, i: i, {"kind": "scores"}, "--kind: 'scores' is not known"),
        (lambda n, i: i.with_data((i.data > 0).astype(np.uint8) * 255), {}, "whole numbers up to 255 are no probabilities"),
        (lambda n, i: probabilities(i) if n == "test-0001" else i, {}, "say which they are by --kind"),
        (lambda n, i: i.with_data(np.where(i.data > 1, np.nan, i.data)), {}, "have no finite value"),
        (lambda n, i: probabilities(i), {"thresholds": ["1.5"]}, "wanted a probability between 0 and 1"),
        (lambda n, i: i, {"thresholds": ["high"]}, "--threshold: wanted a number"),
        (lambda n, i: i, {"also": ["b"]}, "--also: wanted NAME=FOLDER"),
        (lambda n, i: i, {"tile": "2 kg"}, "2 kg"),
    ],
)  # fmt: skip
def test_what_does_not_fit_ends_in_one_line(run, maps, tmp_path, change, words, line):
    folder = bad(maps, tmp_path, change)
    with pytest.raises(DarklungError) as error:
        scored(folder, run, tmp_path / "out", **words)
    assert line in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out/comparison.json").exists()


def test_files_of_no_case_and_missing_ones_are_told(run, maps, tmp_path):
    strange = write_maps(tmp_path / "strange", {**maps, "mouse-9": maps["test-0001"]})
    with pytest.raises(DarklungError, match=r"mouse-9\.nii\.gz: belongs to no labelled case; these are test-0001"):
        scored(strange, run, tmp_path / "out")
    fewer = write_maps(tmp_path / "fewer", {n: i for n, i in maps.items() if n != "test-0003"})
    with pytest.raises(DarklungError, match="predictions of the same cases, test-0003"):
        scored(run / "predict/hybrid.test", run, tmp_path / "out", also=[f"fewer={fewer}"])
    twice = write_maps(tmp_path / "twice", maps)
    write_nifti(twice / "test-0001_pred.nii.gz", maps["test-0001"], "logit")
    with pytest.raises(DarklungError, match="are both maps of test-0001"):
        scored(twice, run, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("keep")
    with pytest.raises(DarklungError, match="holds something else"):
        scored(run / "predict/hybrid.test", run, tmp_path / "full")


def test_of_a_prediction_of_darklung_the_logits_are_taken(run, truth, maps, tmp_path):
    folder = tmp_path / "both"
    folder.mkdir()
    for name, image in maps.items():
        both = image.with_data(np.concatenate([image.data, 0 * image.data]), ("logit", "logit_spread"), ("1", "1"))
        save_image(folder / f"{name}.logits.ome.zarr", both)
        write_nifti(folder / f"{name}_probability.nii.gz", probabilities(image).with_data(0 * image.data), "probability")
        write_nifti(folder / f"{name}_logit_spread.nii.gz", both, "logit_spread")
    found, _ = scored(folder, run, tmp_path / "out", name="hybrid")
    assert found["results"]["test"]["hybrid"]["metrics"]["auroc"] == truth["results"]["test"]["hybrid"]["metrics"]["auroc"]


def test_a_case_of_which_nothing_is_known_is_left_out_and_told(run, maps, tmp_path):
    labels = {n: label_image(load_case(run / "cases" / n, ())) for n in maps}
    labels["test-0004"] = labels["test-0004"].with_data(np.full_like(labels["test-0004"].data, 255))
    predictions = write_maps(tmp_path / "maps", maps)
    found, told = scored(predictions, write_maps(tmp_path / "labels", labels), tmp_path / "out", name="a")
    assert found["results"]["test"]["a"]["n"]["subjects"] == 4
    assert "nothing is known of test-0004: left out" in told
    alone = write_maps(tmp_path / "alone", {"test-0004": labels["test-0004"]})
    one = write_maps(tmp_path / "one", {"test-0004": maps["test-0004"]})
    with pytest.raises(DarklungError, match="nothing is known of test-0004: there is nothing to score against"):
        scored(one, alone, tmp_path / "none")


def test_radiographs_are_scored_from_their_own_images_and_from_single_slices(run, tmp_path):
    """A slice of a case as a radiograph: NIfTI has no images of two axes, and stores one slice."""
    results = []
    for ending in (".ome.zarr", ".nii.gz"):
        folder = tmp_path / f"maps{ending}"
        folder.mkdir()
        for i in (1, 3, 4):
            case = load_case(run / f"cases/test-{i:04d}")
            at = int(np.argmax((case.instances == 1).sum((1, 2))))
            flat = Image(case.channels.data[:, at], ("attenuation",), ("1",), case.channels.spacing_m[1:], frame="detector")
            own = np.where(case.instances[at] == 1, 1, 0).astype(np.uint16)
            lesion, region = own > 0, case.region[at]
            things = tuple(t for t in case.insertions if t.number == 1)
            facts = CaseFacts(f"flat-{i}", f"flat-{i}")
            arrays = (lesion.astype(np.uint8), region, region, own, np.zeros_like(region))
            save_case(tmp_path / f"cases/flat-{i}", LabelledCase(flat, *arrays, things, facts))
            values = (np.random.default_rng(i).normal(-2, 1, flat.shape) + 3 * lesion)[None].astype(np.float32)
            image = flat.with_data(values, ("logit",), ("1",))
            path = folder / f"flat-{i}{ending}"
            save_image(path, image) if ending == ".ome.zarr" else write_nifti(path, image, "logit")
        found, _ = scored(folder, tmp_path / "cases", tmp_path / f"out{ending}", name="a")
        results.append(found["results"]["test"]["a"])
    assert results[0] == results[1]
    assert results[0]["n"] == {**results[0]["n"], "subjects": 3, "positives": 3}


def test_a_mask_of_zeros_and_ones_is_outlined_where_it_is_one(run, truth, maps, tmp_path):
    masks = write_maps(tmp_path / "masks", {n: i.with_data((i.data > 0).astype(np.uint8)) for n, i in maps.items()})
    found, _ = scored(masks, run, tmp_path / "out", name="hybrid")
    assert found["results"]["test"]["hybrid"]["metrics"]["dice"] == truth["results"]["test"]["hybrid"]["metrics"]["dice"]


def test_probabilities_become_logits_exactly_and_keep_their_order():
    rng = np.random.default_rng(0)
    logits = np.sort(rng.normal(0, 6, 2000))
    back = logits_of(1 / (1 + np.exp(-logits)))
    np.testing.assert_allclose(back, logits, rtol=1e-9, atol=1e-9)
    for kind in (np.float16, np.float32, np.float64):
        p = np.unique(
            np.concatenate([[0, 1], np.nextafter(np.array([0, 1], kind), kind(0.5)), rng.uniform(0, 1, 99)]).astype(kind)
        )
        found = logits_of(p)
        assert np.isfinite(found).all()
        assert (np.diff(found) >= 0).all()
        assert (np.diff(found[1:-1]) > 0).all()
    assert logits_of(np.ones(1, np.float32))[0] == pytest.approx(24 * np.log(2), rel=1e-6)
    np.testing.assert_allclose(logits_of(np.array([0.0, 1.0]), resolution=1.0), [-np.log(3), np.log(3)])
    with pytest.raises(DarklungError, match=r"wanted probabilities from 0 to 1, got -0\.5 to 1"):
        logits_of(np.array([-0.5, 1.0]))


def test_both_commands_from_the_command_line(run, run_maker, tmp_path):
    other = run_maker(tmp_path / "other", skills={"hybrid": 1.0})
    words = ["evaluate", run / "predict/hybrid.test", run, "--out", tmp_path / "out", "--name", "ours", "--kind", "logit"]
    words += ["--also", f"plain={run / 'predict/transmission.test'}", "--threshold", "plain=0", "--threshold", "ours=1"]
    first = CliRunner().invoke(app, [str(w) for w in words])
    assert first.exit_code == 0, first.output
    record = json.loads((tmp_path / "out/record.json").read_text())
    assert record["settings"]["thresholds"] == {"plain": 0.0, "ours": 1.0}
    assert len(record["inputs"]) == 15  # five maps of each arm, five cases
    assert comparison(tmp_path / "out")["arms"] == ["ours", "plain"]
    second = CliRunner().invoke(app, ["compare", str(run), str(other), "--out", str(tmp_path / "compared")])
    assert second.exit_code == 0, second.output
    assert "hybrid (5 animals in both)" in second.output
    assert (tmp_path / "compared/compare.html").is_file()


def test_a_folder_of_an_evaluation_that_was_killed_is_gone_on_with(run, tmp_path, monkeypatch):
    from darklung.commands import evaluate

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "save_comparison", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate.evaluate_files(run / "predict/hybrid.test", run, out=tmp_path / "out")
    (tmp_path / "out/.record.json.1.partial").touch()  # of a kill while the record was written
    (tmp_path / "out/comparison.json").touch()
    evaluate.evaluate_files(run / "predict/hybrid.test", run, out=tmp_path / "out")
    assert (tmp_path / "out/report.html").is_file()

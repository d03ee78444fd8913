"""A run's cases as nnU-Net v2 and MONAI read them: values, axes, spacing, folds, and what is not to be learned from."""

import json
import shutil

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from darklung.commands.cli import app
from darklung.commands.export import export_run
from darklung.commands.verify import verify_files
from darklung.core.checks import DarklungError
from darklung.core.splits import folds_by_group
from darklung.core.types import LESION, UNKNOWN, Image, Insertion
from darklung.features.labels import no_truth
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.io.images import export_nifti
from darklung.io.nifti import write_nifti_channels
from darklung.io.tables import save_table
from darklung.learn.data import location_and_scale
from darklung.pipeline.record import write_record
from darklung.publish import datasets
from darklung.publish.datasets import DATALIST, DATASET, IGNORE, SPLITS, safe_names
from darklung.steps import cohort
from darklung.study.study import Study

SHAPE, SPACING, SEED = (6, 7, 8), (5e-4, 4e-4, 3e-4), 5
ARMS = {"hybrid": ["attenuation", "dark_field"], "transmission": ["attenuation"]}


def labelled(name, animal, *, known=True):
    rng = np.random.default_rng(list(name.encode()))
    data = rng.normal(20, 2, (2, *SHAPE)).astype(np.float32)
    image = Image(data, ("dark_field", "attenuation"), ("1/m", "1/m"), SPACING, (0.01, -0.02, 0.03), "LPS")
    region = np.zeros(SHAPE, bool)
    region[1:-1, 1:-1, 1:-1] = True
    labels, instances, things = no_truth(image)
    if known:
        instances = np.zeros(SHAPE, np.uint16)
        instances[2:4, 2:4, 2:5] = 1
        things = (Insertion(1, "lesion", "solid", image.position_m((2.5, 2.5, 3)), 1e-3),)
        labels = np.where(instances > 0, LESION, 0).astype(np.uint8)
        labels[4, 4, 4] = UNKNOWN
    return LabelledCase(image, labels, region, region, instances, instances > 9, things, CaseFacts(name, animal))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "run"
    who = {"m-1": "a", "m-2": "a", "m-3": "b", "m-4": "c", "t-1": "t", "new": "n"}
    uses = {name: {"t": "test", "n": "predict"}.get(name[0], "train") for name in who}
    for name, animal in who.items():
        save_case(folder / "cases" / name, labelled(name, animal, known=name != "new"))
    rows = [{"subject": n, "animal": who[n], "split": uses[n]} for n in who]
    (folder / cohort.NAME).mkdir(parents=True)
    save_table(folder / cohort.NAME / cohort.TABLE, rows, cohort.COLUMNS)
    source = {"from": "cases", "files": ["somewhere/*"]}
    study = Study(name="small", seed=SEED, sources={"x": source}, learning={"arms": ARMS, "folds": 2})
    write_record(folder / "run.json", {"format": 2, "study": study.model_dump(mode="json", by_alias=True)})
    return folder


def test_nnunet_gets_channels_axes_spacing_folds_and_an_ignored_label(run, tmp_path):
    out = tmp_path / "Dataset007_Small"
    told = export_run(run, out, layout="nnunet", arm="hybrid")
    assert "4 train, 1 test, 1 predict; 2 folds; arm hybrid" in told
    assert sorted(p.name for p in (out / "imagesTs").iterdir()) == [
        "new_0000.nii.gz", "new_0001.nii.gz", "t-1_0000.nii.gz", "t-1_0001.nii.gz",
    ]  # fmt: skip
    assert [p.name for p in (out / "labelsTs").iterdir()] == ["t-1.nii.gz"]
    case = labelled("m-3", "b")
    own = {p.name: p for p in export_nifti(case.channels, tmp_path / "own", "m-3")}
    for number, channel in enumerate(ARMS["hybrid"]):
        found, same = nibabel.load(out / f"imagesTr/m-3_{number:04d}.nii.gz"), nibabel.load(own[f"m-3_{channel}.nii.gz"])
        np.testing.assert_array_equal(found.affine, same.affine)
        np.testing.assert_array_equal(np.asarray(found.dataobj), case.channels.channel(channel).transpose())
        assert found.header.get_zooms() == pytest.approx([1e3 * s for s in reversed(SPACING)])
    labels = np.asarray(nibabel.load(out / "labelsTr/m-3.nii.gz").dataobj).transpose()
    assert labels[4, 4, 4] == IGNORE
    assert (labels[~case.region] == IGNORE).all()
    np.testing.assert_array_equal(labels == LESION, case.lesion)
    content = json.loads((out / DATASET).read_text())
    assert content["labels"] == {"background": 0, "lesion": 1, "ignore": 2}
    assert content["numTraining"] == 4
    assert set(content["channel_names"].values()) == {"zscore"}
    splits = json.loads((out / SPLITS).read_text())
    parts = folds_by_group({f"cases/m-{k}": a for k, a in zip("1234", "aabc")}, folds=2, seed=SEED)
    assert [sorted(s["val"]) for s in splits] == [[n.removeprefix("cases/") for n in part] for part in parts]
    assert all(set(s["train"]) | set(s["val"]) == {f"m-{k}" for k in "1234"} for s in splits)
    assert all(not set(s["train"]) & set(s["val"]) for s in splits)


def test_normalised_values_are_what_our_networks_see_and_nnunet_is_told_to_leave_them(run, tmp_path):
    out = tmp_path / "d"
    export_run(run, out, layout="nnunet", arm="transmission", normalised=True)
    assert json.loads((out / DATASET).read_text())["channel_names"] == {"0": "noNorm"}
    case = labelled("m-1", "a")
    values = case.channels.channel("attenuation").astype(np.float64)
    location, scale = location_and_scale(values[case.lung])
    found = np.asarray(nibabel.load(out / "imagesTr/m-1_0000.nii.gz").dataobj).transpose()
    np.testing.assert_allclose(found, 8 * np.tanh((values - location) / scale / 8), rtol=1e-5, atol=1e-6)


def test_monai_gets_a_list_with_folds_and_masks_of_what_counts(run, tmp_path):
    words = ["export", run, "--layout", "monai", "--arm", "hybrid", "--out", tmp_path / "m"]
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "m" / DATALIST).read_text())
    splits = folds_by_group({f"cases/m-{k}": a for k, a in zip("1234", "aabc")}, folds=2, seed=SEED)
    fold = {row["image"]: row["fold"] for row in content["training"]}
    assert fold == {f"imagesTr/{n[6:]}.nii.gz": k for k, part in enumerate(splits) for n in part}
    assert [set(row) for row in content["testing"]] == [{"image", "label", "mask"}, {"image"}]
    case = labelled("t-1", "t")
    row = content["testing"][0]
    image, label, mask = (nibabel.load(tmp_path / "m" / row[key]) for key in ("image", "label", "mask"))
    wanted = np.stack([case.channels.channel(n) for n in ARMS["hybrid"]])
    np.testing.assert_array_equal(np.asarray(image.dataobj), wanted.transpose())
    assert image.header.get_zooms()[:3] == pytest.approx([1e3 * s for s in reversed(SPACING)])
    np.testing.assert_array_equal(np.asarray(label.dataobj).transpose(), case.lesion)
    counted = case.region & (case.labels != UNKNOWN)
    np.testing.assert_array_equal(np.asarray(mask.dataobj).transpose(), counted)


def test_monai_itself_reads_the_list_and_the_images(run, tmp_path):
    pytest.importorskip("monai", reason="MONAI is not installed")
    from monai.data import load_decathlon_datalist
    from monai.transforms import LoadImage

    export_run(run, tmp_path / "m", layout="monai", arm="hybrid")
    found = load_decathlon_datalist(str(tmp_path / "m" / DATALIST), data_list_key="training")
    assert len(found) == 4
    image = LoadImage(image_only=True, ensure_channel_first=True)(found[0]["image"])
    assert tuple(image.shape) == (2, *reversed(SHAPE))


def test_names_stay_in_their_folder_and_apart():
    assert safe_names(["../up", "a b"]) == {"../up": "_up", "a b": "a_b"}
    with pytest.raises(DarklungError, match="both would be files called 'M_1'"):
        safe_names(["m 1", "M_1"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ({"layout": "nnunet"}, "--arm: wanted one of hybrid, transmission"),
        ({"layout": "nnunet", "arm": "x"}, "--arm: 'x' is not known"),
        ({"layout": "coco", "arm": "hybrid"}, "--layout: 'coco' is not known; known: monai, nnunet"),
    ],
)
def test_what_does_not_fit_ends_in_one_line(run, tmp_path, words, line):
    with pytest.raises(DarklungError, match=line):
        export_run(run, tmp_path / "out", **words)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(DarklungError, match="holds something else"):
        export_run(run, tmp_path / "full", layout="monai", arm="hybrid")
    with pytest.raises(DarklungError, match="wanted a run folder"):
        export_run(run / "cases", tmp_path / "out", layout="monai", arm="hybrid")
    edited = shutil.copytree(run, tmp_path / "edited")
    text = (edited / "run.json").read_text()
    (edited / "run.json").write_text(text.replace('"folds": ', '"folds": 1', 1))
    with pytest.raises(DarklungError, match=r"run.json: is not what was written"):
        export_run(edited, tmp_path / "out", layout="monai", arm="hybrid")


@pytest.mark.parametrize("layout", ["nnunet", "monai"])
def test_an_export_that_is_killed_goes_on_with_the_same_command(run, tmp_path, monkeypatch, layout):
    words = ["export", str(run), "--layout", layout, "--arm", "hybrid", "--out"]
    assert CliRunner().invoke(app, [*words, str(tmp_path / "whole")]).exit_code == 0
    write, written = datasets.write_nifti, []

    def second_fails(path, *more):
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt
        write(path, *more)

    with monkeypatch.context() as killing:
        killing.setattr(datasets, "write_nifti", second_fails)
        assert CliRunner().invoke(app, [*words, str(tmp_path / "killed")]).exit_code != 0
    done = CliRunner().invoke(app, [*words, str(tmp_path / "killed")])
    assert done.exit_code == 0, done.output
    files = [sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*")) for n in ("whole", "killed")]
    assert files[0] == files[1]
    assert verify_files(tmp_path / "killed")[1]


def test_nnunets_own_check_passes(run, tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    check = pytest.importorskip(
        "nnunetv2.experiment_planning.verify_dataset_integrity", reason="nnU-Net is not installed"
    ).verify_dataset_integrity
    export_run(run, tmp_path / "raw/Dataset007_Small", layout="nnunet", arm="hybrid")
    check(str(tmp_path / "raw/Dataset007_Small"), 1)


def test_radiographs_are_single_slices_with_channels_last(tmp_path):
    image = Image(np.arange(24, dtype=np.float32).reshape(2, 3, 4), ("a", "b"), ("1", "1"), (2e-4, 1e-4), frame="detector")
    write_nifti_channels(tmp_path / "r.nii.gz", image)
    found = nibabel.load(tmp_path / "r.nii.gz")
    assert found.shape == (4, 3, 1, 2)
    np.testing.assert_array_equal(np.asarray(found.dataobj)[:, :, 0].transpose(), image.data)
    assert found.header.get_zooms()[:2] == pytest.approx((0.1, 0.2))

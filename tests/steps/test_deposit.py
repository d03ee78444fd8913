"""Deposits of a run that is run for real: what is in them, that they are what they say, and that mistakes are found."""

import csv
import hashlib
import json
import re
import shutil
import subprocess
import warnings

import numpy as np
import pandas as pd
import pytest
import yaml
import zarr
from typer.testing import CliRunner

from darklung.commands.cli import app
from darklung.commands.compare import compare_folders
from darklung.commands.reproduce import lines_of, reproduce
from darklung.commands.run import run_study
from darklung.commands.verify import verify_files
from darklung.core.checks import DarklungError
from darklung.core.types import Image, Insertion
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.io.tables import save_table
from darklung.pipeline.artefacts import note, outputs_of
from darklung.pipeline.record import environment, write_record
from darklung.publish.about import About, read_about
from darklung.publish.head import read_head
from darklung.publish.tables import read_dictionary
from darklung.steps.deposit.contents import look_through
from darklung.steps.deposit.reproduce import compare_results, study_of
from darklung.steps.deposit.tables import case_measurements
from darklung.steps.deposit.write import Planned, check_out, lock_of, write_deposit
from darklung.steps.scoring.finished import open_run

SHAPE, VOXEL_M = (14, 14, 14), 5e-4
ABOUT = {
    "title": "Mice: simulated & <small>",
    "description": "Two lesions each.\n\nMade up.",
    "creators": [{"name": "Carberry, Josiah", "orcid": "0000-0002-1825-0097"}, {"name": "Nobody, N.", "orcid": "none"}],
    "license": "CC-BY-4.0",
    "funding": [{"funder": "A council", "award": "12"}],
    "sources": {"cases": {"animals": "simulated"}},
}


def save(folder, name, number, synthetic=True):
    """Two bright lesions in noise; an attenuation of 20 /m on average where there is none."""
    rng = np.random.default_rng(number)
    grid, instances = np.indices(SHAPE), np.zeros(SHAPE, np.uint16)
    put = []
    for mark, at in enumerate(([4, 4, 4], [10, 9, 8]), start=1):
        instances[((grid - np.reshape(at, (3, 1, 1, 1))) ** 2).sum(axis=0) < 5] = mark
        center = tuple((a - (n - 1) / 2) * VOXEL_M for a, n in zip(at, SHAPE))
        put.append(Insertion(mark, "lesion", "=solid", center, 2e-3))
    data = rng.normal(20, 1, size=(1, *SHAPE)) + 3 * (instances > 0)
    image = Image(data.astype(np.float32), ("attenuation",), ("1/m",), (VOXEL_M,) * 3)
    every, labels = np.ones(SHAPE, bool), (instances > 0).astype(np.uint8)
    facts = CaseFacts(name, name, synthetic=synthetic, provenance={"made": "/home/anna/mice/raw.h5"})
    save_case(folder / name, LabelledCase(image, labels, every, every, instances, ~every, tuple(put), facts))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deposit")
    for number, name in enumerate(("m1", "m2", "m3")):
        save(folder / "cases", name, number)
    part = {"arms": {"a": ["attenuation"]}, "widths": [16], "patch": 8, "steps": 2, "batch": 2}
    content = {"name": "one", "sources": {"cases": {"from": "cases", "files": ["cases/*"]}}, "learning": part}
    content["evaluation"] = {"replicates": 100, "tile": "3 mm"}
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    run_study(folder / "study.yaml", out=folder / "run", workers=1)
    return folder / "run"


def about(folder, **changes):
    path = folder / "about.yaml"
    path.write_text(yaml.safe_dump({**ABOUT, **changes}))
    return path


def made(run, folder, out, images=("channels", "labels"), **changes):
    said = read_about(about(folder, **changes))
    return write_deposit(Planned(look_through(run, said, "about.yaml"), said, images), out)


@pytest.fixture(scope="module")
def first(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    made(run, folder, folder / "d")
    return folder / "d"


@pytest.fixture
def deposit(first, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(first, tmp_path / "d")


def reseal(folder):
    """Checksums as they are after a change, so that only what is in the files can give it away."""
    lines = [line.split("  ", 1)[1] for line in (folder / "checksums.sha256").read_text().splitlines()]
    told = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in lines if (folder / n).exists()]
    (folder / "checksums.sha256").write_text("".join(told))


def rerecorded(folder, change):
    """The record of the run after a change that its maker might have made himself: seal, study file and checksums fit it."""
    about = json.loads((folder / "run/run.json").read_text())
    was = change(about)
    write_record(folder / "run/run.json", about)
    (folder / "run/study.yaml").write_text(yaml.safe_dump(about["study"], sort_keys=False, allow_unicode=True))
    (folder / "run/requirements.txt").write_text(lock_of(about["environment"]))
    reseal(folder)
    return was


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_deposit_is_whole_and_sha256sum_agrees(first):
    text, whole = verify_files(first)
    assert whole, text
    done = subprocess.run(["sha256sum", "-c", "--quiet", "checksums.sha256"], cwd=first, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_same_run_makes_the_same_bytes(run, first, tmp_path):
    made(run, tmp_path, tmp_path / "again")
    assert (tmp_path / "again" / "checksums.sha256").read_bytes() == (first / "checksums.sha256").read_bytes()


def test_measurements_are_those_of_the_images(first):
    """Against the case that was saved: 14³ voxels of 0.5 mm, two balls of 57 voxels, a mean of 20 plus theirs."""
    table = pd.read_csv(first / "tables/measurements.csv")
    assert set(table["synthetic_flag"]) == {"synthetic"}
    own = table[table["subject_id"] == "m1"].set_index("quantity")
    assert own.loc["lung_volume", "value"] == pytest.approx(14**3 * 0.125e-3)
    inside = sum(x * x + y * y + z * z < 5 for x in range(-3, 4) for y in range(-3, 4) for z in range(-3, 4))
    assert own.loc["lesion_volume", "value"] == pytest.approx(2 * inside * 0.125e-3)
    assert own.loc["attenuation_lung_mean", "value"] == pytest.approx(20 + 3 * 2 * inside / 14**3, abs=0.1)
    assert own.loc["attenuation_lung_mean", "unit"] == "1/m"
    assert table[table["quantity"] == "lesion_diameter"]["value"].tolist() == [2.0] * 6


def test_every_lesion_has_its_place_and_flag(first):
    table = pd.read_csv(first / "tables/insertions.csv")
    own = table[table["subject"] == "m2"]
    assert own["number"].tolist() == [1, 2]
    places = [[(a - 6.5) * 0.5 for a in at] for at in ([4, 4, 4], [10, 9, 8])]
    np.testing.assert_allclose(own[["z_mm", "y_mm", "x_mm"]], places)
    assert set(table["kind"]) == {"lesion"}
    assert set(table["synthetic_flag"]) == {"synthetic"}


def test_every_column_and_channel_is_in_the_dictionary_with_a_flag_in_every_table(first):
    fields = read_dictionary(first)
    for path in (first / "tables").glob("*.csv"):
        with path.open() as stream:
            head = next(csv.reader(stream))
        assert head == [f.name for f in fields if f.kind == "column" and f.table == f"tables/{path.stem}"]
        assert "synthetic_flag" in head
        assert pd.read_parquet(path.with_suffix(".parquet")).columns.tolist() == head
    channels = {f.name: f for f in fields if f.kind == "channel"}
    assert set(channels) == {"attenuation", "labels", "lung", "region", "instances", "hard"}
    assert channels["attenuation"].unit == "1/m"


def test_no_place_of_the_machine_and_no_formula_is_in_it(first, run):
    for path in (p for p in first.rglob("*") if p.suffix in (".json", ".yaml", ".csv", ".md")):
        assert str(run.parent) not in path.read_text(), path
        assert "anna" not in path.read_text(), path
    assert "'=solid" in (first / "tables/lesions.csv").read_text()


@pytest.mark.parametrize(
    ("file", "old", "new", "wanted"),
    [
        ("tables/measurements.csv", ",mL,", ",mm,", "unit: wanted mL of lung_volume, got mm"),
        ("tables/measurements.csv", ",dice,0.0,", ",dice,1.5,", "value: wanted 0..1, got 1.5 of dice"),
        ("tables/units.csv", ",tile,0,", ",tyle,0,", "kind: wanted lesion | mimic | sham | tile, got 'tyle'"),
        ("tables/measurements.csv", ",synthetic,", ",real,", ".csv and .parquet differ"),
        ("tables/units.csv", ",reachable,", ",reach,", "reachable: is missing, though the data dictionary has it"),
        ("data_dictionary.csv", "tables/units,column,label", "tables/units,column,labels", "column 'label' is not in"),
        ("data_dictionary.csv", "coefficient,number,1/m", "coefficient,number,1/cm", "wanted 1/cm, got 1/m"),
        ("data_dictionary.csv", "0 | 1 | 255", "0 | 255", "channel labels: wanted 0 | 255, got 1"),
        ("about.yaml", "0000-0002-1825-0097", "0000-0002-1825-0098", "is no ORCID: its last digit does not fit"),
        ("datacite.json", "0000-0002-1825-0097", "0000-0001-5109-3700", "creators: wanted"),
        ("about.yaml", "CC-BY-4.0", "CC-BUY-4.0", "license: 'CC-BUY-4.0' is not known; known: CC-BY-4.0"),
        ("zenodo.json", "cc-by-4.0", "cc0-1.0", "license: wanted 'cc-by-4.0', got 'cc0-1.0'"),
        ("croissant.json", '"measurements/unit"', '"measurements/units"', "columns: wanted"),
    ],
)  # fmt: skip
def test_a_planted_mistake_is_found_though_the_checksums_were_made_anew(deposit, file, old, new, wanted):
    edit(deposit / file, old, new)
    reseal(deposit)
    text, whole = verify_files(deposit)
    assert not whole
    assert file.partition(".")[0] in text or "images/" in text or "tables/units" in text
    assert wanted in text


def test_a_flipped_byte_a_lost_file_and_one_more_are_told(deposit):
    weights = next(deposit.glob("models/*/model.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (deposit / "LICENSE").unlink()
    (deposit / "more.txt").write_text("x")
    told = CliRunner().invoke(app, ["verify", str(deposit)])
    assert told.exit_code == 1
    assert f"{weights}: is not what was written" in told.output
    assert f"{deposit / 'LICENSE'}: is gone" in told.output
    assert f"{deposit / 'more.txt'}: was not written by darklung" in told.output


def test_a_list_of_checksums_cannot_lead_outside(deposit):
    (deposit / "checksums.sha256").write_text(f"{'0' * 64}  ../secret\n")
    with pytest.raises(DarklungError, match="line 1: wanted a SHA-256 and a file of the deposit"):
        verify_files(deposit)


def test_all_that_is_missing_is_told_at_once_by_name(tmp_path):
    (tmp_path / "about.yaml").write_text("creators: [{name: A}]\n")
    with pytest.raises(DarklungError) as caught:
        read_about(tmp_path / "about.yaml")
    told = str(caught.value).splitlines()
    assert [line.split(": ", 1)[1] for line in told] == [
        "title: is missing", "description: is missing", "creators.0.orcid: is missing", "license: is missing",
    ]  # fmt: skip


def test_what_may_not_be_given_away_is_refused_in_one_line(run, tmp_path):
    other = {"cases": {"animals": "measured", "license": "CC-BY-NC-4.0"}}
    own = {"cases": {"animals": "measured", "license": "CC-BY-4.0"}}
    refused = [
        ({"sources": other}, "licences are mixed: the deposit is CC-BY-4.0, cases CC-BY-NC-4.0"),
        ({"sources": {"cases": {"animals": "measured"}}}, "sources.cases.license: is missing; wanted the licence"),
        ({"sources": {}}, "sources.cases.animals: its cases are synthetic and do not tell"),
        ({"sources": own}, r"approval: wanted the reference of its approval: 3 measured animal\(s\)"),
        ({"sources": own, "ethics": {"approval": "TODO"}}, "got 'TODO'"),
        ({"sources": {"nobody": {}}}, "sources: 'nobody' is not known; known: cases"),
    ]
    for changes, wanted in refused:
        with pytest.raises(DarklungError, match=wanted) as caught:
            made(run, tmp_path, tmp_path / "no", **changes)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "no").exists()


def test_lesions_put_into_measured_animals_are_told_apart(run, tmp_path):
    sources = {"cases": {"animals": "measured", "license": "CC-BY-4.0"}}
    data = made(run, tmp_path, tmp_path / "d", sources=sources, ethics={"approval": "ROB-1"}, images=("labels", "nifti"))
    assert data.flags == {"phantom-annotated": 3}
    assert set(pd.read_csv(tmp_path / "d/tables/units.csv")["synthetic_flag"]) == {"phantom-annotated"}
    assert "Approval: ROB-1." in (tmp_path / "d/README.md").read_text()
    assert "ROB-1" in next(tmp_path.glob("d/models/*/card.md")).read_text()
    assert not (tmp_path / "d/images/m1/channels.ome.zarr").exists()
    assert (tmp_path / "d/images/m1/nifti/channels_attenuation.nii.gz").is_file()
    assert verify_files(tmp_path / "d")[1]


def test_only_a_deposit_is_written_over_and_a_changed_run_makes_none(run, first, tmp_path):
    check_out(first, run)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    with pytest.raises(DarklungError, match="is there and is no deposit"):
        check_out(tmp_path / "full", run)
    with pytest.raises(DarklungError, match="lie in each other"):
        check_out(run / "deposit", run)
    path = run / "evaluate/all/comparison.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0", b"1", 1))
    try:
        with pytest.raises(DarklungError, match=r"comparison.json: is not what was written; darklung verify tells all"):
            made(run, tmp_path, tmp_path / "d")
    finally:
        path.write_bytes(content)


def test_the_command_tells_the_size_first_and_a_dry_run_writes_nothing(run, tmp_path):
    call = ["deposit", str(run), "--out", str(tmp_path / "d"), "--about", str(about(tmp_path))]
    told = CliRunner().invoke(app, [*call, "--dry-run"])
    assert told.exit_code == 0
    assert told.output.startswith("3 subjects (3 synthetic), 3 models; ")
    assert not (tmp_path / "d").exists()
    assert isinstance(CliRunner().invoke(app, [*call, "--images", "pictures"]).exception, DarklungError)


def test_a_deposit_compares_with_its_run_as_the_run_with_itself(run, first, tmp_path):
    compare_folders(first, run, out=tmp_path)
    found = json.loads((tmp_path / "compare.json").read_text())
    assert all(not t["other_key"] and not t["first_only"] and not t["second_only"] for t in found["tasks"].values())
    arm = found["results"]["test"]["a"]
    assert arm["animals"] == {"first": 3, "second": 3, "both": 3}
    assert arm["paired"]["auroc"]["value"] == 0.0
    assert open_run(first).animals == open_run(run).animals
    tables = [open_run(folder).tables("test", "a") for folder in (first, run)]
    for name in ("tiles", "voxels"):
        pd.testing.assert_frame_equal(*(getattr(t, name) for t in tables), check_dtype=False)


def test_a_deposit_with_a_changed_table_is_not_compared(run, deposit):
    path = deposit / "tables/units.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DarklungError, match=r"units.parquet: is not what checksums.sha256 tells"):
        open_run(deposit)


def test_a_study_run_again_gives_the_deposit_and_a_difference_is_told(run, first, tmp_path):
    """The run that is there already, as if the command had come to its end before."""
    call = ["reproduce", str(first), "--out", str(tmp_path), "--study", str(run.parent / "study.yaml"), "--workers", "1"]
    shutil.copytree(run, tmp_path / "run")
    told = CliRunner().invoke(app, call)
    assert told.exit_code == 0, told.output
    assert "bit for bit" in told.output
    assert "3 of 3 models have the same weights" in told.output
    assert re.search(r"(\d+) of \1 results agree$", told.output.strip())
    edit(tmp_path / "run/evaluate/all/comparison.json", '"value": 0.', '"value": 0.0')
    found = compare_results(first, tmp_path / "run", tolerance=0.05)
    assert [d.name[3] for d in found.apart] == ["value"]
    assert found.apart[0].size > 0
    assert "  DIFFERS" in "\n".join(lines_of(found))


def test_on_another_machine_results_agree_within_the_tolerance(first, run, tmp_path):
    other = shutil.copytree(first, tmp_path / "d")
    about = json.loads((other / "run/run.json").read_text())
    about["environment"]["hardware"]["processor"] = "another"
    (other / "run/run.json").write_text(json.dumps(about))
    content = json.loads((other / "run/evaluate/all/comparison.json").read_text())
    metrics = content["results"]["test"]["a"]["metrics"]
    metrics["auroc"]["value"] += 0.04
    metrics["dice"]["value"] += 0.06
    metrics["brier"]["value"] = None
    (other / "run/evaluate/all/comparison.json").write_text(json.dumps(content))
    found = compare_results(other, run, tolerance=0.05)
    assert found.other == (f"processor: another, now {environment()['hardware']['processor']}",)
    assert [d.name[2] for d in found.apart] == ["dice", "brier"]
    assert "results must agree to 0.05" in "\n".join(lines_of(found))


def test_another_study_and_a_deposit_without_results_are_not_repeated(run, first, deposit, tmp_path):
    study = yaml.safe_load((run.parent / "study.yaml").read_text())
    study["learning"]["steps"] = 3
    (run.parent / "other.yaml").write_text(yaml.safe_dump(study))
    call = ["reproduce", str(first), "--out", str(tmp_path / "r"), "--study", str(run.parent / "other.yaml")]
    assert "learning.steps: is not as in the deposit" in str(CliRunner().invoke(app, call).exception)
    (deposit / "run/evaluate/all/comparison.json").unlink()
    with pytest.raises(DarklungError, match="has no results to compare"):
        study_of(deposit)
    with pytest.raises(DarklungError, match="is no deposit"):
        study_of(run)


@pytest.mark.parametrize(
    "strange", ["{}", '{"results": [1]}', '{"results": {"test": {"a": {"metrics": {"x": {"value": "=cmd()"}}}}}}']
)
def test_results_that_are_none_are_told_before_anything_runs(deposit, tmp_path, strange):
    (deposit / "run/evaluate/all/comparison.json").write_text(strange)
    reseal(deposit)
    with pytest.raises(DarklungError, match=r"comparison.json: .*(results|numbers)"):
        reproduce(deposit, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("key", ["evaluation", "learning.network", "processing.reconstruction.method"])
def test_code_that_a_study_of_strangers_names_is_told_and_not_imported(deposit, tmp_path, key):
    (deposit / "run/strange.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef go(*a, **k): return 1.0\n")
    *above, last = key.split(".")

    def strange(about):
        part = about["study"]
        for name in above:
            part = part.setdefault(name, {})
        part[last] = {"metrics": {"mine": "strange:go"}} if key == "evaluation" else "strange:go"

    with (deposit / "checksums.sha256").open("a") as sums:
        sums.write(f"{'0' * 64}  run/strange.py\n")
    rerecorded(deposit, strange)
    with pytest.raises(DarklungError, match=r"names code; look at it, then give --code(.|\n)*strange.py"):
        reproduce(deposit, tmp_path / "again")
    verify_files(deposit)
    assert not (tmp_path / "again").exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", [{"study": ["x"]}, {"tasks": "x"}, {"tasks": [1]}, {"environment": 5}])
def test_a_record_of_another_form_is_not_compared(run, deposit, part):
    about = json.loads((deposit / "run/run.json").read_text())
    (deposit / "run/run.json").write_text(json.dumps({**about, **part}))
    with pytest.raises(DarklungError, match=r"run.json: wanted a study"):
        open_run(deposit)


def test_a_cohort_has_measurements_of_its_table_in_its_units(tmp_path):
    folder = tmp_path / "cohort"
    rows = [{"subject": "t1", "lung_volume_ml": 0.5, "lung_density_g/cm3": 0.25, "synthetic_flag": True}]
    for place, name, own in (("cohort/all", "cohort", [{"subject": "t1", "note": None}]), ("tables/all", "mice", rows)):
        (folder / place).mkdir(parents=True)
        save_table(folder / place / name, own, dict.fromkeys(own[0], "what is said of it"))
        member = {"subject": "t1", "animal": "t1", "source": "mice"}
        record = {"key": "k", "parameters": {"rows": [member]}, "outputs": note(outputs_of(folder / place))}
        write_record(folder / place / "record.json", record)
    tasks = [{"task": "cohort/all", "key": "k", "started": "2026-11-28T10:00:00Z"}]
    study = {"sources": {"mice": {"from": "simulation"}}}
    write_record(folder / "run.json", {"format": 2, "name": "c", "seed": 1, "study": study, "tasks": tasks})
    data = made(folder, tmp_path, tmp_path / "d", sources={}, title="Mice alone")
    assert verify_files(tmp_path / "d")[1]
    table = pd.read_csv(tmp_path / "d/tables/measurements.csv")
    found = [tuple(r) for r in table[["quantity", "value", "unit"]].itertuples(index=False)]
    assert found == [("lung_volume_ml", 0.5, "mL"), ("lung_density_g/cm3", 0.25, "g/cm3")]
    assert (data.date, data.flags) == ("2026-11-28", {"synthetic": 1})


def test_a_radiograph_has_areas(tmp_path):
    data = np.full((1, 20, 10), 0.5, np.float32)
    data[0, 0, 0] = np.nan
    image = Image(data, ("attenuation",), ("1",), (2e-4, 3e-4))
    instances = np.zeros((20, 10), np.uint16)
    instances[5:7, 5] = 1
    every = np.ones((20, 10), bool)
    put = (Insertion(1, "lesion", "solid", (0.0, 0.0, 0.0), 1e-3),)
    labels = (instances > 0).astype(np.uint8)
    save_case(tmp_path / "r", LabelledCase(image, labels, every, every, instances, ~every, put, CaseFacts("r", "r")))
    found = {name: (value, unit) for name, value, unit, _ in case_measurements(tmp_path / "r")}
    assert found["lung_area"] == (pytest.approx(200 * 0.06), "mm2")
    assert found["lesion_area"] == (pytest.approx(2 * 0.06), "mm2")
    assert found["attenuation_lung_mean"] == (0.5, "1")
    assert found["lesion_diameter"] == (1.0, "mm")


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("tables/units,column,split", "../../units,column,split", "table: string should match pattern"),
        ("0 | 1 | 255", "1e1e1..2", "could not convert string to float"),
        ("tables/units,column,score", "tables/units,column,split", "tables/units column split: is there twice"),
    ],
)
def test_a_dictionary_of_somebody_else_is_told_in_lines(deposit, old, new, wanted):
    edit(deposit / "data_dictionary.csv", old, new)
    text, whole = verify_files(deposit)
    assert not whole
    assert re.search(wanted, text), text


def test_datacite_is_valid_by_its_schema(first):
    schema = pytest.importorskip("datacite.schema45")
    assert [e.message for e in schema.validator.iter_errors(json.loads((first / "datacite.json").read_text()))] == []


def test_rocrate_reads_the_crate_back(first):
    crate = pytest.importorskip("rocrate.rocrate").ROCrate(str(first))
    assert crate.name == ABOUT["title"]
    assert [p.id for p in crate.root_dataset["creator"]] == ["https://orcid.org/0000-0002-1825-0097", "#creator-2"]
    assert all((first / e.id).is_file() for e in crate.get_by_type("File"))


def test_mlcroissant_iterates_the_tables(first):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        croissant = pytest.importorskip("mlcroissant")
        data = croissant.Dataset(jsonld=str(first / "croissant.json"))
        assert not data.metadata.ctx.issues.errors
        rows = list(data.records(record_set="measurements"))
    table = pd.read_csv(first / "tables/measurements.csv")
    assert [r["measurements/value"] for r in rows] == table["value"].tolist()
    assert rows[0]["measurements/quantity"].decode() == table["quantity"][0]


def test_the_readme_has_a_head_that_yaml_reads(first):
    head = yaml.safe_load((first / "README.md").read_text().split("---\n")[1])
    assert (head["pretty_name"], head["license"]) == (ABOUT["title"], "cc-by-4.0")
    assert all((first / c["data_files"]).is_file() for c in head["configs"])
    assert "&lt;small&gt;" in (first / "README.md").read_text()
    assert read_about(first / "about.yaml") == About.model_validate(ABOUT)


# Twenty-two plants in a deposit: eight flipped bits, seven edited settings, seven other versions.
FLIPPED = (  # those above the last three are what compare reads
    "run/run.json", "run/evaluate/all/comparison.json", "images/m1/case.json", "tables/units.parquet",
    "tables/lesions.parquet",
    "run/study.yaml", "croissant.json", "images/m1/channels.ome.zarr",
)  # fmt: skip
SETTINGS = (
    ("learning.steps", 3), ("learning.patch", 16), ("learning.batch", 1), ("learning.learning_rate", 0.1),
    ("learning.training.precision", "bfloat16"), ("evaluation.tile", 0.002), ("seed", 8),
)  # fmt: skip
OTHERS = ("numpy", "scipy", "torch", "h5py", "zarr", "python", "pandas")


def put(content, dotted, value):
    """Another value of a setting; returns what it was."""
    *above, last = dotted.split(".")
    for name in above:
        content = content[name]
    was, content[last] = content[last], value
    assert was != value
    return was


@pytest.mark.parametrize("place", FLIPPED)
def test_a_flipped_bit_of_a_deposit_is_named(run, deposit, place):
    rng = np.random.default_rng(sum(place.encode()))
    there = deposit / place
    file = there if there.is_file() else max((p for p in there.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    file.write_bytes(content)
    text, whole = verify_files(deposit)
    assert not whole
    assert f"{file}: is not what was written" in text
    assert {line.split(": ")[0] for line in text.splitlines()[:-1] if not line.startswith("note")} == {str(file)}
    if place in FLIPPED[:-3]:
        with pytest.raises(DarklungError, match=re.escape(file.name)):
            compare_folders(deposit, run)


@pytest.mark.parametrize(("setting", "value"), SETTINGS)
def test_an_edited_setting_of_a_deposit_is_named(first, deposit, setting, value):
    study = deposit / "run/study.yaml"
    content = yaml.safe_load(study.read_text())
    was = put(content, setting, value)
    study.write_text(yaml.safe_dump(content))
    reseal(deposit)
    text, whole = verify_files(deposit)  # the file says so although its checksum was made anew
    assert not whole
    assert f"{study}: {setting}: wanted {was!r} as in run.json, got {value!r}" in text
    about = json.loads((deposit / "run/run.json").read_text())
    put(about["study"], setting, value)
    (deposit / "run/run.json").write_text(json.dumps(about))
    reseal(deposit)
    with pytest.raises(DarklungError, match=r"run.json: is not what was written"):
        compare_folders(deposit, first)
    assert "run.json: is not what was written" in verify_files(deposit)[0]
    rerecorded(deposit, lambda about: None)  # another run of one setting: compare tells it, and nothing else
    assert verify_files(deposit)[1]
    told = compare_folders(deposit, first)
    assert f"settings: 1 differ\n  {setting}: {value} | {was}\n" in told
    assert "environment: the same" in told


@pytest.mark.parametrize("library", OTHERS)
def test_another_version_in_a_deposit_is_named(first, deposit, library):
    if library != "python":
        edit(deposit / "run/requirements.txt", f"{library}==", f"{library}==0.")
        reseal(deposit)
        text, whole = verify_files(deposit)
        assert not whole
        assert "requirements.txt: its versions are not those of run.json" in text
    was = rerecorded(deposit, lambda about: put(about, f"environment.versions.{library}", "0.0.1"))
    text, whole = verify_files(deposit)
    assert whole  # no file is other than it was made; who verifies is told
    assert f"note: made with {library} 0.0.1; here is {was}" in text
    told = compare_folders(deposit, first)
    assert f"settings: the same\n\nenvironment: 1 differ\n  versions.{library}: 0.0.1 | {was}\n" in told


def test_what_a_stranger_wrote_for_a_record_is_told_in_lines(deposit):
    for text in ("[]", '{"study": 5}', '{"study": {}, "environment": "x"}', '{"study": {}, "environment": {"versions": 3}}'):
        (deposit / "run/run.json").write_text(text)
        reseal(deposit)
        told, whole = verify_files(deposit)
        assert not whole
        assert "run.json: " in told


def planted(file, change):
    """A JSON document with a mistake."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def faults_of_datacite(folder):
    schema = pytest.importorskip("datacite.schema45")
    return [e.message for e in schema.validator.iter_errors(json.loads((folder / "datacite.json").read_text()))]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda c: c.pop("titles"), "titles"),
        (lambda c: c["creators"].clear(), r"\[\]"),
        (lambda c: c["types"].update(resourceTypeGeneral="Data set"), "Data set"),
        (lambda c: c.update(publicationYear=26), "26"),
    ],
)
def test_the_schema_of_datacite_catches_a_planted_mistake(deposit, change, wanted):
    assert faults_of_datacite(deposit) == []
    planted(deposit / "datacite.json", change)
    assert any(re.search(wanted, fault) for fault in faults_of_datacite(deposit))


def iterated(folder):
    """Every record of the measurements, as Croissant's own reader gives them."""
    croissant = pytest.importorskip("mlcroissant")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(croissant.Dataset(jsonld=str(folder / "croissant.json")).records(record_set="measurements"))


def one_field(content):
    records = next(r for r in content["recordSet"] if r["@id"] == "measurements")
    return next(f for f in records["field"] if f["@id"] == "measurements/value")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: one_field(c)["source"]["extract"].update(column="valeu"),
        lambda c: one_field(c)["source"]["fileObject"].update({"@id": "nobody"}),
        lambda c: next(f for f in c["distribution"] if "measurements" in f["@id"]).update(sha256=64 * "0"),
        lambda c: next(f for f in c["distribution"] if "measurements" in f["@id"]).update(contentUrl="tables/other.csv"),
    ],
)
def test_mlcroissant_catches_a_planted_mistake(deposit, change):
    assert len(iterated(deposit)) == len(pd.read_csv(deposit / "tables/measurements.csv"))
    planted(deposit / "croissant.json", change)
    with pytest.raises(Exception, match=r"(?s)."):  # each from its own class of errors
        iterated(deposit)


def crate_of(folder):
    return pytest.importorskip("rocrate.rocrate").ROCrate(str(folder))


def entity(content, name):
    return next(e for e in content["@graph"] if e["@id"] == name)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["@graph"].remove(entity(c, "./")),
        lambda c: c["@graph"].remove(entity(c, "ro-crate-metadata.json")),
        lambda c: entity(c, "ro-crate-metadata.json")["about"].update({"@id": "elsewhere"}),
        lambda c: c.pop("@context"),
    ],
)
def test_rocrate_catches_a_planted_mistake(deposit, change):
    crate_of(deposit)
    planted(deposit / "ro-crate-metadata.json", change)
    with pytest.raises((ValueError, KeyError)):
        crate_of(deposit)


def schema_of_image(folder):
    models = pytest.importorskip("ome_zarr_models.v05")
    return models.Image.from_zarr(zarr.open_group(str(folder), mode="r"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"space"', '"length"'), ('"multiscales"', '"multiscale"'),
        ('"version": "0.5"', '"version": "0.9"'), ('"scale"', '"stretch"'),
    ],
)  # fmt: skip
def test_the_schema_of_ome_zarr_reads_a_deposits_images_and_catches_a_planted_mistake(deposit, old, new):
    for name in ("channels", "labels"):
        schema_of_image(deposit / f"images/m1/{name}.ome.zarr")
    file = deposit / "images/m1/channels.ome.zarr/zarr.json"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ValueError, match=r"(?s)."):
        schema_of_image(file.parent)


def test_the_head_of_the_models_card_is_read_and_a_planted_mistake_caught(deposit):
    card = next(deposit.glob("models/*/card.md"))
    head = yaml.safe_load(card.read_text().split("---\n")[1])
    assert read_head(card.read_text()).model_dump(mode="json", by_alias=True, exclude_none=True) == head
    edit(card, "license: ", "licence: ")
    with pytest.raises(DarklungError, match="licence: unknown key"):
        read_head(card.read_text())

"""The cohort command: tables, phantoms and radiographs; the same for any number of workers and after a kill."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from darklung.commands.cohort import make_cohort
from darklung.core.checks import DarklungError
from darklung.core.types import Phantom
from darklung.io.hdf5 import load
from darklung.io.images import load_image
from darklung.io.tables import load_table

pytestmark = pytest.mark.slow(30)

COARSE = "450 um"
SIZE = {"animals": "2,1", "voxel": COARSE, "seed": 6}


def digests(folder):
    """Of every phantom's and radiograph's arrays and of the tables."""
    found = {}
    for path in sorted(folder.glob("phantom/*/phantom.h5")):
        phantom = load(path, Phantom)
        parts = (phantom.density, phantom.instances, phantom.axis, phantom.interface_density_per_m)
        found[path.parent.name] = hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest()
    for path in sorted(folder.glob("radiograph/*/radiograph.ome.zarr")):
        found[f"radiograph {path.parent.name}"] = hashlib.sha256(load_image(path).data.tobytes()).hexdigest()
    for path in sorted(folder.glob("*.csv")):
        found[path.name] = path.read_text()
    return found


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort") / "one"
    make_cohort(None, out=folder, changes=SIZE, radiographs=True, workers=1)
    return folder


def test_tables_tell_who_is_there_and_what_each_turned_out_to_be(cohort):
    rows, mice, insertions = (load_table(cohort / name) for name in ("cohort", "mice", "insertions"))
    assert [r["split"] for r in rows] == ["train"] * 2 + ["test"]
    assert [r["variant"] for r in rows] == ["A"] * 2 + ["B"]
    assert len({r["seed"] for r in rows}) == 3
    assert [m["subject"] for m in mice] == [r["subject"] for r in rows]
    assert len(insertions) == sum(r["lesions"] + r["shams"] + r["mimics"] for r in rows)
    for table in (rows, mice, insertions):
        assert all(row["synthetic_flag"] for row in table)
    for name, table in (("cohort", rows), ("mice", mice), ("insertions", insertions)):
        dictionary = (cohort / f"{name}.dictionary.csv").read_text().splitlines()
        assert len(dictionary) == 1 + len(table[0])


def test_a_radiograph_is_of_the_same_animal(cohort):
    phantom = load(cohort / "phantom/train-0001/phantom.h5", Phantom)
    image = load_image(cohort / "radiograph/train-0001/radiograph.ome.zarr")
    truth = load_image(cohort / "radiograph/train-0001/truth.ome.zarr")
    k = phantom.lobes.shape[0] // image.shape[0]
    mass = phantom.density.sum(axis=(0, 2)).reshape(image.shape[0], k, image.shape[1], k).mean(axis=(1, 3))
    assert np.corrcoef(image.channel("attenuation").ravel(), mass.ravel())[0, 1] > 0.97
    lung = truth.channel("lung_path")
    assert np.corrcoef(image.channel("dark_field").ravel(), lung.ravel())[0, 1] > 0.8
    volume = np.count_nonzero(phantom.lobes) * phantom.voxel_m**3
    assert lung.sum() * np.prod(image.spacing_m) == pytest.approx(volume, rel=1e-5)
    lesion = phantom.lesion_mask().sum() * phantom.voxel_m**3
    assert truth.channel("lesion_path").sum() * np.prod(image.spacing_m) == pytest.approx(lesion, rel=1e-5)


def test_killed_and_resumed_with_two_workers_it_is_the_same_cohort(cohort, tmp_path):
    folder = tmp_path / "two"
    call = [
        sys.executable,
        "-m",
        "darklung.commands.cli",
        "cohort",
        "--out",
        str(folder),
        "--animals",
        "2,1",
        "--voxel",
        COARSE,
    ]
    call += ["--seed", "6", "--radiographs", "--workers", "2"]
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while process.poll() is None and not list(folder.glob("phantom/*/record.json")):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert process.poll() is None  # killed at work
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "cohort.csv").exists()
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tasks are done already" in done.stderr
    assert not done.stderr.splitlines()[0].split("] ")[1].startswith("0 of")
    assert digests(folder) == digests(cohort)
    assert "0 task(s) computed" in make_cohort(None, out=folder, changes=SIZE, radiographs=True, workers=1)


def test_a_dry_run_makes_nothing(tmp_path):
    told = make_cohort(None, out=tmp_path / "none", changes=SIZE, ct=True, dry_run=True).splitlines()
    assert "to do  reconstruct/test-0001" in told
    assert told[-1].startswith("3 animals; ")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"animals": "many"}, "animals: wanted a number, or training,held-out such as 150,50, got 'many'"),
        ({"animals": "0,0"}, "the cohort is empty"),
        ({"voxel": "3 kg"}, "options: body: voxel: wanted a length"),
    ],
)
def test_wrong_options_end_in_one_clear_line(tmp_path, changes, message):
    with pytest.raises(DarklungError) as caught:
        make_cohort(None, out=tmp_path, changes=changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_a_study_of_simulated_mice_makes_a_cohort(tmp_path):
    path = tmp_path / "study.yaml"
    study = {"name": "lobes", "sources": {"lobes": {"from": "lobes", "data": "here"}}}
    path.write_text(yaml.safe_dump(study))
    with pytest.raises(DarklungError, match="wanted a study with one simulated source, got 0"):
        make_cohort(path, out=tmp_path / "out")


def write_atlas(folder, table):
    """A body with two lungs between bones as labels, and a study that uses it."""
    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * 0.3 for n in (50, 70, 70)], indexing="ij")
    labels = (np.hypot(y, x) < 9).astype(np.uint8)
    for side in (-1, 1):
        labels[(z / 6) ** 2 + (y / 4) ** 2 + ((x - 4.2 * side) / 3.2) ** 2 < 1] = 3
    labels[np.hypot(y - 6.5, x) < 1] = 2
    np.savez(folder / "labels.npz", labels=labels)
    atlas = {"file": "labels.npz", "voxel": "300 um", "axes": ["head", "back", "left"], "table": table}
    body = {"voxel": "500 um", "length": "12 mm", "atlas": atlas}
    study = {"name": "atlas", "sources": {"mice": {"from": "simulation", "body": body}}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return folder / "study.yaml"


def test_a_label_volume_takes_the_place_of_the_body(tmp_path):
    study = write_atlas(tmp_path, {0: "air", 1: "soft_tissue", 2: "bone", 3: "lung"})
    make_cohort(study, out=tmp_path / "out", changes={"animals": "1"}, radiographs=True, workers=1)
    phantom = load(tmp_path / "out/phantom/train-0001/phantom.h5", Phantom)
    assert phantom.lobes.shape[0] % 2 == 0  # whole detector pixels
    assert np.count_nonzero(phantom.lobes) * phantom.voxel_m**3 == pytest.approx(2 * 4 / 3 * np.pi * 6 * 4 * 3.2e-9, rel=0.2)
    assert phantom.density[2].max() > 1
    image = load_image(tmp_path / "out/radiograph/train-0001/radiograph.ome.zarr")
    assert image.channel("dark_field").max() > 0.3


def test_a_wrong_label_volume_ends_in_one_clear_line(tmp_path):
    for table, message in (
        ({0: "air", 1: "soft_tissue", 3: "lung"}, "labels [2] occur in the volume but have no tissue"),
        ({0: "air", 1: "jelly", 2: "bone", 3: "lung"}, "table: 'jelly' is not known"),
    ):
        study = write_atlas(tmp_path, table)
        with pytest.raises(DarklungError) as caught:
            make_cohort(study, out=tmp_path / "out", changes={"animals": "1"}, workers=1)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    (tmp_path / "labels.npz").unlink()
    with pytest.raises(DarklungError, match="no such file"):
        make_cohort(study, out=tmp_path / "out", changes={"animals": "1"}, workers=1)

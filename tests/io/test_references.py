"""What an HDF5 file leads to counts in keys, may not be overwritten, and is refused where it lies elsewhere."""

import h5py
import numpy as np
import pytest
import yaml

from darklung.commands.archive import import_described
from darklung.core.checks import DarklungError
from darklung.core.types import Projections
from darklung.io.description import read_raw
from darklung.io.frames import load_scans
from darklung.io.hdf5 import load
from darklung.io.projections import open_projections
from darklung.io.references import files_behind
from darklung.pipeline import task_keys
from darklung.steps.retrieve import raw_files, task_of_raw

STEPS = 4
AXES = {"sample": ["view", "step", "row", "col"], "flat": ["flat", "step", "row", "col"]}


def counts(seed=0, shape=(3, STEPS, 4, 5)):
    return np.random.default_rng(seed).poisson(1000, shape).astype(np.uint16)


def link(file, name, folder):
    file[name] = h5py.ExternalLink(f"{folder}part.h5", "/g/d")


def soft(file, name, folder):
    file["far"] = h5py.ExternalLink(f"{folder}part.h5", "/g")
    file[name] = h5py.SoftLink("/far/d")


def virtual(file, name, folder):
    layout = h5py.VirtualLayout((3, STEPS, 4, 5), np.uint16)
    layout[:] = h5py.VirtualSource(f"{folder}part.h5", "g/d", (3, STEPS, 4, 5))
    file.create_virtual_dataset(name, layout)


def virtual_of_link(file, name, folder):
    layout = h5py.VirtualLayout((3, STEPS, 4, 5), np.uint16)
    layout[:] = h5py.VirtualSource(".", "there", (3, STEPS, 4, 5))
    file["there"] = h5py.ExternalLink(f"{folder}part.h5", "/g/d")
    file.create_virtual_dataset(name, layout)


KINDS = {"link": link, "soft": soft, "virtual": virtual, "virtual of a link": virtual_of_link}


def described(folder, kind, *, inside, **more):
    """A scan whose sample lies in another file, beside it or in another folder."""
    home, other = folder / "home", folder / ("home" if inside else "other")
    home.mkdir()
    other.mkdir(exist_ok=True)
    with h5py.File(other / "part.h5", "w") as file:
        file["g/d"] = counts()
    with h5py.File(home / "scan.h5", "w") as file:
        KINDS[kind](file, "s", "" if inside else "../other/")
        file["f"] = counts(1)
    source = {"kind": "hdf5", "file": "scan.h5"}
    content = {
        "name": "scan",
        "sample": {**source, "dataset": "s", "axes": AXES["sample"], **more},
        "flat": {**source, "dataset": "f", "axes": AXES["flat"]},
        "steps": {"count": STEPS, "endpoint_repeated": False},
        "pixel": "75 um",
    }
    (home / "scan.yaml").write_text(yaml.safe_dump(content))
    return home / "scan.yaml", (other / "part.h5").resolve()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_beside_it_is_read_and_counts_in_the_key(tmp_path, kind):
    path, part = described(tmp_path, kind, inside=True)
    ((_, scan, _),) = load_scans(path)
    np.testing.assert_array_equal(scan.frames[0], counts())
    ((raw, columns),) = read_raw(path)
    assert part in [p.resolve() for p in raw_files(raw, path)]
    before = task_keys([task_of_raw(raw, columns, path, raw.retrieval)])
    with h5py.File(part, "a") as file:
        file["more"] = counts()
    assert task_keys([task_of_raw(raw, columns, path, raw.retrieval)]) != before


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_elsewhere_is_refused_unless_it_is_allowed_by_name(tmp_path, kind):
    path, part = described(tmp_path, kind, inside=False)
    with pytest.raises(DarklungError, match=r"leads to .*part\.h5, outside its folder; allow it by name \(links"):
        list(load_scans(path))
    content = yaml.safe_load(path.read_text())
    for allowed in ("../other/part.h5", "../other/*.h5", str(part)):
        content["sample"]["links"] = [allowed]
        path.write_text(yaml.safe_dump(content))
        ((_, scan, _),) = load_scans(path)
        np.testing.assert_array_equal(scan.frames[0], counts())


def test_external_storage_is_no_way_to_read_any_file(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "secret").write_bytes(bytes(range(240)) * 2)
    with h5py.File(tmp_path / "home/scan.h5", "w") as file:
        place = [(str(tmp_path / "secret"), 0, 480)]
        file.create_dataset("s", (3, STEPS, 4, 5), np.uint16, external=place)
        file["f"] = counts(1)
    path, _ = described(tmp_path / "home", "link", inside=True)
    content = yaml.safe_load(path.read_text())
    content["sample"]["file"] = "../scan.h5"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(DarklungError, match=r"leads to .*secret, outside its folder"):
        list(load_scans(path))
    assert files_behind(tmp_path / "home/scan.h5", ["s"]) == [tmp_path / "secret"]


def test_what_is_missing_is_named(tmp_path):
    for kind in KINDS:
        folder = tmp_path / kind
        folder.mkdir()
        path, part = described(folder, kind, inside=True)
        part.unlink()
        with pytest.raises(DarklungError, match=r"part\.h5.* (is missing|which is not there)"):
            list(load_scans(path))


def test_what_is_led_to_is_not_overwritten(tmp_path):
    path, part = described(tmp_path, "virtual", inside=True)
    before = part.read_bytes()
    with pytest.raises(DarklungError, match="the scan is read from this file"):
        import_described(path, part)
    assert part.read_bytes() == before


def test_a_circle_of_links_ends(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = h5py.ExternalLink("b.h5", "/x")
        file["y"] = h5py.SoftLink("/y")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = h5py.ExternalLink("a.h5", "/x")
    assert files_behind(tmp_path / "a.h5", ["x", "y", "none"]) == [tmp_path / "b.h5"]


@pytest.mark.parametrize("kind", KINDS)
def test_projections_hold_everything_themselves(tmp_path, kind):
    described(tmp_path, kind, inside=True)
    file = tmp_path / "home/scan.h5"
    with h5py.File(file, "a") as handle:
        handle.move("s", "attenuation")
        handle["angles_rad"], handle.attrs["pixel_m"] = np.zeros(2), 1e-4
        handle.attrs["darklung_type"] = "Projections"
    for read in (open_projections, lambda path: load(path, Projections)):
        with pytest.raises(DarklungError, match=r"link to another file|values in other files|hold all their values"):
            read(file)

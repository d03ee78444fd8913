"""Mistakes in study files: each is refused before anything is computed, in one line that says what is wrong."""

from __future__ import annotations

import copy
import re
import textwrap
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from door_mistakes import ARMS, CT, HALF, KNOWN, LEARNING, MICE_AT, MISTAKES, OTHER, STUDIES, TESTED

from darklung.calibrate.file import plain, save_calibration
from darklung.calibrate.units import ScatterUnit
from darklung.commands.run import list_tasks, run_study
from darklung.core.checks import DarklungError
from darklung.core.types import UNKNOWN, Image, Insertion
from darklung.flow import door
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.io.nifti import write_nifti

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
SECONDS = 3.0  # of the processor: what others do on this machine is no fault of the door
OWN = """
    import numpy as np
    import torch
    from torch import nn

    NUMBER = 3

    class Plain(nn.Module):
        def __init__(self, channels, dims, make):
            super().__init__()
            self.body, self.make = (nn.Conv2d, nn.Conv3d)[dims - 2](channels, 1, 1), make

        def forward(self, x):
            return self.make(self.body(x))

    def good(*, channels, dims, widths, depth=2): return Plain(channels, dims, lambda y: y)
    def heads(*, channels, dims, widths): return Plain(channels, dims, lambda y: {"logits": y, "size": y.mean()})
    def no_dims(*, channels, widths): return None
    def nothing(*, channels, dims, widths): return None
    def two(*, channels, dims, widths): return Plain(channels, dims, lambda y: torch.cat([y, y], dim=1))
    def small(*, channels, dims, widths): return Plain(channels, dims, lambda y: y[..., ::2])
    def pair(*, channels, dims, widths): return Plain(channels, dims, lambda y: (y, y))
    def array(*, channels, dims, widths): return Plain(channels, dims, lambda y: y.detach().numpy())
    def whole(*, channels, dims, widths): return Plain(channels, dims, lambda y: y.long())
    def unknown(*, channels, dims, widths): return Plain(channels, dims, lambda y: y * float("nan"))
    def other_heads(*, channels, dims, widths): return Plain(channels, dims, lambda y: {"mask": y})
    def raises(*, channels, dims, widths): return Plain(channels, dims, lambda y: y.view(7, 7))
    def loss(logits, target, distance, region, *, weight=1.0): return (logits * weight).mean()
    def loss_of_two(logits, target): return logits.mean()
    def metric(*, logits, targets, regions): return 0.0
"""


def case(name: str, *, shape=(6, 6, 6), names=("attenuation", "dark_field"), known=True, spacing=3e-4, lesion=True):
    """A small labelled case; a lesion of one voxel, or none, or nothing known; of a number one plane in so many."""
    instances = np.zeros(shape, np.uint16)
    instances.flat[3] = 1 if known and lesion else 0
    labels = (instances == 1).astype(np.uint8) if known else np.full(shape, UNKNOWN, np.uint8)
    if known > 1:
        unseen = np.arange(shape[1]) % known > 0
        labels[:, unseen] = UNKNOWN
    image = Image(np.ones((len(names), *shape), np.float32), names, ("1/m",) * len(names), (spacing,) * len(shape))
    put = (Insertion(1, "lesion", "solid", (0.0, 0.0, 0.0), 1e-3),) if known and lesion else ()
    every, facts = np.ones(shape, bool), CaseFacts(name, name, provenance={"energy_kev": 70.0})
    return LabelledCase(image, labels, every, every, instances, ~every, put, facts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that the studies name, and a module of the user's own."""
    root = tmp_path_factory.mktemp("door")
    (root / "own.py").write_text(textwrap.dedent(OWN))
    for name in ("m1", "m2", "m3", "m4"):
        save_case(root / "cases" / name, case(name))
        save_case(root / "blank" / name, case(name, known=False))
        save_case(root / "sections" / name, case(name, known=3, shape=(14, 14, 14)))
        save_case(root / "healthy" / name, case(name, lesion=False))
        save_case(root / "flat" / name, case(f"flat-{name}", shape=(8, 8)))
        save_case(root / "fine" / name, case(f"fine-{name}", spacing=2e-4))
        grey = Image(np.ones((1, 8, 8, 8), np.float32), ("attenuation",), ("1/m",), (3e-4,) * 3)
        for kind in ("ct", "labels"):
            (root / kind).mkdir(exist_ok=True)
            write_nifti(root / kind / f"{name}.nii", grey, "attenuation")
    (root / "broken.nii").write_bytes(b"nothing")
    (root / "turn").mkdir()
    for name, arc in (("t1", 180), ("t2", 180), ("t3", 180), ("part", 60)):
        with h5py.File(root / "turn" / f"{name}.h5", "w") as file:
            file["attenuation"] = np.ones((2, 12, 4, 16), np.float32)
            file["dark_field"] = np.ones((2, 12, 4, 16), np.float32)
            file["angles_rad"] = np.radians(np.arange(12) * arc / 12)
            file["directions_rad"] = np.array([0.0, np.pi / 2])
            file.attrs["pixel_m"] = 3e-4
    np.save(root / "frames.npy", np.ones((2, 12, 5, 4, 16), np.float32))
    raw = {
        "name": "scan", "pixel": "400 um", "directions": ["0 deg", "90 deg"],
        "steps": {"count": 5, "endpoint_repeated": False}, "angles": {"first": "0 deg", "step": "15 deg"},
        "sample": {"kind": "npy", "files": "frames.npy", "axes": ["direction", "view", "step", "row", "col"]},
        "flat": {"kind": "npy", "files": "frames.npy", "axes": ["direction", "flat", "step", "row", "col"]},
    }  # fmt: skip
    changes: dict[str, dict[str, Any]] = {
        "whole": {}, "one_view": {"angles": None}, "no_flat": {"flat": None}, "unit": {"pixel": "300"},
        "axes": {"sample": {**raw["sample"], "axes": ["direction", "view", "row", "step", "col"]}},
        "no_frames": {"sample": {**raw["sample"], "files": "not_there.npy"}},
    }  # fmt: skip
    for name, change in changes.items():
        (root / f"{name}.yaml").write_text(yaml.safe_dump({k: v for k, v in {**raw, **change}.items() if v is not None}))
    save_calibration(root / "unit.json", "unit", "foam", {}, unit=plain(ScatterUnit(0.4, 30.4, 0.01, 0.1, "foam")))
    (root / "spectrum.csv").write_text("nothing\n")
    return root


def study(kind: str) -> dict[str, Any]:
    learning = {**LEARNING, "arms": {"hybrid": ARMS.get(kind, LEARNING["arms"]["hybrid"])}, "patch": 4}
    found = {"name": "door", **STUDIES[kind], "learning": {**LEARNING, **(learning if kind != "mice" else {})}}
    return copy.deepcopy(found)


def changed(kind: str, changes: dict[str, Any]) -> dict[str, Any]:
    """A valid study with some values replaced (``a.b.c``: value), or taken away (None)."""
    made = study(kind)
    for path, value in changes.items():
        *way, last = path.split(">" if ">" in path else ".")
        place = made
        for key in way:
            place = place.setdefault(key, {})
        if value is None:
            del place[last]
        else:
            place[last] = value
    return made


def written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="module", autouse=True)
def torch_is_there():
    """To import it takes seconds of its own, which only a study with a network of the user's pays."""
    import torch  # noqa: F401


@pytest.mark.parametrize("kind", STUDIES)
def test_the_studies_themselves_pass(folder, kind, tmp_path):
    assert "tasks to do" in list_tasks(written(folder, changed(kind, {})), out=tmp_path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_the_examples_pass(path, tmp_path):
    assert "tasks to do" in list_tasks(path, out=tmp_path)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_in_one_line_before_anything_is_computed(folder, name, tmp_path):
    kind, changes, line = MISTAKES[name]
    path = written(folder, changed(kind, changes))
    started = time.process_time()
    with pytest.raises(DarklungError) as caught:
        list_tasks(path, out=tmp_path / "run")
    assert time.process_time() - started < SECONDS
    told = str(caught.value)
    assert re.search(line, told), told
    assert len(told.splitlines()) == 1, told
    assert len(told) < 700
    assert not (tmp_path / "run").exists()


def test_all_mistakes_are_told_at_once(folder, tmp_path):
    changes = {"learning.arms": {"a": ["atenuation"]}, "learning.loss": "mse", "evaluation.tile": "0.3 mm"}
    with pytest.raises(DarklungError) as caught:
        list_tasks(written(folder, changed("mice", changes)), out=tmp_path)
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        "learning",
        "evaluation.tile",
        "learning.arms.a",
    ]


def test_run_refuses_what_the_dry_run_refuses_and_computes_nothing(folder, tmp_path):
    path = written(folder, changed("mice", {"learning.arms": {"a": ["dark_field_45"]}}))
    with pytest.raises(DarklungError, match="'dark_field_45' will not be among the channels"):
        run_study(path, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["own:good", "own:heads"])
def test_networks_of_the_user_that_keep_the_contract_pass(folder, name, tmp_path):
    options = {"depth": 5} if name == "own:good" else {}
    changes = {"learning.network": name, "learning.network_options": options, "learning.loss": "own:loss"}
    assert "tasks to do" in list_tasks(written(folder, changed("mice", changes)), out=tmp_path)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("mice", {f"{MICE_AT}.scan.source_axis": "150 mm", f"{MICE_AT}.scan.arc": "360 deg"}),
        ("mice", {f"{MICE_AT}.cohort.test_animals": 0}),  # folds test each other
        ("mice", {"learning>arms": {"a-fold0-test": ["attenuation_noise", "dark_field_90_noise", "noise", "anisotropy"]}}),
        ("mice", {"processing.reconstruction.method": "tensor", "learning.arms": {"a": ["tensor_zz", "known_zz"]}}),
        ("mice", {"sources.ct": {**CT, "use": "test", "energy": "70 keV"}, **TESTED}),
        ("mice", {"sources.ct": {**CT, "use": "test"}, "learning.normalisation": "volume", **TESTED}),
        ("cases", {"sources.cases.files": ["sections/*"]}),
        ("cases", {"sources.cases.files": HALF, "sources.more": {**OTHER, "files": ["sections/m1"], "use": "test"}}),
        ("cases", {"sources.more": {**OTHER, "files": ["blank/m1"], "use": "predict"}, "sources.cases.files": KNOWN}),
    ],
)  # fmt: skip
def test_what_will_work_is_not_refused(folder, kind, changes, tmp_path):
    assert "tasks to do" in list_tasks(written(folder, changed(kind, changes)), out=tmp_path)


def test_a_cohort_of_many_is_checked_in_little_time(folder, tmp_path, monkeypatch):
    path = written(folder, changed("mice", {f"{MICE_AT}.cohort.animals": 300, f"{MICE_AT}.cohort.lesion_free": 0.3}))
    spent = []
    original = door.check

    def timed(*given):
        started = time.process_time()
        original(*given)
        spent.append(time.process_time() - started)

    monkeypatch.setattr(door, "check", timed)
    list_tasks(path, out=tmp_path)
    assert spent[0] < 1.0

"""A bank's lesions in training: the same for every arm, in the lung, in all channels, and the same again after a kill."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from scipy import ndimage

import darklung.learn.train as training
from darklung.commands.run import run_study
from darklung.core.checks import DarklungError
from darklung.core.geometry import centred_axis
from darklung.core.types import Image, Insertion
from darklung.flow.plan import bank_facts, plan
from darklung.insert.bank import interface_of
from darklung.insert.scale import Scale
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.pipeline import Context
from darklung.steps.bank import make_redraw
from darklung.steps.train import train
from darklung.study.learning import BankPart
from darklung.study.study import Study, read_study

VOXEL_M, SHAPE = 3e-4, (24, 26, 28)
NAMES = ("attenuation", "dark_field", "dark_field_0", "dark_field_90", "noise")
BANK = {"lesions": 4, "per_case": [1, 2], "every": 3}
MICE = {
    "from": "simulation",
    "cohort": {
        "animals": 2,
        "test_animals": 1,
        "tissues": ["solid"],
        "diameter": ["1.2 mm", "1.8 mm"],
        "lesions": [1, 1],
        "lesion_free": 0.0,
        "mimics": [0, 0],
    },
    "body": {"voxel": "400 um"},
    "scan": {"supersampling": 1, "views": 24, "flats": 2, "flat_repeats": 2},
}
STUDY = {
    "name": "tiny",
    "seed": 3,
    "sources": {"mice": MICE},
    "learning": {
        "arms": {"transmission": ["attenuation"], "hybrid": ["attenuation", "dark_field", "dark_field_90"]},
        "widths": [16, 32],
        "patch": 12,
        "steps": 8,
        "folds": 2,
        "bank": BANK,
    },
    "evaluation": {"replicates": 200},
}
STUDY_PART = Study.model_validate(STUDY)


def facts_of(study):
    """What the bank of a study is drawn from, with the beams of its training animals."""
    return bank_facts(study, [m for m in plan(study).members if m.use == "train"])


def stored_case(number):
    """Textured lung in tissue with one lesion of its own."""
    axes = [centred_axis(n, VOXEL_M) for n in SHAPE]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    region = (z / 3e-3) ** 2 + (y / 3.4e-3) ** 2 + (x / 3.6e-3) ** 2 < 1
    scale = Scale("test", 70.0, 3e-6)
    tissue = scale.tissue_per_m
    noise = np.random.default_rng(number).standard_normal((4, *SHAPE))
    mu = np.where(region, 0.3, 1.0) * tissue * (1 + 0.03 * noise[0])
    dark = [np.where(region, 40.0 * k, 5.0) * (1 + 0.05 * n) for k, n in zip((1.0, 0.8), noise[1:])]
    own = z**2 + y**2 + (x - 1.5e-3) ** 2 < 0.5e-3**2
    mu, dark = np.where(own, tissue, mu), [np.where(own, 10.0, d) for d in dark]
    data = np.stack([mu, np.mean(dark, axis=0), *dark, noise[3]]).astype(np.float32)
    image = Image(data, NAMES, ("1/m",) * 5, (VOXEL_M,) * 3, tuple(float(a[0]) for a in axes))
    lesion = Insertion(1, "lesion", "solid", (0.0, 0.0, 1.5e-3), 1e-3)
    labels, instances, none = own.astype(np.uint8), own.astype(np.uint16), np.zeros(SHAPE, bool)
    return LabelledCase(image, labels, region, region, instances, none, (lesion,), CaseFacts(f"m{number}", f"m{number}"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("cases")
    for number in range(3):
        save_case(root / f"train-{number:04d}", stored_case(number))
    return sorted(root.iterdir())


def drawn(folders, channels, step, *, seed=5, **changes):
    facts = {**facts_of(STUDY_PART), **changes}
    part = BankPart.model_validate(BANK)
    return make_redraw(folders[:2], channels=channels, part=part, facts=facts, seed=seed).cases(step)


def test_the_same_lesions_for_every_arm_and_others_at_every_draw_and_in_every_animal(folders):
    one, other = drawn(folders, NAMES[:1], 3), drawn(folders, NAMES[1:], 3)
    for a, b in zip(one, other):
        np.testing.assert_array_equal(a.target, b.target)
        np.testing.assert_array_equal(a.hard, b.hard)
    assert (one[0].target != one[1].target).any()
    for changed in (drawn(folders, NAMES[:1], 6), drawn(folders, NAMES[:1], 3, seed=6)):
        assert any((a.target != b.target).any() for a, b in zip(one, changed))


def test_solid_lesions_in_the_lung_change_attenuation_and_all_dark_fields_and_nothing_else(folders):
    for number, case in enumerate(drawn(folders, NAMES, 0)):
        before = stored_case(number)
        new = (case.target > 0) & ~before.lesion
        assert new.any()
        assert case.hard.any()
        assert before.region[new | case.hard].all()
        assert not (case.hard & (case.target > 0)).any()
        assert (case.target > 0)[before.lesion].all()
        change = case.image.data - before.channels.data
        assert (change[0][new] > 0).all()
        assert (change[1:4, new] < 0).all()
        np.testing.assert_allclose(change[1], (change[2] + change[3]) / 2, atol=1e-4)
        assert not change[4].any()
        # The blur alone reaches beyond the lung, by two voxels at most.
        outside = change[:, ~before.region]
        assert (np.abs(outside).max(axis=1) <= 0.1 * np.abs(change).max(axis=(1, 2, 3))).all()
        assert not change[:, ~ndimage.binary_dilation(before.region, iterations=4)].any()
        assert not change[:, before.lesion].any()
        assert np.abs(change[:, case.hard]).max(axis=1)[0] < 0.06 * before.channels.data[0].max()


def test_a_scanner_says_energy_and_correlation_length():
    sites = {"a": {}, "b": {"instrument": {"correlation_length": "2 um", "reference_energy": "65 keV"}}}
    study = Study.model_validate({**STUDY, "sources": {"mice": {**MICE, "sites": sites}}})
    assert facts_of(study)["beams"] == [[70.0, pytest.approx(3e-6)], [65.0, pytest.approx(2e-6)]]
    instrument = Scale("test", 65.0, 2e-6).host(tissue_per_m=20.0, lung_per_m=6.0, scattering_per_m=40.0)
    assert instrument == interface_of(40.0, 0.3, instrument)


def context(folders, tmp_path, name, progress=lambda share, text: None):
    study = read_study(tmp_path / "study.yaml")
    (task, *_) = [t for t in plan(study).tasks if t.name == "train/hybrid.fold0"]
    beams = task.parameters["bank"]["beams"] * 2
    parameters = {
        **json.loads(json.dumps(task.parameters)),
        "training_animals": [f.name for f in folders[:2]],
        "validation_animals": [folders[2].name],
        "bank": {**task.parameters["bank"], "beams": beams},
    }
    (tmp_path / name).mkdir(exist_ok=True)
    inputs = {"training": tuple(folders[:2]), "validation": (folders[2],)}
    return Context(tmp_path / name, tmp_path / f"{name}-scratch", inputs, parameters, {}, progress)


def test_a_killed_training_with_a_bank_goes_on_to_the_same_weights(folders, tmp_path, monkeypatch):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    train(context(folders, tmp_path, "whole"))

    def killing(share, text):
        if text.startswith("step 6/"):
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(context(folders, tmp_path, "killed", killing))
    seen = []
    train(context(folders, tmp_path, "killed", lambda share, text: seen.append(text)))
    assert seen[1].startswith("step 7/8")  # after what the network costs
    whole, again = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(np.array_equal(whole[k], again[k]) for k in whole)
    assert json.loads((tmp_path / "whole/model.json").read_text())["redraw_every"] == 3


def test_no_room_at_all_is_said(folders, tmp_path):
    full = stored_case(0)
    for number in range(2):
        save_case(tmp_path / f"full-{number}", replace(full, hard=full.region & ~full.lesion))
    with pytest.raises(DarklungError, match=r"learning\.bank: no lesion of 1\.2 to 1\.8 mm finds room"):
        drawn([tmp_path / "full-0", tmp_path / "full-1"], NAMES, 0)


def test_only_tasks_that_use_a_bank_depend_on_what_it_is_drawn_from():
    study = Study.model_validate({**STUDY, "learning": {**STUDY["learning"], "bank": None}})
    for s in (STUDY_PART, study):
        tasks = [t for t in plan(s).tasks if t.stage == "train"]
        assert tasks
        assert all((t.parameters["bank"] is not None) == (s is STUDY_PART) for t in tasks)


def test_a_study_with_a_bank_runs_to_its_report(tmp_path):
    path = tmp_path / "study.yaml"
    one_arm = {**STUDY["learning"], "arms": {"hybrid": ["attenuation", "dark_field"]}}
    path.write_text(yaml.safe_dump({**STUDY, "learning": one_arm}))
    run_study(path, out=tmp_path / "run", workers=1)
    result = json.loads((tmp_path / "run/evaluate/all/comparison.json").read_text())
    # Validation and test have the lesions of their animals alone.
    assert result["results"]["validation"]["hybrid"]["n"]["positives"] == 2
    assert result["results"]["test"]["hybrid"]["n"]["positives"] == 1
    assert (tmp_path / "run/report.html").is_file()

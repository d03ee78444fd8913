"""A training that augments reads the errors of its channels beside them, and the network never sees them."""

import json

import numpy as np
import pytest
import yaml

from darklung.commands.run import list_tasks
from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.core.types import Image, Insertion
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.learn.checkpoint import CHECKPOINT_FILE
from darklung.pipeline import Context
from darklung.steps.bank import make_redraw
from darklung.steps.train import train
from darklung.steps.training import Parameters, errors_asked_for
from darklung.study.learning import BankPart, LearningPart

VALUES = {"attenuation": 6.0, "dark_field": 90.0, "dark_field_0": 80.0, "dark_field_90": 100.0, "anisotropy": 0.1}
ERRORS = ("attenuation_noise", "dark_field_0_noise", "dark_field_90_noise")
ON = {
    "noise": 0.3,
    "dose": [1, 3],
    "visibility": [0.7, 1],
    "correlation_length": [0.8, 1.2],
    "energy": [0.9, 1.1],
    "breathing": 1,
}


def save(folder, name, *, errors=ERRORS, beam=True):
    shape, rng = (16, 14, 12), stream(1, name)
    data = [v * (1 + 0.1 * rng.normal(size=shape)) for v in VALUES.values()]
    data += [0.1 * VALUES[n.removesuffix("_noise")] * rng.uniform(0.8, 1.2, shape) for n in errors]
    names = (*VALUES, *errors)
    image = Image(np.stack(data).astype(np.float32), names, ("1/m",) * len(names), (3e-4,) * 3)
    instances, every = np.zeros(shape, np.uint16), np.ones(shape, bool)
    instances[6:9, 6:9, 6:9] = 1
    put = (Insertion(1, "lesion", "solid", (0.0, 0.0, 0.0), 1e-3),)
    told = {"energy_kev": 70.0, "correlation_length_m": 3e-6} if beam else {}
    about = CaseFacts(name, name, synthetic=True, provenance=told)
    labels = (instances > 0).astype(np.uint8)
    save_case(folder / name, LabelledCase(image, labels, every, every, instances, ~every, put, about))
    return folder / name


def part(*channels, **augmentation):
    said = {"arms": {"one": list(channels)}, "widths": [16], "patch": 8, "batch": 2, "steps": 2, "folds": 3}
    return said | {"training": {"augmentation": augmentation}}


def test_the_network_sees_its_channels_alone_and_learns_otherwise_than_without(tmp_path):
    folders = tuple(save(tmp_path, name) for name in ("m1", "m2", "m3"))
    weights = []
    for number, augmentation in enumerate(({}, ON, ON)):
        learning = LearningPart.model_validate(part("attenuation", "dark_field", **augmentation))
        p = Parameters(
            learning=learning, arm="one", fold=0, training_animals=("m1", "m2"), validation_animals=("m3",), seed=1
        )
        out = tmp_path / f"out{number}"
        out.mkdir()
        inputs = {"training": folders[:2], "validation": folders[2:]}
        train(Context(out, tmp_path / f"scratch{number}", inputs, p.model_dump(mode="json"), {}, lambda share, text: None))
        told = json.loads((out / "model.json").read_text())
        assert told["channels"] == ["attenuation", "dark_field"]
        assert (out / CHECKPOINT_FILE).is_file()
        weights.append((out / "model.safetensors").read_bytes())
    assert weights[1] == weights[2]
    assert weights[0] != weights[1]


def test_errors_are_those_of_the_channels_and_of_every_direction_of_a_mean(tmp_path):
    folder = save(tmp_path, "m1")

    def asked(*channels, **augmentation):
        return errors_asked_for(LearningPart.model_validate(part(*channels, **augmentation)), channels, folder)

    assert asked("attenuation", "dark_field", dose=[1, 2]) == ERRORS
    assert asked("attenuation", "attenuation_noise", "dark_field_90", dose=[1, 2]) == ("dark_field_90_noise",)
    assert asked("attenuation", breathing=1) == ()
    assert asked("attenuation") == ()


def test_lesions_of_a_bank_leave_the_errors_as_they_are(tmp_path):
    folder = save(tmp_path, "m1")
    facts = {"variant": "A", "tissues": ["solid"], "diameter_m": [0.8e-3, 1e-3], "beams": [[70.0, 3e-6]]}
    channels = ("attenuation", "dark_field", *ERRORS)
    (case,) = make_redraw([folder], channels=channels, part=BankPart(lesions=2), facts=facts, seed=1).cases(0)
    assert case.image.names == channels
    assert (case.energy_kev, case.correlation_length_m) == (70.0, 3e-6)


@pytest.mark.parametrize(
    ("saved", "augmentation", "told"),
    [
        ({}, ON, ""),
        ({"errors": ERRORS[:2]}, {"dose": [1, 2]}, "dose: the noise of 'dark_field' .dark_field_noise. will not be among"),
        ({"errors": ()}, {"breathing": 1}, ""),
        ({"beam": False}, {"energy": [0.9, 1.1]}, "energy: energy and correlation length that attenuation refers .*m1"),
        ({"beam": False}, {"visibility": [0.5, 1]}, ""),
    ],
)
def test_the_door_of_a_study_of_cases(tmp_path, saved, augmentation, told):
    for name in ("m1", "m2", "m3", "m4"):
        save(tmp_path / "cases", name, **saved)
    learning = part("attenuation", "dark_field", **augmentation)
    content = {"name": "one", "sources": {"cases": {"from": "cases", "files": ["cases/*"]}}, "learning": learning}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    if not told:
        assert "tasks to do" in list_tasks(tmp_path / "study.yaml", out=tmp_path / "run")
        return
    with pytest.raises(DarklungError, match=told) as caught:
        list_tasks(tmp_path / "study.yaml", out=tmp_path / "run")
    assert len(str(caught.value).splitlines()) == 1

"""Lesion classes and blur as a study file and `darklung insert` may say them: one name, one meaning, refused at the door."""

from pathlib import Path

import pytest
import yaml

from darklung.core.checks import DarklungError
from darklung.insert.radiograph import InsertionSettings
from darklung.io.documents import validate
from darklung.physics.lung import INSERTABLE_MIMICS, LESIONS
from darklung.steps.insertion.maps import settings_of
from darklung.steps.insertion.parameters import Parameters
from darklung.study.cohort import CohortPart
from darklung.study.insertion import InsertOptions
from darklung.study.study import read_study

EXAMPLES = Path(__file__).parents[2] / "examples"
KNOWN = "known: filled, lepidic, papillary, solid"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["granite"], f"class: 'granite' is not known; {KNOWN}"),
        (["solid", "partly_filled"], f"class: 'partly_filled' is not known, it is now called 'filled'; {KNOWN}"),
        (["emphysema"], f"class: 'emphysema' is a mimic, not a lesion; {KNOWN}"),
    ],
)
def test_cohort_and_insertion_refuse_a_class_alike_when_a_study_is_read(tmp_path, names, told):
    study = {"name": "s", "sources": {"mice": {"from": "simulation", "cohort": {"tissues": names}}}}
    path = tmp_path / "study.yaml"
    for change in (study, {**study, "sources": {"mice": {"from": "simulation"}}, "insertion": {"classes": names}}):
        path.write_text(yaml.safe_dump(change))
        with pytest.raises(DarklungError) as caught:
            read_study(path)
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"{path}: ")
        assert line.endswith(told)


def test_a_mimic_that_is_no_medium_cannot_be_inserted():
    with pytest.raises(DarklungError, match="mimic_classes: class: 'vessel_cluster' is vessels and no medium; known: atel"):
        validate({"mimic_classes": ["vessel_cluster"]}, InsertOptions, "options")


def test_defaults_are_the_classes_that_there_are():
    assert CohortPart().tissues == InsertOptions().classes == tuple(LESIONS)
    assert InsertOptions().mimic_classes == tuple(INSERTABLE_MIMICS)


def test_blur_of_an_insertion_is_a_standard_deviation_all_the_way():
    """100 um at half maximum, as measured lobes are assumed to have, is 42.5 um."""
    study = read_study(EXAMPLES / "real/mouse_lobes.yaml")
    assert study.insertion is not None
    assert study.insertion.blur == pytest.approx(100e-6 / 2.3548, rel=1e-3)
    assert InsertionSettings().blur_m == pytest.approx(study.insertion.blur)
    options = validate({"blur": "42.5 um"}, InsertOptions, "options")
    parameters = Parameters(source="a", animal="b", copy_number=0, wanted=(), options=options)
    assert settings_of(parameters).blur_m == parameters.blur_m == pytest.approx(42.5e-6)
    with pytest.raises(DarklungError, match=r"options: blur: .*got '-1 um'"):
        validate({"blur": "-1 um"}, InsertOptions, "options")

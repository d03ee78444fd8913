"""Times told as first and step do not run backwards; endless words of an error are shortened where it is told."""

import pytest

from darklung.core.checks import DarklungError, shortened
from darklung.io.description import EvenTimes
from darklung.io.documents import validate


@pytest.mark.parametrize("step", ["-1e-6 s", "-3 s", "-1 ms", "-2 min"])
def test_a_clock_that_runs_backwards_is_refused(step):
    with pytest.raises(DarklungError, match="step"):
        validate({"first": "5 s", "step": step}, EvenTimes, "scan.yaml: view_times")


def test_a_clock_that_runs_or_stands_is_taken():
    assert validate({"first": "5 s", "step": "1e-6 s"}, EvenTimes, "scan.yaml").step == pytest.approx(1e-6)
    assert validate({"first": "5 s", "step": "0 s"}, EvenTimes, "scan.yaml").step == 0


def test_words_without_end_are_shortened_and_others_are_not():
    told = shortened(f"a.yaml: {'x' * 9990 + 'the end of it'} is not known")
    assert len(told) < 200
    assert told.startswith("a.yaml: xxx")
    assert told.endswith("the end of it is not known")
    usual = "a.yaml: " + "/".join(["folder"] * 80) + ": no such file"
    assert shortened(usual) == usual

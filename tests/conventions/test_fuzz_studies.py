"""A short, seeded part of ``benchmarks/fuzz_studies.py``: mistakes in study files and command lines end in one line."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import fuzz_studies


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_study_that_makes_no_sense_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counts, faults = fuzz_studies.fuzz_studies(150, 7, tmp_path)
    assert faults == []
    assert counts == {"refused": 150}


def test_no_command_line_that_makes_no_sense_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counts, faults = fuzz_studies.fuzz_commands(25, 7, tmp_path)
    assert faults == []
    assert counts == {"refused": 25}

"""Compiled kernels have a place where nothing else can be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from darklung.core import compiled

FIRST = "import darklung, os; from darklung.tomo import projector; print(os.environ.get('NUMBA_CACHE_DIR', ''))"


def test_a_place_that_cannot_be_made_is_replaced_for_this_process_alone(tmp_path):
    (tmp_path / "file").write_text("")
    there = {**os.environ, compiled.PLACE: str(tmp_path / "file" / "cache"), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FIRST], env=there, capture_output=True, text=True, check=True)
    place = Path(done.stdout.strip())
    assert place.parent == tmp_path
    assert place.name.startswith("darklung-kernels-")
    assert not place.exists()


@pytest.mark.parametrize("kept", ["asked", "beside the code", "at home", "nowhere"])
def test_a_place_that_can_be_written_is_left_alone(monkeypatch, tmp_path, kept):
    monkeypatch.delenv(compiled.PLACE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    if kept == "asked":
        monkeypatch.setenv(compiled.PLACE, str(tmp_path / "asked" / "not yet"))
    fine = {"asked": tmp_path, "beside the code": Path(compiled.__file__).parent, "at home": tmp_path, "nowhere": None}[kept]
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) == fine)
    monkeypatch.setattr(compiled.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "made"))
    before = os.environ.get(compiled.PLACE)
    compiled.find_place()
    assert os.environ.get(compiled.PLACE) == (str(tmp_path / "made") if kept == "nowhere" else before)

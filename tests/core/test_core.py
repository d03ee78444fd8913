"""Units, seeds, seams and the checks of the core types."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darklung.core.checks import DarklungError, check_finite, check_one_of, check_positive, check_range
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import derive_seed, stream
from darklung.core.seams import resolve
from darklung.core.types import Image, Insertion, Scan
from darklung.core.units import parse_quantity


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("120 um", "length", 1.2e-4),
        ("120 µm", "length", 1.2e-4),
        ("0.5 mm", "length", 5e-4),
        ("70 keV", "energy", 70.0),
        ("60000 eV", "energy", 60.0),
        ("90 deg", "angle", np.pi / 2),
        ("1.5 rad", "angle", 1.5),
        ("420 ms", "time", 0.42),
        ("100 kV", "voltage", 100.0),
    ],
)
def test_units(text, kind, value):
    assert parse_quantity(text, kind) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "kind"), [("120", "length"), ("3 kg", "length"), ("3 foo", "length"), ("", "length"), ("90", "angle")]
)
def test_a_quantity_without_its_unit_is_refused(text, kind):
    with pytest.raises(DarklungError, match=f"wanted an? {kind}"):
        parse_quantity(text, kind)


@given(st.integers(0, 2**31), st.text(max_size=5), st.text(max_size=5))
def test_streams_depend_on_all_names(seed, first, second):
    assert derive_seed(seed, first, second) == derive_seed(seed, first, second)
    assert derive_seed(seed, first, second) != derive_seed(seed + 1, first, second)
    if (first, second) != (second, first):
        assert derive_seed(seed, first, second) != derive_seed(seed, second, first)


def test_a_stream_does_not_depend_on_what_was_drawn_elsewhere():
    alone = stream(1, "mouse", 3).random(4)
    stream(1, "mouse", 2).random(100)
    np.testing.assert_array_equal(alone, stream(1, "mouse", 3).random(4))


def test_checks_name_the_argument():
    for call in (
        lambda: check_positive("dose", -1),
        lambda: check_positive("dose", float("nan")),
        lambda: check_range("dose", 3, 0, 1),
        lambda: check_finite("dose", np.array([1.0, np.nan])),
        lambda: check_one_of("dose", "x", ["a"]),
    ):
        with pytest.raises(DarklungError, match=r"^dose"):
            call()


def test_seams():
    assert resolve("loss", "log", {"log": "math:log"})(1) == 0
    assert resolve("loss", "math:exp", {})(0) == 1
    with pytest.raises(DarklungError, match="loss: 'los' is not known; known: log"):
        resolve("loss", "los", {"log": "math:log"})
    with pytest.raises(DarklungError, match="cannot be imported"):
        resolve("loss", "math:nothing", {})


def test_types_refuse_what_makes_no_sense():
    geometry = ParallelGeometry(angles_rad=np.zeros(1), rows=2, cols=2, pixel_m=1e-4)
    good = {
        "frames": np.ones((1, 1, 4, 2, 2)),
        "flats": np.ones((1, 1, 4, 2, 2)),
        "step_phase_rad": np.zeros((1, 4)),
        "directions_rad": np.zeros(1),
        "geometry": geometry,
        "view_time_s": np.zeros((1, 1)),
        "flat_time_s": np.zeros((1, 1)),
    }
    Scan(**good)
    bad = [
        ({"frames": np.ones((1, 4, 1, 2, 2))}, r"frames: wanted axes \(direction, view, step, row, col\)"),
        ({"step_phase_rad": np.zeros((1, 2))}, "at least 3 phase steps, got 2"),
        ({"flats": np.ones((1, 0, 4, 2, 2))}, "at least one flat"),
        ({"bad_pixels": np.zeros((3, 2), bool)}, "bad_pixels"),
    ]
    for change, message in bad:
        with pytest.raises(DarklungError, match=message):
            Scan(**{**good, **change})
    with pytest.raises(DarklungError, match="spatial axes"):
        Image(data=np.zeros((2, 3)), names=("a", "b"), units=("1", "1"), spacing_m=(1.0,))
    with pytest.raises(DarklungError, match="names"):
        Image(data=np.zeros((2, 3, 3)), names=("a", "a"), units=("1", "1"), spacing_m=(1.0, 1.0))
    with pytest.raises(DarklungError, match="'tumor' is not known; known: lesion, mimic, sham"):
        Insertion(number=1, kind="tumor", tissue="solid", center_m=(0, 0, 0), diameter_m=1e-3)
    with pytest.raises(DarklungError, match="pixel_m"):
        ParallelGeometry(angles_rad=np.zeros(1), rows=2, cols=2, pixel_m=0)


def test_importing_the_package_stays_light():
    heavy = ("torch", "numba", "pandas", "matplotlib", "scipy")
    code = f"import darklung, sys; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"

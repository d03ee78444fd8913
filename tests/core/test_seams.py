"""Functions of the user: found in the study's folder, and refused in one line if they do not fit."""

import re
import sys

import pytest

from darklung.core.checks import DarklungError
from darklung.core.seams import check_options, importable, resolve


def network(channels, dims, *, depth: int = 4, dropout: float = 0.0, widths: tuple = (16, 32), norm=None):
    return channels, dims


def needy(channels, *, levels):
    return levels


def open_ended(channels, **options):
    return options


def told(*args, **more):
    with pytest.raises(DarklungError) as caught:
        check_options(*args, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_options_are_those_of_the_signature():
    right = {"depth": 3, "dropout": 1, "widths": [8, 16], "norm": "group"}
    check_options("network mine", network, right, passed=("channels", "dims"))
    check_options("network mine", network, {"depth": 3}, positional=2)
    line = told("network mine", network, {"deep": 3}, passed=("channels", "dims"))
    assert line == "option of network mine: 'deep' is not known; known: depth, dropout, norm, widths"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"depth": 2.5}, "option depth of network: wanted a value such as 4, got 2.5"),
        ({"depth": True}, "option depth of network: wanted a value such as 4, got True"),
        ({"dropout": "0.1"}, "option dropout of network: wanted a value such as 0.0, got '0.1'"),
        ({"widths": 16}, "option widths of network: wanted a value such as (16, 32), got 16"),
        ({"channels": 2}, "option of network: 'channels' is not known; known: depth, dropout, norm, widths"),
    ],
)
def test_values_that_do_not_fit_and_names_that_the_seam_passes_itself(options, line):
    assert told("network", network, options, passed=("channels", "dims")) == line


def test_what_is_missing_on_either_side():
    assert told("network", needy, {}, positional=1) == "option of network: levels missing, wanted a value for each"
    check_options("network", needy, {"levels": 2}, positional=1)
    line = told("method", network, {}, passed=("progress",), positional=2)
    assert line == "method: wanted a function that takes 'progress'"


def test_functions_that_take_anything_or_tell_nothing():
    check_options("network", open_ended, {"whatever": 1}, passed=("dims",), positional=1)
    assert "'dims' is not known" in told("network", open_ended, {"dims": 1}, passed=("dims",), positional=1)
    check_options("metric", max, {"key": 1})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("value = 3\n", r"network: 'own_seam:value' is no function but of type int"),
        ("1 / 0\n", r"network: 'own_seam:value' cannot be imported (ZeroDivisionError: division by zero)"),
        (
            "def value(:\n",
            r"network: 'own_seam:value' cannot be imported (SyntaxError: invalid syntax (own_seam.py, line 1))",
        ),
        ("import not_there\n", r"network: 'own_seam:value' cannot be imported (No module named 'not_there')"),
    ],
)
def test_whatever_a_users_module_does_is_one_line(tmp_path, text, line):
    (tmp_path / "own_seam.py").write_text(text)
    with importable(tmp_path), pytest.raises(DarklungError, match=f"^{re.escape(line)}$"):
        resolve("network", "own_seam:value", {})


def test_modules_beside_a_study_are_found_while_it_is_worked_on_and_forgotten_afterwards(tmp_path):
    for name, answer in (("one", 1), ("two", 2)):
        (tmp_path / name / "own_package").mkdir(parents=True)
        (tmp_path / name / "own_package/__init__.py").write_text("")
        (tmp_path / name / "own_package/inner.py").write_text("from own_sibling import f\n")
        (tmp_path / name / "own_sibling.py").write_text(f"def f(): return {answer}\n")
        with importable(tmp_path / name):
            assert resolve("loss", "own_package.inner:f", {})() == answer
        assert not {"own_package", "own_package.inner", "own_sibling"} & set(sys.modules)
    with pytest.raises(DarklungError, match="No module named 'own_package'"):
        resolve("loss", "own_package.inner:f", {})


def test_an_environment_below_the_studys_folder_is_not_forgotten(tmp_path, monkeypatch):
    inner = tmp_path / "venv/site-packages"
    inner.mkdir(parents=True)
    (inner / "own_library.py").write_text("")
    monkeypatch.syspath_prepend(str(inner))
    with importable(tmp_path):
        import own_library
    assert sys.modules.pop("own_library") is own_library

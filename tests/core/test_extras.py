"""What a small install leaves out is told in one line, and what it keeps works: tried with the packages made unfindable."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from darklung.core.checks import DarklungError
from darklung.core.extras import EXTRAS, require_extra, wanting
from darklung.physics import spectrum

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])
sys.meta_path.insert(0, Blocked())
{code}
"""


def run_without(code, *, blocked=tuple(EXTRAS)):
    """A new interpreter that cannot find some packages."""
    text = WITHOUT.format(blocked=set(blocked), code=code)
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT)


def command(words):
    return f"sys.argv = {['darklung', *words]!r}\nfrom darklung.commands.cli import main\nmain()"


def extras_in_pyproject():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+) = (\[[^]]*\])", text, flags=re.MULTILINE))


def test_each_package_is_in_the_extra_that_is_told_and_no_longer_in_the_core():
    known = extras_in_pyproject()
    for word, extra in EXTRAS.values():
        assert f'"{word}>=' in known[extra]
        assert f'"{word}>=' not in known["dependencies"]


def test_everything_but_networks_is_imported_without_them():
    code = """
import importlib, pkgutil, darklung
from darklung.tomo.device import find_device
for module in pkgutil.walk_packages(darklung.__path__, "darklung."):
    others = ("darklung.examples", "darklung.napari.window", "darklung.__main__")
    if not module.name.startswith(("darklung.learn.", "darklung.tomo.torch_", *others)):
        importlib.import_module(module.name)
print(*find_device("auto"))
"""
    done = run_without(code)
    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout.strip() == "cpu cpu: torch, which would find a GPU, is not installed"


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["run", "examples/quick.yaml", "--dry-run"], "learn"),
        (["predict", "examples", "examples/raw_scan/scan.yaml", "--out", "out"], "learn"),
        (["card", "examples", "--out", "card.md"], "learn"),
    ],
)
def test_what_needs_them_is_refused_in_one_line(words, extra):
    done = run_without(command(words))
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert f"pip install 'darklung[{extra}]'" in lines[0]


def test_a_tube_without_spekpy_is_refused(monkeypatch):
    monkeypatch.setattr("darklung.core.extras.installed", lambda package: package != "spekpy")
    with pytest.raises(DarklungError, match=r"^spectrum tube: wants spekpy, .* 'darklung\[tubes\]'$"):
        spectrum.tube(kvp=90, bins=4)


def test_the_line_names_all_that_is_missing_and_nothing_that_is_there(monkeypatch):
    monkeypatch.setattr("darklung.core.extras.installed", lambda package: package == "spekpy")
    require_extra("check", "spekpy")
    with pytest.raises(DarklungError, match=r"^learning: wants torch and scikit-learn, which are not installed: pip"):
        require_extra("learning", "spekpy", "torch", "sklearn")
    assert wanting("torch", "spekpy").endswith("'darklung[learn,tubes]'")

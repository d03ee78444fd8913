"""What ``import darklung`` gives: the names, that they stay light, that their examples run, and the road that they make."""

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import darklung

pytestmark = pytest.mark.slow(30)

STUB = Path(darklung.__file__).with_suffix(".pyi")
HEAVY = ("torch", "zarr", "matplotlib", "numba", "pandas", "scipy", "pydantic", "h5py")
FUNCTIONS = [n for n in darklung.__all__ if inspect.isfunction(getattr(darklung, n))]


def printed_by(code: str) -> list[str]:
    """Words that a new interpreter prints in its last line, after >."""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return told.rstrip("\n").split("\n")[-1].split()[1:]


def loaded_by(code: str) -> list[str]:
    """Which heavy packages a new interpreter has loaded after `code`."""
    return printed_by(f"{code}\nimport sys\nprint('>', *[m for m in {HEAVY!r} if m in sys.modules])")


def test_importing_the_package_and_asking_for_help_load_nothing_heavy():
    assert loaded_by("import darklung; dir(darklung); darklung.DarklungError") == []
    code = "import sys; sys.argv = ['darklung', '--help']\nfrom darklung.commands.cli import main\n"
    assert loaded_by(code + "try: main()\nexcept SystemExit: pass") == []


def test_every_name_is_there_documented_and_told_to_type_checkers():
    stub = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ImportFrom)]
    told = {alias.asname: (node.module, alias.name) for node in stub for alias in node.names}
    assert sorted(told) == sorted(n for n in darklung.__all__ if n != "__version__")
    for name, (module, own) in told.items():
        found = getattr(darklung, name)
        assert found is getattr(importlib.import_module(module), own)
        assert len(inspect.getdoc(found) or "") > 40, name
    assert STUB.with_name("py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'reconstuct'"):
        _ = darklung.reconstuct


def test_functions_are_not_hidden_by_the_folders_of_their_names():
    modules = ["retrieve.stepping", "insert.volume", "correct.ladder", "simulate.scan", "evaluate.roc"]
    code = "".join(f"import darklung.{m}\n" for m in modules)
    assert (
        printed_by(code + "print('>', *[n for n in darklung.__all__ if type(getattr(darklung, n)) is type(darklung)])") == []
    )


def test_functions_are_typed_and_take_options_by_name_alone():
    for name in FUNCTIONS:
        parameters = list(inspect.signature(getattr(darklung, name)).parameters.values())
        assert all(p.annotation is not p.empty for p in parameters), name
        assert sum(p.kind is not p.KEYWORD_ONLY for p in parameters) <= 2, name
        assert sum(p.kind is p.KEYWORD_ONLY for p in parameters) <= 8, name


@pytest.mark.parametrize("module", ["darklung", "darklung.api.images", "darklung.api.cases", "darklung.api.learning"])
def test_examples_run(module):
    found = doctest.testmod(importlib.import_module(module))
    assert found.failed == 0
    assert found.attempted >= 3


@pytest.fixture(scope="module")
def volumes():
    """Two small mice with lesions, as volumes of their phantoms' own values."""
    made = []
    for seed in (1, 2):
        mouse = darklung.make_mouse(seed=seed, voxel_m=600e-6, lesions=[("solid", 3e-3), ("solid", 2.5e-3)])
        lung = mouse.tissue_fraction
        data = np.stack([mouse.density.sum(axis=0) * 20, np.where(lung > 0, 60.0, 0.0)]).astype(np.float32)
        data += np.random.default_rng(seed).normal(0, 0.5, data.shape).astype(np.float32)
        made.append((mouse, darklung.Image(data, ("attenuation", "dark_field"), ("1/m", "1/m"), (mouse.voxel_m,) * 3)))
    return made


def test_from_images_to_a_judged_model(volumes, tmp_path):
    cases = [darklung.make_case(im, m, subject=f"m{k}", region=m.lobes > 0) for k, (m, im) in enumerate(volumes)]
    assert [int(c.lesion.sum()) > 20 for c in cases] == [True, True]
    small = {"widths": [16, 16], "patch": 8, "batch": 1}
    model = darklung.train(cases[:1], channels=("attenuation",), out=tmp_path / "model", steps=2, settings=small)
    maps = [darklung.predict(model, case) for case in cases]
    assert maps[0].names == ("probability", "logit", "logit_spread")
    assert np.array_equal(np.isfinite(maps[1].channel("probability")), cases[1].region)
    judged = darklung.evaluate(maps, cases, settings={"replicates": 100, "tile": "2 mm"})
    assert 0 <= judged["metrics"]["auroc"]["value"] <= 1
    perfect = [m.with_data(np.where(c.lesion, 5.0, -5.0)[None], ("logit",), ("1",)) for m, c in zip(maps, cases)]
    assert darklung.evaluate(perfect, cases, settings={"replicates": 100})["metrics"]["auroc"]["value"] == 1
    with pytest.raises(darklung.DarklungError, match="two cases are called 'm1'; wanted another name of each"):
        darklung.evaluate([maps[1], maps[1]], [cases[1], cases[1]])
    mouse, image = volumes[0]
    coarse = darklung.Image(image.data, image.names, image.units, (1.2e-3,) * 3)
    with pytest.raises(darklung.DarklungError, match="spacing 1200 x 1200 x 1200 um, the model was trained at 600"):
        darklung.predict(model, darklung.make_case(coarse, region=mouse.lobes > 0))


def test_insertion_gives_a_case_and_changes_nothing_else(volumes):
    mouse, image = volumes[0]
    case = darklung.insert(image, lesions=1, shams=1, region=mouse.lobes > 0, settings={"diameter": ["2 mm", "2.5 mm"]})
    assert [i.kind for i in case.insertions] == ["lesion", "sham"]
    changed = case.channels.channel("attenuation") - image.channel("attenuation")
    assert changed[case.lesion].mean() > 5 * abs(changed).mean() > 0
    assert not changed[~ndimage.binary_dilation(case.region, iterations=3)].any()  # beyond the blur of what is put in


def test_settings_are_refused_as_in_a_study_file():
    mouse = darklung.make_mouse(voxel_m=600e-6, lesions=[])
    with pytest.raises(darklung.DarklungError, match=r"simulate: scan.veiws: unknown key; known: .*views"):
        darklung.simulate(mouse, scan={"veiws": 3})
    scan = darklung.simulate(mouse, scan={"views": 1, "supersampling": 1})
    with pytest.raises(darklung.DarklungError, match=r"retrieval\.method: 'fourier' is not known"):
        darklung.retrieve(scan, method="fourier")
    with pytest.raises(darklung.DarklungError, match="wanted a calibration or an instrument"):
        darklung.correct(darklung.retrieve(scan))


def test_the_lines_in_the_readme_run():
    (text,) = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "README.md").read_text(), flags=re.S)
    place: dict[str, object] = {}
    exec(text, place)
    assert place["case"].lesion.any()
    assert "dark_field_0" in place["case"].channels.names

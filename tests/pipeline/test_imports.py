"""Which modules a key covers, found without running them."""

import json
import os
import shutil
import subprocess
import sys
import textwrap

import grimp
import pytest

from darklung.core.checks import DarklungError
from darklung.pipeline import Task, task_keys
from darklung.pipeline.imports import PACKAGE, Sources

PACKAGE_FILES = {
    "darklung/__init__.py": "from darklung.public import everything",
    "darklung/public.py": "everything = 1",
    "darklung/steps/__init__.py": "",
    "darklung/steps/scan.py": """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        import typing
        from darklung.core import units
        from .shared import name
        if TYPE_CHECKING:
            from darklung.core import only_typed
        if typing.TYPE_CHECKING:
            import darklung.core.only_typed
        else:
            import darklung.core.otherwise
        def scan(context):
            try:
                with context:
                    from darklung.core.hidden import deep
            finally:
                from ..core import relative
        """,
    "darklung/steps/shared.py": "import darklung.core.circle\nname = __file__ + 'table.csv'",
    "darklung/steps/table.csv": "1",
    "darklung/steps/other.py": "",
    "darklung/core/__init__.py": "",
    "darklung/core/units.py": 'TABLE = {"short": "darklung.core.named:function", "none": "darklung.core.nothing:f"}',
    "darklung/core/named.py": "",
    "darklung/core/hidden.py": "from darklung.core import *\nfrom darklung.pipeline import Context\ndeep = 1",
    "darklung/core/relative.py": "HERE = 'darklung.core.prefix'\nother = f'{HERE}:f'",
    "darklung/core/prefix.py": "",
    "darklung/core/otherwise.py": "match 1:\n    case 1:\n        import darklung.core.in_match",
    "darklung/core/in_match.py": "import numpy.linalg, os\ndef f():\n    import nowhere",
    "darklung/core/circle.py": "from darklung.steps import shared",
    "darklung/core/only_typed.py": "",
    "darklung/core/unused.py": "",
    "darklung/pipeline/__init__.py": "from darklung.core import unused\nContext = 1",
}


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text) + "\n")


@pytest.fixture
def small(tmp_path):
    write(tmp_path, PACKAGE_FILES)
    return tmp_path / "darklung"


def test_hidden_relative_and_named_imports_count_and_those_for_types_do_not(small):
    found = set(Sources(small).reached("darklung.steps.scan"))
    core = {"units", "named", "hidden", "relative", "prefix", "otherwise", "in_match", "circle"}
    # darklung.core itself counts since hidden.py takes all names of it; packages that are only passed through do not.
    steps = {"darklung.steps.scan", "darklung.steps.shared", "darklung.steps.shared/table.csv"}
    assert found == {*steps, "darklung.core", *(f"darklung.core.{n}" for n in core)}


@pytest.mark.parametrize("name", sorted(n for n in PACKAGE_FILES if n != "darklung/steps/scan.py"))
def test_a_version_changes_with_what_is_reached_and_with_nothing_else(small, name):
    before = Sources(small).version("darklung.steps.scan")
    reached = {str(p.relative_to(small.parent)) for p in Sources(small).reached("darklung.steps.scan").values()}
    with (small.parent / name).open("a") as file:
        file.write("# a comment\n")
    assert (Sources(small).version("darklung.steps.scan") != before) == (name in reached)


def test_python_agrees_that_everything_imported_was_found(small):
    """An independent oracle: run the module and ask which modules were loaded (all but parents that are passed through)."""
    code = (
        "import json, sys, darklung.steps.scan as s, contextlib; s.scan(contextlib.nullcontext());"
        "print(json.dumps([n for n in sys.modules if n.startswith('darklung')]))"
    )
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    out = subprocess.run([sys.executable, "-c", code], cwd=small.parent, capture_output=True, text=True, env=env, check=True)
    loaded = set(json.loads(out.stdout))
    passed_through = {"darklung", "darklung.public", "darklung.steps", "darklung.pipeline", "darklung.core.unused"}
    assert loaded - passed_through <= set(Sources(small).reached("darklung.steps.scan"))


PLUGIN = {
    "my_nets/__init__.py": "SETTING = 1",
    "my_nets/unet.py": """
        from . import blocks
        import sibling
        import spread.inner
        import numpy
        from darklung.core import units
        """,
    "my_nets/blocks.py": "def f():\n    from my_nets.deep import norm",
    "my_nets/deep/__init__.py": "",
    "my_nets/deep/norm.py": "W = 'weights.bin'",
    "my_nets/deep/weights.bin": "1",
    "my_nets/unused.py": "",
    "sibling.py": "import sibling_of_sibling",
    "sibling_of_sibling.py": "",
    "spread/inner.py": "",
    "alone.py": "def f(x): return x",
}


@pytest.fixture
def study(tmp_path, monkeypatch, small):
    folder = tmp_path / "study"
    write(folder, PLUGIN)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_plugin_counts_with_its_package_its_siblings_and_what_it_takes_of_darklung(study, small):
    found = set(Sources(small).reached("my_nets.unet"))
    own = {"my_nets", "my_nets.unet", "my_nets.blocks", "my_nets.deep", "my_nets.deep.norm", "my_nets.deep.norm/weights.bin"}
    assert found == {*own, "sibling", "sibling_of_sibling", "spread.inner", "darklung.core.units", "darklung.core.named"}


def test_editing_a_plugin_makes_exactly_the_tasks_due_that_use_it(study, small):
    tasks = [
        Task("learn", "mine", "darklung.steps.scan:scan", plugins=("my_nets.unet:build", "dice")),
        Task("learn", "alone", "darklung.steps.scan:scan", plugins=("alone:f",)),
        Task("learn", "ours", "darklung.steps.scan:scan", plugins=("residual_attention_unet",)),
        Task("predict", "mine", "darklung.steps.other:f", inputs={"model": ("learn/mine",)}),
    ]

    def due_after(name):
        before = task_keys(tasks, package=small)
        with (study / name).open("a") as file:
            file.write("# edited\n")
        after = task_keys(tasks, package=small)
        return {n for n in after if after[n] != before[n]}

    assert due_after("my_nets/deep/norm.py") == {"learn/mine", "predict/mine"}
    assert due_after("sibling_of_sibling.py") == {"learn/mine", "predict/mine"}
    assert due_after("alone.py") == {"learn/alone"}
    assert due_after("my_nets/unused.py") == set()


def test_a_plugin_that_is_not_there_or_no_python_is_told_in_one_line(study):
    with pytest.raises(DarklungError, match=r"^my_net:f: no module my_net beside the study file or on Python's path$"):
        task_keys([Task("learn", "a", "darklung.steps.x:f", plugins=("my_net:f",))])
    write(study, {"my_net.py": "x = 1\ndef f(:"})
    with pytest.raises(DarklungError, match=r"^.*my_net.py, line 2: invalid syntax$"):
        task_keys([Task("learn", "a", "darklung.steps.x:f", plugins=("my_net:f",))])


def test_installed_distributions_count_as_installed_and_the_standard_library_always(study):
    sources = Sources()
    version = sources.version("numpy.linalg")
    assert version == sources.version("numpy")
    assert version not in (None, sources.version("scipy.ndimage"))
    assert sources.version("math") is not None
    assert sources.reached("numpy") == {}


def test_what_pip_put_into_a_folder_of_the_path_is_installed_too(tmp_path, monkeypatch):
    """As of ``pip install --target``: otherwise every file of it would be read for each key."""
    write(
        tmp_path, {"wheel_of_ours/__init__.py": "x = 1", "wheel_of_ours-1.0.dist-info/RECORD": "wheel_of_ours/__init__.py,,"}
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert Sources().reached("wheel_of_ours") == {}


@pytest.fixture(scope="module")
def graph():
    """The real package as import-linter sees it, hidden imports included: an oracle that shares no code with the scan."""
    graph = grimp.build_graph("darklung", exclude_type_checking_imports=True, cache_dir=None)
    for module in [m for m in graph.modules if m.startswith("darklung.pipeline")]:
        graph.remove_module(module)
    return graph


STEPS = sorted(f"darklung.steps.{p.stem}" for p in (PACKAGE / "steps").glob("*.py") if p.stem != "__init__")


def test_all_that_a_step_imports_is_found_and_little_else(graph):
    sources = Sources()
    for step in STEPS:
        found = {n for n in sources.reached(step) if "/" not in n and n != step}
        imported = graph.find_upstream_modules(step)
        assert imported <= found
        # The rest is named by text, as in the tables of short names, or imported by what is.
        named = {m for n in {step, *found} for m in sources.imported(n)} - imported
        assert found <= {*imported, *named, *(m for n in named for m in graph.find_upstream_modules(n))}


def test_a_change_of_image_files_reaches_the_steps_that_read_or_write_images(tmp_path, graph):
    """In a copy of the real package: exactly the steps whose modules reach io/images.py get another version."""
    copy = tmp_path / "darklung"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = versions(copy)
    with (copy / "io/images.py").open("a") as file:
        file.write("# a comment\n")
    after = versions(copy)
    changed = {n for n in STEPS if after[n] != before[n]}
    assert changed == {n for n in STEPS if "darklung.io.images" in graph.find_upstream_modules(n)}
    assert changed


def versions(package):
    sources = Sources(package)
    return {n: sources.version(n) for n in STEPS}

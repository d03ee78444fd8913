"""Conda's recipe, the containers and pyproject.toml say the same."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import darklung

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RECIPE = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text())
DOCKERFILE = (ROOT / "containers" / "Dockerfile").read_text()
DEFINITION = (ROOT / "containers" / "darklung.def").read_text()
# Where conda-forge has another name than PyPI.
CONDA = {"matplotlib": "matplotlib-base", "torch": "pytorch"}


def as_conda(wanted: str) -> str:
    """A requirement of pyproject.toml in conda's words."""
    name, bound = re.fullmatch(r"([\w.-]+)(>=[\d.]+)", wanted).groups()
    return f"{CONDA.get(name.lower(), name.lower())} {bound}"


def test_the_recipe_wants_what_pyproject_wants():
    assert RECIPE["requirements"]["run"] == [f"python {PROJECT['requires-python']}", *map(as_conda, PROJECT["dependencies"])]


def test_the_recipe_bounds_what_the_extra_learn_brings():
    assert RECIPE["requirements"]["run_constraints"] == [as_conda(w) for w in PROJECT["optional-dependencies"]["learn"]]


def test_the_recipe_is_built_as_the_wheel_is():
    (builder,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert RECIPE["requirements"]["host"] == [f"python {PROJECT['requires-python']}", "pip", as_conda(builder)]
    scripts = RECIPE["build"]["python"]["entry_points"]
    assert scripts == [f"{name} = {place}" for name, place in PROJECT["scripts"].items()]
    assert RECIPE["context"]["version"] == darklung.__version__
    assert (RECIPE["about"]["summary"], RECIPE["about"]["license"]) == (PROJECT["description"], PROJECT["license"])


@pytest.mark.parametrize("name", ["post", "environment", "runscript", "test"])
def test_the_definitions_scripts_are_read_by_a_shell_without_bash(name):
    """Apptainer runs them in /bin/sh; arguments are put in before."""
    (script,) = re.findall(rf"^%{name}\n((?:    .*\n|\n)+)", DEFINITION, flags=re.M)
    filled = re.sub(r"\{\{ (BASE|EXTRAS) \}\}", "learn,tubes", script)
    done = subprocess.run(["sh", "-n"], input=filled, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "{{" not in filled
    assert len(filled.split()) > 2


@pytest.mark.parametrize("text", [DOCKERFILE, DEFINITION], ids=["Dockerfile", "darklung.def"])
def test_containers_take_extras_that_exist_and_name_no_registry(text):
    (extras,) = set(re.findall(r"EXTRAS=([\w,]+)$", text, flags=re.M))
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert "-c constraints.txt" in text
    assert re.findall(r"https?://|--index-url|--extra-index-url", text) == []
    assert PROJECT["license"] in text


def test_the_image_is_run_by_a_user_who_is_not_root_and_says_what_it_is():
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)$", last, flags=re.M) == ["darklung"]
    assert re.findall(r"^ENTRYPOINT (.+)$", last, flags=re.M) == ['["darklung"]']
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\S+)="([^"]*)"', last))
    assert labels["description"] == PROJECT["description"]
    assert labels["licenses"] == PROJECT["license"]


def test_what_the_containers_copy_is_there_and_not_ignored():
    copied = re.findall(r"^    (\S+) /source/\S+$", DEFINITION, flags=re.M)
    assert set(copied) == {
        w for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.M) for w in line.split()
    }
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(kept) == sorted(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_recipe_is_one_to_those_who_build_it():
    """rattler-build's own reading, where it is installed (py-rattler-build)."""
    rattler_build = pytest.importorskip("rattler_build")
    recipe = rattler_build.Stage0Recipe.from_file(str(ROOT / "recipe" / "recipe.yaml"))
    (made,) = recipe.render(rattler_build.VariantConfig(), rattler_build.RenderConfig())
    found = made.recipe().to_dict() if callable(made.recipe) else made.recipe.to_dict()
    assert found["requirements"]["run"] == RECIPE["requirements"]["run"]
    assert found["build"]["noarch"] == "python"

"""The commands of examples/workflows are commands of darklung, and their files follow one another.

``python benchmarks/workflows.py`` runs them.
"""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from darklung.commands.cli import app
from darklung.study.protocols import read_protocol

FOLDER = Path(__file__).parents[2] / "examples" / "workflows"
RULES = (FOLDER / "Snakefile").read_text()
STAGES = yaml.safe_load((FOLDER / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((FOLDER / "params.yaml").read_text())


def of_snakemake():
    """Commands with their places filled in by what parses as well."""
    for shell in re.findall(r'^        "(darklung .*)"$', RULES, flags=re.M):
        words = shell.replace("{threads}", "1").replace("{params.seed}", "1").replace("{params.method}", "fbp")
        yield re.sub(r"\{input[.\w]*\}", "scan.yaml", words)


def of_dvc():
    for stage in STAGES.values():
        yield re.sub(r"\$\{(\w+)\}", lambda m: str(PARAMS[m[1]]), stage["cmd"])


@pytest.mark.parametrize("words", [*of_snakemake(), *of_dvc()])
def test_commands_are_darklungs(words):
    program, name, *rest = shlex.split(words)
    commands = typer.main.get_command(app).commands
    context = commands[name].make_context(f"{program} {name}", rest, resilient_parsing=False)
    assert str(context.params["out"]) in {"raw", "maps", "volume", "qc"}


def test_an_option_that_is_no_more_would_be_seen():
    commands = typer.main.get_command(app).commands
    with pytest.raises(Exception, match="No such option: --gone"):
        commands["qc"].make_context("qc", ["maps", "--gone", "x", "--out", "qc"])


def test_both_have_the_same_steps():
    assert re.findall(r"^rule (\w+):", RULES, flags=re.M)[1:] == list(STAGES)
    assert len(list(of_snakemake())) == len(list(of_dvc())) == 4


def test_stages_of_dvc_follow_one_another():
    made = {"scan.yaml"}
    for name, stage in STAGES.items():
        assert set(stage["deps"]) <= made, name
        assert set(stage.get("params", [])) == set(re.findall(r"\$\{(\w+)\}", stage["cmd"]))
        made |= {out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]}


def test_the_protocol_can_be_read():
    assert read_protocol(FOLDER / "scan.yaml").scan.views == 60


def test_snakemake_sees_every_rule(tmp_path):
    if shutil.which("snakemake") is None:
        pytest.skip("snakemake is not installed")
    shutil.copytree(FOLDER, tmp_path / "w")
    done = subprocess.run(["snakemake", "--cores", "1", "--dry-run"], cwd=tmp_path / "w", capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert all(f"rule {name}:" in said for name in STAGES)

"""Options before a command: how much is told, and how it ended as JSON."""

import json
import sys

import pytest

from darklung.commands import cli
from darklung.core.screen import keep_quiet
from darklung.pipeline.bar import Bar


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command line as the shell does: exit code, standard output, standard error."""

    def lines(*words):
        monkeypatch.setattr(sys, "argv", ["darklung", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    yield lines
    keep_quiet(False)


def test_an_outcome_is_one_json_object(run, tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    code, out, err = run("--json", "examples", "--out", tmp_path / "examples")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert {key: found[key] for key in ("status", "code", "error")} == {"status": "done", "code": 0, "error": ""}
    assert any("examples" in line for line in found["told"])
    plain = run("examples", "--out", tmp_path / "again")[1]
    assert found["told"] == plain.replace("again", "examples").splitlines()


def test_a_refusal_is_told_in_json_and_on_standard_error(run, tmp_path):
    code, out, err = run("--json", "show", tmp_path / "none.h5")
    found = json.loads(out)
    assert (code, found["status"], found["told"]) == (2, "refused", [])
    assert "none.h5" in found["error"]
    assert err.strip() == f"darklung: {found['error']}"


def test_a_command_line_that_is_none_leaves_json_too(run):
    code, out, err = run("--json", "reconstruct", "a.h5", "--rings", "some")
    assert (code, json.loads(out)["status"]) == (2, "refused")
    assert "--rings" in err


def test_a_fault_of_ours_is_told_as_failed_and_keeps_its_traceback(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["darklung", "--json", "keys"])
    monkeypatch.setattr(cli, "app", lambda: (cli._outcome.begin(), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        cli.main()
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["code"]) == ("failed", 1)
    assert "ZeroDivisionError" in found["error"]


def test_verbose_tells_where_and_quiet_tells_no_progress(run, tmp_path, capsys):
    assert "Traceback" not in run("show", tmp_path / "none.h5")[2]
    assert "Traceback" in run("--verbose", "show", tmp_path / "none.h5")[2]
    for words, told in ((("--quiet",), ""), ((), "views: 1 of 1, done in 0 s\n")):
        run(*words, "show", tmp_path / "none.h5")
        with Bar("views") as bar:
            bar(1, 1)
        assert capsys.readouterr().err == told


def test_the_help_shows_every_command_once_in_a_group():
    grouped = " ".join(cli.PANELS.values()).split()
    known = [one.name or one.callback.__name__ for one in (*cli.app.registered_commands, *cli.app.registered_groups)]
    assert sorted(grouped) == sorted(name.rstrip("_") for name in known)
    assert all(one.rich_help_panel in cli.PANELS for one in (*cli.app.registered_commands, *cli.app.registered_groups))

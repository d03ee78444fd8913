"""The documentation site, without building it: its navigation, blocks that promise to run, commands that pages name."""

import ast
import importlib.util
import re
import shlex
import subprocess
from pathlib import Path

import psutil
import pytest
import yaml
from typer.main import get_command

from darklung.commands.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
MADE = {"reference/commands.md", "reference/api.md"}  # when the site is built
BESIDE = {"CONTRIBUTING.md", "CHANGELOG.md"}


def blocks_module():
    spec = importlib.util.spec_from_file_location("site_blocks", DOCS / "_site" / "blocks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


blocks = blocks_module()
PROGRAM = get_command(app)


def leaves(part):
    """Pages of a navigation, in order."""
    if isinstance(part, str):
        return [part]
    return [page for below in (part.values() if isinstance(part, dict) else part) for page in leaves(below)]


def test_the_navigation_has_every_page_once():
    """Decisions are reached by their index, which lists them all (test_pages)."""
    listed = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    pages = {str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md") if not re.match(r"\d{3}-", p.name)}
    assert sorted(listed) == sorted(pages | MADE | BESIDE)


def test_the_site_asks_no_other_machine():
    said = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert said["theme"]["font"] is False
    assert "offline" in said["plugins"]
    for place in said["extra"]["polyfills"]:
        assert (DOCS / place).is_file()
    assert "//" not in "".join(said["extra"]["polyfills"])


@pytest.mark.parametrize("page", blocks.pages_that_run(), ids=lambda p: p.stem)
def test_blocks_that_promise_to_run_can_be_read(page):
    text = page.read_text()
    assert page.name == "index.md" or len(text.splitlines()) <= 120
    found = blocks.blocks_of(text)
    assert sum(block.language in blocks.RUN for block in found) >= 2
    for block in found:
        assert block.language in {"bash", "python", "text", "yaml"}, f"line {block.line}: says no language"
        if block.language == "python":
            ast.parse(block.text)
        if block.language == "bash":
            subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    for place, _ in blocks.PICTURE.findall(text):
        assert (page.parent / place).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_is_closed_and_of_its_language(page):
    for block in blocks.blocks_of(page.read_text()):
        if block.language == "python":
            ast.parse(block.text)
        if block.language == "yaml":
            yaml.safe_load(block.text)


def test_the_start_page_takes_sections_that_the_readme_has():
    titles = re.findall(r"<!-- from README.md: (.+?) -->", (DOCS / "index.md").read_text())
    assert len(titles) >= 3
    assert set(titles) <= set(re.findall(r"^## (.+)$", (ROOT / "README.md").read_text(), flags=re.M))


def test_links_to_the_readme_are_of_sections_that_the_start_page_has():
    """There is no page of the README: its links lead to the start page."""
    titles = re.findall(r"^## (.+)$", (DOCS / "index.md").read_text(), flags=re.M)
    has = {title.lower().replace(" ", "-") for title in titles}
    pages = [p for p in DOCS.rglob("*.md") if p != DOCS / "index.md"]
    links = [(p, *m) for p in pages for m in re.findall(r"\]\(([./]*README\.md)(?:#([^)]*))?\)", p.read_text())]
    wanted = {anchor for p, place, anchor in links if (p.parent / place).resolve() == ROOT / "README.md"}
    assert wanted, "no page links to the README: this test looks at nothing"
    assert wanted - {""} <= has


def test_a_block_that_fails_names_page_line_and_output(tmp_path):
    page = DOCS / "made-up.md"
    fail = blocks.Block("bash", 7, "echo before; false\n")
    with pytest.raises(blocks.BlockFailed, match=r"ended with 1\nbefore"):
        blocks.in_bash(fail, tmp_path)
    with pytest.raises(blocks.BlockFailed, match=r'made-up.md", line 9, in <module>\nZeroDivisionError'):
        blocks.in_python(blocks.Block("python", 8, "a = 0\n1 / a\n"), {}, page)
    names = {}
    assert blocks.in_python(blocks.Block("python", 1, "b = 2\n"), names, page) == ""
    assert blocks.in_python(blocks.Block("python", 3, "print(b)\n"), names, page) == "2\n"
    blocks.hold("AUROC 0.81 in 3 s\n", "AUROC 0.81 in ... s\n")
    with pytest.raises(blocks.BlockFailed, match=r"the page says\nAUROC 0.82"):
        blocks.hold("AUROC 0.81\n", "AUROC 0.82\n")


def test_a_block_that_hangs_is_ended_with_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST", 1)
    with pytest.raises(blocks.BlockFailed, match="had not ended after 1 s"):
        blocks.in_bash(blocks.Block("bash", 1, "sleep 600 & echo $! > pid; wait\n"), tmp_path)
    try:
        left = psutil.Process(int((tmp_path / "pid").read_text()))
        assert left.status() == psutil.STATUS_ZOMBIE or left.wait(30) is None
    except psutil.NoSuchProcess:
        pass


def commands_in(text: str) -> list[str]:
    """Command lines of darklung in fenced and indented blocks and in inline code; continued lines are joined."""
    fenced = "".join(block.text for block in blocks.blocks_of(text)).replace("\\\n", " ").splitlines()
    indented = [line for line in text.replace("\\\n", " ").splitlines() if line.startswith("    ")]
    lines = [m[1] for m in re.finditer(r"`([^`\n]+)`", text)] + [line.strip() for line in fenced + indented]
    start = r"^(?:[A-Z_]+=\S+ )?(?:\.venv/bin/)?darklung (?=[a-z-])"
    return [re.sub(start, "", line) for line in lines if re.match(start, line) and not line.endswith((".", ","))]


def words_of(line: str) -> list[str]:
    """The words of a command line up to a pipe; brackets of what may be left out, and dots, are no words."""
    bare = re.sub(r"\[(-.*?)\](?= |$)", r"\1", re.sub(r"…|\.\.\.", "", line))
    words = shlex.split(bare, comments=True)
    ends = [k for k, word in enumerate(words) if word in {"|", ">", "&&", ";"} or word.endswith(";")]
    return words[: ends[0]] if ends else words


def wrong_with(line: str) -> str:
    """What the program would say against the names in a command line; "" if nothing."""
    command, words = PROGRAM, words_of(line)
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            return ""
        if "|" in words[0]:  # one of them, all of which must be there
            return " ".join(f"no command {name}" for name in words[0].split("|") if name not in command.commands)
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    context = command.context_class(command, info_name="x")
    try:
        _, left, _ = command.make_parser(context).parse_args(words)
    except Exception as error:  # noqa: BLE001, typer brings a click of its own, whose errors have no public name
        return f"{type(error).__name__}: {error}"
    return f"too many words: {left}" if left else ""


def test_a_wrong_command_line_is_seen():
    assert wrong_with("check mission_ct --sweep a=1:2:3 --out plan") == ""
    assert wrong_with("calibrate wedges wedge.csv --out here | head") == ""
    assert "sweeep" in wrong_with("check mission_ct --sweeep a=1:2:3")
    assert wrong_with("chek mission_ct") == "no command chek"
    assert "too many" in wrong_with("verify run other")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_that_pages_name_exist_with_their_options(page):
    found = {line: wrong_with(line) for line in commands_in(page.read_text())}
    assert {line: wrong for line, wrong in found.items() if wrong} == {}

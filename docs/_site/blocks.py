"""Run the bash and python blocks of pages in order, in an empty folder a page, and hold what they print to the page.

    python docs/_site/blocks.py                          all pages that promise to run
    python docs/_site/blocks.py docs/tutorials/reviewer.md --keep /tmp/look

A block in bash or python runs. A block in text right after it is what it prints (standard error, progress, aside), with
`...` for anything. Python blocks of a page share their names. A picture whose title names a file,
``![what](../images/tutorials/x.png "out/x.png")``, is that file of the page's folder; `--pictures` copies it to where the
page shows it.
"""

from __future__ import annotations

import argparse
import contextlib
import doctest
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
RUN = ("bash", "python")
PICTURE = re.compile(r'!\[[^\]]*\]\((\S+) "([^"]+)"\)')
FENCE = re.compile(r"^(```+)(\w*)\s*$")
SECONDS = 90  # what a page may take on two free cores; told, not enforced
LONGEST = 1800  # of one block: it hangs


class Block(NamedTuple):
    """A fenced block: its language, the line of its first line in the page (from 1), and its text."""

    language: str
    line: int
    text: str


class BlockFailed(Exception):
    """A block that ended in an error, or printed something else than its page says."""


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, opened = [], None
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened = (fence[1], fence[2], number + 1, [])
        elif opened and fence and fence[1] == opened[0] and not fence[2]:
            found.append(Block(opened[1], opened[2], "".join(f"{part}\n" for part in opened[3])))
            opened = None
        elif opened:
            opened[3].append(line)
    if opened:
        raise ValueError(f"line {opened[2] - 1}: the block is not closed")
    return found


def pages_that_run() -> list[Path]:
    """The start page and the tutorials."""
    return [ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]


def in_bash(block: Block, folder: Path) -> str:
    """Standard output of a block in a shell that stops at the first error; what it told besides is in that error."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    call = ["bash", "-euo", "pipefail", "-c", block.text]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(call, cwd=folder, env={**os.environ, "PATH": path}, start_new_session=True, **pipes) as shell:
        try:
            printed, told = shell.communicate(timeout=LONGEST)
        except BaseException as error:  # also Ctrl-C: what the shell started is ended with it
            os.killpg(shell.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise BlockFailed(f"had not ended after {LONGEST} s") from None
            raise
    if shell.returncode:
        raise BlockFailed(f"ended with {shell.returncode}\n{printed}{told}")
    return printed


def in_python(block: Block, names: dict[str, object], page: Path) -> str:
    """What a block prints, run with the names of the page's blocks before it; lines of errors are those of the page."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
    except Exception as error:  # noqa: BLE001, whatever a page's code raises is the page's failure
        raise BlockFailed(f"{told.getvalue()}{''.join(traceback.format_exception(error))}") from None
    return told.getvalue()


def hold(printed: str, wanted: str) -> None:
    """Refuse what is not as the page says; `...` stands for anything, and blanks do not count."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(wanted, printed, flags):
        raise BlockFailed(f"the page says\n{wanted}\nit printed\n{printed}")


def run_page(page: Path, folder: Path) -> int:
    """Run the blocks of a page in a folder and return how many; errors name page and line."""
    names: dict[str, object] = {"__name__": "__page__"}
    found = blocks_of(page.read_text())
    count = 0
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for block, after in zip(found, [*found[1:], None]):
        if block.language not in RUN:
            continue
        count += 1
        try:
            printed = in_bash(block, folder) if block.language == "bash" else in_python(block, names, page)
            if after and after.language == "text":
                hold(printed, after.text)
        except BlockFailed as error:
            raise BlockFailed(f"{page.relative_to(ROOT)}:{block.line}: {error}") from None
    missing = [file for _, file in PICTURE.findall(page.read_text()) if not (folder / file).is_file()]
    if missing:
        raise BlockFailed(f"{page.relative_to(ROOT)}: no block makes the pictured {', '.join(missing)}")
    return count


def copy_pictures(page: Path, folder: Path) -> None:
    """Put the pictures that a page's blocks made where the page shows them."""
    for place, file in PICTURE.findall(page.read_text()):
        target = (page.parent / place).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file, target)


def run_alone(page: Path, folder: Path) -> str:
    """Run a page in a process of its own, so that pages share nothing; "" or what went wrong."""
    call = [sys.executable, __file__, str(page), "--inside", str(folder)]
    done = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout


def processor() -> float:
    """Seconds of a processor that processes which have ended took, with those that they started."""
    return os.times().children_user + os.times().children_system


def main() -> int:
    """Run the pages that are asked for, one after another; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="Pages; all that promise to run by default.")
    parser.add_argument("--keep", type=Path, help="Folder for what the blocks write, instead of a temporary one.")
    parser.add_argument("--pictures", action="store_true", help="Copy the pictures into docs/images.")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        try:
            run_page(asked.pages[0].resolve(), asked.inside)
        except BlockFailed as error:
            print(error)
            return 1
        return 0
    failed = 0
    for page in [p.resolve() for p in asked.pages] or pages_that_run():
        with contextlib.ExitStack() as stack:
            scratch = asked.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="darklung-page-")))
            folder = (scratch / page.stem).resolve()
            folder.mkdir(parents=True)
            start, before = time.monotonic(), processor()
            wrong = run_alone(page, folder)
            seconds, worked = time.monotonic() - start, processor() - before
            if asked.pictures and not wrong:
                copy_pictures(page, folder)
        failed += bool(wrong)
        slow = f" (more than {SECONDS})" if min(seconds, worked) > SECONDS else ""  # not because others kept the cores busy
        how = f"{'failed' if wrong else 'ran'} in {seconds:.0f} s{slow}, {worked:.0f} s of a processor"
        print(f"{page.relative_to(ROOT)}: {how}\n{wrong}".rstrip(), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""``darklung examples``: the studies, protocols and the small raw scan that come with the package, as files to change."""

from __future__ import annotations

import shutil
from pathlib import Path

from darklung.core.checks import DarklungError, require
from darklung.core.files import check_replaceable, make_folder, one_line, whole
from darklung.study.protocols import examples_folder


def copy_examples(out: Path) -> str:
    """Copy all examples into a new folder and return the text to print.

    Raises
    ------
    DarklungError
        The folder holds something already, or cannot be written.
    """
    require(not out.exists() or (out.is_dir() and not any(out.iterdir())), f"{out}: wanted a new or an empty folder")
    check_replaceable(out)
    source = examples_folder()
    make_folder(out.absolute().parent)
    try:
        with whole(out.absolute()) as partial:
            shutil.copytree(source, partial, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    except (OSError, shutil.Error) as error:
        raise DarklungError(f"{out}: cannot be written ({one_line(error)})") from error
    count = sum(path.is_file() for path in out.rglob("*"))
    return f"{count} files in {out}\nnext: darklung retrieve {out / 'raw_scan' / 'scan.yaml'} --out {out / 'maps'}"

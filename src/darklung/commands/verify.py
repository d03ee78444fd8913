"""``darklung verify``: whether files are what darklung wrote."""

from __future__ import annotations

from pathlib import Path

from darklung.pipeline.bar import Bar
from darklung.pipeline.verify import told, verify


def verify_files(path: Path) -> tuple[str, bool]:
    """Compare a run, a folder or a file with its records; returns the text to print, and whether all is as written.

    Raises
    ------
    DarklungError
        Nothing there, or no record that tells what it should hold.
    """
    with Bar("verify") as bar:
        found = verify(path, progress=bar)
    return "\n".join(told(found)), not found.wrong

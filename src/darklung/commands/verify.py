"""``darklung verify``: whether files are what darklung wrote."""

from __future__ import annotations

from pathlib import Path

from darklung.core.checks import printable
from darklung.pipeline.bar import Bar
from darklung.pipeline.verify import told, verify
from darklung.publish.sums import is_deposit
from darklung.steps.deposit.check import verify_deposit


def verify_files(path: Path) -> tuple[str, bool]:
    """Compare a run, a folder or a file with its records, a deposit with its checksums, dictionary and documents.

    Returns the text to print, and whether all is as written.

    Raises
    ------
    DarklungError
        Nothing there, or no record that tells what it should hold.
    """
    with Bar("verify") as bar:
        found = (verify_deposit if is_deposit(path) else verify)(path, progress=bar)
    return "\n".join(map(printable, told(found))), not found.wrong

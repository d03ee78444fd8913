"""What a command came to: for those who call it from a program one JSON object, for those who mend it where it failed."""

from __future__ import annotations

import io
import json
import sys
import traceback
from typing import TextIO

STATUS = {0: "done", 2: "refused", 130: "stopped"}
"""By exit code; ``failed`` for any other."""


class Outcome:
    """Text of a command is kept from `begin` on, and told by `end`; without `begin` nothing changes."""

    def __init__(self) -> None:
        self.verbose = False
        self._screen: TextIO | None = None
        self._kept = io.StringIO()

    def begin(self) -> None:
        """From here on what is printed is kept."""
        self._screen, self._kept = sys.stdout, io.StringIO()
        sys.stdout = self._kept

    def end(self, code: int, error: str) -> None:
        """Print the object: ``status``, ``code``, ``told`` (lines of the result) and ``error`` (empty if there was none)."""
        if self._screen is None:
            return
        sys.stdout, self._screen = self._screen, None
        told = self._kept.getvalue().splitlines()
        found = {"status": STATUS.get(code, "failed"), "code": code, "told": told, "error": error}
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def say_where(self, error: Exception) -> None:
        """If `verbose`, the way through the code to an error that is told in a line."""
        if self.verbose:
            traceback.print_exception(error)

"""Where progress and notes are told: standard error, or nowhere."""

from __future__ import annotations

import io
import sys
from contextvars import ContextVar
from typing import TextIO, cast

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


class _Nowhere(io.TextIOBase):
    """Takes what is written and keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


def keep_quiet(wanted: bool) -> None:
    """Whether progress and notes of this process are told to nobody from now on; results and errors are none of them."""
    _quiet.set(wanted)


def screen() -> TextIO:
    """The stream for progress and notes."""
    return cast(TextIO, _Nowhere()) if _quiet.get() else sys.stderr

"""Projections that a step reads: another task's, or a file where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darklung.io.documents import Document
from darklung.io.names import PROJECTIONS
from darklung.pipeline import Context


class ReadsProjections(Document):
    """Parameters of such a step."""

    file: str = ""

    def path(self, context: Context) -> Path:
        """Where they are."""
        return Path(self.file) if self.file else context.input("projections") / PROJECTIONS


def wired(projections: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of `ReadsProjections`, and of the `Task` what it reads: another task's output, or a file."""
    if isinstance(projections, Path):
        return {"file": str(projections.resolve())}, {"data": (projections,)}
    return {}, {"inputs": {"projections": (projections,)}}

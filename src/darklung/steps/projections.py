"""Projections that a step reads: another task's, or a file where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darklung.io.documents import Document
from darklung.io.names import PROJECTIONS
from darklung.pipeline import Context
from darklung.pipeline.provenance import stamp


class ReadsProjections(Document):
    """Parameters of such a step; `stamps` tell a file that was changed without reading it."""

    file: str = ""
    stamps: tuple[Any, ...] = ()

    def path(self, context: Context) -> Path:
        """Where they are."""
        return Path(self.file) if self.file else context.input("projections") / PROJECTIONS


def wired(projections: str | Path) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Fields of `ReadsProjections` and inputs of the task, for the name of a task or a file."""
    if isinstance(projections, Path):
        return {"file": str(projections.resolve()), "stamps": (stamp(projections),)}, {}
    return {}, {"projections": (projections,)}

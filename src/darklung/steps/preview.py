"""One retrieved view of one scan for the report: a task of its own, so that it stays when the projections are removed."""

from __future__ import annotations

import shutil

from darklung.io.names import PREVIEW
from darklung.pipeline import Context, Task

STAGE = "preview"


def task(item: str, retrieved: str) -> Task:
    """The view that the retrieval `retrieved` kept to be looked at."""
    return Task(STAGE, item, "darklung.steps.preview:keep", inputs={"retrieve": (retrieved,)})


def keep(context: Context) -> None:
    """``preview.ome.zarr``."""
    shutil.copytree(context.input("retrieve") / PREVIEW, context.out / PREVIEW)

"""Files of a model and its run, read for a card: as they were written, and as text that can be written again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from darklung.core.checks import require
from darklung.core.files import read_object, read_text, reading
from darklung.learn.files import DESCRIPTION_FILE, METRICS_FILE, WEIGHTS_FILE
from darklung.pipeline.artefacts import RECORD, require_as_written
from darklung.pipeline.contents import file_hash
from darklung.pipeline.record import read_record

MOST_LINES = 10_000


def read_model(folder: Path) -> dict[str, Any]:
    """model.json of a model whose weights are those that were trained.

    Raises
    ------
    DarklungError
        One line: no model there, or files that are not what was written.
    """
    from darklung.learn.predict import read_description

    require_as_written(folder / DESCRIPTION_FILE, folder / METRICS_FILE)
    description: dict[str, Any] = writable(read_description(folder))
    known, weights = description.get("weights_sha256"), folder / WEIGHTS_FILE
    require(weights.is_file(), f"{folder}: {WEIGHTS_FILE} is missing")
    same = known is None or file_hash(weights) == known
    require(same, f"{weights}: is not what was trained ({DESCRIPTION_FILE} tells another SHA-256)")
    return description


def read_own_record(folder: Path) -> dict[str, Any] | None:
    """The record of the task that made a folder; None where there is none, as of a training from Python.

    Raises
    ------
    DarklungError
        A record that is not what was written.
    """
    if not (folder / RECORD).is_file():
        return None
    record = read_record(folder / RECORD)
    require(record is not None, f"{folder / RECORD}: is not what was written")
    found: dict[str, Any] = writable(record)
    return found


def read_scores(folder: Path) -> list[dict[str, Any]]:
    """Lines of validations in metrics.jsonl; none where there is no such file."""
    path = folder / METRICS_FILE
    if not path.is_file():
        return []
    text = read_text(path, "JSON lines")
    with reading(path, "JSON lines"):
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    require(all(isinstance(row, dict) for row in rows), f"{path}: wanted lines with an object each")
    scored = [writable(row) for row in rows if {"step", "score"} <= row.keys()]
    require(len(scored) <= MOST_LINES, f"{path}: wanted at most {MOST_LINES} lines of validations, got {len(scored)}")
    return scored


def read_written(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a run, which is what its record tells."""
    require_as_written(path)
    found: dict[str, Any] = writable(read_object(path))
    return found


def writable(value: Any) -> Any:
    """JSON as it can be written again: numbers that are none become None, halves of a character ``?``."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return type(value)(writable(v) for v in value)
    return {writable(k): writable(v) for k, v in value.items()} if isinstance(value, dict) else value

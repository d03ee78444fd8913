"""What simulated animals and their insertions turned out to be, measured on the phantoms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from darklung.core.files import write_text
from darklung.core.types import Phantom
from darklung.io.hdf5 import load
from darklung.io.names import PHANTOM
from darklung.io.tables import save_table
from darklung.phantom.describe import INSERTION_MEANINGS, MOUSE_MEANINGS, describe_insertions, describe_mouse
from darklung.pipeline import Context, Task

STAGE, TABLES = "describe", "tables"
COLLECT = f"{TABLES}/all"


def task(name: str, animal: Mapping[str, Any], site: str) -> Task:
    """The description of one animal."""
    parameters = {"subject": name, "site": site, "variant": animal["variant"]}
    return Task(STAGE, name, "darklung.steps.describe:describe", parameters, {"phantom": (f"phantom/{name}",)})


def collect_task(described: Sequence[Task]) -> Task:
    """The tables of all."""
    names = tuple(t.name for t in described)
    return Task(TABLES, "all", "darklung.steps.describe:collect", {}, {"describe": names})


def describe(context: Context) -> None:
    """``mouse.json``: what the animal and its insertions turned out to be."""
    phantom = load(context.input("phantom") / PHANTOM, Phantom)
    subject = {k: context.parameters[k] for k in ("subject", "site", "variant")}
    mouse = {k.replace(" ", "_"): v for k, v in describe_mouse(phantom).items()}
    rows = {
        "mouse": {**subject, **mouse, "synthetic_flag": True},
        "insertions": [{"subject": subject["subject"], **row} for row in describe_insertions(phantom)],
    }
    write_text(context.out / "mouse.json", json.dumps(rows, indent=1))


def collect(context: Context) -> None:
    """``mice`` and ``insertions``: one row an animal and one an insertion, measured on the phantoms."""
    rows = [json.loads((path / "mouse.json").read_text(encoding="utf-8")) for path in context.inputs["describe"]]
    of_mice = {k.replace(" ", "_"): v for k, v in MOUSE_MEANINGS.items()}
    save_table(context.out / "mice", [r["mouse"] for r in rows], of_mice)
    insertions = [row for r in rows for row in r["insertions"]]
    if insertions:
        save_table(context.out / "insertions", insertions, INSERTION_MEANINGS)

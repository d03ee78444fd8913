"""Stages of a toy study, importable by worker processes."""

import json
import os
import signal
import time

from darklung.core.checks import DarklungError


def count(context):
    """Write a number after a few checkpointed steps; leaves a mark for each step computed."""
    state = context.scratch / "state"
    value = int(state.read_text()) if state.exists() else 0
    while value < context.parameters["until"]:
        value += 1
        with open(context.parameters["marks"], "a") as marks:
            marks.write(f"{context.out.name.split('.')[0]} {value}\n")
        partial = state.with_suffix(".new")
        partial.write_text(str(value))
        os.replace(partial, state)
        context.progress(value / context.parameters["until"], "counting")
        if value == context.parameters.get("die_at") and not os.path.exists(context.parameters["marks"] + ".died"):
            open(context.parameters["marks"] + ".died", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(context.parameters.get("pause", 0))
    (context.out / "value").write_text(str(value))


def add(context):
    """Sum the inputs."""
    total = sum(int((p / "value").read_text()) for p in context.inputs["parts"])
    (context.out / "value").write_text(str(total))


def refuse(context):
    """Bad input."""
    raise DarklungError("frames: wanted five axes, got four")


def crash(context):
    """A bug."""
    raise ZeroDivisionError("oh")


def nothing(context):
    """Leave an empty output."""


def go_on(context):
    """Tell which earlier outputs there are, by their numbers."""
    found = [json.loads((path / "record.json").read_text())["parameters"]["number"] for path in context.earlier]
    (context.out / "earlier").write_text(json.dumps(found))

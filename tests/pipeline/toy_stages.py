"""Stages of a toy study, importable by worker processes."""

import json
import os
import signal
import time

from threadpoolctl import threadpool_info

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


def threads(context):
    """What linear algebra may use here."""
    (context.out / "threads").write_text(json.dumps([library["num_threads"] for library in threadpool_info()]))


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


def everything(context):
    """One artefact of each kind that darklung writes, by its own writers."""
    import numpy as np
    import torch
    from safetensors.torch import save_file

    from darklung.core.geometry import ParallelGeometry
    from darklung.core.types import Image
    from darklung.io.hdf5 import save
    from darklung.io.images import export_nifti, save_image
    from darklung.io.tables import save_json, save_table
    from darklung.report.html import write_report

    out, rng = context.out, np.random.default_rng(context.parameters.get("seed", 0))
    image = Image(
        rng.normal(size=(2, 20, 18, 16)).astype(np.float32), ("attenuation", "dark_field"), ("1/m",) * 2, (1e-4,) * 3
    )
    save_image(out / "volume.ome.zarr", image)
    export_nifti(image, out)
    save(out / "scan.h5", ParallelGeometry(np.linspace(0, 3, 300), 10, 12, 1e-4))
    np.savez(out / "maps.npz", a=rng.normal(size=200))
    np.save(out / "frames.npy", rng.normal(size=200))
    save_file({"weight": torch.from_numpy(rng.normal(size=(20, 20)))}, out / "model.safetensors")
    (out / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": k, "loss": float(rng.normal())}) + "\n" for k in range(20))
    )
    save_json(out / "comparison.json", {"arms": {"hybrid": rng.normal(size=20).tolist()}})
    save_table(out / "units", [{"a": k, "b": float(rng.normal())} for k in range(50)], {"a": "number", "b": "value"})
    write_report(out / "report.html", title="All kinds", summary={"n": 1}, sections=[])
    (out / "study.yaml").write_text("name: all\nseed: 1\n")
    (out / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + rng.bytes(500))


def copy(context):
    """The texts from outside, one after another; with ``edit`` a file is changed to that text first, as somebody might."""
    if "edit" in context.parameters:
        path, text = context.parameters["edit"]
        with open(path, "w") as file:
            file.write(text)
    texts = [path.read_text() for path in context.files.values()]
    (context.out / "value").write_text("".join(texts))

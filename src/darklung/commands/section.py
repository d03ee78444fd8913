"""``darklung section``: a synthetic histology section of a phantom, marked as such, with what is true at each place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.checks import require
from darklung.io.documents import validate
from darklung.io.images import load_image
from darklung.io.names import PHANTOM, item_name
from darklung.pipeline import run_tasks
from darklung.slides.opening import open_slide
from darklung.steps.section import PICTURE, TRUTH, output, task
from darklung.study.histology import CutPart


def cut_phantom(phantom: Path, out: Path, *, name: str, given: Mapping[str, Any]) -> str:
    """Cut one section and return lines to print.

    Parameters
    ----------
    phantom : Path
        ``phantom.h5``, as ``darklung cohort`` and studies write it, or its folder.
    out : Path
        Gets ``section/NAME``.
    name : str
    given : mapping
        Of `CutPart`, as a file writes it.

    Raises
    ------
    DarklungError
        Not a phantom, no lung in the plane, a value out of bounds.
    """
    file = phantom / PHANTOM if phantom.is_dir() else phantom
    require(file.is_file(), f"{file}: no such phantom; darklung cohort makes them")
    part: CutPart = validate(dict(given), CutPart, "section")
    made = task(item_name(name), file.resolve(), part)
    run_tasks([made], folder=out, targets=[made.name], workers=1, about={"phantom": str(file), **made.parameters})
    folder = output(out, made.item)
    truth = load_image(folder / TRUTH)
    lung = truth.channel("lung") > 0
    fraction, surface = (float(np.nanmean(truth.channel(n)[lung])) for n in ("tissue_fraction", "interface_density_per_m"))
    lesion = float((truth.channel("lesion")[lung] > 0).sum()) * truth.spacing_m[0] ** 2
    lines = [*open_slide(folder / PICTURE).lines(), "  SYNTHETIC: simulated, no animal"]
    lines.append(
        f"  lung {1e6 * float(lung.sum()) * truth.spacing_m[0] ** 2:.2f} mm² on the slide, lesions {1e6 * lesion:.2f} mm²"
    )
    lines.append(f"  in the phantom, vessels and airways included: φ {fraction:.3f}, S_V {surface / 100:.0f} /cm")
    return "\n".join([*lines, f"next: darklung stereology {folder / PICTURE} --out {out}"])

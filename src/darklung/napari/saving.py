"""Labels that were drawn, saved as a labelled case that says where it comes from; never over another one unless told."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung import __version__
from darklung.commands.recorded import recorded
from darklung.core.checks import require
from darklung.core.types import LESION, UNKNOWN
from darklung.features.redrawn import redrawn
from darklung.io.case import LabelledCase, load_case, save_case
from darklung.io.names import CASE, CHANNELS, LABELS, item_name
from darklung.io.nifti import write_nifti

DRAWN = "drawn"  # key of a case's provenance; a list, since a case may be drawn in more than once


@dataclass(frozen=True)
class Choices:
    """How labels are saved.

    Parameters
    ----------
    healthy : bool
        What is unknown in the search region is known to be free of lesions.
    nifti : bool
        Labels for other programs too, ``SUBJECT_labels.nii.gz``.
    replace : bool
        Write over a case that is there.
    seen : str
        The prediction that was looked at, for the provenance.
    """

    healthy: bool = False
    nifti: bool = True
    replace: bool = False
    seen: str = ""


def save_labels(source: Path, drawn: NDArray[Any], *, out: Path, choices: Choices | None = None) -> str:
    """Write the case in `source` with other labels to `out`, with a record, and return a line to show.

    Parameters
    ----------
    source : Path
        Folder of the labelled case that was drawn in.
    drawn : (*spatial) integers
        As `darklung.features.redrawn.redrawn` takes them.
    out : Path
        Folder of a case; outputs of a run's tasks are refused, since the run would make them again.
    choices : Choices, optional

    Raises
    ------
    DarklungError
        A case is in `out` already, or labels that do not fit.
    """
    how = choices or Choices()
    there = (out / CASE).is_file()
    require(how.replace or not there, f"{out}: holds a labelled case; wanted another folder, or leave to replace it")
    same = out.resolve() == source.resolve()  # then nothing is left of what was read
    files = [] if same else [p for p in (source / CASE, source / LABELS, source / CHANNELS) if p.exists()]
    return napari_labels(source=source, files=files, drawn=drawn, choices=how, out=out)


@recorded
def napari_labels(*, source: Path, files: list[Path], drawn: NDArray[Any], choices: Choices, out: Path) -> str:
    """`save_labels` once it is allowed; its record notes what was read and written."""
    case = load_case(source)
    labels = np.where((drawn == UNKNOWN) & case.region, 0, drawn) if choices.healthy else drawn
    made = redrawn(case, labels)
    told = _provenance(case, made, source, choices)
    earlier = case.about.provenance.get(DRAWN, [])
    about = {**case.about.provenance, DRAWN: [*(earlier if isinstance(earlier, list) else [earlier]), told]}
    save_case(out, replace(made, about=replace(case.about, provenance=about)))
    if choices.nifti:
        image = made.channels.with_data(made.labels[None], ("labels",), ("1",))
        write_nifti(out / f"{item_name(case.about.subject)}_labels.nii.gz", image, "labels")
    return f"{out}: {told['changed_voxels']} voxels changed, {told['lesions_before']} -> {told['lesions']} lesions"


def _provenance(case: LabelledCase, made: LabelledCase, source: Path, choices: Choices) -> dict[str, Any]:
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "darklung": __version__,
        "case": str(source.resolve()),
        "prediction": choices.seen or None,
        "unknown_is_healthy": choices.healthy,
        "changed_voxels": int((case.labels != made.labels).sum()),
        "lesion_voxels": int((made.labels == LESION).sum()),
        "lesions_before": sum(i.kind == "lesion" for i in case.insertions),
        "lesions": sum(i.kind == "lesion" for i in made.insertions),
    }

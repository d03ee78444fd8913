"""A case with labels that somebody drew anew: what was known of its lesions stays, and what is new gets a number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_shape, require
from darklung.core.types import LESION, UNKNOWN, Insertion
from darklung.features.labels import numbered_as_insertions
from darklung.io.case import LabelledCase

_MOST = np.iinfo(np.uint16).max


def redrawn(case: LabelledCase, drawn: NDArray[Any]) -> LabelledCase:
    """The same case with labels as drawn.

    A lesion keeps number and class as long as a voxel of it is left. Voxels added to a part of lesions belong to the nearest
    lesion of that part; a part without any is a new lesion of class ``"unknown"``. Mimics and shams stay, but for voxels
    that are drawn as lesion. Centre and diameter are those of the voxels where these have changed, else as they were.

    Parameters
    ----------
    case : LabelledCase
    drawn : (*spatial) integers
        0 background, `UNKNOWN` (255), any other number lesion.

    Raises
    ------
    DarklungError
        Another shape, no whole numbers, or more lesions than have numbers.
    """
    who = f"case {case.about.subject}"
    check_shape(f"{who}: labels", drawn, "*spatial", case.channels.shape)
    require(drawn.dtype.kind in "uib", f"{who}: labels: wanted whole numbers, got {drawn.dtype}")
    labels = np.where(drawn == UNKNOWN, UNKNOWN, np.where(drawn != 0, LESION, 0)).astype(np.uint8)
    instances = _instances(case, labels, who)
    return replace(
        case,
        labels=labels,
        instances=instances,
        hard=case.hard & (labels != LESION),
        insertions=_insertions(case, instances),
    )


def _instances(case: LabelledCase, labels: NDArray[np.uint8], who: str) -> NDArray[np.uint16]:
    """Numbers of lesions where they are drawn, of mimics elsewhere; what is unknown keeps what it had."""
    lesions, mimics = (np.isin(case.instances, _numbers(case, kind)) for kind in ("lesion", "mimic"))
    drawn = labels == LESION
    kept = np.where(drawn & lesions, case.instances, 0).astype(np.uint16)
    first = max((i.number for i in case.insertions), default=0) + 1
    numbers = _numbered(kept, drawn, first, who)
    stays = np.where((labels == UNKNOWN) | mimics, case.instances, 0)
    return np.where(drawn, numbers, stays).astype(np.uint16)


def _numbered(kept: NDArray[np.uint16], drawn: NDArray[np.bool_], first: int, who: str) -> NDArray[np.uint16]:
    """Each connected part that is drawn: the nearest number in it, or the next new one."""
    from scipy import ndimage

    out, new = kept.copy(), first
    parts, _ = ndimage.label(drawn, ndimage.generate_binary_structure(drawn.ndim, drawn.ndim))
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        part, own = parts[box] == number, np.where(parts[box] == number, kept[box], 0)
        if not own.any():
            require(new <= _MOST, f"{who}: labels: wanted at most {_MOST} lesions, mimics and shams, got more")
            out[box][part], new = new, new + 1
        elif (own[part] == 0).any():
            nearest = ndimage.distance_transform_edt(own == 0, return_distances=False, return_indices=True)
            out[box][part] = own[tuple(nearest)][part]
    return out


def _insertions(case: LabelledCase, instances: NDArray[np.uint16]) -> tuple[Insertion, ...]:
    """Those that are left, those that never had a voxel here, and the new ones."""
    before, now = (set(np.unique(a[a > 0]).tolist()) for a in (case.instances, instances))
    moved = set(np.unique(np.concatenate([a[case.instances != instances] for a in (case.instances, instances)])).tolist())
    lesions = set(_numbers(case, "lesion"))
    measured = {i.number: i for i in numbered_as_insertions(instances, case.channels)}
    kept = []
    for one in case.insertions:
        if one.kind == "lesion" and one.number in moved & now:
            kept.append(replace(measured[one.number], tissue=one.tissue))
        elif one.number in now or one.number not in before:
            kept.append(one)
    new = sorted(now - before - lesions - set(_numbers(case, "mimic")))
    return (*kept, *(measured[number] for number in new))


def _numbers(case: LabelledCase, kind: str) -> list[int]:
    return [i.number for i in case.insertions if i.kind == kind]

"""The table's rows and the labels that every route leaves beside a changed scan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.files import write_text
from darklung.core.types import Image, Insertion
from darklung.features.labels import hard_negatives, lesion_labels
from darklung.insert.measured import Made
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.io.images import save_image
from darklung.io.names import EXTENT
from darklung.pipeline import Context
from darklung.steps.insertion.parameters import Parameters
from darklung.steps.insertion.scale import read_scale
from darklung.steps.recorded_energy import recorded_energy_kev

MM = 1e-3


def save_rows(context: Context, made: Sequence[Made], notes: Mapping[str, Any]) -> None:
    """``insertions.json`` of one copy, and ``notes.json``: what was assumed."""
    p = Parameters.of(context)
    subject = f"{p.source}-{p.copy_number:03d}"
    rows = [{"subject": subject, "source": p.source, "animal": p.animal, "copy": p.copy_number, **_row(m)} for m in made]
    write_text(context.out / "insertions.json", json.dumps(rows, indent=1))
    write_text(context.out / "notes.json", json.dumps(dict(notes), indent=1))


def _row(made: Made) -> dict[str, Any]:
    one = asdict(made.insertion)
    z, y, x = (float(c) / MM for c in one["center_m"])
    measured = made.measured_diameter_m
    return {
        "number": one["number"],
        "kind": one["kind"],
        "tissue": one["tissue"],
        "diameter_mm": float(one["diameter_m"]) / MM,
        "measured_diameter_mm": None if measured is None else measured / MM,
        "z_mm": z,
        "y_mm": y,
        "x_mm": x,
        "place": made.place,
        "mu_ratio": made.ratios[0],
        "epsilon_ratio": made.ratios[1],
        "synthetic_flag": True,
    }


def save_copy(
    context: Context,
    image: Image,
    insertions: Sequence[Insertion],
    *,
    instances: NDArray[Any],
    region: NDArray[np.bool_],
    extent: tuple[str, str, NDArray[Any]],
) -> None:
    """One copy as a labelled case, and beside it ``extent.ome.zarr``: how much of each voxel, or ray, is lesion or mimic.

    Parameters
    ----------
    context : Context
    image : Image
        The changed scan; of projections and frames of a CT, which are still to be reconstructed, a grid without channels.
    insertions : sequence of Insertion
    instances, region : (*spatial)
    extent : (name, unit, (*spatial) array)
    """
    save_case(context.out, copy_case(Parameters.of(context), image, insertions, instances=instances, region=region))
    name, unit, values = extent
    save_image(context.out / EXTENT, image.with_data(np.asarray(values, dtype=np.float32)[None], (name,), (unit,)))


def copy_case(
    p: Parameters, image: Image, insertions: Sequence[Insertion], *, instances: NDArray[Any], region: NDArray[np.bool_]
) -> LabelledCase:
    """A changed scan with the labels of what was put in; lung and search region are `region`."""
    subject, own = f"{p.source}-{p.copy_number:03d}", np.asarray(instances, dtype=np.uint16)
    about: dict[str, Any] = {"copy": p.copy_number, "scale": p.scale, "options": p.options.model_dump(mode="json")}
    about |= beam_told(p)
    return LabelledCase(
        channels=image.with_data(image.data.astype(np.float32)),
        labels=lesion_labels(own, insertions),
        lung=region,
        region=region,
        instances=own,
        hard=hard_negatives(insertions, own, image),
        insertions=tuple(insertions),
        about=CaseFacts(subject, p.animal, source=p.source, synthetic=True, provenance=about),
    )


def beam_told(p: Parameters) -> dict[str, float]:
    """Energy [keV] and ξ [m] of a copy, as far as its source's records or the instrument that it is scaled by say them."""
    scale, volume = read_scale(p.scale), p.paths.volume or p.paths.source
    energy = (recorded_energy_kev(Path(volume)) if volume else None) or scale.energy_kev
    length = None if p.scale == "own" else scale.correlation_length_m
    return {name: v for name, v in (("energy_kev", energy), ("correlation_length_m", length)) if v is not None}


def without_channels(image: Image) -> Image:
    """Its grid alone."""
    return image.with_data(image.data[:0], (), ())

"""The table's rows and the labels that every route leaves beside a changed scan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.types import Image, Insertion
from darklung.io.images import save_image
from darklung.pipeline import Context
from darklung.steps.insertion.parameters import Parameters

MM = 1e-3


@dataclass(frozen=True)
class Made:
    """One insertion and what was measured on it.

    Parameters
    ----------
    insertion : Insertion
    place : str
    measured_diameter_m : float, optional
        None for a sham.
    ratios : (attenuation, scattering), optional
        Over the lung that was replaced.
    """

    insertion: Insertion
    place: str
    measured_diameter_m: float | None
    ratios: tuple[float | None, float | None]


def save_rows(context: Context, made: Sequence[Made], notes: Mapping[str, Any]) -> None:
    """``insertions.json`` of one copy, and ``notes.json``: what was assumed."""
    p = Parameters.of(context)
    subject = f"{p.source}-{p.copy_number:03d}"
    rows = [{"subject": subject, "source": p.source, "animal": p.animal, "copy": p.copy_number, **_row(m)} for m in made]
    (context.out / "insertions.json").write_text(json.dumps(rows, indent=1))
    (context.out / "notes.json").write_text(json.dumps(dict(notes), indent=1))


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


def sphere_diameter_m(volume_m3: float) -> float:
    """Diameter of the sphere of a volume."""
    return float(np.cbrt(6 * volume_m3 / np.pi))


def save_labels(path: Path, layers: Mapping[str, tuple[str, NDArray]], grid: Image) -> None:
    """Labels (name -> unit and array) as one image on the grid of another."""
    data = np.stack([np.asarray(values, dtype=np.float32) for _, values in layers.values()])
    units = tuple(unit for unit, _ in layers.values())
    save_image(path, Image(data, tuple(layers), units, grid.spacing_m, grid.origin_m, grid.frame))


def volume_labels(instances: NDArray, share: NDArray, region: NDArray, insertions: Sequence[Insertion]) -> dict[str, Any]:
    """Layers of a volume: what is lesion, part of each voxel that is lesion or mimic, its number, and the lungs."""
    lesions = [i.number for i in insertions if i.kind == "lesion"]
    return {
        "target": ("1", np.isin(instances, lesions)),
        "share": ("1", share),
        "instance": ("1", instances),
        "region": ("1", region),
    }


def read_insertions(folder: Path) -> tuple[Insertion, ...]:
    """What `save_rows` wrote, as insertions."""
    rows = json.loads((folder / "insertions.json").read_text())
    return tuple(
        Insertion(
            r["number"], r["kind"], r["tissue"], (MM * r["z_mm"], MM * r["y_mm"], MM * r["x_mm"]), MM * r["diameter_mm"]
        )
        for r in rows
    )

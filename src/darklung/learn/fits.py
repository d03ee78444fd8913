"""Whether a model fits an image: its axes, voxel, channels, units and energy. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Images of the same voxel and energy may differ by this share.
SAME_SPACING, SAME_ENERGY = 0.02, 0.02


def why_not(
    description: Mapping[str, Any],
    *,
    spacing_m: Sequence[float],
    units: Mapping[str, str],
    beam: tuple[float | None, float | None] = (None, None),
) -> str:
    """Why a model does not fit an image, in words; empty where it does.

    Parameters
    ----------
    description : mapping
        Of `darklung.learn.predict.read_description`, or what of it is known before training.
    spacing_m : sequence of float
        Of the image, one a spatial axis.
    units : mapping
        Channel -> unit, of the image.
    beam : (energy [keV], ξ [m])
        That the image's values refer to; None where it is not known. A model whose channels are normalised by the volume
        takes any unit and an energy that is not known: both change scale and offset, which the volume's own replace.
    """
    images = description.get("images", {})
    if len(spacing_m) != description["dims"]:
        return f"the model works on {description['dims']} spatial axes, the image has {len(spacing_m)}"
    missing = [name for name in description["channels"] if name not in units]
    if missing:
        return f"channel {', '.join(missing)} is missing; the image has {', '.join(units)}"
    wanted = tuple(images.get("spacing_m", spacing_m))
    if not np.allclose(spacing_m, wanted, rtol=SAME_SPACING):
        return f"spacing {_um(spacing_m)} um, the model was trained at {_um(wanted)} um"
    own = description["normalisation"].get("per") == "volume"
    for name, unit in images.get("units", {}).items():
        if not own and units[name] != unit:
            return f"{name} is in {units[name]}, the model was trained in {unit} and normalises by its cohort"
    return _other_beam(images.get("beams", []), beam, own)


def _other_beam(beams: Sequence[Sequence[float | None]], beam: tuple[float | None, float | None], own: bool) -> str:
    energies = sorted({float(b[0]) for b in beams if b[0] is not None})
    if not energies:
        return ""
    told = ", ".join(f"{e:g}" for e in energies)
    if beam[0] is None:
        return "" if own else f"the energy of the image is not known, the model was trained at {told} keV"
    if min(abs(beam[0] - e) / e for e in energies) > SAME_ENERGY:
        return f"the image is at {beam[0]:g} keV, the model was trained at {told} keV"
    return ""


def _um(values: Sequence[float]) -> str:
    return " x ".join(f"{1e6 * v:.4g}" for v in values)

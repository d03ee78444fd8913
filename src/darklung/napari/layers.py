"""Images, labels and candidates as napari takes them: (data, how to show it, kind of layer), plain data without napari.

Coordinates are millimetres of the image's frame. Scale and translation lie along the array's axes, as in OME-Zarr; a
direction other than the frame's is the layer's affine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.orientation import identity
from darklung.core.types import LESION, UNKNOWN, Image
from darklung.io.case import LabelledCase
from darklung.io.images import AXES, shown
from darklung.steps.findings import probability_maps

Layer = tuple[Any, dict[str, Any], str]

LABELS, PREDICTION, PROBABILITY, CANDIDATES = "labels", "prediction", "probability", "candidates"
MASKS = ("lung", "region", "instances")  # of a case, hidden at first
METADATA = "darklung"  # key of a layer's metadata under which ours lie
# Lesions yellow, what a model calls lesion blue, apart for every eye (Okabe, Ito); what is unknown is a haze.
DRAWN = {0: "transparent", LESION: "#F0E442", UNKNOWN: "#80808030", None: "#D55E00"}
CALLED = {0: "transparent", 1: "#56B4E9", None: "transparent"}
MM_PER_M = 1e3
LEAST_MARK_MM = 0.5


def image_layers(image: Image, subject: str, about: Mapping[str, Any]) -> list[Layer]:
    """One image layer a channel, in colour and contrast as OME-Zarr tells them; the first is visible.

    Parameters
    ----------
    image : Image
    subject : str
        Names of layers begin with it.
    about : mapping
        Goes into the metadata of each layer, beside channel and unit.
    """
    layers: list[Layer] = []
    for name, unit, values, how in zip(image.names, image.units, image.data, shown(image.names, image.data)["channels"]):
        options = {
            **place(image),
            "name": f"{subject} {name}",
            "contrast_limits": (how["window"]["start"], how["window"]["end"]),
            "colormap": "gray" if how["color"] == "FFFFFF" else f"#{how['color']}",
            "blending": "additive",
            "visible": how["active"],
            "metadata": {METADATA: {**about, "channel": name, "unit": unit}},
        }
        layers.append((values, options, "image"))
    return layers


def case_layers(case: LabelledCase, about: Mapping[str, Any]) -> list[Layer]:
    """Channels of a case, its masks (hidden), and on top the labels that are drawn in: 0, 1 lesion, 255 unknown."""
    subject = case.about.subject
    layers = image_layers(case.channels, subject, about)
    for name in MASKS:
        values = np.asarray(getattr(case, name)).astype(np.uint16 if name == "instances" else np.uint8)
        layers.append(_labels(case.channels, f"{subject} {name}", values, None, about, visible=False))
    return [*layers, labels_layer(case, about)]


def labels_layer(case: LabelledCase, about: Mapping[str, Any]) -> Layer:
    """A copy of a case's labels, to be drawn in."""
    name = f"{case.about.subject} {LABELS}"
    return _labels(case.channels, name, case.labels.copy(), DRAWN, {**about, "layer": LABELS}, visible=True)


def prediction_layers(
    maps: Image, subject: str, about: Mapping[str, Any], *, visible: bool = True, arm: str = ""
) -> list[Layer]:
    """The map ``probability`` from 0 to 1, and where it is above a half, which is what Dice of an evaluation counts."""
    probability = maps.channel(PROBABILITY)
    end = f" {arm}" if arm else ""
    options = {
        **place(maps),
        "name": f"{subject} {PROBABILITY}{end}",
        "contrast_limits": (0.0, 1.0),
        "colormap": "magma",
        "blending": "additive",
        "opacity": 0.6,
        "visible": visible,
        "metadata": {METADATA: {**about, "channel": PROBABILITY, "unit": "1", "layer": PROBABILITY}},
    }
    name = f"{subject} {PREDICTION}{end}"
    called = _labels(maps, name, called_lesion(maps), CALLED, {**about, "layer": PREDICTION}, visible=visible)
    return [(probability, options, "image"), called]


def called_lesion(maps: Image) -> NDArray[np.uint8]:
    """1 where the probability is above a half, (*spatial); nothing where nothing was searched."""
    return np.asarray(np.nan_to_num(maps.channel(PROBABILITY), nan=0.0) > 0.5).astype(np.uint8)


def maps_of_logits(logits: Image, case: LabelledCase) -> Image:
    """Probability and spread of a run's prediction of a case, NaN outside its search region."""
    return probability_maps(logits, case.region)


def candidate_layer(
    rows: Sequence[Mapping[str, Any]],
    spatial: int,
    subject: str,
    about: Mapping[str, Any],
    *,
    visible: bool = True,
    arm: str = "",
) -> Layer:
    """Points at the candidates of a table with ``z_mm``, ``y_mm``, ``x_mm``; the other columns are their features."""
    axes = [f"{a}_mm" for a in (AXES[3] if spatial == 3 else ("z", "x"))]
    points = np.array([[float(row[a]) for a in axes] for row in rows], dtype=np.float64).reshape(-1, spatial)
    sizes = [max(float(row.get("diameter_mm") or 0.0), LEAST_MARK_MM) for row in rows]
    columns = [c for c in (rows[0] if rows else ()) if c not in ("subject", "z_mm", "y_mm", "x_mm")]
    options: dict[str, Any] = {
        "name": f"{subject} {CANDIDATES}{f' {arm}' if arm else ''}",
        "units": ("mm",) * spatial,
        "axis_labels": AXES[spatial],
        "features": {c: [_plain(row[c]) for row in rows] for c in columns},
        "size": sizes if rows else 1.0,
        "face_color": "transparent",
        "border_color": "#009E73",
        "border_width": 0.1,
        "projection_mode": "rescale_spherical",
        "visible": visible,
        "metadata": {METADATA: {**about, "layer": CANDIDATES}},
    }
    return points, options, "points"


def place(image: Image) -> dict[str, Any]:
    """Scale, translation and (of an oblique image) affine in millimetres, with units and names of the axes."""
    spatial = len(image.shape)
    direction = np.asarray(image.direction)
    options: dict[str, Any] = {
        "scale": [MM_PER_M * s for s in image.spacing_m],
        "translate": (MM_PER_M * (direction.T @ np.asarray(image.origin_m)) + 0.0).tolist(),
        "units": ("mm",) * spatial,
        "axis_labels": AXES[spatial],
    }
    if image.direction != identity(spatial):
        affine = np.eye(spatial + 1)
        affine[:spatial, :spatial] = direction
        options["affine"] = affine
    return options


def _labels(
    image: Image,
    name: str,
    values: NDArray[Any],
    colours: Mapping[Any, str] | None,
    about: Mapping[str, Any],
    *,
    visible: bool,
) -> Layer:
    options: dict[str, Any] = {**place(image), "name": name, "visible": visible, "metadata": {METADATA: dict(about)}}
    return values, options | ({"colormap": dict(colours)} if colours else {"opacity": 0.3}), "labels"


def _plain(value: Any) -> Any:
    """A cell as napari's table of features takes it: nothing is an empty text."""
    return "" if value is None else value

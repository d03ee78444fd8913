"""Outlines that someone drew: GeoJSON, as QuPath writes it, in pixels of the finest level; painted onto a coarse grid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.files import reading

MOST_BYTES = 2**28
_PIECES = ("Polygon", "MultiPolygon")
SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "tumor": "tumour",
        "tissue": "parenchyma",
        "lung": "parenchyma",
        "region*": "parenchyma",
        "bronchus": "airway",
        "bronchiole": "airway",
        "artery": "vessel",
        "vein": "vessel",
        "blood vessel": "vessel",
        "infiltrate": "dense",
        "immune cells": "dense",
        "ignore*": "excluded",
        "exclude": "excluded",
        "artefact": "excluded",
        "artifact": "excluded",
    }
)
"""Names of classes as people and QuPath write them -> ours."""


@dataclass(frozen=True)
class Outline:
    """One polygon with its holes: rings of (x, y) pixels, x along columns."""

    name: str
    rings: tuple[NDArray[np.float64], ...]


def read_outlines(path: Path, *, shape: tuple[int, int], known: tuple[str, ...]) -> list[Outline]:
    """Polygons of a file, by class.

    Parameters
    ----------
    path : Path
    shape : (rows, cols)
        Of the picture they were drawn on: an outline beyond it belongs to another picture or another pixel.
    known : tuple of str
        Names of classes.

    Raises
    ------
    DarklungError
        Not GeoJSON, no polygon, a class that is not known, coordinates outside of the picture.
    """
    require(path.is_file(), f"{path}: no such file")
    require(path.stat().st_size <= MOST_BYTES, f"{path}: wanted at most {MOST_BYTES} bytes")
    with reading(path, "GeoJSON"):
        found = json.loads(path.read_text(encoding="utf-8"))
        outlines = [o for feature in _features(found) for o in _of(path, feature, known)]
    require(bool(outlines), f"{path}: holds no polygon")
    for outline in outlines:
        ends = np.concatenate(outline.rings)
        inside = bool((ends >= -1).all() and (ends[:, 0] <= shape[1] + 1).all() and (ends[:, 1] <= shape[0] + 1).all())
        high = ends.max(axis=0)
        told = f"reaches to column {high[0]:.0f}, row {high[1]:.0f}; the picture has {shape[1]} × {shape[0]}"
        require(inside, f"{path}: an outline of {outline.name} {told}: drawn on another picture?")
    return outlines


def painted(outlines: list[Outline], *, shape: tuple[int, int], factor: int) -> dict[str, NDArray[np.bool_]]:
    """Masks by class on a grid of `shape` whose pixels are `factor` of the finest level's; holes are left out.

    A pixel belongs to an outline where its centre does (Pillow's polygons, even-odd between a ring and its holes).
    """
    from PIL import Image, ImageDraw

    masks: dict[str, NDArray[np.bool_]] = {}
    for outline in outlines:
        own = Image.new("1", (shape[1], shape[0]))
        draw = ImageDraw.Draw(own)
        for number, ring in enumerate(outline.rings):
            points = [(float(x) / factor - 0.5, float(y) / factor - 0.5) for x, y in ring]
            draw.polygon(points, fill=0 if number else 1)
        mask = np.asarray(own, dtype=bool)
        masks[outline.name] = masks[outline.name] | mask if outline.name in masks else mask
    return masks


def _features(found: Any) -> list[dict[str, Any]]:
    if isinstance(found, list):
        return found
    return list(found["features"]) if found.get("type") == "FeatureCollection" else [found]


def _of(path: Path, feature: dict[str, Any], known: tuple[str, ...]) -> list[Outline]:
    geometry = feature.get("geometry") or {}
    if geometry.get("type") not in _PIECES:
        return []
    name = _class_of(feature.get("properties") or {})
    ours = SYNONYMS.get(name.lower(), name.lower())
    require(ours in known, f"{path}: class {name!r} is not known; known: {', '.join(sorted({*known, *SYNONYMS}))}")
    pieces = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [Outline(ours, tuple(_ring(path, ring) for ring in rings)) for rings in pieces]


def _class_of(properties: Mapping[str, Any]) -> str:
    """QuPath's classification, else ``class`` or ``name``."""
    told = properties.get("classification") or {}
    name = told.get("name") if isinstance(told, dict) else told
    return str(name or properties.get("class") or properties.get("name") or "unclassified")


def _ring(path: Path, ring: Any) -> NDArray[np.float64]:
    points = np.asarray([p[:2] for p in ring])
    right = points.ndim == 2 and len(points) >= 3 and points.dtype.kind in "iuf" and bool(np.isfinite(points).all())
    require(right, f"{path}: wanted rings of at least 3 finite points, got {points.shape} {points.dtype}")
    return points.astype(np.float64)

"""The page of a prediction: each candidate in three planes, the whole image with marks, and the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.types import Image
from darklung.report.blocks import Block, Bullets, Cell, Figure, Row, Section, Slider, Table, Text, number
from darklung.report.pictures import Example, picture, window_of
from darklung.report.planes import PLANES, planes
from darklung.report.viewer import viewer_of

SHOWN, LISTED, SLICES = 8, 40, 40
TEXTS = ("number", "promised", "hits")
KNOWN = {"lesion": "; a lesion is known there", "mimic": "; a mimic is known there", "none": "; no lesion is there"}
HONEST = (
    "A candidate is called by the score of its tile, for which the run's threshold was fixed, and once a tile.",
    "A candidate's probability is that of its tile, calibrated on the run's validation animals, if it has any; maps are as "
    "networks say.",
    "The map is blank where nothing was searched: outside the region around the lung that was found in the image itself.",
)


@dataclass(frozen=True)
class Findings:
    """What is shown of one image.

    Parameters
    ----------
    name : str
    image : Image
        What the networks saw.
    maps : Image
        ``probability`` and ``logit_spread`` on the same grid.
    lung, region : (*spatial) bool
    lesion : (*spatial) bool
        Known lesions; empty where nothing is known.
    candidates : DataFrame
        Columns of `darklung.steps.findings.COLUMNS`.
    threshold : float, optional
        Score of its tile from which a candidate is called.
    detected : bool
        Whether candidates' scores are those of a detection head, on another scale than tiles and spread.
    calibrated : bool
        Whether their probabilities are those of their tiles, by a run's curve.
    """

    name: str
    image: Image
    maps: Image
    lung: NDArray[np.bool_]
    region: NDArray[np.bool_]
    lesion: NDArray[np.bool_]
    candidates: pd.DataFrame
    threshold: float | None = None
    detected: bool = False
    calibrated: bool = False


def findings_sections(found: Findings, *, notes: Sequence[str] = ()) -> list[Section]:
    """Sections in reading order."""
    sections = [_closeups(found), _whole(found), _listed(found)]
    return [Section("What to know", (Bullets((*notes, *HONEST), "note"),)), *sections]


def _closeups(found: Findings) -> Section:
    """The first candidates, each in three planes (one of a radiograph), image above probability."""
    if not len(found.candidates):
        return Section("Candidates", (Text("No candidate: nothing in the search region stands out.", "warning"),))
    blocks: list[Block] = []
    for row in found.candidates.head(SHOWN).to_dict("records"):
        at = _voxel(found.image, row)
        told = f"Number {row['number']}: {_said(found, row)}, {number(row['diameter_mm'], 1)} mm"
        if row.get("promised"):
            told += f", on the list that promises {row['promised']} of the lesions"
        blocks += [
            Text(f"{told}{KNOWN.get(row['hits'], '')}."),
            *planes(found.image, found.maps.channel("probability"), found.region, at, name=found.name),
        ]
    lead = "The highest candidates, 8 mm around each; a frame marks the place, the bar is 2 mm."
    return Section("Candidates", tuple(blocks), lead)


def _said(found: Findings, row: Mapping[Any, Any]) -> str:
    """Score and probability, each of what it is of."""
    score, spread, tile, likely = (number(row[k], 2) for k in ("score", "spread", "tile_score", "probability"))
    head = f"score {score} of the detection head, logits ± {spread}" if found.detected else f"score {score} ± {spread}"
    of_tile = f"its tile's score {tile}, probability {likely}"
    return f"{head}, {of_tile if found.calibrated else f'probability {likely}'}"


def _voxel(image: Image, row: Mapping[Any, Any]) -> tuple[int, ...]:
    """The voxel of a candidate's place."""
    keys = ("z_mm", "y_mm", "x_mm") if len(image.shape) == 3 else ("z_mm", "x_mm")
    place = 1e-3 * np.array([row[k] for k in keys])
    index = np.linalg.solve(np.asarray(image.direction), place - np.asarray(image.origin_m)) / np.asarray(image.spacing_m)
    return tuple(int(i) for i in np.rint(index))


def _whole(found: Findings) -> Section:
    """Three sliders through the image, one a plane, with the candidates' frames."""
    image = found.image
    first = image.channel(image.names[0])
    window = window_of(first, found.region)
    probability = found.maps.channel("probability")
    marks = np.zeros(image.shape, dtype=bool)
    for row in _called(found).to_dict("records"):
        at = _voxel(image, row)
        marks[tuple(slice(max(i - 3, 0), i + 4) for i in at)] = True
    if len(image.shape) == 2:
        flat = [
            Figure(picture(first, window=window, outline=marks, zoom=4, alt=found.name), image.names[0], found.name),
            Figure(
                picture(probability, window=(0, 1), outline=marks, heat=True, zoom=4, alt="probability"),
                "probability",
                "map",
            ),
        ]
        return Section("The whole image", (Row(tuple(flat)),), "Candidates are framed.")
    blocks: list[Block] = [_slider(found, axis, first, probability, marks, window) for axis in range(3)]
    shown = Example(found.name, image, found.lesion, {"mean of the models": np.nan_to_num(probability)}, found.region)
    if (viewer := viewer_of(shown)) is not None:
        blocks.append(viewer)
    told = "called candidates are framed" if found.threshold is not None else f"the first {SHOWN} candidates are framed"
    return Section("The whole image", tuple(blocks), f"Three planes, evenly spread; {told}, the lung is outlined beside.")


def _called(found: Findings) -> pd.DataFrame:
    if found.threshold is None:
        return found.candidates.head(SHOWN)
    return found.candidates[found.candidates["called"].astype(bool)]


def _slider(
    found: Findings, axis: int, first: NDArray, probability: NDArray, marks: NDArray[np.bool_], window: tuple[float, float]
) -> Slider:
    inside = np.flatnonzero(found.region.any(axis=tuple(a for a in range(3) if a != axis)))
    chosen = np.unique(np.linspace(inside[0], inside[-1], min(SLICES, len(inside))).round().astype(int))
    zoom = max(1, round(260 / max(found.image.shape)))
    frames = []
    up = slice(None, None, -1 if axis > 0 else 1)
    for k in chosen:
        cut = tuple(int(k) if a == axis else slice(None) for a in range(3))
        plain, framed, lung = first[cut][up], marks[cut][up], found.lung[cut][up]
        frames.append(
            (
                picture(plain, window=window, outline=lung, zoom=zoom, alt=f"{PLANES[axis]}, lung"),
                picture(plain, window=window, outline=framed, zoom=zoom, alt=f"{PLANES[axis]}, candidates"),
                picture(probability[cut][up], window=(0, 1), outline=framed, heat=True, zoom=zoom, alt="probability"),
            )
        )
    titles = ("lung outlined", "candidates framed", "probability")
    labels = tuple(f"{PLANES[axis]} slice {k + 1} of {found.image.shape[axis]}" for k in chosen)
    best = np.asarray(marks.any(axis=tuple(a for a in range(3) if a != axis)))[chosen]
    start = int(np.argmax(best)) if best.any() else len(chosen) // 2
    return Slider(f"whole-{PLANES[axis]}", tuple(frames), titles, labels, start=start, alt=f"{PLANES[axis]} slices")


def _listed(found: Findings) -> Section:
    heads = {
        "number": "number",
        "z_mm": "z [mm]",
        "y_mm": "y [mm]",
        "x_mm": "x [mm]",
        "score": "score of the detection head" if found.detected else "score",
        "tile_score": "score of the tile",
        "spread": "spread of the logits",
        "probability": "probability of the tile" if found.calibrated else "probability",
        "diameter_mm": "diameter [mm]",
        "called": "called",
        "rank": "rank",
        "promised": "promised",
        "hits": "hits",
    }
    rows: list[tuple[Cell, ...]] = []
    for row in found.candidates.head(LISTED).to_dict("records"):
        rows.append(tuple("" if row[c] is None else str(row[c]) if c in TEXTS else row[c] for c in heads))
    lead = f"The first {min(LISTED, len(found.candidates))} of {len(found.candidates)}; all are in candidates.csv."
    return Section("Table", (Table(tuple(heads.values()), tuple(rows)),) if rows else (), lead)

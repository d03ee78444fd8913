"""What a prediction says of one image: probability maps, a table of candidates, and a page to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from darklung import __version__
from darklung.core.checks import require
from darklung.core.types import Image
from darklung.evaluate.conformal import looked_at
from darklung.evaluate.froc import candidate_table
from darklung.evaluate.tiles import TILE_M, tile_scores
from darklung.evaluate.units import tile_numbers
from darklung.io.case import LabelledCase, load_case
from darklung.io.documents import Document
from darklung.io.images import load_image, save_image
from darklung.io.names import CENTRE, DIAMETER, LOGITS, MAPS
from darklung.io.nifti import write_nifti
from darklung.io.tables import save_table
from darklung.pipeline import Context, Task
from darklung.report.findings import Findings, findings_sections
from darklung.report.html import write_report
from darklung.report.viewer import viewer_version
from darklung.steps.lists import Lists, percent
from darklung.steps.network_case import constant_channels
from darklung.steps.seen import load_seen

STAGE = "findings"
PAGE, TABLE = "findings.html", "candidates"
COLUMNS = {
    "subject": "name of the image",
    "number": "rank of the candidate, the highest score first",
    "z_mm": "place in the image's coordinates (its frame)",
    "y_mm": "see z_mm",
    "x_mm": "see z_mm; columns of a radiograph",
    "score": "largest logit of the candidate: mean of the models; of a middle where the models have a detection head",
    "tile_score": "score of the tile of the lung that it lies in, as evaluation has it: robust maximum of the logits there",
    "probability": "of that tile, by the curve that the run fitted on its validation animals; without a run "
    "1 / (1 + exp(-score)), which nothing calibrates; then empty for a detection head, whose score is no probability",
    "spread": "standard deviation of the models' logits there",
    "diameter_mm": "of the sphere of the same volume as the voxels around it above half of its probability; "
    "of the detection head where there is one",
    "called": "whether the tile's score reaches the threshold that the run fixed on its validation animals, told of the "
    "best candidate in a tile; empty without a run",
    "rank": "among the lesions of the run's validation animals, by models that did not see them: of true lesions a share of "
    "about so much ranks no higher; empty without a run that tested the mean of its models",
    "promised": "shares of the lesions that are promised by lists that it is on: those whose level is above 1 - rank",
    "hits": "what is known to be there: lesion, mimic, none, or unknown",
}
MM = 1e-3


class Parameters(Document):
    """Of which arm, what its models saw, normalised how, and what the run's validation fixed, if there was one: threshold,
    (slope, intercept), its tiles, and its conformal lists."""

    arm: str
    threshold: float | None = None
    curve: tuple[float, float] | None = None
    tile_m: float = TILE_M
    lists: Lists | None = None
    models: tuple[str, ...] = Field(())
    notes: tuple[str, ...] = Field(())
    channels: tuple[str, ...] = Field(())
    normalised_by: str = "cohort"
    viewer: str | None = Field(default_factory=viewer_version)


def task(item: str, parameters: Parameters, prediction: str, case: str, made: tuple[str, ...] = ()) -> Task:
    """The findings of one case in another task's predictions."""
    inputs = {"prediction": (prediction,), "case": (case,), **({"channels": made} if made else {})}
    return Task(STAGE, item, "darklung.steps.findings:find", parameters.model_dump(mode="json"), inputs)


def find(context: Context) -> None:
    """``probability.ome.zarr`` and NIfTI files, the table ``candidates``, and ``findings.html``."""
    p = Parameters.model_validate(context.parameters)
    folder = context.input("case")
    case = load_case(folder)
    image = load_image(context.input("prediction") / f"{folder.name}{LOGITS}")
    maps = probability_maps(image, case.region)
    save_image(context.out / MAPS, maps)
    for name in maps.names:
        write_nifti(context.out / f"{folder.name}_{name}.nii.gz", maps, name)
    candidates = candidates_of(case, image, threshold=p.threshold, curve=p.curve, tile_m=p.tile_m, lists=p.lists)
    if len(candidates):
        rows = [{str(k): v for k, v in row.items()} for row in candidates.to_dict("records")]
        save_table(context.out / TABLE, rows, COLUMNS)
    seen = load_seen(folder, p.channels, context.inputs.get("channels", ())) if p.channels else case
    _page(context.out / PAGE, p, case, maps, candidates, _constant(p, seen), detected=CENTRE in image.names)


def _constant(p: Parameters, seen: LabelledCase) -> list[str]:
    """A note where a channel says nothing of this image."""
    names = constant_channels(p.channels, p.normalised_by, seen) if p.channels else ()
    return [f"{', '.join(names)}: constant inside the lung of this image, so the models saw zeros."] if names else []


def probability_maps(image: Image, region: NDArray[np.bool_]) -> Image:
    """Probability and the spread of the logits, NaN where nothing was searched."""
    logit = image.channel("logit").astype(np.float64)
    probability = np.where(region, 1 / (1 + np.exp(-np.clip(logit, -50, 50))), np.nan)
    spread = np.where(region, image.channel("logit_spread"), np.nan)
    return image.with_data(np.stack([probability, spread]).astype(np.float32), ("probability", "logit_spread"), ("1", "1"))


def candidates_of(
    case: LabelledCase,
    image: Image,
    *,
    threshold: float | None,
    curve: tuple[float, float] | None = None,
    tile_m: float = TILE_M,
    lists: Lists | None = None,
) -> pd.DataFrame:
    """One row a candidate, as `COLUMNS`; where nothing is known of the image, ``hits`` says unknown.

    Called by the rule that the threshold was fixed for: the score of the tile, once a tile, so that no more are called than
    tiles are in an evaluation. Probabilities go by the same score.
    """
    logit = image.channel("logit")
    found = candidate_table(
        subject=case.about.subject,
        logits=image.channel(CENTRE) if CENTRE in image.names else logit,
        instances=case.instances,
        insertions=case.insertions,
        region=case.region,
        spacing_m=image.spacing_m,
    )
    index = found[[f"axis{a}" for a in range(logit.ndim)]].to_numpy(dtype=np.int64)
    at = tuple(index.T)
    places = position_of(image, index)
    score = found["score"].to_numpy()
    tiles = tile_scores(logits=logit, region=case.region, spacing_m=image.spacing_m, tile_m=tile_m)[at]
    numbers, _ = tile_numbers(shape=logit.shape, spacing_m=image.spacing_m, tile_m=tile_m)
    best = ~pd.Series(numbers[at]).duplicated().to_numpy()
    # Without a run nothing says what the score of a detection head's middle means.
    unknown = curve is None and CENTRE in image.names
    exponent = score if curve is None else curve[0] * tiles + curve[1]
    sizes = [_diameter_m(logit, case.region, i, image.spacing_m) for i in index]
    if DIAMETER in image.names:
        sizes = image.channel(DIAMETER)[at].tolist()
    rank = [None] * len(found) if lists is None else lists.ranks(image, index, case.region).tolist()
    hits = np.where(case.unknown[at], "unknown", found["kind"].to_numpy())
    return pd.DataFrame(
        {
            "subject": case.about.subject,
            "number": np.arange(1, len(found) + 1),
            "z_mm": places[:, 0] / MM,
            "y_mm": places[:, 1] / MM if logit.ndim == 3 else 0.0,
            "x_mm": places[:, -1] / MM,
            "score": score,
            "tile_score": tiles,
            "probability": np.nan if unknown else 1 / (1 + np.exp(-np.clip(exponent, -50, 50))),
            "spread": image.channel("logit_spread")[at],
            "diameter_mm": [size / MM for size in sizes],
            "called": [None if threshold is None else bool(b and s >= threshold) for b, s in zip(best, tiles)],
            "rank": rank,
            "promised": ["" if r is None or lists is None else lists.promised(r) for r in rank],
            "hits": hits,
        }
    )


def position_of(image: Image, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Places of voxels in the image's frame [m], (voxel, axis)."""
    steps = index * np.asarray(image.spacing_m)
    return np.asarray(np.asarray(image.origin_m) + steps @ np.asarray(image.direction).T)


def _diameter_m(
    logit: NDArray[Any], region: NDArray[np.bool_], at: NDArray[np.int64], spacing_m: tuple[float, ...]
) -> float:
    """Of the sphere (disc) of the same size as the part around a candidate above half of its probability."""
    from scipy import ndimage

    reach = [max(1, round(2e-3 / d)) for d in spacing_m]
    box = tuple(slice(max(i - r, 0), i + r + 1) for i, r in zip(at, reach))
    probability = 1 / (1 + np.exp(-np.clip(logit[box].astype(np.float64), -50, 50)))
    inner = tuple(int(i - s.start) for i, s in zip(at, box))
    parts, _ = ndimage.label((probability >= probability[inner] / 2) & region[box])
    size = float((parts == parts[inner]).sum()) * float(np.prod(spacing_m))
    return float(np.cbrt(6 * size / np.pi) if logit.ndim == 3 else np.sqrt(4 * size / np.pi))


def _page(
    path: Path,
    p: Parameters,
    case: LabelledCase,
    maps: Image,
    candidates: pd.DataFrame,
    notes: Sequence[str],
    *,
    detected: bool,
) -> None:
    require(bool(case.region.any()), f"{case.about.subject}: nothing was searched")
    voxel = float(np.prod(case.channels.spacing_m))
    volume = float(case.lung.sum()) * voxel
    called = int(candidates["called"].fillna(False).astype(bool).sum()) if len(candidates) else 0
    facts: dict[str, Any] = {"Arm": p.arm, "Models": len(p.models) or None}
    if case.channels.data.ndim == 4:
        facts["Lung"] = f"{1e6 * volume:.3f} ml"
    facts["Candidates"] = len(candidates)
    if p.threshold is not None:
        facts["Called"] = called
        if volume > 0 and case.channels.data.ndim == 4:
            facts["Called per ml"] = f"{called / (1e6 * volume):.1f}"
    for level in p.lists.levels if p.lists else ():
        many = int(looked_at(candidates["rank"], level).sum())
        per_ml = f", {many / (1e6 * volume):.1f} per ml" if volume > 0 and case.channels.data.ndim == 4 else ""
        facts[f"Promising {percent(level)} of lesions"] = f"{many}{per_ml}"
    where = (case.channels, maps, case.lung, case.region, case.lesion)
    found = Findings(case.about.subject, *where, candidates, p.threshold, detected, calibrated=p.curve is not None)
    sections = findings_sections(found, notes=(*p.notes, *notes))
    write_report(
        path,
        title=f"Findings: {case.about.subject}",
        summary={k: v for k, v in facts.items() if v is not None},
        sections=sections,
        footer=f"darklung {__version__}",
    )

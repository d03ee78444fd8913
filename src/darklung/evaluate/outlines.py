"""How well single lesions are outlined: matched one to one, with Dice, volume and the distance of the surfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects, generate_binary_structure, label
from scipy.optimize import linear_sum_assignment

from darklung.core.types import Insertion
from darklung.evaluate.units import check_maps

LEAST_OVERLAP = 0.1  # intersection over union from which an outline is the lesion's; small lesions are few voxels
SURFACE_TOLERANCE_M = 0.25e-3  # or one voxel: surfaces so near are the same
MARGIN = 2  # voxels around a pair, so that its surface is inside the box

OUTLINE_COLUMNS = (
    "subject", "kind", "number", "tissue", "diameter_m", "true", "predicted", "overlap", "distance_m", "surface_share",
)  # fmt: skip


def outline_table(
    *,
    subject: str,
    logits: NDArray,
    instances: NDArray,
    insertions: Sequence[Insertion],
    region: NDArray[np.bool_],
    spacing_m: Sequence[float],
    threshold: float = 0.0,
) -> pd.DataFrame:
    """One row for each lesion, and one for each outline that is no lesion's.

    Outlines are the connected parts (diagonals included) of what is above `threshold` in the region. Lesions and outlines
    with an intersection over union of at least `LEAST_OVERLAP` are matched one to one so that its sum is largest, as
    panoptica and the panoptic quality do (Kirillov et al. 2019, 10.1109/CVPR.2019.00963; Kofler et al. 2023,
    10.48550/arXiv.2312.02608).

    Parameters
    ----------
    subject, logits, instances, insertions, region, spacing_m
        As in `darklung.evaluate.tiles.tile_table`.
    threshold : float
        Logit above which a voxel is outlined.

    Returns
    -------
    DataFrame
        ``subject``; ``kind``: "lesion" or "outline"; ``number``, ``tissue``, ``diameter_m`` of the lesion (0, "", NaN);
        ``true``, ``predicted``, ``overlap``: voxels; ``distance_m``: mean distance of the two surfaces; ``surface_share``:
        share of them within `SURFACE_TOLERANCE_M` or a voxel (both NaN without a match).

    References
    ----------
    Nikolov et al. 2021, 10.2196/26151, for the surface share (normalised surface Dice).
    """
    check_maps(logits=logits, instances=instances, insertions=insertions, region=region, spacing_m=spacing_m)
    found, count = label((logits > threshold) & region, generate_binary_structure(logits.ndim, logits.ndim))
    lesions = [i for i in insertions if i.kind == "lesion"]
    true = np.where(np.isin(instances, [i.number for i in lesions]), instances, 0)
    overlaps = _overlaps(true, found, [i.number for i in lesions], count)
    sizes = np.bincount(found.ravel(), minlength=count + 1)[1:]
    volumes = np.array([int((true == i.number).sum()) for i in lesions], dtype=np.int64)
    matched = _matched(overlaps, volumes, sizes)
    rows = [
        _lesion_row(subject, one, (true, found), (overlaps[k], volumes[k], sizes), matched.get(k), spacing_m)
        for k, one in enumerate(lesions)
    ]
    used = set(matched.values())
    rows += [(subject, "outline", 0, "", np.nan, 0, int(sizes[j]), 0, np.nan, np.nan) for j in range(count) if j not in used]
    types = {"number": np.int64, "diameter_m": np.float64, "true": np.int64, "predicted": np.int64, "overlap": np.int64}
    frame = pd.DataFrame(rows, columns=list(OUTLINE_COLUMNS))
    return frame.astype({**types, "distance_m": np.float64, "surface_share": np.float64})


def _overlaps(true: NDArray, found: NDArray, numbers: Sequence[int], count: int) -> NDArray[np.int64]:
    """Common voxels of each lesion and outline, (lesion, outline)."""
    both = (true > 0) & (found > 0)
    place = {number: k for k, number in enumerate(numbers)}
    table = np.zeros((len(numbers), count), dtype=np.int64)
    pairs, counts = np.unique(np.stack([true[both], found[both]]), axis=1, return_counts=True)
    for (number, outline), n in zip(pairs.T.tolist(), counts.tolist()):
        table[place[number], outline - 1] = n
    return table


def _matched(overlaps: NDArray[np.int64], volumes: NDArray[np.int64], sizes: NDArray[np.int64]) -> dict[int, int]:
    """Lesion -> outline, one to one with the largest sum of intersections over unions."""
    union = volumes[:, None] + sizes[None, :] - overlaps
    shares = np.divide(overlaps, union, out=np.zeros(overlaps.shape), where=union > 0)
    shares[shares < LEAST_OVERLAP] = 0.0
    pairs = zip(*linear_sum_assignment(-shares))
    return {int(k): int(j) for k, j in pairs if shares[k, j] > 0}


def _lesion_row(
    subject: str,
    lesion: Insertion,
    maps: tuple[NDArray, NDArray],
    counts: tuple[NDArray, np.int64, NDArray],
    outline: int | None,
    spacing_m: Sequence[float],
) -> tuple:
    overlaps, volume, sizes = counts
    known = (subject, "lesion", lesion.number, lesion.tissue, lesion.diameter_m, int(volume))
    if outline is None:
        return (*known, 0, 0, np.nan, np.nan)
    distances = surface_distances(maps[0] == lesion.number, maps[1] == outline + 1, spacing_m)
    near = distances <= max(SURFACE_TOLERANCE_M, *spacing_m) * (1 + 1e-6)
    return (*known, int(sizes[outline]), int(overlaps[outline]), float(distances.mean()), float(near.mean()))


def surface_distances(
    first: NDArray[np.bool_], second: NDArray[np.bool_], spacing_m: Sequence[float]
) -> NDArray[np.float64]:
    """Distance of each surface voxel of either body to the nearest of the other, (voxel,) [m]; both have a voxel.

    A surface voxel has a face towards what is not the body; the image's edge counts as that.
    """
    either = (first | second).astype(np.int8)
    box = find_objects(either)[0]
    bodies = [np.pad(body[box], MARGIN) for body in (first, second)]
    surfaces = [body & ~binary_erosion(body) for body in bodies]
    away = [distance_transform_edt(~surface, sampling=spacing_m) for surface in surfaces]
    return np.concatenate([away[1][surfaces[0]], away[0][surfaces[1]]])


def outline_results(table: pd.DataFrame) -> dict[str, Any]:
    """What the outlines of all subjects come to; None where nothing is matched.

    Returns
    -------
    dict
        ``lesions``, ``matched``, ``outlines`` (those of no lesion); ``dice``, ``volume_error`` (predicted / true − 1),
        ``distance_m``, ``surface_share``: means over matched lesions; ``dice_of_all``: mean over all lesions, 0 where
        missed; ``recognition`` (F1), ``segmentation`` (mean intersection over union) and their product ``panoptic``.
    """
    lesions = table[table["kind"] == "lesion"]
    matched = lesions[lesions["overlap"] > 0]
    extra = int((table["kind"] == "outline").sum())
    counts = {"lesions": len(lesions), "matched": len(matched), "outlines": extra}
    size = matched["true"] + matched["predicted"]
    dice, union = 2 * matched["overlap"] / size, size - matched["overlap"]
    means: Mapping[str, float] = {
        "dice": dice.mean(),
        "volume_error": (matched["predicted"] / matched["true"] - 1).mean(),
        "distance_m": matched["distance_m"].mean(),
        "surface_share": matched["surface_share"].mean(),
        "dice_of_all": float(dice.sum() / len(lesions)) if len(lesions) else np.nan,
        "recognition": 2 * len(matched) / (len(lesions) + len(matched) + extra) if len(lesions) else np.nan,
        "segmentation": (matched["overlap"] / union).mean(),
    }
    told = {k: float(v) if np.isfinite(v) else None for k, v in means.items()}
    both = (told["recognition"], told["segmentation"])
    return {**counts, **told, "panoptic": None if None in both else float(both[0] * both[1])}  # type: ignore[operator]

"""Overlap of the segmented and the true lesions, by subject and pooled."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_shape

DICE_COLUMNS = ("subject", "predicted", "true", "overlap")


def dice_table(
    *, subject: str, logits: NDArray, target: NDArray, region: NDArray[np.bool_], threshold: float = 0.0
) -> pd.DataFrame:
    """Voxels segmented (logit above `threshold`), voxels of lesion, and both, of one subject inside the region; one row.

    The counts, not the quotient: pooled Dice and its bootstrap need them, and a lesion-free subject has no Dice of its own.
    Lesion voxels outside the region count as missed.
    """
    check_shape("target", target, "*spatial", logits.shape)
    check_shape("region", region, "*spatial", logits.shape)
    check_finite("logits", logits)
    found, true = (logits > threshold) & region, target > 0
    row = (subject, int(found.sum()), int(true.sum()), int((found & true).sum()))
    return pd.DataFrame([row], columns=list(DICE_COLUMNS))


def pooled_dice(table: pd.DataFrame) -> float:
    """2 Σ overlap / (Σ predicted + Σ true) over all subjects, lowered by voxels in healthy ones; NaN without a lesion."""
    true = int(table["true"].sum())
    return 2 * int(table["overlap"].sum()) / (int(table["predicted"].sum()) + true) if true else float("nan")


def subject_dice(table: pd.DataFrame) -> pd.Series:
    """Dice of each subject with a lesion, by subject; lesion-free subjects are left out (their Dice is undefined)."""
    ill = table[table["true"] > 0].set_index("subject")
    return 2 * ill["overlap"] / (ill["predicted"] + ill["true"])

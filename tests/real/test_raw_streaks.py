"""Drift streaks in measured lobe maps; skipped where the data folder is absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from darklung.core.streaks import STREAKED, find_streaks

DATA = Path(os.environ.get("DARKLUNG_DATA", Path(__file__).parents[2] / "../shared/data")) / "mouse_lung_lobes"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"measured data not found at {DATA} ($DARKLUNG_DATA)"),
]


def test_the_two_streaked_whole_lobes_stand_out():
    index = {}
    for file in sorted(DATA.glob("*.npz")):
        with np.load(file) as found:
            mask = found["mask"]
            values = np.full(mask.shape, np.nan)
            values[mask] = -np.log(found["B"])
        streaks = find_streaks(values, mask)
        index[file.stem] = streaks.index
        print(f"{file.stem}: index {streaks.index:.2f}, flagged {streaks.flagged.sum() / mask.sum():.3f}")
    ranked = sorted(index, key=lambda name: -index[name])
    assert set(ranked[:2]) == {"whole_2", "whole_3"}, "the two that show streaks to the eye"
    assert index["whole_2"] > STREAKED
    assert index["whole_3"] > STREAKED
    assert index[ranked[2]] < STREAKED

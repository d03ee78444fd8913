"""Streaks along detector columns."""

from __future__ import annotations

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.core.streaks import find_streaks

ROWS, COLS = 100, 80


def lung(*, noise=0.05, seed=0):
    """A smooth map with an ellipse as its valid part."""
    row, col = np.mgrid[:ROWS, :COLS]
    values = 0.4 + 0.1 * np.sin(row / 20) + 0.1 * np.cos(col / 25)
    values = values + stream(seed, "streaks").normal(0, noise, values.shape)
    return values, ((row - 50) / 48) ** 2 + ((col - 40) / 36) ** 2 < 1


def test_a_clean_map_has_none():
    found = find_streaks(*lung())
    assert not found.flagged.any()
    assert found.index == pytest.approx(1.0, abs=0.25)
    assert np.isnan(found.excess[:3]).all(), "columns outside the object are not judged"


def test_streaked_columns_are_found():
    values, valid = lung()
    values[:, [20, 21, 50]] += np.array([0.1, 0.12, -0.08]) * np.linspace(0.5, 1.5, ROWS)[:, None]
    found = find_streaks(values, valid)
    columns = set(np.flatnonzero(found.flagged.any(axis=0)))
    assert {20, 21, 50} <= columns
    assert len(columns) <= 5
    assert found.index > 2
    assert not (found.flagged & ~valid).any()


def test_false_alarms_are_rare():
    flagged = [find_streaks(*lung(seed=seed), limit=4.0).flagged.any() for seed in range(40)]
    assert np.mean(flagged) < 0.1


def test_excess_is_in_standard_errors():
    excess = np.concatenate([find_streaks(*lung(seed=seed)).excess[10:70] for seed in range(20)])
    assert np.std(excess) == pytest.approx(1.0, abs=0.1)


def test_edges_that_cover_part_of_a_column_are_not_streaks():
    values, valid = lung()
    values[20:35, 30] += 1.0
    values[55:70, 45:47] -= 0.7
    found = find_streaks(values, valid)
    assert not found.flagged.any()
    assert found.index < 2


def test_what_cannot_be_judged():
    values, valid = lung()
    with pytest.raises(DarklungError, match="no column has 8 valid pixels"):
        find_streaks(values, valid & (np.arange(COLS) % 9 == 0))
    with pytest.raises(DarklungError, match="values: no noise"):
        find_streaks(np.zeros_like(values), valid)
    with pytest.raises(DarklungError, match="valid: wanted axes"):
        find_streaks(values, valid[:-1])
    values[30:40] = np.nan
    assert np.isfinite(find_streaks(values, valid).index)

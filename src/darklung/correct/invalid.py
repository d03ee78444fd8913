"""Values for pixels that cannot be trusted, for reconstructions that need one everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError
from darklung.core.types import Projections

FILLED = ("attenuation", "dark_field", "phase")


def fill_invalid(projections: Projections) -> tuple[Projections, dict[str, Any]]:
    """Interpolate attenuation, dark field and phase across invalid pixels of each detector row.

    Between valid neighbours the value is linear in the column, beyond the last valid one it is held. `valid` stays False
    there, so that a weighted reconstruction can still leave them out. Rows without any valid pixel take the nearest row
    that has one.

    Not modelled: the filled value's variance (the retrieved one is kept); phase is interpolated as it is, not on the circle.

    Returns
    -------
    Projections
    report : dict
        ``invalid_share`` of all pixels, ``worst_view_share`` of the worst (direction, view).

    Raises
    ------
    DarklungError
        A view without any valid pixel.
    """
    invalid = ~projections.valid
    shares = invalid.mean(axis=(2, 3))
    report = {"invalid_share": float(invalid.mean()), "worst_view_share": float(shares.max())}
    if not invalid.any():
        return projections, report
    maps = {name: getattr(projections, name).copy() for name in FILLED}
    for direction, view in np.argwhere(shares > 0):
        valid = projections.valid[direction, view]
        if not valid.any():
            raise DarklungError(f"projections: no valid pixel in direction {direction}, view {view}")
        for values in maps.values():
            _fill(values[direction, view], valid)
    return replace(projections, **maps), report


def _fill(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
    """Fill one view in place."""
    columns = np.arange(values.shape[1])
    rows = np.flatnonzero(valid.any(axis=1))
    for row in rows[~valid[rows].all(axis=1)]:
        good = valid[row]
        values[row, ~good] = np.interp(columns[~good], columns[good], values[row, good])
    for row in np.flatnonzero(~valid.any(axis=1)):
        values[row] = values[rows[np.argmin(np.abs(rows - row))]]

"""Values for pixels that cannot be trusted, for reconstructions that need one everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError
from darklung.core.types import Projections

FILLED = ("attenuation", "dark_field", "phase")
REACH_RAD = 0.2  # across more, a view says nothing of another


def fill_invalid(projections: Projections) -> tuple[Projections, dict[str, Any]]:
    """Interpolate attenuation, dark field and phase across invalid pixels of each detector row.

    Between valid neighbours the value is linear in the column, beyond the last valid one it is held. `valid` stays False
    there, so that a weighted reconstruction can still leave them out. Rows without any valid pixel take the nearest row
    that has one; views without any, those of the two views beside them in angle, by their distance.

    Not modelled: the filled value's variance (the retrieved one is kept); phase is interpolated as it is, not on the circle.

    Returns
    -------
    Projections
    report : dict
        ``invalid_share`` of all pixels, ``worst_view_share`` of the worst (direction, view).

    Raises
    ------
    DarklungError
        A view without any valid pixel, and none that has one within `REACH_RAD` of it.
    """
    invalid = ~projections.valid
    shares = invalid.mean(axis=(2, 3))
    report = {"invalid_share": float(invalid.mean()), "worst_view_share": float(shares.max())}
    if not invalid.any():
        return projections, report
    maps = {name: getattr(projections, name).copy() for name in FILLED}
    dead = np.argwhere(shares == 1)
    for direction, view in np.argwhere((shares > 0) & (shares < 1)):
        for values in maps.values():
            _fill(values[direction, view], projections.valid[direction, view])
    angles = projections.geometry.angles_rad
    for direction, view in dead:
        beside = _beside(angles, int(view), shares[direction] < 1, f"direction {direction}, view {view}")
        for values in maps.values():
            values[direction, view] = sum(share * values[direction, other] for other, share in beside)
    return replace(projections, **maps), report


def _beside(angles: NDArray[np.float64], view: int, alive: NDArray[np.bool_], name: str) -> list[tuple[int, float]]:
    """Views on either side of a dead one, each with its share."""
    apart = np.mod(angles - angles[view] + np.pi, 2 * np.pi) - np.pi
    sides = [np.flatnonzero(alive & side & (abs(apart) <= REACH_RAD)) for side in (apart <= 0, apart > 0)]
    found = [int(side[np.argmin(abs(apart[side]))]) for side in sides if len(side)]
    if not found:
        degrees = np.degrees(REACH_RAD)
        raise DarklungError(f"projections: no valid pixel in {name}, nor in any view within {degrees:.0f}° of it")
    if len(found) == 1:
        return [(found[0], 1.0)]
    low, high = (abs(float(apart[other])) for other in found)
    return [(found[0], high / (low + high)), (found[1], low / (low + high))]


def _fill(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
    """Fill one view in place."""
    columns = np.arange(values.shape[1])
    rows = np.flatnonzero(valid.any(axis=1))
    for row in rows[~valid[rows].all(axis=1)]:
        good = valid[row]
        values[row, ~good] = np.interp(columns[~good], columns[good], values[row, good])
    for row in np.flatnonzero(~valid.any(axis=1)):
        values[row] = values[rows[np.argmin(np.abs(rows - row))]]

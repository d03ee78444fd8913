"""Values for pixels that cannot be trusted, for reconstructions that need one everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError
from darklung.core.circle import wrapped
from darklung.core.types import PROJECTION_MAPS, Projections

SIGNALS = ("attenuation", "dark_field", "phase")
FILLED = (*SIGNALS, *(f"{name}_variance" for name in SIGNALS))
REACH_RAD = 0.2  # across more, a view says nothing of another

Maps = Mapping[str, NDArray[np.float32]]


def fill_invalid(projections: Projections) -> tuple[Projections, dict[str, Any]]:
    """Interpolate attenuation, dark field and phase across invalid pixels of each detector row.

    Between valid neighbours the value is linear in the column, beyond the last valid one it is held; phase goes the shorter
    way round the circle. `valid` stays False there, so that a weighted reconstruction can still leave them out. Rows without
    any valid pixel take the nearest row that has one; views without any, those of the two views beside them in angle, by
    their distance.

    Variances are those of what is filled in, the squares of the shares times the neighbours': what retrieval says of a pixel
    that it could not fit (`darklung.retrieve.stepping.INVALID_VARIANCE`) would drown the noise of a whole slice.

    Not modelled: how far the truth is from a line, and that a filled value shares its noise with its neighbours.

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
        _fill({name: values[direction, view] for name, values in maps.items()}, projections.valid[direction, view])
    angles = projections.geometry.angles_rad
    for direction, view in dead:
        beside = _beside(angles, int(view), shares[direction] < 1, f"direction {direction}, view {view}")
        for name, values in maps.items():
            values[direction, view] = _mixed(name, [(values[direction, other], share) for other, share in beside])
    return replace(projections, **maps), report


def filled_attenuation(projections: Projections, direction: int) -> NDArray[np.float64]:
    """−ln T of one direction by `fill_invalid`, (view, row, col)."""
    if projections.valid[direction].all():
        return np.asarray(projections.attenuation[direction], dtype=np.float64)
    maps = {name: getattr(projections, name)[direction : direction + 1] for name in PROJECTION_MAPS}
    one = replace(projections, **maps, directions_rad=projections.directions_rad[direction : direction + 1])
    return np.asarray(fill_invalid(one)[0].attenuation[0], dtype=np.float64)


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


def _mixed(name: str, parts: list[tuple[NDArray[np.float32], float]]) -> NDArray[np.float32]:
    """What one map's values make together, each with its share."""
    if name == "phase":
        return wrapped(np.angle(sum(share * np.exp(1j * values.astype(np.float64)) for values, share in parts)))
    power = 2 if name.endswith("_variance") else 1
    return np.asarray(sum(share**power * values for values, share in parts), dtype=np.float32)


def _fill(maps: Maps, valid: NDArray[np.bool_]) -> None:
    """Fill the maps of one view in place."""
    rows = np.flatnonzero(valid.any(axis=1))
    for row in rows[~valid[rows].all(axis=1)]:
        _fill_row({name: values[row] for name, values in maps.items()}, valid[row])
    for row in np.flatnonzero(~valid.any(axis=1)):
        nearest = rows[np.argmin(np.abs(rows - row))]
        for values in maps.values():
            values[row] = values[nearest]


def _fill_row(maps: Maps, good: NDArray[np.bool_]) -> None:
    """Fill one row in place: shares of the valid pixels before and after each gap."""
    known, gaps = np.flatnonzero(good), np.flatnonzero(~good)
    after = np.searchsorted(known, gaps)
    low, high = known[np.maximum(after - 1, 0)], known[np.minimum(after, len(known) - 1)]
    share = np.where(high > low, (gaps - low) / np.maximum(high - low, 1), 0.0)
    for name, values in maps.items():
        first, second = values[low].astype(np.float64), values[high].astype(np.float64)
        if name == "phase":
            values[gaps] = wrapped(first + share * wrapped(second - first))
        elif name.endswith("_variance"):
            values[gaps] = (1 - share) ** 2 * first + share**2 * second
        else:
            values[gaps] = (1 - share) * first + share * second

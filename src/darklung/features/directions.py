"""What the dark fields of several grating directions say together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import directed, directions_of
from darklung.core.checks import check_range, require
from darklung.features.layers import Layer, Mask, Place


def anisotropy_of(*, place: Place) -> Layer:
    """`anisotropy` of all directions of the place's image, its floor from the lung alone."""
    names = directed(tuple(place.stored))
    each = np.stack([place.stored[name].values for name in names])
    found = anisotropy(each, directions_rad=np.radians(directions_of(names)).tolist(), where=place.lung)
    return Layer(found.astype(np.float64))


def anisotropy(
    dark_field: NDArray, *, directions_rad: Sequence[float], floor_fraction: float = 0.1, where: Mask | None = None
) -> NDArray[np.float32]:
    """Relative second harmonic of the dark field over the grating directions, (*spatial).

    Least squares of d(α) = A0 + A2 cos 2(α − α₀) (+ B2 sin 2(α − α₀) from three directions on), α₀ the first direction;
    returned is A2·A0 / (A0² + f²), which is A2/A0 where there is signal and goes to 0 where there is none. f is
    `floor_fraction` of the 95th percentile of |A0|. Positive: more scattering along the first direction's sensitivity.

    In CT the direction turns with the gantry unless it is along the axis, so this is a contrast between the two
    reconstructions, not a tensor's anisotropy.

    Parameters
    ----------
    dark_field : (direction, *spatial) array
    directions_rad : sequence of float
        At least two different ones modulo π.
    floor_fraction : float
    where : (*spatial) bool, optional
        Voxels that the percentile is of; all if not given.
    """
    require(len(directions_rad) >= 2, "anisotropy: wanted at least two different grating directions")
    relative = 2 * (np.asarray(directions_rad, dtype=np.float64) - directions_rad[0])
    design = np.stack([np.ones_like(relative), np.cos(relative), np.sin(relative)], axis=1)
    if np.linalg.matrix_rank(design, tol=1e-6) < 3:
        design = design[:, :2]
    ranked = np.linalg.matrix_rank(design, tol=1e-6) == design.shape[1]
    require(bool(ranked), "anisotropy: wanted at least two different grating directions")
    check_range("floor_fraction", floor_fraction, 1e-6, 10)
    mean, second = np.tensordot(np.linalg.pinv(design)[:2], np.asarray(dark_field, dtype=np.float64), axes=1)
    known = np.abs(mean[np.isfinite(mean) if where is None else where & np.isfinite(mean)])
    floor = floor_fraction * np.percentile(known, 95) if known.size else 0.0
    if floor == 0:
        return np.zeros(mean.shape, dtype=np.float32)
    return np.asarray(second * mean / (mean**2 + floor**2), dtype=np.float32)

"""What is done to line integrals before reconstruction: where the axis falls, and columns that make rings."""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.optimize
import scipy.signal
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_shape, require
from darklung.core.geometry import ConeGeometry, Geometry, ParallelGeometry


def estimate_axis(projections: NDArray, geometry: Geometry, *, differential: bool = False) -> float:
    """Column (fractional) onto which the rotation axis falls, to be used as ``axis_col``.

    Opposite views mirror each other about the axis, p(θ + π, c) = p(θ, 2 axis − c) (with the other sign where
    `differential`), so the sum over all pairs of their convolutions peaks at 2 axis. Views in between are interpolated.
    Where no views are opposite, the centre of mass of each view is fitted by axis + a cos θ + b sin θ instead. In a cone
    beam no two views are opposite, but over a full turn their mean mirrors itself about the axis.

    Parameters
    ----------
    projections : (view, row, col) array
        Line integrals (positive in sum, and not truncated, where there are no opposite views), or their derivative.
    geometry : ParallelGeometry or ConeGeometry
        Its own ``axis_col`` is not used.
    differential : bool
        The projections are ∂/∂s of line integrals, such as differential phase. They need opposite views.

    Returns
    -------
    float

    Raises
    ------
    DarklungError
        Neither opposite views nor a usable mass; a cone beam without a full turn.

    Notes
    -----
    Not modelled: tilt of the axis (the rows share one answer), motion.
    """
    check_shape("projections", projections, "view, row, col", (geometry.views, geometry.rows, geometry.cols))
    check_finite("projections", projections)
    if isinstance(geometry, ConeGeometry):
        angles = geometry.angles_rad
        arc = abs(angles[-1] - angles[0]) * geometry.views / max(geometry.views - 1, 1)
        require(
            abs(arc - 2 * np.pi) < 0.02, "angles_rad: in a cone beam the axis shows in a full turn only; give its column"
        )
        require(not differential, "projections: in a cone beam the axis is found in line integrals, not in derivatives")
        mean = projections.mean(axis=0, dtype=np.float64, keepdims=True)
        return _mirror(mean, [(0, 0, 0, 0.0)])
    pairs = _opposite(geometry.angles_rad)
    if not pairs:
        require(
            not differential, "angles_rad: differential projections show the axis in opposite views only; there are none"
        )
        return _axis_by_mass(projections, geometry)
    return _mirror(projections, pairs, -1 if differential else 1)


def _mirror(projections: NDArray, pairs: list[tuple[int, int, int, float]], sign: int = 1) -> float:
    """The column about which the views of each pair mirror each other."""
    cols = projections.shape[2]
    length = scipy.fft.next_fast_len(2 * cols, real=True)
    spectra = scipy.fft.rfft(np.asarray(projections, np.float64), length, axis=2)
    total = np.zeros(spectra.shape[2], complex)
    for view, low, high, share in pairs:
        total += (spectra[view] * ((1 - share) * spectra[low] + share * spectra[high])).sum(axis=0)
    total *= sign
    start = int(scipy.fft.irfft(total, length)[: 2 * cols - 1].argmax())
    frequency = 2 * np.pi * np.arange(len(total)) / length

    def height(at: float) -> float:
        return -float((total * np.exp(1j * frequency * at)).real.sum())

    peak = scipy.optimize.minimize_scalar(height, bounds=(start - 1, start + 1), method="bounded", options={"xatol": 1e-4})
    return float(peak.x) / 2


def suppress_rings(projections: NDArray, *, width: int = 9) -> NDArray[np.float32]:
    """Take away what a column has too much in every view: it would become a ring.

    The offset of each (row, col) is the median over the views of its difference to a parabola fitted to `width` columns
    around it (edges of the sample pass through different columns in different views, so the median ignores them). Only this
    one number is subtracted from a column, so nothing that changes with the view is touched; structure that is the same in
    all views, such as the wall of a container centred on the axis, is taken for a ring and blurred.

    Parameters
    ----------
    projections : (view, row, col) array
    width : int
        Odd, >= 5. Wider windows find broader rings and mistake more of the sample for rings.

    References
    ----------
    Compare Vo, Atwood, Drakopoulos 2018, Opt Express 26:28396, doi:10.1364/OE.26.028396.
    """
    check_shape("projections", projections, "view, row, col", (None, None, None))
    check_finite("projections", projections)
    cols = projections.shape[2]
    fits = 5 <= width <= cols and width % 2 == 1
    require(fits, f"width: wanted an odd number of columns from 5 to {cols}, got {width}")
    data = np.asarray(projections, np.float32)
    excess = data - scipy.signal.savgol_filter(data, width, 2, axis=2)
    return np.asarray(data - np.median(excess, axis=0), np.float32)


def _opposite(angles_rad: NDArray[np.float64]) -> list[tuple[int, int, int, float]]:
    """(view, low, high, share): the view opposite to `view` is (1 − share) of `low` and share of `high`."""
    angles = np.mod(angles_rad, 2 * np.pi)
    order = np.argsort(angles)
    ring = angles[order]
    widest = 0.2  # [rad]; across more, a view cannot be interpolated
    pairs = []
    for view, angle in enumerate(angles):
        wanted = np.mod(angle + np.pi, 2 * np.pi)
        after = int(np.searchsorted(ring, wanted)) % len(ring)
        before = (after - 1) % len(ring)
        gap = np.mod(ring[after] - ring[before], 2 * np.pi)
        share = np.mod(wanted - ring[before], 2 * np.pi)
        for place in (before, after):  # a view that is just opposite needs no second one
            apart = np.mod(ring[place] - wanted + np.pi, 2 * np.pi) - np.pi
            if abs(apart) < 1e-6:
                pairs.append((view, int(order[place]), int(order[place]), 0.0))
                break
        else:
            if 0 < gap <= widest:
                pairs.append((view, int(order[before]), int(order[after]), float(share / gap)))
    return pairs


def _axis_by_mass(projections: NDArray, geometry: ParallelGeometry) -> float:
    mass = projections.sum(axis=(1, 2), dtype=np.float64)
    require(bool((mass > 0.2 * mass.max()).all()), "projections: without opposite views wanted a positive sum in every view")
    middle = (projections * np.arange(geometry.cols)).sum(axis=(1, 2), dtype=np.float64) / mass
    angles = geometry.angles_rad
    require(len(angles) >= 3, f"angles_rad: the axis wants at least 3 views, got {len(angles)}")
    model = np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], axis=1)
    return float(np.linalg.lstsq(model, middle, rcond=None)[0][0])

"""What is done to line integrals before reconstruction: where the axis falls, and columns that make rings."""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.optimize
import scipy.signal
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_shape, require
from darklung.core.geometry import ConeGeometry, Geometry, ParallelGeometry, is_full_turn, turn_shares

EDGE = 4  # columns that tell what is at the detector's border


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
        mean = np.tensordot(turn_shares(angles), projections, axes=1)[None]
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


def check_rings(width: int, cols: int) -> None:
    """Refuse a window that is even, narrower than 5 columns or wider than the detector."""
    fits = 5 <= width <= cols and width % 2 == 1
    require(fits, f"width: wanted an odd number of columns from 5 to {cols}, got {width}")


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
    check_rings(width, projections.shape[2])
    data = np.asarray(projections, np.float32)
    excess = data - scipy.signal.savgol_filter(data, width, 2, axis=2)
    return np.asarray(data - np.median(excess, axis=0), np.float32)


def cautions(projections: NDArray, geometry: Geometry, *, analytic: bool) -> list[str]:
    """What a reader of the volume must know of its projections, a line each; none for most scans.

    Too few views for an analytic method (fewer than half of π/2 times the columns, Kak and Slaney, ch. 5), an object wider
    than the detector (its edges hold more than a tenth of the highest values in a tenth of the views), and an axis off the
    middle (by more than a twentieth of the columns) in less than a full turn.

    Parameters
    ----------
    projections : (view, row, col) array
        Line integrals.
    geometry : ParallelGeometry or ConeGeometry
    analytic : bool
        The method is filtered back-projection.
    """
    told = []
    wanted = round(0.5 * np.pi * geometry.cols)
    if analytic and geometry.views < 0.5 * wanted:
        told.append(f"{geometry.views} views for {geometry.cols} columns: fbp wants about {wanted}, fewer make streaks")
    u = np.arange(geometry.cols) - float(geometry.axis_col or 0.0)
    aside, whole = abs(u[0] + u[-1]) / 2, isinstance(geometry, ConeGeometry) or is_full_turn(geometry.angles_rad)
    if not whole and aside > 0.05 * geometry.cols:
        told.append(
            f"the axis falls {aside:.0f} columns off the middle in less than a full turn: what lies more than "
            f"{1e3 * min(-u[0], u[-1]) * geometry.pixel_m:.3g} mm from it is seen from one side only and comes out too low"
        )
    # Of a detector that stands aside in a full turn only the long side has to see the object's end.
    both = ((slice(None, EDGE), -u[0]), (slice(-EDGE, None), u[-1]))
    sides = [side for side, reach in both if not whole or reach > max(-u[0], u[-1]) - 2]
    profile = np.median(projections, axis=1)
    edges = np.max([abs(profile[:, side].mean(axis=1)) for side in sides], axis=0)
    if profile.max() > 0 and np.mean(edges > 0.1 * profile.max()) > 0.1:
        told.append("the object reaches beyond the detector: values near its border are too high (padding: edge helps fbp)")
    return told


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

"""Powders of several thicknesses behind several filters, and wedges: V(E) S(E) fitted with the spheres, not believed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from darklung.calibrate.beam import Beam, filter_name, parse_filter, signal_of
from darklung.calibrate.sphere_models import SphereShape
from darklung.calibrate.spheres import DILUTE, SphereCalibration
from darklung.core.checks import check_finite, check_range, check_shape, require
from darklung.correct.response import SpectralResponse
from darklung.correct.wedge import Wedge
from darklung.physics.constants import wavelength_m
from darklung.physics.materials import MATERIALS, delta

# What is believed, as standard deviations of logarithms. Scale and ξ: f δ² from −ln T within a factor of 7 (packing, porous
# spheres, walls of the cell), ξ from the geometry within a fifth. V(E): within a third, but below a third of the reference
# energy within a factor e⁴, for there the phase grating absorbs and the formula of an ideal one says little.
SCALE_SD, XI_SD, HARD_SD, SOFT_SD = 2.0, 0.2, 0.3, 4.0
SOFT_BELOW, SOFT_STEP, LENGTH, MODES = 0.35, 0.12, 0.4, 7
# V(E) of an ideal grating has zeros; this share of a constant visibility stands for imperfect ones.
CONSTANT_SHARE = 0.1
# Share of the beam that a filter must let through for its flats to tell anything.
LEAST_LEFT = 1e-4
# A gain that the fit misses by more than this many of its errors cannot be one of this beam.
GAIN_MISS = 5.0
# Errors of a flat's ln V and of a wedge's −ln D; scatter of powders before any was seen, which counts as one row.
GAIN_ERROR, WEDGE_ERROR, SCATTER = 0.02, 0.003, 0.01
_ROUNDS, _MOST = 4, 200


@dataclass(frozen=True)
class PowderRows:
    """Measured powders, one row a scan.

    Parameters
    ----------
    diameter_m, signal, thickness_m : (row,) float64
        −ln D, and the thickness of the powder.
    filters : (row,) tuple of str
        Filter of each scan, flat and sample alike.
    attenuation : (row,) float64, optional
        −ln T: how much powder there is.
    visibility : (row,) float64, optional
        Of the flats.
    """

    diameter_m: NDArray[np.float64]
    signal: NDArray[np.float64]
    thickness_m: NDArray[np.float64]
    filters: tuple[str, ...] = ()
    attenuation: NDArray[np.float64] | None = None
    visibility: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        rows = np.shape(self.diameter_m)
        for name in ("diameter_m", "signal", "thickness_m", "attenuation", "visibility"):
            if getattr(self, name) is not None:
                values = np.broadcast_to(np.asarray(getattr(self, name), dtype=np.float64), rows)
                check_finite(name, values)
                require(name in ("signal", "attenuation") or bool((values > 0).all()), f"{name}: wanted numbers > 0")
                object.__setattr__(self, name, values)
        check_shape("diameter_m", self.diameter_m, "row", (None,))
        filters = tuple(filter_name(text) for text in self.filters) or ("",) * rows[0]
        require(len(filters) == rows[0], "filters: wanted one a row")
        object.__setattr__(self, "filters", filters)

    def part(self, kept: NDArray[Any]) -> PowderRows:
        """Some of the rows."""
        chosen = np.arange(len(self.diameter_m))[kept]
        arrays = {n: getattr(self, n) for n in ("diameter_m", "signal", "thickness_m", "attenuation", "visibility")}
        picked = {n: None if v is None else v[chosen] for n, v in arrays.items()}
        return PowderRows(**picked, filters=tuple(self.filters[i] for i in chosen))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Belief:
    """What is believed of the beam before powders are seen.

    Parameters
    ----------
    response : SpectralResponse
        Of the instrument, or as wedges calibrated it.
    correlation_length_m : float
        ξ at the reference energy from the geometry; 0 where nothing is known.
    material : str
        Of the spheres; "" leaves out the hardening in the powder.
    wedges : tuple of Wedge
        Structure-free steps, which V(E) S(E) has to agree with too.
    gains : tuple of (filter, ratio)
        Visibility of flats behind a filter over that without, measured without any powder.
    """

    response: SpectralResponse
    correlation_length_m: float = 0.0
    material: str = ""
    wedges: tuple[Wedge, ...] = ()
    gains: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for text, gain in self.gains:
            require(bool(parse_filter(text)), f"gain: wanted a filter such as 'cu 1 mm', got {text!r}")
            check_range(f"gain of visibility behind {text}", gain, 0.01, 100.0)
            left = self._beam(np.zeros_like(self.response.weights)).behind(text)[0].sum()
            require(left > LEAST_LEFT, f"gain: {text} lets nothing through ({left:.1g} of the beam)")

    def densities(self, rows: PowderRows) -> NDArray[np.float64] | None:
        """(row,) mean density of the filled cell [g/cm³] from −ln T; None where material or −ln T are not known."""
        if not self.material or rows.attenuation is None:
            return None
        mu, _ = self.response.attenuation_of(self.material)
        masses = np.linspace(0.0, 5.0 / mu.min(), 4001)
        found = np.empty(len(rows.signal))
        for text in set(rows.filters):
            weights, _ = self._beam(np.zeros_like(mu)).behind(text)
            seen = -np.log(np.exp(-np.multiply.outer(masses, mu)) @ (weights / weights.sum()))
            same = np.array(rows.filters) == text
            found[same] = np.interp(rows.attenuation[same], seen, masses) / rows.thickness_m[same]
        require(bool((found > 0).all()), f"attenuation: wanted -ln T > 0 of all powders of {self.material}")
        return found

    def beam(self, rows: PowderRows) -> tuple[Beam, NDArray[np.float64]]:
        """The believed beam with the modes of what is not known, and each row's filling over the mean one."""
        density = self.densities(rows)
        if density is None:
            return self._beam(np.zeros_like(self.response.weights)), np.ones(len(rows.signal))
        mu, _ = self.response.attenuation_of(self.material)
        return self._beam(mu * density.mean()), density / density.mean()

    def start(self, rows: PowderRows, shape: SphereShape) -> tuple[float, float]:
        """Expected scale [1/m²] and ξ [m]: f δ² from −ln T, or else what the rows' size of signal tells."""
        r, density = self.response, self.densities(rows)
        xi = self.correlation_length_m or float(np.median(rows.diameter_m)) / 2
        if density is None:
            h = rows.thickness_m * xi * shape(rows.diameter_m / xi)
            return float(np.median(np.abs(rows.signal) / h)), xi
        solid = MATERIALS[self.material].density_g_cm3
        contrast = float(delta(self.material, solid, r.reference_energy_kev)) ** 2 * float(density.mean()) / solid
        return float(3 * np.pi**2 * contrast / wavelength_m(r.reference_energy_kev) ** 2), xi

    def _beam(self, powder_per_m: NDArray[np.float64]) -> Beam:
        r = self.response
        visible = (1 - CONSTANT_SHARE) * r.visible + CONSTANT_SHARE * r.weights
        modes = _modes(r.energies_kev / r.reference_energy_kev)
        return Beam(r.energies_kev, r.weights, visible, r.reference_energy_kev, powder_per_m, modes)


def fit_beam(rows: PowderRows, belief: Belief, *, shape: SphereShape = DILUTE, setting: str = "") -> SphereCalibration:
    """Scale, ξ and V(E) S(E) from powders, with priors about what is believed. See `fit_with_evidence`."""
    return fit_with_evidence(rows, belief, shape=shape, setting=setting)[0]


def fit_with_evidence(
    rows: PowderRows, belief: Belief, *, shape: SphereShape = DILUTE, setting: str = ""
) -> tuple[SphereCalibration, float]:
    """Most probable scale, ξ and visibility spectrum, their covariance, and ln of the model's evidence (up to a constant).

    ln V(E) S(E) is the believed one plus a smooth random function of ln E (seven modes); ln scale and ln ξ are normal about
    what −ln T and geometry say. Scatter of powders about the curve is estimated in the same go [1]_. S(E) is not
    fitted here: wedges give it (`darklung.correct.wedge.calibrate_response`).

    Not modelled: scatter that rows of one powder have in common; a correlation length that changes through a thick cell.

    Raises
    ------
    DarklungError
        Fewer than 3 different diameters, or values that make no sense.

    References
    ----------
    .. [1] D. J. C. MacKay, Neural Comput. 4, 415 (1992), doi:10.1162/neco.1992.4.3.415 [M].
    """
    different = len(np.unique(rows.diameter_m))
    require(different >= 3, f"diameter_m: wanted at least 3 different diameters, got {different}")
    fit = _Fit(rows, belief, shape)
    found, residual = np.zeros(2 + MODES), 2 * SCATTER
    for _ in range(_ROUNDS):
        solved = least_squares(fit.residuals(residual, found), found, method="lm", max_nfev=_MOST)
        found, hessian = solved.x, solved.jac.T @ solved.jac
        covariance = np.linalg.inv(hessian)
        free = len(found) - float(np.trace(covariance))
        squares = float(((fit.misfit(found) / fit.spread(found)) ** 2).sum())
        residual = np.sqrt((squares + SCATTER**2) / (max(len(rows.signal) - free, 0.0) + 1))
    evidence = -0.5 * float(solved.fun @ solved.fun) - len(rows.signal) * np.log(residual)
    evidence -= 0.5 * float(np.linalg.slogdet(hessian)[1])
    scale, xi, beam = fit.physical(found)
    _check_gains(beam, belief, float(residual / np.ptp(rows.signal)))
    # From logarithms in units of their priors to 1/m² and m; the offset has no part here.
    to = np.diag([SCALE_SD * scale, XI_SD * xi, *np.ones(MODES)])
    full = np.zeros((3 + MODES, 3 + MODES))
    kept = np.ix_([0, 1, *range(3, 3 + MODES)], [0, 1, *range(3, 3 + MODES)])
    full[kept] = to @ covariance @ to
    made = SphereCalibration(
        rows.diameter_m,
        rows.signal,
        rows.thickness_m,
        scale,
        xi,
        0.0,
        full,
        float(residual),
        shape,
        setting,
        rows.filters,
        beam,
        free=max(free, 1.0),
    )
    return made, evidence


def _check_gains(beam: Beam, belief: Belief, left: float) -> None:
    """Raise where a gain cannot be had, or leaves more of the signals' range unexplained than there is."""
    named = ", ".join(f"x {gain:g} behind {text}" for text, gain in belief.gains)
    require(not named or left < 1, f"gain: the powders contradict it (V0 {named}): the fit explains nothing of them")
    for text, gain in belief.gains:
        fitted = beam.gain(text) / beam.gain("")
        told = f"gain: no beam near the believed one has V0 x {gain:g} behind {text}; the best fit has x {fitted:.3g}"
        require(abs(np.log(fitted / gain)) <= GAIN_MISS * GAIN_ERROR, told)


class _Fit:
    """Misfits of one series as functions of the parameters (ln scale, ln ξ, modes), in units of their priors."""

    def __init__(self, rows: PowderRows, belief: Belief, shape: SphereShape) -> None:
        self.rows, self.belief, self.shape = rows, belief, shape
        self.beam, self.filling = belief.beam(rows)
        self.scale, self.xi = belief.start(rows, shape)
        self.depth = (self.filling * rows.thickness_m)[:, None] * self.beam.powder_per_m
        names = np.array(rows.filters)
        self.groups = [(text, np.flatnonzero(names == text)) for text in dict.fromkeys(rows.filters)]
        # What no parameter changes: each row's share of the flat's intensity, and what filters leave of the open beam.
        self.mean, self.passed = np.empty(len(rows.signal)), {}
        for text in {"", *rows.filters, *(text for text, _ in belief.gains)}:
            weights, _ = self.beam.behind(text)
            self.passed[text] = (self.beam.transmission(text), float(weights.sum()))
            at = names == text
            self.mean[at] = np.exp(-self.depth[at]) @ (weights / weights.sum())
        # Derivatives by the modes ask for the same spheres again and again.
        self._left = lru_cache(maxsize=2)(self._spheres)

    def lengths(self, found: NDArray[np.float64]) -> tuple[float, float]:
        """Scale [1/m²] and ξ [m]."""
        return float(self.scale * np.exp(SCALE_SD * found[0])), float(self.xi * np.exp(XI_SD * found[1]))

    def physical(self, found: NDArray[np.float64]) -> tuple[float, float, Beam]:
        """Scale [1/m²], ξ [m] and the beam."""
        return *self.lengths(found), self.beam.changed(found[2:])

    def _spheres(self, scale: float, xi: float) -> NDArray[np.float64]:
        return self.beam.left(self.shape, scale, xi, self.rows.diameter_m, self.rows.thickness_m, self.depth)

    def misfit(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        """(row,) fitted less measured −ln D."""
        left, visible = self._left(*self.lengths(found)), self.beam.visible_by(found[2:])
        seen = np.empty(len(self.rows.signal))
        for text, at in self.groups:
            seen[at] = signal_of(left[at], self.mean[at], visible * self.passed[text][0])
        return seen - self.rows.signal

    def spread(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        """(row,) scatter over that at the first row's thickness and filter: as a change of the amount would be."""
        if len(self.groups) == 1 and np.ptp(self.rows.thickness_m) == 0:
            return np.ones(len(self.rows.signal))
        scale, xi, beam = self.physical(found)
        first = replace(self.rows, thickness_m=self.rows.thickness_m[:1], filters=self.rows.filters[:1] * len(self.filling))

        def slope(rows: PowderRows, number: int) -> float:
            at = (rows.diameter_m[number], rows.thickness_m[number], rows.filters[number])
            ends = [beam.response(self.shape, scale * (1 + s), xi, *at) for s in (1e-4, -1e-4)]
            return float(ends[0] - ends[1])

        return np.array([slope(self.rows, n) / slope(first, n) for n in range(len(self.rows.signal))])

    def residuals(self, scatter: float, start: NDArray[np.float64]) -> Any:
        """What least squares minimises: rows, flats, wedges, priors."""
        spread = scatter * np.maximum(self.spread(start), 0.05)

        def run(found: NDArray[np.float64]) -> NDArray[np.float64]:
            visible = self.beam.visible_by(found[2:])
            return np.concatenate([self.misfit(found) / spread, self._flats(visible), self._wedges(visible), found])

        return run

    def _gain(self, text: str, visible: NDArray[np.float64]) -> float:
        """Visibility of the flat behind a filter, up to a factor."""
        passed, weight = self.passed[text]
        return float(visible @ passed) / weight

    def _flats(self, visible: NDArray[np.float64]) -> NDArray[np.float64]:
        told = [np.log(self._gain(text, visible) / self._gain("", visible) / gain) for text, gain in self.belief.gains]
        if self.rows.visibility is not None:
            means = [float(np.log(self.rows.visibility[at]).mean()) for _, at in self.groups]
            gains = np.log([self._gain(text, visible) for text, _ in self.groups])
            told += list(((gains - gains[0]) - (np.array(means) - means[0]))[1:])
        return np.array(told) / GAIN_ERROR

    def _wedges(self, visible: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.belief.wedges:
            return np.zeros(0)
        response = replace(self.belief.response, visible=visible / visible.sum())
        parts = [np.zeros(0)]
        for wedge in self.belief.wedges:
            mu, _ = response.attenuation_of(wedge.material)
            parts.append((response.measured(np.multiply.outer(wedge.thickness_m, mu))[1] - wedge.dark_field) / WEDGE_ERROR)
        return np.concatenate(parts)


def _modes(relative_energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """(bin, mode): independent normal coefficients make them a Gaussian process in ln E of the believed amplitude."""
    x = np.log(relative_energy)
    knots = np.linspace(x[0], x[-1], MODES)

    def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-0.5 * ((a[:, None] - b) / LENGTH) ** 2)

    inner = kernel(knots, knots) + 1e-6 * np.eye(MODES)
    amplitude = HARD_SD + (SOFT_SD - HARD_SD) / (1 + np.exp((x - np.log(SOFT_BELOW)) / SOFT_STEP))
    return np.asarray(amplitude[:, None] * (kernel(x, knots) @ np.linalg.inv(inner) @ np.linalg.cholesky(inner)))

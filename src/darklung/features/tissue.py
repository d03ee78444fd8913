"""Tissue fraction φ and interface density S_V of lung, from attenuation and dark field at a known energy and ξ."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.optimize import minimize_scalar

from darklung.core.checks import check_positive
from darklung.features.contrast import DIAMETER_SD
from darklung.features.layers import Layer, Place, Values, kernels_of, local_mean
from darklung.physics.constants import wavenumber_per_m
from darklung.physics.lung import HEALTHY
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import debye_shape

MATERIAL = "soft_tissue"
# The two-phase model says nothing of S_V where there is but one phase.
WITHIN = (0.02, 0.98)
_LEAST, _NODES = 1e-4, 4000


def tissue_fraction(attenuation: Layer, *, place: Place) -> Layer:
    """φ = μ/μ_t with μ_t of soft tissue of 1.05 g/cm³ at the energy that values refer to; σ_φ = σ_μ/μ_t.

    Noise may bring φ below 0 or above 1: it is not clipped, which would bias means. Air attenuates nothing. Blood, fat and
    bone are not told from tissue.
    """
    energy = check_positive("tissue_fraction: energy of the values", place.energy_kev or 0.0)
    tissue = float(linear_attenuation(MATERIAL, HEALTHY.tissue_density, energy))
    noise = None if attenuation.noise is None else attenuation.noise / tissue
    return Layer(attenuation.values / tissue, "1", noise)


def interface_density(dark_field: Layer, attenuation: Layer, size_m: float = 6e-4, *, place: Place) -> Layer:
    """S_V [1/m] of the two-phase random medium whose ε and μ a voxel has (`darklung.physics.scattering.two_phase`).

    ε = 2 (kδ)² q ξ G(ξ/a), q = φ(1 − φ), G(t) = [1 − t K₁(t)]/t, S_V = 4q/a. G rises to its maximum at t = 1.11; lung lies
    on the rising side (a > ξ/1.11), where the inverse is one number. Healthy lung at ξ = 3 µm has 0.6 of the largest ε that
    there is at its φ, so that noise of one voxel would leave the model and bend the mean. Therefore the inverse is taken at
    the means ε̄ and μ̄ over a spot of lung, and the voxel's own values enter by its slope:

    S_V = S(ε̄, φ̄) + ∂S/∂ε (ε − ε̄) + ∂S/∂φ (φ − φ̄),  σ² = (∂S/∂ε σ_ε)² + (∂S/∂φ σ_φ)²,

    errors of ε and μ taken to be independent. NaN where φ̄ is not 0.02 to 0.98, or ε̄ more than the model can give.
    Debye, Anderson & Brumberger 1957, doi:10.1063/1.1722830; Yashiro et al. 2010, doi:10.1364/OE.18.016890.

    Parameters
    ----------
    dark_field, attenuation : Layer
        ε and μ [1/m].
    size_m : float
        Diameter of the spot [m].
    place : Place
        With energy and ξ that both refer to.
    """
    xi = check_positive("interface_density: correlation length", place.correlation_length_m or 0.0)
    kernels = kernels_of(check_positive("interface_density: size", size_m) / DIAMETER_SD, place.spacing_m)
    phi = tissue_fraction(attenuation, place=place)
    mean, fraction = (local_mean(layer.values, place.inside, kernels)[0] for layer in (dark_field, phi))
    at, by_dark, by_fraction = _inverse(mean, fraction, place.energy_kev or 0.0, xi)
    found = at + by_dark * (dark_field.values - mean) + by_fraction * (phi.values - fraction)
    if dark_field.noise is None or phi.noise is None:
        return Layer(found, "1/m")
    return Layer(found, "1/m", np.hypot(by_dark * dark_field.noise, by_fraction * phi.noise))


def _inverse(epsilon: Values, fraction: Values, energy_kev: float, xi_m: float) -> tuple[Values, Values, Values]:
    """S_V of ε and φ, and its slopes along both; NaN outside the model."""
    phi = np.where((fraction > WITHIN[0]) & (fraction < WITHIN[1]), fraction, np.nan)
    strength = 2 * float(wavenumber_per_m(energy_kev) * delta(MATERIAL, HEALTHY.tissue_density, energy_kev)) ** 2 * xi_m
    mixed = phi * (1 - phi)
    shape = epsilon / (strength * mixed)
    t, slope = _inverse_shape(shape)
    by_fraction = (1 - 2 * phi) * 4 / xi_m * (t - shape * slope)
    return 4 * mixed * t / xi_m, 4 * slope / (strength * xi_m), by_fraction


def _inverse_shape(shape: Values) -> tuple[Values, Values]:
    """t of G(t) = `shape` on the rising side and dt/dG, odd in `shape`; NaN above the maximum."""
    nodes, levels, slopes = _table()
    size = np.abs(shape)
    inside = size <= levels[-1]
    level = np.where(inside, size, levels[0])
    t = np.where(level < levels[0], level * nodes[0] / levels[0], np.interp(level, levels, nodes))
    slope = np.interp(level, levels, slopes)
    return np.where(inside, np.sign(shape) * t, np.nan), np.where(inside, slope, np.nan)


@lru_cache(maxsize=1)
def _table() -> tuple[Values, Values, Values]:
    """t, G(t) and dt/dG up to just below the maximum of G."""
    peak = minimize_scalar(lambda t: -float(debye_shape(t)) / t, bounds=(0.5, 2.0), method="bounded").x
    t = np.geomspace(_LEAST, 0.99 * peak, _NODES)
    level = debye_shape(t) / t
    return t, np.asarray(level), np.asarray(np.gradient(t, level))

"""X-ray spectra in a few energy bins, and what a detector makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import DarklungError, check_finite, check_positive, check_shape, require
from darklung.physics.materials import ENERGY_RANGE_KEV, MATERIALS, linear_attenuation, mass_attenuation

DEFAULT_FILTERS_M: Mapping[str, float] = {"al": 2e-3}


@dataclass(frozen=True)
class Spectrum:
    """Photons per energy bin, before the detector.

    Parameters
    ----------
    energies_kev : (bin,) array
        Mean energy of each bin, rising.
    weights : (bin,) array
        Fraction of the photons; scaled to sum to 1 by the functions of this module.
    """

    energies_kev: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        energies = np.atleast_1d(np.asarray(self.energies_kev, dtype=np.float64))
        weights = np.atleast_1d(np.asarray(self.weights, dtype=np.float64))
        check_shape("energies_kev", energies, "bin", (None,))
        check_shape("weights", weights, "bin", (len(energies),))
        check_finite("energies_kev", energies)
        check_finite("weights", weights)
        require(len(energies) > 0, "energies_kev: wanted at least one bin, got none")
        low, high = ENERGY_RANGE_KEV
        inside = energies[0] >= low and energies[-1] <= high
        require(bool(inside and (np.diff(energies) > 0).all()), f"energies_kev: wanted rising within {low:g} to {high:g}")
        require(bool((weights >= 0).all()), "weights: wanted >= 0, got negative flux")
        require(bool(weights.sum() > 0), "weights: the spectrum has zero flux")
        object.__setattr__(self, "energies_kev", energies)
        object.__setattr__(self, "weights", weights)

    @property
    def mean_energy_kev(self) -> float:
        """Mean photon energy."""
        return float((self.energies_kev * self.weights).sum() / self.weights.sum())


def band(*, low_kev: float, high_kev: float, bins: int) -> Spectrum:
    """A flat spectrum from `low_kev` to `high_kev` in equal bins; equal energies give one monochromatic line."""
    require(bins >= 1 and int(bins) == bins, f"bins: wanted a whole number >= 1, got {bins!r}")
    check_positive("low_kev", low_kev)
    if low_kev == high_kev:
        return Spectrum(np.array([low_kev]), np.ones(1))
    require(high_kev > low_kev, f"high_kev: wanted more than low_kev = {low_kev:g}, got {high_kev:g}")
    edges = np.linspace(low_kev, high_kev, bins + 1)
    return Spectrum((edges[1:] + edges[:-1]) / 2, np.full(bins, 1 / bins))


def tube(
    *,
    kvp: float,
    bins: int,
    low_kev: float = 15.0,
    filters_m: Mapping[str, float] = DEFAULT_FILTERS_M,
    anode_angle_deg: float = 12.0,
) -> Spectrum:
    """Spectrum of a tungsten tube behind filters, from spekpy, in equal energy bins up to `kvp`.

    Parameters
    ----------
    kvp : float
        Tube voltage [kV].
    bins : int
    low_kev : float
        Lower edge of the first bin; photons below are dropped (filters and gratings stop them).
    filters_m : mapping
        Material name -> thickness [m], usual densities.
    anode_angle_deg : float

    References
    ----------
    Poludniowski, Omar, Bujila & Andreo 2021, Med Phys 48:3630 (doi:10.1002/mp.14945)
    """
    import spekpy  # slow to load, and only tubes need it

    require(20 <= kvp <= 300, f"kvp: wanted 20 to 300 kV, got {kvp!r}")
    require(0 < low_kev < kvp, f"low_kev: wanted between 0 and kvp = {kvp:g}, got {low_kev!r}")
    energies, fluence = spekpy.Spek(kvp=kvp, th=anode_angle_deg, dk=0.5).get_spectrum()
    return rebin(
        energies_kev=energies, photons=filtered(energies, fluence, filters_m), low_kev=low_kev, high_kev=kvp, bins=bins
    )


def filtered(energies_kev: ArrayLike, photons: ArrayLike, filters_m: Mapping[str, float]) -> NDArray[np.float64]:
    """Photons left behind filters (material -> thickness [m]); energies below the tables' range give none."""
    energies = np.asarray(energies_kev, dtype=np.float64)
    inside = energies >= ENERGY_RANGE_KEV[0]
    left = np.where(inside, np.asarray(photons, dtype=np.float64), 0.0)
    for material, thickness_m in filters_m.items():
        require(thickness_m >= 0, f"filters_m: wanted a thickness >= 0 of {material}, got {thickness_m!r}")
        require(material in MATERIALS, f"filters_m: {material!r} is not known; known: {', '.join(sorted(MATERIALS))}")
        mu = linear_attenuation(material, MATERIALS[material].density_g_cm3, energies[inside])
        left[inside] *= np.exp(-mu * thickness_m)
    return left


def from_file(path: str | Path, *, low_kev: float, high_kev: float, bins: int) -> Spectrum:
    """Read a text file of two columns, energy [keV] and photons per keV (comments with #, comma or blank between)."""
    try:
        lines = Path(path).read_text(encoding="utf-8").replace(",", " ").splitlines()
        table = np.loadtxt(lines, ndmin=2)
    except (OSError, ValueError) as error:
        raise DarklungError(f"spectrum file {path}: cannot be read ({error})") from error
    require(table.ndim == 2 and table.shape[1] == 2, f"spectrum file {path}: wanted two columns, got shape {table.shape}")
    return rebin(energies_kev=table[:, 0], photons=table[:, 1], low_kev=low_kev, high_kev=high_kev, bins=bins)


def rebin(*, energies_kev: ArrayLike, photons: ArrayLike, low_kev: float, high_kev: float, bins: int) -> Spectrum:
    """Collect a finely sampled spectrum into equal bins; a bin's energy is its mean, empty bins are left out."""
    energies, counts = np.asarray(energies_kev, dtype=np.float64), np.asarray(photons, dtype=np.float64)
    require(energies.shape == counts.shape, f"photons: wanted shape {energies.shape}, got {counts.shape}")
    require(bool(np.isfinite(counts).all() and (counts >= 0).all()), "photons: wanted finite numbers >= 0")
    require(bins >= 1, f"bins: wanted >= 1, got {bins!r}")
    require(high_kev > low_kev > 0, f"low_kev, high_kev: wanted 0 < low < high, got {low_kev:g}, {high_kev:g}")
    edges = np.linspace(low_kev, high_kev, bins + 1)
    total = np.histogram(energies, edges, weights=counts)[0]
    require(bool(total.sum() > 0), f"spectrum: zero flux between {low_kev:g} and {high_kev:g} keV")
    moment = np.histogram(energies, edges, weights=counts * energies)[0]
    full = total > 1e-9 * total.sum()
    return Spectrum(moment[full] / total[full], total[full] / total[full].sum())


def absorbed_fraction(energies_kev: ArrayLike, *, thickness_m: float, material: str = "cdte") -> NDArray[np.float64]:
    """Detector efficiency Q(E) = 1 − exp(−μ t): photons that interact in the sensor.

    Not modelled: fluorescence escape, charge sharing across the threshold, dead time.
    """
    check_positive("thickness_m", thickness_m)
    density = MATERIALS[material].density_g_cm3 if material in MATERIALS else 0.0
    return np.asarray(-np.expm1(-mass_attenuation(material, energies_kev) * 1e3 * density * thickness_m))

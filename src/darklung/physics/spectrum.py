"""X-ray spectra in a few energy bins, and what a detector makes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import check_finite, check_positive, check_shape, require
from darklung.core.extras import require_extra
from darklung.core.files import read_text, reading
from darklung.physics.materials import ENERGY_RANGE_KEV, MATERIALS, linear_attenuation, mass_attenuation

DEFAULT_FILTERS_M: Mapping[str, float] = {"al": 2e-3}
_TUBE_STEP_KEV = 0.5


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
    require(0 < low_kev < kvp, f"low_kev: wanted between 0 and kvp = {kvp:g}, got {low_kev!r}")
    energies, photons = _tube_photons(kvp, filters_m, anode_angle_deg)
    return rebin(energies_kev=energies, photons=photons, low_kev=low_kev, high_kev=kvp, bins=bins)


def tube_output(
    *,
    kvp: float,
    low_kev: float,
    high_kev: float,
    filters_m: Mapping[str, float] = DEFAULT_FILTERS_M,
    anode_angle_deg: float = 12.0,
) -> float:
    """Photons of a tungsten tube between two energies, one metre away behind filters [1/(m² mA s)]; see `tube`."""
    energies, photons = _tube_photons(kvp, filters_m, anode_angle_deg)
    inside = (energies >= low_kev) & (energies <= high_kev)
    return float(1e4 * _TUBE_STEP_KEV * photons[inside].sum())


def _tube_photons(
    kvp: float, filters_m: Mapping[str, float], anode_angle_deg: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energies [keV] and photons per cm², keV and mA s one metre away."""
    require_extra("spectrum tube", "spekpy")
    import spekpy  # slow to load, and only tubes need it

    require(20 <= kvp <= 300, f"kvp: wanted 20 to 300 kV, got {kvp!r}")
    energies, fluence = spekpy.Spek(kvp=kvp, th=anode_angle_deg, dk=_TUBE_STEP_KEV).get_spectrum()
    return energies, filtered(energies, fluence, filters_m)


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
    """Read a spectrum from a text or CSV file and collect it into equal bins.

    Two columns, energy and photons, with blanks, tabs, commas or semicolons between. A header names the unit of energy (eV,
    keV or MeV), and says ``per keV`` where rows are unevenly spaced and photons are a density; lines starting with # may be
    the header::

        energy [keV], photons
        40.0, 1.3
        40.5, 1.4

    Photons outside `low_kev` to `high_kev` are dropped.

    Raises
    ------
    DarklungError
        No such file, no unit, not two columns of numbers, energies that do not rise, no photons between the limits.
    """
    name = f"spectrum file {path}"
    text = read_text(Path(path))
    header, rows = _split_table(text, name)
    found = re.search(r"\b(M|k)?eV\b", header.replace("_", " "))
    require(found is not None, f"{name}: wanted a header with the unit of energy, such as 'energy [keV], photons'")
    unit_kev = {"M": 1e3, "k": 1.0, None: 1e-3}[found.group(1)] if found else 1.0
    energies, photons = np.array(rows).T
    energies = energies * unit_kev
    require(len(rows) > 1 and bool((np.diff(energies) > 0).all()), f"{name}: wanted at least two rows of rising energy")
    require(bool(np.isfinite(photons).all() and (photons >= 0).all()), f"{name}: wanted finite photons >= 0")
    steps = np.diff(energies)
    if np.ptp(steps) > 0.01 * steps.mean():
        density = re.search(r"(per|/)\s*(M|k)?eV", header.replace("_", " "))
        require(density is not None, f"{name}: energies are unevenly spaced; wanted photons 'per keV', said in the header")
        photons = photons * np.gradient(energies)
    with reading(name):
        return rebin(energies_kev=energies, photons=photons, low_kev=low_kev, high_kev=high_kev, bins=bins)


def _split_table(text: str, name: str) -> tuple[str, list[list[float]]]:
    """Header lines as one text, and rows of two numbers."""
    header: list[str] = []
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = re.split(r"[\s,;]+", line.strip())
        try:
            row = [float(field) for field in fields]
        except ValueError:
            require(line.lstrip().startswith("#") or not line.strip() or not rows, f"{name}: line {number} holds no numbers")
            header.append(line)
            continue
        require(len(row) == 2, f"{name}: wanted two columns, energy and photons, got {len(row)} in line {number}")
        rows.append(row)
    require(len(rows) > 0, f"{name}: holds no numbers")
    return " ".join(header), rows


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

    See `darklung.physics.detector` for thresholds and shared charge.
    """
    check_positive("sensor_m", thickness_m)
    density = MATERIALS[material].density_g_cm3 if material in MATERIALS else 0.0
    return np.asarray(-np.expm1(-mass_attenuation(material, energies_kev) * 1e3 * density * thickness_m))

"""Absorbed dose of a scan, from the photons that the detector counts."""

from __future__ import annotations

import numpy as np
import xraydb
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import check_positive, check_range
from darklung.physics.instrument import Instrument
from darklung.physics.materials import linear_attenuation, mass_elements

JOULE_PER_KEV = 1.602176634e-16
ELECTRON_REST_KEV = 510.99895
BUILD_UP = 1.3
"""Dose by photons scattered within a mouse over that by primary ones: about 1.2–1.4 at 40–80 keV for 25 mm of water."""


def recoil_fraction(energy_kev: ArrayLike) -> NDArray[np.float64]:
    """Mean fraction of a photon's energy given to the electron in a Compton collision (Klein–Nishina), by quadrature."""
    energy = np.asarray(energy_kev, dtype=np.float64)[..., None] / ELECTRON_REST_KEV
    cosine, weight = np.polynomial.legendre.leggauss(64)
    left = 1 / (1 + energy * (1 - cosine))  # E'/E
    cross = left**2 * (left + 1 / left - (1 - cosine**2)) * weight
    return np.asarray((cross * (1 - left)).sum(axis=-1) / cross.sum(axis=-1))


def mass_energy_absorption(material: str, energies_kev: ArrayLike) -> NDArray[np.float64]:
    """Mass energy-absorption coefficient μ_en/ρ [m²/kg] of light elements.

    Photoelectric energy plus Compton recoil. Not modelled: escape of fluorescence and bremsstrahlung, which is below 1 % in
    tissue at 20–150 keV; wrong for heavy elements.
    """
    energies = np.asarray(energies_kev, dtype=np.float64)
    flat = np.atleast_1d(energies).ravel()
    total = np.zeros_like(flat)
    for symbol, fraction in mass_elements(material).items():
        photo = np.atleast_1d(xraydb.mu_elam(symbol, flat * 1e3, kind="photo"))
        compton = np.atleast_1d(xraydb.mu_elam(symbol, flat * 1e3, kind="incoh"))
        total += fraction * (photo + compton * recoil_fraction(flat))
    return np.asarray(0.1 * total.reshape(energies.shape))


def mean_dose_gy(
    instrument: Instrument,
    *,
    counts_per_pixel: float,
    pixel_m: float,
    diameter_m: float = 20e-3,
    behind_sample: float = 0.5,
) -> float:
    """Mean dose [Gy] to a cylinder of water across the beam, for a number of detected open-beam counts a pixel.

    Fluence before the sample = counts/(pixel² Q g), with Q the detector's response (`Instrument.response`) and g the
    transmission of what lies behind the sample. Dose = Σ fluence E μ_en/ρ · <e^{−μx}> · build-up, with the mean over the
    cylinder's volume and a build-up of 1.3 for scattered photons. Expect ± 40 %: build-up, g and the animal's size.

    Parameters
    ----------
    instrument : Instrument
    counts_per_pixel : float
        Of all frames with the animal in the beam.
    pixel_m : float
        Detector pixel, referred to the animal.
    diameter_m : float
    behind_sample : float
        g: 0.5 for an ideal absorbing G2 behind the sample, lower with substrates.

    References
    ----------
    Boone, Velazquez & Cherry 2004, Mol Imaging 3:149 (doi:10.1162/15353500200404118) for the method. Its dose
    coefficients at 40 kVp (0.80 to 0.44 Gy of mouse per Gy of air kerma) are met within 20 % (tests/physics/test_dose.py).
    """
    check_positive("counts_per_pixel", counts_per_pixel)
    check_positive("pixel_m", pixel_m)
    check_positive("diameter_m", diameter_m)
    check_range("behind_sample", behind_sample, 1e-3, 1)
    energies = instrument.energies_kev
    entrance = entrance_fluence(instrument, counts_per_pixel=counts_per_pixel, pixel_m=pixel_m, behind_sample=behind_sample)
    mu = linear_attenuation("water", 1.0, energies)
    deposited = entrance * energies * JOULE_PER_KEV * mass_energy_absorption("water", energies)
    return float(BUILD_UP * (deposited * _mean_transmission(mu, diameter_m)).sum())


def entrance_fluence(
    instrument: Instrument, *, counts_per_pixel: float, pixel_m: float, behind_sample: float = 0.5
) -> NDArray[np.float64]:
    """Photons per area before the sample [1/m²] of each energy bin, (bin,); arguments as in `mean_dose_gy`."""
    detected = counts_per_pixel / pixel_m**2 * instrument.weights
    return np.asarray(detected / (instrument.response * behind_sample))


def _mean_transmission(mu_per_m: NDArray[np.float64], diameter_m: float) -> NDArray[np.float64]:
    """Mean of e^{−μ x} over a disc, x the depth below the surface on the beam's side."""
    offset, weight = np.polynomial.legendre.leggauss(32)
    chord = diameter_m * np.sqrt(1 - offset**2)
    depth = mu_per_m[:, None] * chord
    return np.asarray((weight * chord * -np.expm1(-depth) / depth).sum(axis=1) / (weight * chord).sum())

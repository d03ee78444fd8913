"""The instrument as seen by forward model and corrections: a detected spectrum, a visibility spectrum, a geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_one_of, check_positive, check_range, check_shape, require
from darklung.physics import spectrum as spectra
from darklung.physics.constants import wavelength_m
from darklung.physics.detector import Sensor, responses
from darklung.physics.interferometer import correlation_length, visibility_spectrum

CORRELATION_RANGE_M = (1e-9, 1e-4)
"""Autocorrelation lengths for which the scattering models are meant: between molecules and pixels."""


@dataclass(frozen=True)
class Instrument:
    """A grating interferometer with its source and detector; enough to simulate and to correct for hardening.

    Parameters
    ----------
    energies_kev : (bin,) array
    weights : (bin,) array
        Detected spectrum S(E) Q(E) of the open beam; sums to 1.
    visibility : (bin,) array
        V(E) of the open beam, quality factor included.
    period_m : float
        Period p2 of the analyser grating G2.
    distance_m : float
        Sample–G2 distance d (parallel beam: the same for the whole sample).
    reference_energy_kev : float
        Energy for which monochromatic results (μ, ε) are stated.
    response : (bin,) array
        Signal per photon that reaches the detector; 1 by default, or one number for all bins.
    """

    energies_kev: NDArray[np.float64]
    weights: NDArray[np.float64]
    visibility: NDArray[np.float64]
    period_m: float
    distance_m: float
    reference_energy_kev: float
    response: NDArray[np.float64] | float = 1.0

    def __post_init__(self) -> None:
        checked = spectra.Spectrum(self.energies_kev, self.weights)
        visibility = np.atleast_1d(np.asarray(self.visibility, dtype=np.float64))
        check_shape("visibility", visibility, "bin", (len(checked.energies_kev),))
        require(bool(((visibility >= 0) & (visibility <= 1)).all()), "visibility: wanted numbers from 0 to 1")
        require(abs(checked.weights.sum() - 1) < 1e-9, f"weights: wanted a sum of 1, got {checked.weights.sum():g}")
        response = np.broadcast_to(np.asarray(self.response, dtype=np.float64), visibility.shape)
        seen = checked.weights > 0
        require(bool((response[seen] > 0).all()), "response: wanted > 0 where there are photons")
        check_positive("period_m", self.period_m)
        check_positive("distance_m", self.distance_m)
        check_positive("reference_energy_kev", self.reference_energy_kev)
        object.__setattr__(self, "energies_kev", checked.energies_kev)
        object.__setattr__(self, "weights", checked.weights)
        object.__setattr__(self, "visibility", visibility)
        object.__setattr__(self, "response", response)

    @property
    def correlation_length_m(self) -> NDArray[np.float64]:
        """ξ(E) = λ d/p2 [m], (bin,)."""
        return correlation_length(self.energies_kev, self.distance_m, self.period_m)

    @property
    def reference_correlation_length_m(self) -> float:
        """ξ at the reference energy [m]."""
        return float(correlation_length(self.reference_energy_kev, self.distance_m, self.period_m))

    @property
    def flat_visibility(self) -> float:
        """V0 = Σ w V of the open beam."""
        return float((self.weights * self.visibility).sum())

    @property
    def phase_per_radian(self) -> float:
        """Fringe phase per refraction angle, 2π d/p2 [rad/rad]."""
        return 2 * np.pi * self.distance_m / self.period_m


def make_instrument(
    *,
    spectrum: str | spectra.Spectrum = "band",
    low_kev: float = 60.0,
    high_kev: float = 80.0,
    bins: int = 5,
    design_energy_kev: float = 70.0,
    flat_visibility: float = 0.15,
    correlation_length_m: float = 3e-6,
    reference_energy_kev: float = 70.0,
    period_m: float = 4.2e-6,
    sensor: Sensor | None = None,
) -> Instrument:
    """An instrument that reaches a given visibility and autocorrelation length.

    Parameters
    ----------
    spectrum : {"band", "tube"} or Spectrum
        "band" is flat from `low_kev` to `high_kev`; "tube" a tungsten tube of `high_kev` kV behind 2 mm of aluminium,
        photons above `low_kev`. Make a `Spectrum` (see `darklung.physics.spectrum`) for other filters or a file.
    low_kev, high_kev, bins
        Energy bins; unused with a `Spectrum`.
    design_energy_kev : float
        E0 of the phase grating; first Talbot order.
    flat_visibility : float
        V0 of the whole spectrum, after all imperfections. The ideal V(E) is multiplied by the constant that gives it.
    correlation_length_m : float
        ξ at `reference_energy_kev`; fixes the sample–G2 distance d = ξ p2/λ.
    reference_energy_kev : float
    period_m : float
        p2.
    sensor : Sensor, optional
        1 mm of CdTe that counts every photon it absorbs, by default. Bins that it does not count are left out.

    Raises
    ------
    DarklungError
        Among others if `flat_visibility` is more than the ideal interferometer's.
    """
    source = _source(spectrum, low_kev, high_kev, bins)
    signal, _ = responses(sensor if sensor is not None else Sensor(), source.energies_kev, source.weights)
    seen = source.weights * signal > 0
    require(bool(seen.any()), f"threshold_kev: no photon of the spectrum up to {source.energies_kev[-1]:g} keV exceeds it")
    energies, signal = source.energies_kev[seen], signal[seen]
    weights = source.weights[seen] * signal / (source.weights[seen] * signal).sum()
    ideal = visibility_spectrum(energies, design_energy_kev, 1)
    best = float((weights * ideal).sum())
    check_range("flat_visibility", flat_visibility, 0, best)
    check_range("correlation_length_m", correlation_length_m, *CORRELATION_RANGE_M)
    check_positive("reference_energy_kev", reference_energy_kev)
    check_positive("period_m", period_m)
    return Instrument(
        energies_kev=energies,
        weights=weights,
        visibility=ideal * (flat_visibility / best),
        period_m=period_m,
        distance_m=float(correlation_length_m * period_m / wavelength_m(reference_energy_kev)),
        reference_energy_kev=reference_energy_kev,
        response=signal,
    )


def _source(spectrum: str | spectra.Spectrum, low_kev: float, high_kev: float, bins: int) -> spectra.Spectrum:
    if isinstance(spectrum, spectra.Spectrum):
        return spectrum
    if check_one_of("spectrum", spectrum, ("band", "tube")) == "band":
        return spectra.band(low_kev=low_kev, high_kev=high_kev, bins=bins)
    return spectra.tube(kvp=high_kev, low_kev=low_kev, bins=bins)

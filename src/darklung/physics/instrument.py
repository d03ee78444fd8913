"""The instrument as seen by forward model and corrections: a detected spectrum, a visibility spectrum, a geometry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Annotated, Literal, ParamSpec

import numpy as np
from annotated_types import Gt, Interval
from numpy.typing import NDArray

from darklung.core.checks import check_fields, check_one_of, check_positive, check_range, check_shape, require
from darklung.physics import spectrum as spectra
from darklung.physics.binning import ERROR_NOTED, FINE_BINS, Beam, binning_error, chosen_bins, collected
from darklung.physics.constants import wavelength_m
from darklung.physics.detector import Sensor, responses
from darklung.physics.interferometer import correlation_length, visibility_spectrum

CORRELATION_RANGE_M = (1e-9, 1e-4)
"""Autocorrelation lengths for which the scattering models are meant: between molecules and pixels."""
SPECTRA = ("band", "file", "tube")
P = ParamSpec("P")


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


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What an instrument is made of: the beam, gratings that reach a given visibility and correlation length, the sensor.

    Parameters
    ----------
    spectrum : {"band", "tube", "file"} or Spectrum
        A flat band from `low_kev` to `high_kev`, a filtered tungsten tube of `high_kev` kV, photons above `low_kev`, or a
        file of energies and photons. For others make a `Spectrum` (see `darklung.physics.spectrum`).
    file : str
        Text or CSV of spectrum "file": energy and photons, units in the header.
    low_kev : float
        Lowest photon energy; unused with a `Spectrum`, as the next three.
    high_kev : float
        Highest photon energy; of a tube its voltage.
    bins : int
        Energy bins of equal width; 0: as few as keep −ln T and −ln D right within 0.003 behind a body (see
        `darklung.physics.binning`). Unused with a `Spectrum`.
    filters_m : mapping
        Material -> thickness before the animal, of a tube.
    design_energy_kev : float
        E0 for which the phase grating is made; first Talbot order.
    flat_visibility : float
        V0 of the whole spectrum, after all imperfections. The ideal V(E) is multiplied by the constant that gives it.
    correlation_length_m : float
        ξ at `reference_energy_kev`, within `CORRELATION_RANGE_M`; fixes the sample–G2 distance d = ξ p2/λ.
    reference_energy_kev : float
        Energy that monochromatic results and `correlation_length_m` refer to.
    period_m : float
        Period p2 of the analyser grating.
    sensor : Sensor
        Bins that it does not count are left out.

    Raises
    ------
    DarklungError
        A field that makes no sense.
    """

    spectrum: Literal["band", "tube", "file"] | spectra.Spectrum = "band"
    file: str = ""
    low_kev: Annotated[float, Gt(0)] = 60.0
    high_kev: Annotated[float, Gt(0)] = 80.0
    bins: Annotated[int, Interval(ge=0, le=1000)] = 0
    filters_m: Mapping[str, float] = field(default_factory=lambda: dict(spectra.DEFAULT_FILTERS_M))
    design_energy_kev: Annotated[float, Gt(0)] = 70.0
    flat_visibility: Annotated[float, Interval(ge=0, le=1)] = 0.15
    correlation_length_m: Annotated[float, Interval(ge=CORRELATION_RANGE_M[0], le=CORRELATION_RANGE_M[1])] = 3e-6
    reference_energy_kev: Annotated[float, Gt(0)] = 70.0
    period_m: Annotated[float, Interval(gt=0, le=1e-3)] = 4.2e-6
    sensor: Sensor = field(default_factory=Sensor)

    def __post_init__(self) -> None:
        check_fields(self)
        if isinstance(self.spectrum, str):
            check_one_of("spectrum", self.spectrum, SPECTRA)
        told = f"file: belongs to spectrum 'file' and to no other, got {self.file!r} with {self.spectrum!r}"
        require((self.spectrum == "file") == bool(self.file), told)

    def source(self) -> spectra.Spectrum:
        """The beam before the detector, finely where bins are chosen."""
        bins = self.bins or FINE_BINS
        if isinstance(self.spectrum, spectra.Spectrum):
            return self.spectrum
        if self.spectrum == "band":
            return spectra.band(low_kev=self.low_kev, high_kev=self.high_kev, bins=bins)
        if self.spectrum == "tube":
            return spectra.tube(kvp=self.high_kev, low_kev=self.low_kev, bins=bins, filters_m=self.filters_m)
        return spectra.from_file(self.file, low_kev=self.low_kev, high_kev=self.high_kev, bins=bins)

    def instrument(self) -> Instrument:
        """The instrument; raises among others if `flat_visibility` is more than the ideal interferometer's."""
        found = self._in_bins_of(self.source())
        if self.bins > 0 or isinstance(self.spectrum, spectra.Spectrum):
            return found
        fine, starts = _beam(found), chosen_bins(_beam(found))
        coarse, photons = collected(fine, starts), fine.weights / found.response
        return replace(
            found,
            energies_kev=coarse.energies_kev,
            weights=coarse.weights / coarse.weights.sum(),
            visibility=coarse.visibility,
            response=coarse.weights / np.add.reduceat(photons, starts),
        )

    def binning_error(self) -> float:
        """Largest error of −ln D by the instrument's bins, behind water with lung; 0 with a `Spectrum`."""
        if isinstance(self.spectrum, spectra.Spectrum):
            return 0.0
        fine = self._in_bins_of(replace(self, bins=0).source())
        return binning_error(_beam(self.instrument()), _beam(fine))

    def bins_note(self) -> str:
        """What is to be said where a file fixes so few energy bins that −ln D is wrong; else nothing."""
        error = self.binning_error() if self.bins else 0.0
        if error <= ERROR_NOTED:
            return ""
        enough = len(replace(self, bins=0).instrument().energies_kev)
        return f"bins: {self.bins} are too few here, −ln D is off by up to {error:.2g}; left out, {enough} are chosen"

    def _in_bins_of(self, source: spectra.Spectrum) -> Instrument:
        signal, _ = responses(self.sensor, source.energies_kev, source.weights)
        seen = source.weights * signal > 0
        told = f"threshold_kev: no photon of the spectrum up to {source.energies_kev[-1]:g} keV exceeds it"
        require(bool(seen.any()), told)
        energies, signal = source.energies_kev[seen], signal[seen]
        weights = source.weights[seen] * signal / (source.weights[seen] * signal).sum()
        ideal = visibility_spectrum(energies, self.design_energy_kev, 1)
        best = float((weights * ideal).sum())
        check_range("flat_visibility", self.flat_visibility, 0, best)
        return Instrument(
            energies_kev=energies,
            weights=weights,
            visibility=ideal * (self.flat_visibility / best),
            period_m=self.period_m,
            distance_m=float(self.correlation_length_m * self.period_m / wavelength_m(self.reference_energy_kev)),
            reference_energy_kev=self.reference_energy_kev,
            response=signal,
        )


def _beam(one: Instrument) -> Beam:
    return Beam(one.energies_kev, one.weights, one.visibility, one.correlation_length_m)


def _made(setup: Callable[P, Setup]) -> Callable[P, Instrument]:
    @wraps(setup, assigned=(), updated=())
    def make(*args: P.args, **kwargs: P.kwargs) -> Instrument:
        """The instrument of a `Setup` of these fields."""
        return setup(*args, **kwargs).instrument()

    return make


make_instrument = _made(Setup)

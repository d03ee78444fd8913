"""How few energy bins keep −ln T and −ln D right behind a body with lung."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.physics.lung import HEALTHY
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import two_phase

FINE_BINS = 200
"""Bins of the spectrum that others are measured by."""
ERROR_LIMIT = 3e-3
"""Of −ln T and −ln D, for bins that are chosen: a bound, mostly several times what is met."""
ERROR_NOTED = 5e-3
"""Of −ln D, for bins that are given: more is told."""
_WATER_M = (0.0, 25e-3, 60e-3)
_LUNG_M = (0.0, 10e-3, 20e-3)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Beam:
    """An open beam by energy, (bin,): mean energy, detected spectrum (sums to 1), visibility, ξ [m]."""

    energies_kev: Array
    weights: Array
    visibility: Array
    correlation_length_m: Array


def _probes(beam: Beam) -> tuple[Array, Array]:
    """Line integrals of μ and ε behind water with and without healthy lung, (probe, bin)."""
    energies = beam.energies_kev
    water = linear_attenuation("water", 1.0, energies)
    contrast = delta("soft_tissue", HEALTHY.tissue_density, energies)
    lung = two_phase(HEALTHY.tissue_fraction, HEALTHY.interface_density_per_m, contrast, energies, beam.correlation_length_m)
    pairs = [(t, s) for t in _WATER_M for s in _LUNG_M]
    return np.stack([t * water for t, _ in pairs]), np.stack([s * lung for _, s in pairs])


def _signals(weights: Array, visibility: Array, attenuation: Array, scattering: Array) -> tuple[Array, Array]:
    """Intensity and fringe that each bin adds behind the probes, (probe, bin)."""
    left = weights * np.exp(-attenuation)
    return left, left * visibility * np.exp(-scattering)


def binning_error(coarse: Beam, fine: Beam) -> float:
    """Largest difference of −ln D between two binnings of a beam, behind water with lung; 0 without fringes."""
    if not fine.visibility.any():
        return 0.0
    found = []
    for beam in (coarse, fine):
        left, fringe = _signals(beam.weights, beam.visibility, *_probes(beam))
        found.append(-np.log(fringe.sum(axis=1) / left.sum(axis=1)))
    first, other = (signal - signal[0] for signal in found)  # the first probe is the open beam
    return float(np.abs(first - other).max())


def chosen_bins(fine: Beam, limit: float = ERROR_LIMIT) -> NDArray[np.intp]:
    """First fine bin of each bin of the coarsest binning found whose error bound is below `limit`.

    From one bin, that with the largest bound is halved in energy until the bounds sum to less. The bound of a bin is the
    change of intensity plus that of fringe, each over its sum, when the bin is put at its mean energy, in the worst probe;
    by the triangle inequality their sum bounds the error of −ln T and −ln D (to first order).
    """
    integrals = _probes(fine)
    exact = _signals(fine.weights, fine.visibility, *integrals)

    def bound(first: int, last: int) -> float:
        part = slice(first, last)
        weight = fine.weights[part].sum()
        energy, visibility = ((fine.weights * v)[part].sum() / weight for v in (fine.energies_kev, fine.visibility))
        at = int(np.clip(np.searchsorted(fine.energies_kev, energy), 1, len(fine.energies_kev) - 1))
        share = np.log(energy / fine.energies_kev[at - 1]) / np.log(fine.energies_kev[at] / fine.energies_kev[at - 1])
        middle = [v[:, at - 1] ** (1 - share) * v[:, at] ** share for v in integrals]  # a power of energy between two
        together = _signals(weight, visibility, *middle)
        pairs = [(t, e) for t, e in zip(together, exact) if e.any()]  # a visibility of 0 leaves no fringe to keep right
        return float(sum(np.abs(t - e[:, part].sum(axis=1)) / e.sum(axis=1) for t, e in pairs).max())

    count = len(fine.energies_kev)
    if count == 1:
        return np.zeros(1, dtype=np.intp)
    bounds = {(0, count): bound(0, count)}
    while sum(bounds.values()) > limit:
        first, last = max(bounds, key=lambda one: bounds[one])
        middle = int(np.searchsorted(fine.energies_kev, fine.energies_kev[[first, last - 1]].mean()))
        middle = min(max(middle, first + 1), last - 1)
        del bounds[first, last]
        for part in ((first, middle), (middle, last)):
            bounds[part] = bound(*part) if part[1] - part[0] > 1 else 0.0
    return np.array(sorted(first for first, _ in bounds), dtype=np.intp)


def collected(fine: Beam, starts: NDArray[np.intp]) -> Beam:
    """The beam in coarser bins: their mean energy and fringe, nothing lost of the open beam's."""
    weights = np.add.reduceat(fine.weights, starts)
    means = [np.add.reduceat(fine.weights * v, starts) / weights for v in (fine.energies_kev, fine.visibility)]
    reach = fine.correlation_length_m[0] * fine.energies_kev[0]  # ξ ∝ 1/E
    return Beam(means[0], weights, means[1], reach / means[0])

"""The energy sum: from line integrals to mean intensity and fringe amplitude of each detector pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from darklung.physics.instrument import Instrument
from darklung.physics.materials import delta, mass_attenuation


@dataclass(frozen=True)
class EnergyModel:
    """What the energy sum needs, per bin; made once for an instrument and a set of materials.

    Parameters
    ----------
    weights, visibility : (bin,)
    attenuation : (bin, material)
        Attenuation per line integral of density in g/cm³ · m.
    phase_scale : (bin,)
        δ(E)/δ(E_ref), taken as (E_ref/E)².
    node_kev, node_scale : (node,)
        Energies at which scattering is projected, and δ there over δ(E_ref).
    interpolation : (bin, node)
        ln ε(E_bin) = Σ interpolation · ln ε(E_node): a polynomial in ln E through the nodes.
    """

    weights: NDArray[np.float64]
    visibility: NDArray[np.float64]
    attenuation: NDArray[np.float64]
    phase_scale: NDArray[np.float64]
    node_kev: NDArray[np.float64]
    node_scale: NDArray[np.float64]
    interpolation: NDArray[np.float64]


def energy_model(instrument: Instrument, materials: tuple[str, ...]) -> EnergyModel:
    """Tabulate attenuation per bin and choose the scattering nodes: one bin 1, two bins 2, narrow band 3, wide band 5."""
    energies = instrument.energies_kev
    wide = energies[-1] > 1.6 * energies[0]
    count = min(len(energies), 5 if wide else 3)
    nodes = np.exp(np.linspace(np.log(energies[0]), np.log(energies[-1]), count)) if count > 1 else energies[:1]
    per_material = [1e3 * mass_attenuation(name, energies) for name in materials]
    return EnergyModel(
        weights=instrument.weights,
        visibility=instrument.visibility,
        attenuation=np.ascontiguousarray(np.stack(per_material, axis=1)),
        phase_scale=(instrument.reference_energy_kev / energies) ** 2,
        node_kev=nodes,
        node_scale=(instrument.reference_energy_kev / nodes) ** 2,
        interpolation=_lagrange(np.log(nodes), np.log(energies)),
    )


def phase_per_density(instrument: Instrument, materials: tuple[str, ...]) -> NDArray[np.float64]:
    """δ at the reference energy per g/cm³, (material,)."""
    return np.array([float(delta(name, 1.0, instrument.reference_energy_kev)) for name in materials])


def _lagrange(nodes: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.ones((len(at), len(nodes)))
    for j, node in enumerate(nodes):
        for other in np.delete(nodes, j):
            matrix[:, j] *= (at - other) / (node - other)
    return matrix


def harmonics(
    model: EnergyModel,
    *,
    areal: NDArray[np.float32],
    phase: NDArray[np.float32],
    scattering: NDArray[np.float32],
    supersampling: int,
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Mean intensity and complex fringe amplitude of each detector pixel, open beam = 1.

    h0 = <Σ_E w e^{−A}>, h1 = <Σ_E w V e^{−A − L} e^{iφ}>, averaged over the k × k fine pixels of a detector pixel; A is the
    attenuation, L the integral of ε, φ the fringe phase.

    Parameters
    ----------
    model : EnergyModel
    areal : (material, row, col) float32
        Line integrals of density [g/cm³ · m] on fine pixels.
    phase : (direction, row, col) float32
        Fringe phase at the reference energy [rad].
    scattering : (direction, node, row, col) float32
        Line integrals of ε at the nodes' energies, and what else lowers −ln V of a fine pixel.
    supersampling : int
        k.

    Returns
    -------
    h0 : (row/k, col/k) float64
    h1 : (direction, row/k, col/k) complex128
    """
    _, rows, cols = areal.shape
    shape = (rows // supersampling, cols // supersampling)
    h0 = np.zeros(shape)
    h1 = np.zeros((len(phase), *shape), dtype=np.complex128)
    _energy_sum(
        model.weights,
        model.visibility,
        model.attenuation,
        model.phase_scale,
        model.interpolation,
        areal,
        phase,
        scattering,
        supersampling,
        h0,
        h1,
    )
    return h0 / supersampling**2, np.asarray(h1 / supersampling**2, dtype=np.complex128)


@njit(cache=True, error_model="numpy")
def _energy_sum(weights, visibility, attenuation, scale, interpolation, areal, phase, scattering, k, h0, h1):  # type: ignore[no-untyped-def]
    bins, materials = attenuation.shape
    directions, nodes = scattering.shape[:2]
    left = np.empty(bins)
    log_node = np.empty(nodes)
    for row in range(areal.shape[1]):
        for col in range(areal.shape[2]):
            total = 0.0
            for b in range(bins):
                depth = 0.0
                for m in range(materials):
                    depth += attenuation[b, m] * areal[m, row, col]
                left[b] = weights[b] * np.exp(-depth)
                total += left[b]
                left[b] *= visibility[b]
            h0[row // k, col // k] += total
            for d in range(directions):
                scatters = True
                for j in range(nodes):
                    value = scattering[d, j, row, col]
                    scatters = scatters and value > 0
                    log_node[j] = np.log(value) if value > 0 else 0.0
                angle = phase[d, row, col]
                real, imaginary = 0.0, 0.0
                for b in range(bins):
                    amplitude = left[b]
                    if scatters:
                        exponent = 0.0
                        for j in range(nodes):
                            exponent += interpolation[b, j] * log_node[j]
                        amplitude *= np.exp(-np.exp(exponent))
                    real += amplitude * np.cos(angle * scale[b])
                    imaginary += amplitude * np.sin(angle * scale[b])
                h1[d, row // k, col // k] += complex(real, imaginary)

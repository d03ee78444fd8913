"""Explicit microstructure of a voxel: tissue sheets of a wanted φ and S_V, and what is measured on them.

The phantom's voxels hold φ and S_V only. These realisations show what lung of such numbers may look like, and how much the
dark field depends on what the two numbers leave open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfinv

from darklung.core.checks import check_positive, check_range, require
from darklung.core.random import stream
from darklung.physics.constants import wavenumber_per_m

LEAST_VOXELS = 3  # in the correlation length of the field: coarser, interfaces are lost between voxels


@dataclass(frozen=True)
class Microstructure:
    """Tissue share of each voxel in a periodic cube.

    Parameters
    ----------
    tissue : (z, y, x) float32
        0 air, 1 tissue; shares between where an interface crosses.
    voxel_m : float
    """

    tissue: NDArray[np.float32]
    voxel_m: float


@dataclass(frozen=True)
class Measured:
    """What a realisation turned out to be, without any formula of the mean field.

    Parameters
    ----------
    tissue_fraction : float
    interface_density_per_m : float
    air_chord_m, tissue_chord_m : float
        Mean lengths of the pieces of straight lines in air and in tissue.
    """

    tissue_fraction: float
    interface_density_per_m: float
    air_chord_m: float
    tissue_chord_m: float


def field_of_sheets(tissue_fraction: float, interface_density_per_m: float) -> tuple[float, float]:
    """Level β and correlation length l [m] of a Gaussian field g for which |g| < β has the wanted φ and S_V.

    φ = erf(β/√2); S_V = (4/π) e^{−β²/2}/l for the covariance exp(−r²/2l²), by Rice's formula for both levels ±β
    (Rice 1945, Bell Syst Tech J 24:46).
    """
    check_range("tissue_fraction", tissue_fraction, 0.01, 0.99)
    check_positive("interface_density_per_m", interface_density_per_m)
    level = float(np.sqrt(2) * erfinv(tissue_fraction))
    return level, 4 / np.pi * float(np.exp(-(level**2) / 2)) / interface_density_per_m


def realise_sheets(
    *, tissue_fraction: float, interface_density_per_m: float, voxel_m: float, voxels: int, seed: int
) -> Microstructure:
    """Curved sheets of tissue between connected airspaces: the voxels where a smooth Gaussian field is near zero.

    Isotropic and periodic. NOT modelled: alveoli of one size round ducts, capillaries, septa of even thickness.

    Parameters
    ----------
    tissue_fraction : float
    interface_density_per_m : float
    voxel_m : float
    voxels : int
        Along each edge.
    seed : int

    Raises
    ------
    DarklungError
        Numbers out of range, or voxels too coarse for the wanted S_V.
    """
    level, length = field_of_sheets(tissue_fraction, interface_density_per_m)
    check_positive("voxel_m", voxel_m)
    require(
        voxel_m <= length / LEAST_VOXELS,
        f"voxel_m: wanted at most {1e6 * length / LEAST_VOXELS:.3g} um at this density, got {1e6 * voxel_m:.3g} um",
    )
    require(voxels * voxel_m >= 6 * length, f"voxels: wanted at least {int(np.ceil(6 * length / voxel_m))}, got {voxels}")
    white = stream(seed, "sheets").standard_normal((voxels,) * 3, dtype=np.float32)
    wave = 2 * np.pi * np.fft.fftfreq(voxels, voxel_m)
    along = np.exp(-((wave * length) ** 2) / 4).astype(np.float32)  # its square is the spectrum of exp(−r²/2l²)
    spectrum = np.fft.rfftn(white)
    for axis in range(3):
        part = along if axis < 2 else along[: voxels // 2 + 1]
        spectrum *= np.expand_dims(part, tuple(k for k in range(3) if k != axis))
    deviation = float(np.mean(along.astype(np.float64) ** 2)) ** 1.5
    field = (np.fft.irfftn(spectrum, white.shape, axes=(0, 1, 2)) / deviation).astype(np.float32)
    slope = np.sqrt(sum(((np.roll(field, -1, k) - np.roll(field, 1, k)) / 2) ** 2 for k in range(3)))
    share = 0.5 + (level - np.abs(field)) / np.maximum(slope, np.float32(1e-3))
    return Microstructure(np.clip(share, 0, 1).astype(np.float32), voxel_m)


def measure(made: Microstructure) -> Measured:
    """φ, S_V and chords of a realisation.

    S_V is the mean of |∇χ| of the tissue share χ; chords are the lines along the three axes cut at the interfaces. The two
    are independent, so that chord = 4 (1 − φ)/S_V (Tomkeieff 1945, Nature 155:24) can be checked.
    """
    slopes = [(np.roll(made.tissue, -1, k) - np.roll(made.tissue, 1, k)) / 2 for k in range(3)]
    surface = float(np.sqrt(sum(s**2 for s in slopes)).mean(dtype=np.float64)) / made.voxel_m
    solid = made.tissue > 0.5
    crossings = sum(int((solid != np.roll(solid, 1, axis)).sum()) for axis in range(3))
    require(crossings > 0, "tissue: wanted air and tissue, got one of them alone")
    pieces = crossings / 2  # of air, and as many of tissue, on periodic lines
    air, full = 3 * int((~solid).sum()) * made.voxel_m, 3 * int(solid.sum()) * made.voxel_m
    return Measured(float(made.tissue.mean(dtype=np.float64)), surface, air / pieces, full / pieces)


def dark_field_of(made: Microstructure, *, shift: int, contrast: float, energy_kev: float) -> float:
    """ε [1/m] of a realisation at ξ = `shift` voxels, from its projections: k²δ² <[p(x) − p(x + ξ)]²>/2L.

    p is the length in tissue along the beam through the cube of edge L; mean over the three beams and both sensitivities.
    Weak scattering; `contrast` is δ of tissue.
    """
    require(1 <= shift < made.tissue.shape[0] // 2, f"shift: wanted 1 to {made.tissue.shape[0] // 2 - 1}, got {shift}")
    squares = []
    for beam in range(3):
        path = made.tissue.sum(axis=beam, dtype=np.float64) * made.voxel_m
        squares += [float(np.mean((path - np.roll(path, shift, axis)) ** 2)) for axis in range(2)]
    edge = made.tissue.shape[0] * made.voxel_m
    wavenumber = float(wavenumber_per_m(energy_kev))
    return wavenumber**2 * contrast**2 * float(np.mean(squares)) / (2 * edge)

"""Physical constants used by the physics modules (CODATA 2018)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

HC_KEV_M = 1.239841984e-9  # h c / e
CLASSICAL_ELECTRON_RADIUS_M = 2.8179403262e-15
AVOGADRO_PER_MOL = 6.02214076e23
EULER_GAMMA = float(np.euler_gamma)


def wavelength_m(energy_kev: ArrayLike) -> NDArray[np.float64]:
    """Photon wavelength λ = hc/E [m]."""
    return HC_KEV_M / np.asarray(energy_kev, dtype=np.float64)


def wavenumber_per_m(energy_kev: ArrayLike) -> NDArray[np.float64]:
    """Wave number k = 2π/λ [1/m]."""
    return 2 * np.pi * np.asarray(energy_kev, dtype=np.float64) / HC_KEV_M

"""What an instrument measures behind a uniform slab: the polychromatic sum without geometry or noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import require
from darklung.physics.instrument import Instrument


def slab_signal(
    instrument: Instrument, *, attenuation: ArrayLike, scattering: ArrayLike = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measured −ln T and −ln D of line integrals given per energy bin.

    T = Σ w e^{−A}, D = [Σ w V e^{−A−L}/Σ w V]/T. Without scattering, −ln D is the false signal of beam hardening.

    Parameters
    ----------
    instrument : Instrument
    attenuation : (..., bin) array
        A(E) = ∫ μ dl.
    scattering : (..., bin) array
        L(E) = ∫ ε dl.

    Returns
    -------
    attenuation, dark_field : (...) arrays
        The dark field is NaN where the flat has no visibility.

    Examples
    --------
    >>> from darklung.physics.instrument import make_instrument
    >>> line = make_instrument(low_kev=70, high_kev=70)
    >>> [round(float(value), 6) for value in slab_signal(line, attenuation=[0.5], scattering=[0.2])]
    [0.5, 0.2]
    """
    a, s = np.broadcast_arrays(np.asarray(attenuation, dtype=np.float64), np.asarray(scattering, dtype=np.float64))
    bins = len(instrument.energies_kev)
    require(a.shape[-1:] == (bins,), f"attenuation: wanted (..., {bins}) for {bins} energy bins, got shape {a.shape}")
    require(bool(np.isfinite(a).all() and (a >= 0).all()), "attenuation: wanted finite numbers >= 0 (no negative thickness)")
    require(bool(np.isfinite(s).all() and (s >= 0).all()), "scattering: wanted finite numbers >= 0")
    transmitted = _log_sum(instrument.weights, a)
    if instrument.flat_visibility == 0:
        return -transmitted, np.full(transmitted.shape, np.nan)
    fringe = instrument.weights * instrument.visibility / instrument.flat_visibility
    return -transmitted, transmitted - _log_sum(fringe, a + s)


def _log_sum(weights: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln Σ w e^{−depth}, also where every term is too small for a number: behind lead nothing becomes 0/0."""
    least = np.where(weights != 0, depth, np.inf).min(axis=-1, keepdims=True)
    total = (weights * np.exp(np.minimum(least - depth, 0.0))).sum(axis=-1)
    return np.asarray(np.log(total) - least[..., 0])

"""Probabilities as logits, exactly: in float64, and finite where a probability was rounded to 0 or 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require


def logits_of(probabilities: NDArray, *, resolution: float | None = None) -> NDArray[np.float64]:
    """ln p − ln(1 − p), in the order of the probabilities.

    A probability of exactly 0 or 1 was rounded to it, and has no finite logit. It is taken for the nearest number that the
    type can hold: of float32 1 becomes 1 − 2⁻²⁴ (logit 16.6) and 0 becomes 2⁻¹⁴⁹ (logit −103.3). No other value changes.

    Parameters
    ----------
    probabilities : array of floats
        NaN stays NaN.
    resolution : float, optional
        Of probabilities that were stored in steps of it, as whole numbers with a scale: 0 and 1 are then the middle of what
        is rounded to them, a quarter of a step away.

    Raises
    ------
    DarklungError
        Values outside 0 to 1.
    """
    found = probabilities[np.isfinite(probabilities)]
    low, high = (float(found.min()), float(found.max())) if found.size else (0.0, 1.0)
    require(low >= 0 and high <= 1, f"wanted probabilities from 0 to 1, got {low:g} to {high:g}")
    kind = probabilities.dtype if probabilities.dtype.kind == "f" else np.dtype(np.float64)
    if resolution is None:
        low = float(np.nextafter(kind.type(0), kind.type(1)))
        high = float(np.nextafter(kind.type(1), kind.type(0)))
    else:
        low, high = resolution / 4, 1 - resolution / 4
    p = probabilities.astype(np.float64)
    p = np.where(p == 0, low, np.where(p == 1, high, p))
    return np.asarray(np.log(p) - np.log1p(-p))

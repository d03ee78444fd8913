"""Phases on the circle: what lies a turn apart is the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Largest float32 below π: a float32 π is larger than π.
PI_BELOW = float(np.nextafter(np.float32(np.pi), np.float32(0)))


def wrapped(phase_rad: ArrayLike) -> NDArray[np.float32]:
    """Phases in (−π, π], also in single precision.

    Examples
    --------
    >>> float(wrapped(3.0 + 3.0).round(4))
    -0.2832
    """
    turned = np.angle(np.exp(1j * np.asarray(phase_rad, dtype=np.float64)))
    return np.asarray(np.clip(turned, -PI_BELOW, PI_BELOW), dtype=np.float32)

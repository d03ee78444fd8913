"""Noise as a filtered back-projection makes it: drawn for a patch, of unit variance, correlated within a slice.

Noise that is white in the projections is not white in a slice. Along each view it has the autocorrelation of the filter,
C1(s) = Σ_m R[m] B(s − m), with R that of the filter's samples and B the cubic B-spline, which is what linear interpolation
at any place between two columns makes of it; a slice has the mean over the angles, C(r) = 1/π ∫ C1(x cos θ + y sin θ) dθ.
From slice to slice, one for each row of the detector, it is independent.

Not modelled: views whose noise differs (streaks through bones), noise that neighbouring pixels or views share, voxels other
than the detector's pixels.

Reference: Riederer, Pelc and Chesler 1978, Phys Med Biol 23:446, doi:10.1088/0031-9155/23/3/008 ([M]: not read again).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from darklung.core.checks import check_one_of
from darklung.tomo.fbp import FILTERS, filter_kernel

WHITE = "white"
TEXTURES = (*FILTERS, WHITE)
_ANGLES = 360
_APART = 8  # voxels between the edges of a patch and of its periodic image; of any filter less than 0.01 is left there


def plane_correlation(side: int, texture: str = "ramp", cutoff: float = 1.0) -> NDArray[np.float64]:
    """Correlation of the noise of two voxels of a slice, (side, side): [i, j] for i and j voxels apart, 1 at [0, 0].

    Parameters
    ----------
    side : int
    texture : {"ramp", "shepp-logan", "hann", "white"}
        Filter of the back-projection.
    cutoff : float
        Of the filter, as in `darklung.tomo.fbp.fbp`.
    """
    check_one_of("texture", texture, TEXTURES)
    if texture == WHITE:
        return np.pad([[1.0]], (0, side - 1))
    response = filter_kernel(4 * side + 8, 1.0, texture, cutoff)
    along = scipy.fft.irfft(response**2, 2 * (len(response) - 1))
    i, j = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    total = np.zeros((side, side))
    for angle in (np.arange(_ANGLES) + 0.5) * (np.pi / _ANGLES):
        total += _between_columns(along, abs(i * np.sin(angle) + j * np.cos(angle)))
    return np.asarray(total / total[0, 0])


@lru_cache(maxsize=8)
def beside(texture: str) -> float:
    """Correlation of the noise of neighbours in a slice."""
    return float(plane_correlation(2, texture)[0, 1])


def _between_columns(along: NDArray[np.float64], s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ_m R[m] B(s − m), B the cubic B-spline."""
    first = np.floor(s).astype(np.int64)
    t = s - first
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    return np.asarray(sum(w / 6 * along[abs(first + k - 1)] for k, w in enumerate(weights)))


@lru_cache(maxsize=32)
def _amplitude(rows: int, cols: int, texture: str) -> NDArray[np.float32]:
    """Square root of the power spectrum on a periodic grid."""
    sides = _sides(rows, cols)
    wrapped = [np.minimum(np.arange(n), n - np.arange(n)) for n in sides]
    plane = plane_correlation(max(sides) // 2 + 1, texture)[np.ix_(*wrapped)]
    power = np.maximum(scipy.fft.rfft2(plane).real, 0.0)  # the cut tails leave some −1e-4
    weight = np.full(power.shape[1], 2.0)
    weight[0] = 1.0
    if sides[1] % 2 == 0:
        weight[-1] = 1.0
    return np.sqrt(power / ((power * weight).sum() / np.prod(sides))).astype(np.float32)


def _sides(rows: int, cols: int) -> tuple[int, int]:
    """A periodic grid on which the edges of a patch do not meet."""
    return scipy.fft.next_fast_len(rows + _APART, real=True), scipy.fft.next_fast_len(cols + _APART, real=True)


def draw_noise(rng: np.random.Generator, shape: Sequence[int], texture: str = "ramp") -> NDArray[np.float32]:
    """Noise of unit variance, (*shape): (z, y, x) correlated as `texture` makes it, (row, col) of a radiograph white."""
    if texture == WHITE or len(shape) == 2:
        return rng.standard_normal(tuple(shape), dtype=np.float32)
    amplitude = _amplitude(shape[1], shape[2], texture)
    sides = _sides(shape[1], shape[2])
    white = rng.standard_normal((shape[0], *sides), dtype=np.float32)
    drawn = scipy.fft.irfft2(scipy.fft.rfft2(white) * amplitude, sides)
    return np.asarray(drawn[:, : shape[1], : shape[2]], dtype=np.float32)

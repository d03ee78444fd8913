"""Colours of a stained section as optical densities, and what of them is haematoxylin and what eosin.

Light that passes a stain falls off as 10^−OD (Beer and Lambert), so that densities of stains add up where colours do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_shape, require

WHITE = 255.0
# Optical densities of red, green and blue of one unit of stain: Ruifrok & Johnston 2001, Anal Quant Cytol Histol 23:291.
HAEMATOXYLIN = (0.65, 0.70, 0.29)
EOSIN = (0.07, 0.99, 0.11)
# Darker than any stain: pens, scale bars, the slide's edge.
BLACK_DENSITY = 0.9
# Of the grey that is no stain, such as dust and scale bars: red, green and blue differ by less.
_LEAST_COLOUR = 0.02
_LOG_FLOOR = 0.02
"""Density up to which differences count, and beyond which ratios do."""


def optical_density(rgb: NDArray[np.uint8], white: float = WHITE) -> NDArray[np.float32]:
    """−log10((I + 1)/(I0 + 1)) of each colour, (row, col, 3) float32; the 1 keeps black finite."""
    check_shape("rgb", rgb, "row, col, colour", (None, None, 3))
    steps = np.log10((white + 1) / (np.arange(256, dtype=np.float64) + 1)).astype(np.float32)
    return steps[rgb]


def separate(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """Amounts of haematoxylin, eosin and of what is neither, (row, col, 3); the third direction stands on the other two.

    ``density @ inverse``, as `skimage.color.separate_stains` does with the same vectors. Amounts may be negative: nothing is
    cut off. NOT modelled: stains of other laboratories, whose colours differ; scattering and pigment.
    """
    return np.asarray(density @ _inverse(), dtype=np.float32)


def stained(haematoxylin: NDArray[Any], eosin: NDArray[Any], white: float = WHITE) -> NDArray[np.uint8]:
    """The colours of given amounts of both stains: the inverse of `optical_density` and `separate`."""
    vectors = _vectors()
    density = haematoxylin[..., None] * vectors[0] + eosin[..., None] * vectors[1]
    light = (white + 1) * 10.0 ** (-density) - 1
    return np.asarray(np.rint(np.clip(light, 0, 255)), dtype=np.uint8)


def grey_density(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the three colours: how much stain of any kind there is, (row, col)."""
    return np.asarray(density.mean(axis=-1))


def is_stain(density: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a pixel can be stain: coloured, and not black. Scale bars, dust and pens are grey or black."""
    colour = density.max(axis=-1) - density.min(axis=-1)
    grey = grey_density(density)
    return np.asarray((colour > _LEAST_COLOUR + 0.1 * grey) & (grey < BLACK_DENSITY))


def plateau_of(values: NDArray[np.float32], bins: int = 256) -> float:
    """Ordinary density of tissue: the median of what lies above half of Otsu's threshold (1979).

    So that many dark nuclei are not taken for the tissue and all else for glass, what is beyond twice the median of the
    upper class of the logarithms counts as that.

    Raises
    ------
    DarklungError
        Only one density: nothing to tell apart.
    """
    flat = np.asarray(values, dtype=np.float32).ravel()
    require(bool(flat.max(initial=0.0) > 0.01), "section: nothing but one density, wanted tissue and glass")
    logs = np.log(np.maximum(flat, 0) / _LOG_FLOOR + 1)
    upper = flat[logs > _otsu(logs, float(logs.max()), bins)]
    first = _otsu(flat, 2 * float(np.median(upper)), bins)
    return float(np.median(flat[flat > first / 2]))


def threshold_between(values: NDArray[np.float32], plateau: float | None = None, bins: int = 256) -> float:
    """The density half way between glass and tissue, by Otsu's criterion, what is denser than `plateau` counting as it.

    So the borders of pale tissue decide, not dark nuclei. At the border of tissue of one density a threshold at half of it
    leaves the area as it is, whatever the blur.

    Parameters
    ----------
    values : array
        Densities of a section, glass and tissue.
    plateau : float, optional
        That of `plateau_of` the values by default.
    bins : int

    Raises
    ------
    DarklungError
        Only one density: nothing to tell apart.
    """
    flat = np.asarray(values, dtype=np.float32).ravel()
    return _otsu(flat, plateau_of(flat, bins) if plateau is None else plateau, bins)


def _otsu(values: NDArray[np.float32], most: float, bins: int) -> float:
    """The threshold that tells the two classes apart best, densities above `most` counting as `most`."""
    require(most > 0.01, "section: nothing but one density, wanted tissue and glass")
    counts, edges = np.histogram(np.clip(values, 0, most), bins=bins, range=(0, most))
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts).astype(np.float64)
    above = below[-1] - below
    sums = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    between[~np.isfinite(between)] = 0
    require(bool(between.max() > 0), "section: nothing but one density, wanted tissue and glass")
    # Where a gap between the classes leaves the criterion flat, its middle is half way.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float((edges[1 + best[0]] + edges[1 + best[-1]]) / 2)


def _vectors() -> NDArray[np.float64]:
    rows = np.array([HAEMATOXYLIN, EOSIN])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    third = np.cross(rows[0], rows[1])
    return np.vstack([rows, third / np.linalg.norm(third)])


def _inverse() -> NDArray[np.float32]:
    return np.linalg.inv(_vectors()).astype(np.float32)

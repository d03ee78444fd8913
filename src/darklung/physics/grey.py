"""Grey values of a CT turned into attenuation by two materials in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from darklung.core.checks import check_finite, require
from darklung.physics.materials import MATERIALS, linear_attenuation


def attenuation_scale(greys: Mapping[str, float], *, energy_kev: float) -> tuple[float, float]:
    """Slope and intercept of μ [1/m] = slope · grey + intercept, from the grey values of two materials.

    Not modelled: the spectrum. A polychromatic scan has no one energy; `energy_kev` is where the attenuation of the two
    materials is taken, and others come out as far off as their attenuation is from a line between the two at all energies.

    Parameters
    ----------
    greys : mapping of str to float
        Two materials of `darklung.physics.materials` and their mean grey values.
    energy_kev : float

    Raises
    ------
    DarklungError
        Not two materials, an unknown one, or grey values in another order than the attenuation.
    """
    lighter, denser = _pair(greys)
    mu = {name: float(linear_attenuation(name, MATERIALS[name].density_g_cm3, energy_kev)) for name in (lighter, denser)}
    if mu[lighter] > mu[denser]:
        lighter, denser = denser, lighter
    gap = greys[denser] - greys[lighter]
    require(gap > 0, f"grey: wanted {denser} brighter than {lighter}, got {greys[denser]:g} and {greys[lighter]:g}")
    slope = (mu[denser] - mu[lighter]) / gap
    return slope, mu[lighter] - slope * greys[lighter]


def hounsfield_scale(greys: Mapping[str, float]) -> tuple[float, float]:
    """Slope and intercept of Hounsfield units, 1000 (μ − μ_water)/(μ_water − μ_air), from the greys of air and water."""
    _pair(greys)
    require(
        set(greys) == {"air", "water"}, f"grey: Hounsfield units want air and water, got {', '.join(greys)}; give an energy"
    )
    gap = greys["water"] - greys["air"]
    require(gap > 0, f"grey: wanted water brighter than air, got {greys['water']:g} and {greys['air']:g}")
    return 1000 / gap, -1000 * greys["water"] / gap


def _pair(greys: Mapping[str, float]) -> tuple[str, str]:
    require(len(greys) == 2, f"grey: wanted the grey values of two materials, got {len(greys)}")
    check_finite("grey", np.array(list(greys.values()), dtype=np.float64))
    unknown = sorted(set(greys) - set(MATERIALS))
    require(not unknown, f"grey: {', '.join(unknown)} is not known; known: {', '.join(sorted(MATERIALS))}")
    one, other = greys
    return one, other

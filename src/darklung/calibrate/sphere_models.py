"""Shapes of the response to spheres, ε = (3π² f δ²/λ²) ξ h(D/ξ): diluted, packed at random, or packed as hard spheres."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import check_one_of, check_range
from darklung.physics.scattering import debye_shape, hard_spheres, sphere, sphere_shape

Law = Callable[[NDArray[np.float64], float], NDArray[np.float64]]
# Hard spheres come from a table over D/ξ, 0.02 to 200; beyond it they are taken as at its ends.
_RATIOS = np.geomspace(0.02, 200.0, 161)


def dilute(ratio: NDArray[np.float64], fill: float) -> NDArray[np.float64]:
    """Spheres that do not know of each other (Lynch 2011): h = g(D/ξ), whatever the filling."""
    return sphere_shape(ratio)


def packed(ratio: NDArray[np.float64], fill: float) -> NDArray[np.float64]:
    """A random two-phase medium with the interface of the spheres: what a disordered, cohesive powder may look like.

    `darklung.physics.scattering.two_phase` with S_V = 6f/D, that is a = 2(1 − f)D/3, divided by 3π² f δ² ξ/λ²:
    h = (16/9)(1 − f)² (D/ξ) [1 − (ξ/a) K1(ξ/a)].
    """
    chord = 2 * (1 - fill) / 3 * ratio
    return np.asarray(16 / 9 * (1 - fill) ** 2 * ratio * debye_shape(1 / chord))


def hard(ratio: NDArray[np.float64], fill: float) -> NDArray[np.float64]:
    """Spheres in the order of a hard-sphere fluid (Percus–Yevick), f up to 0.5, see `hard_spheres`."""
    factor = np.interp(np.log(ratio), np.log(_RATIOS), _ordering(fill))
    return np.asarray(sphere_shape(ratio) * factor)


MODELS: Mapping[str, Law] = MappingProxyType({"dilute": dilute, "packed": packed, "hard": hard})
# Volume fraction of a powder if nothing is said; the dilute model does not use it.
FILL = 0.5


@dataclass(frozen=True)
class SphereShape:
    """How the dark field of spheres depends on D/ξ at one energy: −ln D = A h(D/ξ), A = t · scale · ξ.

    Parameters
    ----------
    model : str
        A key of `MODELS`.
    fill : float
        Volume fraction: 0 to 0.74, of hard spheres 0.5. Of no effect on "dilute".
    """

    model: str = "dilute"
    fill: float = FILL

    def __post_init__(self) -> None:
        check_one_of("sphere model", self.model, MODELS)
        check_range("fill", self.fill, 0.0, 0.5 if self.model == "hard" else 0.74)

    def __call__(self, ratio: ArrayLike) -> NDArray[np.float64]:
        """h at D/ξ > 0."""
        return MODELS[self.model](np.asarray(ratio, dtype=np.float64), self.fill)


@lru_cache(maxsize=16)
def _ordering(fill: float) -> NDArray[np.float64]:
    """Dark field of hard spheres over that of dilute ones, on `_RATIOS`."""
    if fill == 0:
        return np.ones_like(_RATIOS)
    return np.array([float(hard_spheres(r, fill, 1e-7, 60.0, 1.0) / sphere(r, fill, 1e-7, 60.0, 1.0)) for r in _RATIOS])

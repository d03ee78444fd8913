"""The beam that a powder's response is summed over: both spectra, filters, and the powder's own hardening."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.calibrate.sphere_models import SphereShape
from darklung.core.checks import DarklungError, check_finite, check_one_of, check_positive, check_shape, require
from darklung.core.units import parse_quantity
from darklung.physics.materials import MATERIALS, linear_attenuation

_FILTER = re.compile(r"^\s*([a-z][a-z0-9_]*)\s+(\S.*?)\s*$", re.IGNORECASE)
NO_FILTER = ("", "none", "-")


@dataclass(frozen=True)
class Beam:
    """Detected spectrum and visibility spectrum of the open beam, and how the powder weakens both.

    Parameters
    ----------
    energies_kev, weights, visible : (bin,) float64
        S(E) Q(E) and S(E) Q(E) V(E); scaled to sum to 1.
    reference_energy_kev : float
        Of scale and ξ.
    powder_per_m : (bin,) float64
        μ of the powder as it is filled; 0 where it is not known.
    modes : (bin, mode) float64
        What is not known of `visible`: a factor exp(modes · z), with z of the calibration's covariance.
    """

    energies_kev: NDArray[np.float64]
    weights: NDArray[np.float64]
    visible: NDArray[np.float64]
    reference_energy_kev: float
    powder_per_m: NDArray[np.float64]
    modes: NDArray[np.float64]

    def __post_init__(self) -> None:
        check_positive("reference_energy_kev", self.reference_energy_kev)
        bins = np.shape(self.energies_kev)
        for name in ("energies_kev", "weights", "visible", "powder_per_m"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            check_shape(name, values, "bin", bins)
            check_finite(name, values)
            require(bool((values >= 0).all()), f"{name}: wanted numbers >= 0")
            object.__setattr__(self, name, values)
        for name in ("weights", "visible"):
            values = getattr(self, name)
            require(values.sum() > 0, f"{name}: wanted numbers that are not all 0")
            object.__setattr__(self, name, values / values.sum())
        modes = np.asarray(self.modes, dtype=np.float64)
        check_shape("modes", modes, "bin, mode", (*bins, None))
        object.__setattr__(self, "modes", modes)

    def changed(self, by: NDArray[np.float64]) -> Beam:
        """The same with the visibility spectrum changed by its modes."""
        if not by.any():
            return self
        return replace(self, visible=self.visible_by(by))

    def visible_by(self, by: NDArray[np.float64]) -> NDArray[np.float64]:
        """(bin,) the visibility spectrum of `changed`, of any scale."""
        logarithm = self.modes @ by
        return np.asarray(self.visible * np.exp(logarithm - logarithm.max()))

    def behind(self, filters: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`weights` and `visible` of the flat behind a filter; sums are what is left of 1."""
        left = self.transmission(filters)
        return self.weights * left, self.visible * left

    def transmission(self, filters: str) -> NDArray[np.float64]:
        """(bin,) what a filter lets through."""
        return np.asarray(np.exp(-_depth(filters, tuple(self.energies_kev))))

    def gain(self, filters: str) -> float:
        """Visibility of the flat behind a filter over that without."""
        weights, visible = self.behind(filters)
        return float(visible.sum() / weights.sum())

    def response(
        self,
        shape: SphereShape,
        scale_per_m2: float,
        correlation_length_m: float,
        diameter_m: ArrayLike,
        thickness_m: ArrayLike,
        filters: str = "",
        filling: ArrayLike = 1.0,
    ) -> NDArray[np.float64]:
        """−ln D of spheres, all arguments broadcast.

        −ln D = −ln(Σ v e^{−μt − εt}/Σ v) + ln(Σ w e^{−μt}/Σ w), ε(E) = scale ξ e⁻³ h(e D/ξ), e = E/E_ref: ξ ∝ 1/E and
        δ²/λ² ∝ E⁻². Low energies saturate, and what visibility they have is lost in any powder: that is most of an offset.
        `filling` is the mass in the beam over what `powder_per_m` says.
        """
        diameter, thickness, filled = np.broadcast_arrays(
            *(np.asarray(v, dtype=np.float64) for v in (diameter_m, thickness_m, filling))
        )
        depth = (filled * thickness)[..., None] * self.powder_per_m
        left = self.left(shape, scale_per_m2, correlation_length_m, diameter, thickness, depth)
        weights, visible = self.behind(filters)
        return signal_of(left, np.exp(-depth) @ (weights / weights.sum()), visible)

    def left(
        self,
        shape: SphereShape,
        scale_per_m2: float,
        correlation_length_m: float,
        diameter_m: NDArray[np.float64],
        thickness_m: NDArray[np.float64],
        depth: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """(..., bin) e^{−depth − εt}: what spheres leave of the fringe at each energy."""
        e, xi = self.energies_kev / self.reference_energy_kev, correlation_length_m
        law = shape(np.multiply.outer(diameter_m, e / xi)) * (scale_per_m2 * xi * e**-3.0)
        return np.asarray(np.exp(-depth - thickness_m[..., None] * law))


def signal_of(left: NDArray[np.float64], mean: NDArray[np.float64], visible: NDArray[np.float64]) -> NDArray[np.float64]:
    """−ln D of (..., bin) what is left of the fringe and (...) of the intensity, where the flat's fringe is `visible`."""
    return np.asarray(np.log(mean) - np.log(np.maximum(left @ (visible / visible.sum()), 1e-300)))


def parse_filter(text: str) -> tuple[tuple[str, float], ...]:
    """A filter such as ``"cu 1 mm"`` or ``"al 2 mm + cu 0.1 mm"`` as (material, thickness [m]); "" is none."""
    if text.strip().lower() in NO_FILTER:
        return ()
    found = []
    for part in text.split("+"):
        match = _FILTER.match(part)
        if match is None:
            raise DarklungError(f"filter: wanted a material and a thickness such as 'cu 1 mm', got {part.strip()!r}")
        thickness = parse_quantity(match[2], "length")
        require(thickness >= 0, f"filter: wanted a thickness >= 0, got {part.strip()!r}")
        found.append((check_one_of("filter", match[1].lower(), MATERIALS), thickness))
    return tuple(found)


def filter_name(text: str) -> str:
    """The one way to write a filter, so that two rows behind the same one are known to be."""
    return " + ".join(f"{material} {1e3 * thickness:g} mm" for material, thickness in parse_filter(text) if thickness > 0)


@lru_cache(maxsize=64)
def _depth(filters: str, energies_kev: tuple[float, ...]) -> NDArray[np.float64]:
    energies = np.array(energies_kev)
    found = np.zeros_like(energies)
    for material, thickness in parse_filter(filters):
        found += thickness * linear_attenuation(material, MATERIALS[material].density_g_cm3, energies)
    return found

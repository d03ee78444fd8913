"""Scans that compare: a unit of scattering fixed by reference objects, and signals as another spectrum would show them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.channel import noise_of, values_of
from darklung.core.checks import check_finite, check_one_of, check_positive, check_shape, require
from darklung.core.types import Image, Projections
from darklung.core.units import parse_ranges
from darklung.correct.monochromatic import inversion_table, invert_hardening
from darklung.correct.response import LUNG_EXPONENT, SpectralResponse
from darklung.physics.materials import MATERIALS, linear_attenuation

REFERENCE_UNITS = 1000.0
PER_METRE, SCATTER_UNITS = "1/m", "SU"
# An object of the stated material reads what tables say within this factor, whatever gain and effective energy.
MOST_OFF = 2.0


@dataclass(frozen=True)
class _Scale(ABC):
    """A linear scale fixed by two objects in the same scan."""

    zero_per_m: float
    reference_per_m: float
    zero_error_per_m: float = 0.0
    reference_error_per_m: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.zero_per_m, self.reference_per_m, self.zero_error_per_m, self.reference_error_per_m)
        check_finite("zero_per_m, reference_per_m and errors", np.array(numbers))
        require(min(numbers[2:]) >= 0, "zero_error_per_m, reference_error_per_m: wanted numbers >= 0")
        span = self.reference_per_m - self.zero_per_m
        error = float(np.hypot(self.zero_error_per_m, self.reference_error_per_m))
        require(
            span > 3 * error and span > 0,
            f"reference_per_m: wanted clearly more than zero_per_m, got {span:g} +- {error:g} /m between them",
        )

    @property
    @abstractmethod
    def told(self) -> float:
        """What the reference is on the scale."""

    def units(self, values: ArrayLike, variance: ArrayLike = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values [1/m] on the scale, and their variance from that of the values alone; `scale_error` is common to all."""
        gain = self.told / (self.reference_per_m - self.zero_per_m)
        found = gain * (np.asarray(values, dtype=np.float64) - self.zero_per_m)
        return np.asarray(found), np.asarray(gain**2 * np.asarray(variance, dtype=np.float64))

    def scale_error(self, units: ArrayLike) -> NDArray[np.float64]:
        """Standard error that the errors of both references give a value on the scale, common to all of a scan."""
        s = np.asarray(units, dtype=np.float64) / self.told
        span = self.reference_per_m - self.zero_per_m
        errors = np.hypot((1 - s) * self.zero_error_per_m, s * self.reference_error_per_m)
        return np.asarray(self.told * errors / span)


@dataclass(frozen=True)
class ScatterUnit(_Scale):
    """A scale of scattering fixed by two objects in the same scan, as CT numbers are by air and water.

    s = 1000 (ε − ε_zero)/(ε_reference − ε_zero) scatter units (SU): 0 SU is what does not scatter (water or air, as it comes
    out of the corrections), 1000 SU the reference phantom (foam or sphere powder). Gain, thickness scale, quality of the
    gratings and, for structures like the reference, ξ and spectrum divide out.

    Parameters
    ----------
    zero_per_m, reference_per_m : float
        Mean ε of both objects [1/m].
    zero_error_per_m, reference_error_per_m : float
        Standard errors of these means.
    reference : str
        What the reference phantom is; scans compare only if it is the same.
    """

    reference: str = "reference phantom"

    @property
    def told(self) -> float:
        """1000 SU."""
        return REFERENCE_UNITS


@dataclass(frozen=True, kw_only=True)
class AttenuationUnit(_Scale):
    """A scale of attenuation fixed by air and one solid object in the same scan: its μ at one energy, by tables.

    μ = μ_material(E) (m − m_air)/(m_object − m_air) [1/m]. Right for what attenuates as the object does; other materials
    follow another law of energy and are told as each spectrum weighs them (bone: docs/calibration.md).

    Parameters
    ----------
    zero_per_m, reference_per_m, zero_error_per_m, reference_error_per_m : float
        What air and object read [1/m], and standard errors.
    material : str
        Of the object, one of `darklung.physics.materials.MATERIALS`, solid, at its density.
    energy_kev : float
        That values are then told for.
    """

    material: str
    energy_kev: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("energy_kev", self.energy_kev)
        span = self.reference_per_m - self.zero_per_m
        require(
            1 / MOST_OFF <= span / self.told <= MOST_OFF,
            f"absorber: wanted {self.told:.4g} /m of {self.material} (at {self.energy_kev:g} keV) within a factor of "
            f"{MOST_OFF:g}, got {span:.4g} /m above air; is it of this material?",
        )

    @property
    def told(self) -> float:
        """μ of the material at the energy [1/m]."""
        return attenuation_of(self.material, self.energy_kev)


def attenuation_of(material: str, energy_kev: float) -> float:
    """μ [1/m] of a solid of `MATERIALS` at its density; raises `DarklungError` for another material or energy."""
    density = MATERIALS[check_one_of("material", material, MATERIALS)].density_g_cm3
    return float(linear_attenuation(material, density, energy_kev))


def unit_from_regions(
    epsilon: NDArray[np.floating],
    *,
    zero: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    name: str = "reference phantom",
    correlated: float = 1.0,
) -> ScatterUnit:
    """`ScatterUnit` from the means over two regions of an image of ε [1/m].

    Parameters
    ----------
    epsilon : (...) array; values that are not finite are left out
    zero, reference : (...) bool arrays
    correlated : float
        Voxels that share their noise (a reconstruction's are correlated over a few); errors of means grow by its root.

    Raises
    ------
    DarklungError
        A region of fewer than 10 voxels with values, or a reference that does not scatter more than the zero.
    """
    return ScatterUnit(*region_means(epsilon, ("zero", zero), ("reference", reference), correlated), reference=name)


def region_means(
    image: NDArray[np.floating],
    zero: tuple[str, NDArray[np.bool_]],
    reference: tuple[str, NDArray[np.bool_]],
    correlated: float,
) -> tuple[float, float, float, float]:
    """Means of an image over two regions, each with its name, then their standard errors; as `unit_from_regions`."""
    check_positive("correlated", correlated)
    values = np.asarray(image, dtype=np.float64)

    def mean(name: str, region: NDArray[np.bool_]) -> tuple[float, float]:
        check_shape(name, np.asarray(region), "as the image", values.shape)
        inside = values[np.asarray(region, dtype=bool) & np.isfinite(values)]
        require(len(inside) >= 10, f"{name}: wanted at least 10 voxels with values, got {len(inside)}")
        return float(inside.mean()), float(inside.std(ddof=1) * np.sqrt(correlated / len(inside)))

    (low, low_error), (high, high_error) = mean(*zero), mean(*reference)
    return low, high, low_error, high_error


def to_reference_spectrum(
    projections: Projections,
    own: SpectralResponse,
    reference: SpectralResponse | None = None,
    *,
    exponent: float = LUNG_EXPONENT,
    material: str = "water",
    max_thickness_m: float = 0.06,
) -> Projections:
    """What another beam would have measured: invert with one's own spectra, then apply those of the reference.

    `invert_hardening` gives the path t in `material` and x = ∫ε(E_ref) dl; the reference's spectra make −ln T and −ln D of
    them. Without `reference` the values stay at the own reference energy: that is the monochromatic reference spectrum.
    Variances are propagated through both steps, the second by its slopes at each value; that t and x of the first step are
    correlated is neglected.

    The energy law E^−`exponent` carries from one spectrum to the other, so it must be that of the structure; ξ is taken to
    change with the energy as it does in both instruments. Not modelled: instruments whose ξ differs at one energy, which
    see other lengths of the structure; a `ScatterUnit` of a similar phantom corrects for it in the mean.

    Raises
    ------
    DarklungError
        Spectra stated for different reference energies.
    """
    if reference is not None:
        same = abs(reference.reference_energy_kev - own.reference_energy_kev) < 1e-6
        require(
            same,
            f"reference: wanted the reference energy of the own spectra, {own.reference_energy_kev:g} keV, "
            f"got {reference.reference_energy_kev:g} keV",
        )
    options: dict[str, Any] = {"max_thickness_m": max_thickness_m, "exponent": exponent, "material": material}
    mono = invert_hardening(projections, inversion_table(own, **options))
    if reference is None:
        return mono
    mu, mu_reference = reference.attenuation_of(material)
    law = reference.scattering_law(exponent)
    changed: dict[str, Any] = {name: np.array(getattr(mono, name)) for name in ("attenuation", "dark_field")}
    changed |= {f"{name}_variance": np.array(getattr(mono, f"{name}_variance")) for name in ("attenuation", "dark_field")}
    for direction, view in np.ndindex(mono.valid.shape[:2]):
        at = direction, view
        a, x = (np.asarray(getattr(mono, n)[at], np.float64) for n in ("attenuation", "dark_field"))
        step_a, step_x = 1e-3, 1e-3

        def measured(depth: NDArray[np.float64], scatter: NDArray[np.float64]) -> Any:
            return reference.measured(np.multiply.outer(depth / mu_reference, mu), np.multiply.outer(scatter, law))

        value, by_a, by_x = measured(a, x), measured(a + step_a, x), measured(a, x + step_x)
        var_a, var_x = mono.attenuation_variance[at], mono.dark_field_variance[at]
        changed["attenuation"][at], changed["dark_field"][at] = value
        changed["attenuation_variance"][at] = ((by_a[0] - value[0]) / step_a) ** 2 * var_a
        changed["dark_field_variance"][at] = ((by_a[1] - value[1]) / step_a) ** 2 * var_a + (
            (by_x[1] - value[1]) / step_x
        ) ** 2 * var_x
    return replace(mono, **changed)


def in_units(image: Image, unit: ScatterUnit, attenuation: AttenuationUnit | None = None) -> Image:
    """The image with its dark fields, and their noise, in scatter units, and its attenuation on `attenuation`'s scale.

    Values become those of `units`, standard errors are multiplied by its slope; the error of a scale itself is common to all
    voxels, see `scale_error`. Without `attenuation` all other channels stay as they are.

    Raises
    ------
    DarklungError
        A channel that is not in 1/m, or none at all.
    """
    found = _scaled(image, "dark_field", unit, SCATTER_UNITS)
    return found if attenuation is None else _scaled(found, "attenuation", attenuation, PER_METRE)


def _scaled(image: Image, signal: str, scale: _Scale, unit: str) -> Image:
    data, units = np.array(image.data), list(image.units)
    told = f"{signal.replace('dark_field', 'scatter')} units"
    values = values_of(image.names, signal)
    require(bool(values), f"{told}: wanted a channel {signal}..., got {', '.join(image.names)}")
    errors = {noise for name in values if (noise := noise_of(name, image.names))}
    for name in (*values, *errors):
        number = image.names.index(name)
        own = units[number]
        require(own == PER_METRE, f"{told}: {name}: wanted values in {PER_METRE}, got {own!r}")
        value, variance = scale.units(data[number], np.square(data[number], dtype=np.float64))
        data[number], units[number] = (np.sqrt(variance) if name in errors else value), unit
    return replace(image, data=data, units=tuple(units))


def box(text: str, shape: tuple[int, ...], name: str) -> NDArray[np.bool_]:
    """A region of an image from ``z0:z1,y0:y1,x0:x1``."""
    wanted = ",".join(f"{a}0:{a}1" for a in ("z", "y", "x")[-len(shape) :])
    found = parse_ranges(text, name, wanted)
    require(len(found) == len(shape), f"{name}: wanted {wanted}, got {text!r}")
    fits = all(part.stop <= n for part, n in zip(found, shape))
    require(fits, f"{name}: wanted a box inside {' x '.join(map(str, shape))} voxels, got {text!r}")
    region = np.zeros(shape, dtype=bool)
    region[found] = True
    return region

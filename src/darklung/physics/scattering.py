"""Dark-field coefficients ε = d(−ln D)/dz [1/m] of micro-structures.

All follow from ε(ξ) = k² δ² ∫ [C(0,0,z) − C(ξ,0,z)] dz, with C the covariance of the phase indicator, ξ the
autocorrelation length and δ the difference in refractive index decrement between the phases (small angles, weak
scattering; Yashiro, Terui, Kawabata & Momose 2010, doi:10.1364/OE.18.016890; Lynch et al. 2011, doi:10.1364/AO.50.004310).
Not modelled: multiple scattering, structures coarser than a pixel (they refract instead).
All arguments broadcast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import j0, k1

from darklung.core.checks import require
from darklung.physics.constants import EULER_GAMMA, wavelength_m, wavenumber_per_m

Array = NDArray[np.float64]

# Integration over x = qD/2, in steps that resolve both the sphere's form factor and J0 up to ξ = 50 D.
_X = np.linspace(0, 120, 48_001)[1:]
_MOST_CORRELATION = 50.0
_DENSEST = 0.5


def sphere(
    diameter_m: ArrayLike,
    volume_fraction: ArrayLike,
    delta: ArrayLike,
    energy_kev: ArrayLike,
    correlation_length_m: ArrayLike,
) -> Array:
    """ε [1/m] of a dilute suspension of equal spheres.

    ε = (3π²/λ²) f δ² ξ g(D/ξ), see `sphere_shape`. Spheres that do not overlap but are dense (f above about 0.15) are
    correlated: see `hard_spheres`.

    Parameters
    ----------
    diameter_m, volume_fraction, delta, energy_kev, correlation_length_m : (...) arrays
        δ is that of the sphere minus that of what surrounds it, at `energy_kev`.

    Returns
    -------
    (...) array [1/m]

    References
    ----------
    Lynch et al. 2011, Appl Opt 50:4310 (doi:10.1364/AO.50.004310)

    Examples
    --------
    >>> round(float(sphere(3e-6, 0.5, 1e-7, 45.0, 1.3271e-6)), 1)
    326.0
    """
    diameter, fraction = _positive("diameter_m", diameter_m), _fraction("volume_fraction", volume_fraction)
    contrast, energy, xi = _common(delta, energy_kev, correlation_length_m)
    safe = np.where(xi > 0, xi, 1.0)
    value = 3 * np.pi**2 / wavelength_m(energy) ** 2 * fraction * contrast**2 * xi * sphere_shape(diameter / safe)
    return np.asarray(np.where(xi > 0, value, 0.0))


def sphere_shape(diameter_over_correlation: ArrayLike) -> Array:
    """Lynch's shape function g(D/ξ); equal to D/ξ up to 1, with a maximum of 1.2957 at 1.771."""
    d = _positive("diameter_over_correlation", diameter_over_correlation)
    big = np.maximum(d, 1.0)
    root = np.sqrt(big**2 - 1)
    # ln[(D + r)/(D − r)] = 2 ln(D + r), because (D + r)(D − r) = 1: exact also for large D
    closed = big - root * (1 + 1 / (2 * big**2)) + (1 / big - 1 / (4 * big**3)) * 2 * np.log(big + root)
    # For large D the closed form cancels to O(ln D / D); that loses no more than 1e-16 D² relative
    return np.asarray(np.where(d <= 1, d, closed))


def debye_shape(s: ArrayLike) -> Array:
    """F(s) = 1 − s K1(s), from 0 at s = 0 to 1 for large s.

    Below s = 0.02 the series s²/2 [ln(2/s) + 1/2 − γ] + s⁴/16 [ln(2/s) + 5/4 − γ] is used, because 1 − s K1 cancels there.
    """
    x = np.asarray(s, dtype=np.float64)
    require(bool((x >= 0).all()), "s: wanted numbers >= 0")
    small = x < 0.02
    large_arg = np.where(small, 1.0, x)
    tiny = np.where(small & (x > 0), x, 0.01)
    log = np.log(2 / tiny) - EULER_GAMMA
    series = tiny**2 / 2 * (log + 0.5) + tiny**4 / 16 * (log + 1.25)
    return np.asarray(np.where(small, np.where(x > 0, series, 0.0), 1 - large_arg * k1(large_arg)))


def chord_length(tissue_fraction: ArrayLike, interface_density_per_m: ArrayLike) -> Array:
    """Correlation length a = 4 φ (1 − φ)/S_V [m] of a two-phase medium; 0 where S_V = 0."""
    phi = _fraction("tissue_fraction", tissue_fraction)
    area = _not_negative("interface_density_per_m", interface_density_per_m)
    return np.asarray(np.where(area > 0, 4 * phi * (1 - phi) / np.where(area > 0, area, 1.0), 0.0))


def two_phase(
    tissue_fraction: ArrayLike,
    interface_density_per_m: ArrayLike,
    delta: ArrayLike,
    energy_kev: ArrayLike,
    correlation_length_m: ArrayLike,
) -> Array:
    """ε [1/m] of an isotropic two-phase random medium (Debye–Bueche), such as lung.

    ε = 2 a k² δ² φ(1−φ) [1 − (ξ/a) K1(ξ/a)], a = 4φ(1−φ)/S_V. For ξ << a: (kδξ)² (S_V/4) [ln(2a/ξ) + 1/2 − γ].

    Parameters
    ----------
    tissue_fraction : (...) array
        φ, 0 to 1. 0 and 1 give ε = 0.
    interface_density_per_m : (...) array
        S_V [1/m]; 0 gives ε = 0 (no interface).
    delta, energy_kev, correlation_length_m : (...) arrays

    Returns
    -------
    (...) array [1/m]

    References
    ----------
    Debye, Anderson & Brumberger 1957, J Appl Phys 28:679 (doi:10.1063/1.1722830)
    """
    phi = _fraction("tissue_fraction", tissue_fraction)
    a = chord_length(phi, interface_density_per_m)
    contrast, energy, xi = _common(delta, energy_kev, correlation_length_m)
    safe = np.where(a > 0, a, 1.0)
    strength = 2 * (wavenumber_per_m(energy) * contrast) ** 2 * phi * (1 - phi)
    return np.asarray(strength * a * debye_shape(xi / safe))


def ellipsoidal(
    shape_per_m2: ArrayLike,
    tissue_fraction: ArrayLike,
    delta: ArrayLike,
    energy_kev: ArrayLike,
    correlation_length_m: ArrayLike,
    beam: ArrayLike,
    sensitivity: ArrayLike,
) -> Array:
    """ε [1/m] of a two-phase medium with ellipsoidal covariance C(r) = φ(1−φ) exp(−sqrt(rᵀ B r)), exact.

    ε(n, u) = 2 k² δ² φ(1−φ) B_nn^(−1/2) [1 − s K1(s)], s = ξ sqrt(B_uu − B_un²/B_nn). It depends on the beam
    direction as well as on the sensitivity and is not a quadratic form in u.

    Parameters
    ----------
    shape_per_m2 : (..., 3, 3) array
        B, symmetric positive definite [1/m²]; a medium with correlation length a has B = I/a². See `shape_tensor`.
    tissue_fraction, delta, energy_kev, correlation_length_m : (...) arrays
    beam, sensitivity : (..., 3) arrays
        Unit vectors n and u ⟂ n, components in the order of B's axes.

    Returns
    -------
    (...) array [1/m]

    Raises
    ------
    DarklungError
        B not positive definite, n or u not of unit length, u not perpendicular to n.
    """
    b = np.asarray(shape_per_m2, dtype=np.float64)
    require(b.shape[-2:] == (3, 3), f"shape_per_m2: wanted (..., 3, 3), got shape {b.shape}")
    scale = np.abs(b).max()
    require(
        bool(np.isfinite(scale)) and bool(np.allclose(b, np.swapaxes(b, -1, -2), atol=1e-9 * scale)),
        "shape_per_m2: wanted finite symmetric tensors",
    )
    require(bool((np.linalg.eigvalsh(b) > 0).all()), "shape_per_m2: wanted positive definite tensors")
    n, u = _directions(beam, sensitivity)
    b_nn = np.einsum("...i,...ij,...j->...", n, b, n)
    b_uu = np.einsum("...i,...ij,...j->...", u, b, u)
    b_un = np.einsum("...i,...ij,...j->...", u, b, n)
    phi = _fraction("tissue_fraction", tissue_fraction)
    contrast, energy, xi = _common(delta, energy_kev, correlation_length_m)
    s = xi * np.sqrt(np.maximum(b_uu - b_un**2 / b_nn, 0.0))
    strength = 2 * (wavenumber_per_m(energy) * contrast) ** 2 * phi * (1 - phi)
    return np.asarray(strength / np.sqrt(b_nn) * debye_shape(s))


def shape_tensor(correlation_length_m: ArrayLike, aspect: ArrayLike, axis: ArrayLike) -> Array:
    """B [1/m²] of a spheroidal medium: B = (I − f fᵀ)/a_perp² + f fᵀ/a_par².

    a_par = a q^(2/3) along the axis f and a_perp = a q^(−1/3) across it, so that the mean (geometric) length stays a.

    Parameters
    ----------
    correlation_length_m : (...) array
        a [m].
    aspect : (...) array
        q, long over short, > 0; below 1 the medium is flattened along f.
    axis : (..., 3) array
        Unit vector f.

    Returns
    -------
    (..., 3, 3) array
    """
    a, q = _positive("correlation_length_m", correlation_length_m), _positive("aspect", aspect)
    f = _unit("axis", axis)
    outer = f[..., :, None] * f[..., None, :]
    across, along = (a * q ** (-1 / 3)) ** -2, (a * q ** (2 / 3)) ** -2
    return np.asarray(across[..., None, None] * (np.eye(3) - outer) + along[..., None, None] * outer)


def power_law(coefficient_per_m: ArrayLike, energy_kev: ArrayLike, reference_energy_kev: float, exponent: float) -> Array:
    """ε(E) = ε(E_ref) (E/E_ref)^exponent: for a structure known only by its measured ε and exponent."""
    coefficient = _not_negative("coefficient_per_m", coefficient_per_m)
    energy = _positive("energy_kev", energy_kev)
    reference = _positive("reference_energy_kev", reference_energy_kev)
    return np.asarray(coefficient * (energy / reference) ** exponent)


def structure_factor(q_diameter: ArrayLike, volume_fraction: float) -> Array:
    """Percus–Yevick structure factor S(q) of equal hard spheres.

    Parameters
    ----------
    q_diameter : (...) array
        q D, wave number times diameter.
    volume_fraction : float
        0 to 0.5; denser packings freeze and are outside the theory.

    References
    ----------
    Wertheim 1963, Phys Rev Lett 10:321 (doi:10.1103/PhysRevLett.10.321); Thiele 1963
    (doi:10.1063/1.1734272, [M]: not checked again)
    """
    f = float(volume_fraction)
    require(0 <= f <= _DENSEST, f"volume_fraction: wanted 0 to {_DENSEST} for hard spheres, got {volume_fraction!r}")
    a = np.maximum(np.asarray(q_diameter, dtype=np.float64), 0.05)  # below, S differs from S(0) by less than 1e-3
    sin, cos = np.sin(a), np.cos(a)
    alpha = (1 + 2 * f) ** 2 / (1 - f) ** 4
    beta = -6 * f * (1 + f / 2) ** 2 / (1 - f) ** 4
    gamma = f * alpha / 2
    first = alpha * (sin - a * cos) / a**2
    second = beta * (2 * a * sin + (2 - a**2) * cos - 2) / a**3
    third = gamma * (-(a**4) * cos + 4 * ((3 * a**2 - 6) * cos + (a**3 - 6 * a) * sin + 6)) / a**5
    return np.asarray(1 / (1 + 24 * f * (first + second + third) / a))


def hard_spheres(
    diameter_m: float,
    volume_fraction: float,
    delta: ArrayLike,
    energy_kev: ArrayLike,
    correlation_length_m: ArrayLike,
) -> Array:
    """ε [1/m] of equal spheres that do not overlap, up to a volume fraction of 0.5.

    ε = `sphere` × ∫ q F² S [1 − J0(qξ)] dq / ∫ q F² [1 − J0(qξ)] dq, with the form factor F of a
    sphere and the Percus–Yevick S(q). At f -> 0 it is `sphere`.

    Parameters
    ----------
    diameter_m, volume_fraction : float
    delta, energy_kev, correlation_length_m : (...) arrays
        ξ up to 50 D.

    Returns
    -------
    (...) array [1/m]
    """
    dilute = sphere(diameter_m, volume_fraction, delta, energy_kev, correlation_length_m)
    ratio = np.asarray(correlation_length_m, dtype=np.float64) / diameter_m
    inside = bool((ratio <= _MOST_CORRELATION).all())
    require(inside, f"correlation_length_m: wanted at most {_MOST_CORRELATION:g} diameters, got {ratio.max():g}")
    form = (3 * (np.sin(_X) - _X * np.cos(_X)) / _X**3) ** 2 * _X
    ordered = form * structure_factor(2 * _X, volume_fraction)
    factor = np.ones(ratio.shape)
    for index in np.ndindex(ratio.shape):
        if ratio[index] > 0:
            shift = 1 - j0(2 * _X * ratio[index])
            factor[index] = (ordered * shift).sum() / (form * shift).sum()
    return np.asarray(dilute * factor)


def _common(delta: ArrayLike, energy_kev: ArrayLike, correlation_length_m: ArrayLike) -> tuple[Array, Array, Array]:
    contrast = np.asarray(delta, dtype=np.float64)
    require(bool(np.isfinite(contrast).all()), "delta: wanted finite numbers")
    return contrast, _positive("energy_kev", energy_kev), _not_negative("correlation_length_m", correlation_length_m)


def _positive(name: str, value: ArrayLike) -> Array:
    array = np.asarray(value, dtype=np.float64)
    require(
        bool((np.isfinite(array) & (array > 0)).all()), f"{name}: wanted finite numbers > 0, got {_first(array, array > 0)}"
    )
    return array


def _not_negative(name: str, value: ArrayLike) -> Array:
    array = np.asarray(value, dtype=np.float64)
    require(
        bool((np.isfinite(array) & (array >= 0)).all()),
        f"{name}: wanted finite numbers >= 0, got {_first(array, array >= 0)}",
    )
    return array


def _fraction(name: str, value: ArrayLike) -> Array:
    array = np.asarray(value, dtype=np.float64)
    inside = (array >= 0) & (array <= 1)
    require(bool(inside.all()), f"{name}: wanted 0 to 1, got {_first(array, inside)}")
    return array


def _first(array: Array, good: NDArray[np.bool_]) -> float:
    bad = ~(good & np.isfinite(array))
    return float(np.atleast_1d(array)[np.atleast_1d(bad)][0]) if bad.any() else float("nan")


def _unit(name: str, value: ArrayLike) -> Array:
    vector = np.asarray(value, dtype=np.float64)
    require(vector.shape[-1:] == (3,), f"{name}: wanted (..., 3), got shape {vector.shape}")
    require(bool(np.allclose(np.linalg.norm(vector, axis=-1), 1, atol=1e-6)), f"{name}: wanted unit vectors")
    return vector


def _directions(beam: ArrayLike, sensitivity: ArrayLike) -> tuple[Array, Array]:
    n, u = _unit("beam", beam), _unit("sensitivity", sensitivity)
    require(bool((np.abs((n * u).sum(-1)) < 1e-6).all()), "sensitivity: wanted vectors perpendicular to the beam")
    return n, u

"""Hardening of two materials, the second known (from a segmentation), and the loss of true dark field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_positive, check_shape, require
from darklung.core.types import Projections
from darklung.correct.response import LUNG_EXPONENT, SpectralResponse


def correct_two_materials(
    projections: Projections,
    response: SpectralResponse,
    *,
    second_m: NDArray[np.floating],
    materials: tuple[str, str] = ("water", "bone"),
    max_thickness_m: float = 0.06,
) -> Projections:
    """Additive correction for two structure-free materials, where the second one's path is known.

    −ln T alone cannot tell two materials apart. `second_m` comes from elsewhere: usually from the forward projection of what
    a first reconstruction shows as bone (then this is the segmentation-based correction). With b known, the thickness t of
    the first follows from −ln T(t, b); attenuation becomes μ1(E_ref) t + μ2(E_ref) b, and dark_field loses the false signal
    f(t, b). Variances are left as they are.

    Not corrected: loss of true dark field (`multiplicative_factor`), errors of `second_m` (a tenth of it too much leaves a
    tenth of bone's false signal).

    Parameters
    ----------
    second_m : array that broadcasts to (direction, view, row, col)
        Path of the second material at 1 g/cm³ [m], that is ∫ density dl / (1 g/cm³).
    """
    check_positive("max_thickness_m", max_thickness_m)
    path = np.broadcast_to(np.asarray(second_m, dtype=np.float64), projections.valid.shape)
    check_finite("second_m", path)
    require(bool((path >= 0).all()), f"second_m: wanted paths >= 0, got {path.min():g}")
    first, second = (response.attenuation_of(name) for name in materials)
    thickness = np.linspace(-0.3 * max_thickness_m, max_thickness_m, 1301)
    paths = np.linspace(0.0, max(float(path.max()), 1e-6), 129)
    depth = thickness[:, None] * first[0]
    tables = [response.measured(depth + b * second[0]) for b in paths]
    attenuation = np.asarray(projections.attenuation, dtype=np.float64)
    cell = np.minimum((path / paths[1]).astype(np.intp), len(paths) - 2)
    share = path / paths[1] - cell
    found, false, inside = (np.zeros(attenuation.shape) for _ in range(3))
    for b in np.unique(cell):
        here = cell == b
        for side, weight in ((b, 1 - share[here]), (b + 1, share[here])):
            a, f = tables[side]
            t = np.interp(attenuation[here], a, thickness)
            found[here] += weight * t
            false[here] += weight * np.interp(t, thickness, f)
            inside[here] += (attenuation[here] >= a[0]) & (attenuation[here] <= a[-1])
    dtype = projections.attenuation.dtype
    return replace(
        projections,
        attenuation=(first[1] * found + second[1] * path).astype(dtype),
        dark_field=(projections.dark_field - false).astype(dtype),
        valid=projections.valid & (inside == 2),
    )


def multiplicative_factor(
    response: SpectralResponse,
    thickness_m: NDArray[np.floating],
    *,
    exponent: float = LUNG_EXPONENT,
    material: str = "water",
) -> NDArray[np.float64]:
    """ε(E_ref)/⟨ε⟩ behind `thickness_m` of water [m at 1 g/cm³]: what weak true dark field has to be multiplied by.

    ⟨ε⟩ is the mean over the visibility spectrum as hardened by the water. Exact in the limit of weak scattering; the
    saturation of strong scattering needs `darklung.correct.monochromatic`.
    """
    mu, _ = response.attenuation_of(material)
    check_shape("thickness_m", np.ravel(thickness_m), "any", (None,))
    hardened = np.exp(-np.multiply.outer(np.asarray(thickness_m, dtype=np.float64), mu)) * response.visible
    return np.asarray(hardened.sum(axis=-1) / (hardened @ response.scattering_law(exponent)), dtype=np.float64)


def scale_dark_field(
    projections: Projections, response: SpectralResponse, *, exponent: float = LUNG_EXPONENT, material: str = "water"
) -> Projections:
    """Multiply the dark field by `multiplicative_factor`, after an additive correction has made attenuation monochromatic.

    The water thickness is attenuation/μ(E_ref); variances scale with the square. Thicknesses from −1 to 10 cm are
    distinguished; the factor is that of the end beyond.
    """
    thickness = np.linspace(-0.01, 0.1, 1101)
    factors = multiplicative_factor(response, thickness, exponent=exponent, material=material)
    depth = np.asarray(projections.attenuation) / response.attenuation_of(material)[1]
    factor = np.interp(depth, thickness, factors).astype(projections.dark_field.dtype)
    return replace(
        projections,
        dark_field=projections.dark_field * factor,
        dark_field_variance=projections.dark_field_variance * factor**2,
    )

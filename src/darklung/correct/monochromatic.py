"""Pseudo-monochromatic inversion: from measured (−ln T, −ln D) to water depth and scattering at one energy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_positive, require
from darklung.core.types import Projections
from darklung.correct.response import LUNG_EXPONENT, SpectralResponse

# Attenuation and dark field that noise makes of air: the table starts here.
BELOW_AIR = -0.2
BELOW_DARK = -1.5
INVERTED = ("attenuation", "dark_field", "attenuation_variance", "dark_field_variance")


@dataclass(frozen=True)
class InversionTable:
    """x(a, d) on a regular grid: scattering at the reference energy as a function of what is measured.

    Parameters
    ----------
    attenuation, dark_field : (start, step, count) of the grid's axes, −ln T and −ln D as measured
    monochromatic : (point,) float64
        −ln T at the reference energy at the attenuation points.
    scattering : (attenuation point, dark-field point) float64
        ∫ε(reference) dl; NaN where no scattering gives that value.
    """

    attenuation: tuple[float, float, int]
    dark_field: tuple[float, float, int]
    monochromatic: NDArray[np.float64]
    scattering: NDArray[np.float64]


def inversion_table(
    response: SpectralResponse,
    *,
    max_thickness_m: float = 0.06,
    max_scattering: float = 8.0,
    exponent: float = LUNG_EXPONENT,
    material: str = "water",
    points: tuple[int, int] = (240, 480),
    second: tuple[str, float] | None = None,
) -> InversionTable:
    """Tabulate the inverse of −ln T(t) and −ln D(t, x) for water of thickness t and scattering x = ∫ε(reference) dl.

    T = Σ w e^{−μt};  D = [Σ v e^{−μt − ε̂x}] / T, ε̂(E) = (E/E_ref)^−`exponent`, w and v the response's two spectra. One
    unknown each: t from T, then x from D. That takes care of the false signal, of the loss of true signal as v hardens, and
    of its saturation in thickness.

    Not modelled: materials other than `material` and `second`, scattering whose energy law differs from place to place.

    Parameters
    ----------
    max_thickness_m : float
        At 1 g/cm³.
    max_scattering : float
        Largest x.
    points : (attenuation, dark field)
        Size of the table, interpolated linearly.
    second : (material, path), optional
        A second, structure-free material whose path [m at 1 g/cm³] is the same in all pixels; see
        `invert_two_materials`.
    """
    check_positive("max_thickness_m", max_thickness_m)
    check_positive("max_scattering", max_scattering)
    mu, mu_reference = response.attenuation_of(material)
    law = response.scattering_law(exponent)
    added, added_reference = (second[1] * m for m in response.attenuation_of(second[0])) if second else (0.0, 0.0)
    thickness = np.linspace(-0.4 * max_thickness_m, max_thickness_m, 4001)
    attenuation = response.measured(np.multiply.outer(thickness, mu) + added)[0]
    a_grid = np.linspace(max(BELOW_AIR, attenuation[0]), attenuation[-1], points[0])
    t_grid = np.interp(a_grid, attenuation, thickness)
    x = np.linspace(-3.0, max_scattering, 2001)
    scatter = np.multiply.outer(x, law)
    top = response.measured(mu * t_grid[0] + added, max_scattering * law)[1]
    d_grid = np.linspace(BELOW_DARK, float(top), points[1])
    table = np.empty(points)
    for row, t in enumerate(t_grid):
        d = response.measured(mu * t + added, scatter)[1]
        table[row] = np.interp(d_grid, d, x, left=np.nan, right=np.nan)
    axes = [(float(g[0]), float(g[1] - g[0]), len(g)) for g in (a_grid, d_grid)]
    return InversionTable(axes[0], axes[1], mu_reference * t_grid + added_reference, table)


def invert_hardening(projections: Projections, table: InversionTable) -> Projections:
    """Replace attenuation and dark field by their values at the reference energy.

    Variances follow from the table's slopes: var(x) = x_a² var(a) + x_d² var(d) (a and d are uncorrelated for equidistant
    steps). Pixels outside the table keep the nearest table value, or 0 where there is none, and are marked not valid.
    """
    maps: dict[str, Any] = {name: np.array(getattr(projections, name)) for name in (*INVERTED, "valid")}
    for direction, view in np.ndindex(projections.valid.shape[:2]):
        one = {name: values[direction, view] for name, values in maps.items()}
        for name, values in _invert(one, table).items():
            maps[name][direction, view] = values
    return replace(projections, **maps)


def invert_two_materials(
    projections: Projections,
    response: SpectralResponse,
    *,
    second_m: NDArray[np.floating],
    materials: tuple[str, str] = ("water", "bone"),
    max_thickness_m: float = 0.06,
    exponent: float = LUNG_EXPONENT,
    levels: int = 9,
) -> Projections:
    """`invert_hardening` behind a second, structure-free material whose path is known in every pixel.

    One `inversion_table` for each of `levels` paths from 0 to the largest; pixels are interpolated linearly between the two
    nearest, their variances too (an upper bound). With a path of 0 everywhere it is `invert_hardening`. Variances of
    `second_m` are not added.

    Parameters
    ----------
    second_m : array that broadcasts to (direction, view, row, col)
        Path at 1 g/cm³ [m] of the second of `materials`, that is ∫ density dl / (1 g/cm³).
    levels : int
        Tables; at least 2.
    """
    require(levels >= 2, f"levels: wanted at least 2, got {levels}")
    path = np.broadcast_to(np.asarray(second_m, dtype=np.float64), projections.valid.shape)
    check_finite("second_m", path)
    require(bool((path >= 0).all()), f"second_m: wanted paths >= 0, got {path.min():g}")
    options: dict[str, Any] = {"max_thickness_m": max_thickness_m, "exponent": exponent, "material": materials[0]}
    if not path.any():
        return invert_hardening(projections, inversion_table(response, **options))
    step = float(path.max()) / (levels - 1)
    cell = np.minimum((path / step).astype(np.intp), levels - 2)
    share = path / step - cell
    maps: dict[str, Any] = {n: np.zeros(path.shape, getattr(projections, n).dtype) for n in INVERTED}
    maps["valid"] = projections.valid.copy()
    for level in range(levels):
        below, above = cell == level, cell == level - 1
        here = below | above
        if not here.any():
            continue
        table = inversion_table(response, **options, second=(materials[1], level * step))
        found = _invert({n: getattr(projections, n)[here] for n in (*INVERTED, "valid")}, table)
        weight = np.where(below, 1 - share, share)[here]
        for name in INVERTED:
            maps[name][here] += weight * found[name]
        maps["valid"][here] &= found["valid"] | (weight == 0)
    return replace(projections, **maps)


def _invert(one: dict[str, Any], table: InversionTable) -> dict[str, NDArray[Any]]:
    i, u, inside_a = _place(one["attenuation"], table.attenuation)
    j, v, inside_d = _place(one["dark_field"], table.dark_field)
    low, high = table.monochromatic[i], table.monochromatic[i + 1]
    slope_a = (high - low) / table.attenuation[1]
    x = table.scattering
    x00, x01, x10, x11 = x[i, j], x[i, j + 1], x[i + 1, j], x[i + 1, j + 1]
    value = (1 - u) * ((1 - v) * x00 + v * x01) + u * ((1 - v) * x10 + v * x11)
    by_a = ((1 - v) * (x10 - x00) + v * (x11 - x01)) / table.attenuation[1]
    by_d = ((1 - u) * (x01 - x00) + u * (x11 - x10)) / table.dark_field[1]
    known = np.isfinite(value)
    variance = by_a**2 * one["attenuation_variance"] + by_d**2 * one["dark_field_variance"]
    return {
        "attenuation": low + u * (high - low),
        "attenuation_variance": slope_a**2 * one["attenuation_variance"],
        "dark_field": np.where(known, value, 0.0),
        "dark_field_variance": np.where(known, variance, one["dark_field_variance"]),
        "valid": one["valid"] & inside_a & inside_d & known,
    }


def _place(values: NDArray[Any], axis: tuple[float, float, int]) -> tuple[Any, Any, Any]:
    """Cell, position in it (0 to 1) and whether it lies inside, on a regular axis (start, step, count)."""
    start, step, count = axis
    require(count >= 2, f"table: wanted at least 2 points, got {count}")
    where = (np.asarray(values, dtype=np.float64) - start) / step
    inside = (where >= 0) & (where <= count - 1)
    where = np.clip(where, 0, count - 1)
    cell = np.minimum(where.astype(np.intp), count - 2)
    return cell, where - cell, inside

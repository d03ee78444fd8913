"""Which hardening correction to use: every applicable method judged on wedge steps that its fit has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.calibrate.measurements import Measurements
from darklung.core.checks import DarklungError, check_finite, check_one_of, check_shape, require
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.correct.ladder import Knowledge, find_correction
from darklung.correct.materials import multiplicative_factor
from darklung.correct.response import LUNG_EXPONENT, SpectralResponse
from darklung.correct.wedge import Wedge, calibrate_response
from darklung.physics.materials import MATERIALS

# Acceptable false −ln D, and change of the true signal over the wedge below which it needs no correction.
BIAS_LIMIT = 0.005
CHANGE_LIMIT = 0.03
FEWEST_STEPS = 5
# What is tried: told -> (method, calibrated spectra, the measured look-up).
CANDIDATES = MappingProxyType(
    {
        "none": ("none", False, False),
        "look_up, believed spectra": ("look_up", False, False),
        "look_up, measured": ("look_up", True, True),
        "two_material, believed spectra": ("two_material", False, False),
        "two_material, calibrated": ("two_material", True, False),
        "factor, measured": ("factor", True, True),
        "inversion, believed spectra": ("inversion", False, False),
        "inversion, calibrated": ("inversion", True, False),
    }
)


@dataclass(frozen=True)
class WedgeSeries:
    """Measured steps: paths in one or two structure-free materials, some perhaps with one and the same foam in the beam.

    Parameters
    ----------
    thickness_m, second_m : (step,) float64
        Paths in `material` and `second_material` at 1 g/cm³.
    foam : (step,) bool
    attenuation, dark_field : (step,) float64
        Means of −ln T and −ln D.
    attenuation_error, dark_field_error : (step,) float64
        Standard errors of these means; 0 where they are not known.
    material, second_material : str
    """

    thickness_m: NDArray[np.float64]
    second_m: NDArray[np.float64]
    foam: NDArray[np.bool_]
    attenuation: NDArray[np.float64]
    dark_field: NDArray[np.float64]
    attenuation_error: NDArray[np.float64]
    dark_field_error: NDArray[np.float64]
    material: str = "water"
    second_material: str = "bone"

    def __post_init__(self) -> None:
        for name in ("material", "second_material"):
            check_one_of(name, getattr(self, name), MATERIALS)
        for name in ("thickness_m", "second_m", "attenuation", "dark_field", "attenuation_error", "dark_field_error"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            check_shape(name, values, "step", np.shape(self.thickness_m))
            check_finite(name, values)
            require(bool((values >= 0).all()) or name in ("attenuation", "dark_field"), f"{name}: wanted numbers >= 0")
            object.__setattr__(self, name, values)
        check_shape("foam", np.asarray(self.foam), "step", np.shape(self.thickness_m))
        count = int(self.plain.sum())
        require(count >= FEWEST_STEPS, f"wedge: wanted at least {FEWEST_STEPS} steps of {self.material} alone, got {count}")

    @property
    def plain(self) -> NDArray[np.bool_]:
        """Steps of the first material alone."""
        return ~self.foam & (self.second_m == 0)

    def wedges(self, without: int = -1) -> tuple[Wedge, ...]:
        """Steps of one material alone, one `Wedge` for each of both; step number `without` is left out."""
        kept = np.arange(len(self.foam)) != without
        second = ~self.foam & (self.second_m > 0) & (self.thickness_m == 0)
        found = []
        for material, path, chosen in (
            (self.material, self.thickness_m, self.plain & kept),
            (self.second_material, self.second_m, second & kept),
        ):
            if chosen.any():
                found.append(Wedge(material, path[chosen], self.attenuation[chosen], self.dark_field[chosen]))
        return tuple(found)


def wedge_series(
    measured: Measurements, thickness: str, material: str, second: str, second_material: str, foam: str
) -> WedgeSeries:
    """Steps from the rows of a series: templates of the paths, "" where there is no second one; a column of foam, or ""."""
    for name, value in (("material", material), ("second material", second_material)):
        if value not in MATERIALS:
            raise DarklungError(f"{name}: {value!r} is not known; known: {', '.join(sorted(MATERIALS))}")
    zero = np.zeros(len(measured.rows))
    return WedgeSeries(
        thickness_m=measured.quantity(thickness) * MATERIALS[material].density_g_cm3,
        second_m=measured.quantity(second) * MATERIALS[second_material].density_g_cm3 if second else zero,
        foam=measured.column(foam) != 0 if foam else zero.astype(bool),
        attenuation=measured.column("attenuation"),
        dark_field=measured.column("dark_field"),
        attenuation_error=measured.column("attenuation_error", 0.0),
        dark_field_error=measured.column("dark_field_error", 0.0),
        material=material,
        second_material=second_material,
    )


@dataclass(frozen=True)
class Judged:
    """One method on the steps, each corrected by a fit without it.

    Parameters
    ----------
    told : str
        Key of `CANDIDATES`.
    bias, bias_rms : float
        Largest and root mean square −ln D of held-out steps of the first material.
    attenuation : float
        Largest error of their −ln T at the reference energy.
    second : float
        Largest |−ln D| of steps with the second material; NaN if there are none.
    foam : float
        Largest relative deviation of the foam's −ln D from its mean over the steps; NaN if there are none.
    foam_error : float
        Relative standard error of one such step, 0 where errors are not known.
    noise : float
        Mean of the standard error of −ln D after over before the correction.
    """

    told: str
    bias: float
    bias_rms: float
    attenuation: float
    second: float
    foam: float
    foam_error: float
    noise: float


def judge(series: WedgeSeries, nominal: SpectralResponse, *, exponent: float = LUNG_EXPONENT) -> tuple[Judged, ...]:
    """Cross-validate every method of `CANDIDATES` on the steps.

    Each step of a single material, the thinnest and the thickest excepted, is held out in turn: wedge and spectra are
    fitted to the others and the step is corrected with that. Steps with foam or with both materials are in no fit.

    Methods that find the second material in images need a CT scan; on steps they are `two_material` and `inversion`.
    """
    count = len(series.foam)
    inner = _inner(series)
    single = ~series.foam & ((series.second_m == 0) | (series.thickness_m == 0))
    corrected = {told: np.full((2, count), np.nan) for told in CANDIDATES}
    noise = {told: np.ones(count) for told in CANDIDATES}
    # Each held-out step is a group of its own; steps that are in no fit are corrected together by a fit to everything.
    groups = [(int(step), np.array([step])) for step in np.flatnonzero(single & inner)]
    groups += [(-1, np.flatnonzero(~single))] if not single.all() else []
    for without, steps in groups:
        known = _known(series, nominal, without, exponent)
        for told in CANDIDATES:
            corrected[told][:, steps], noise[told][steps] = _corrected(series, steps, told, known)
    mu = nominal.attenuation_of(series.material)[1]
    plain, second = series.plain & inner, ~series.foam & (series.second_m > 0) & inner
    return tuple(_row(told, corrected[told], noise[told], series, plain, second, mu) for told in CANDIDATES)


def recommend(
    judged: tuple[Judged, ...], series: WedgeSeries, response: SpectralResponse, *, exponent: float = LUNG_EXPONENT
) -> tuple[str, str]:
    """(key of `CANDIDATES`, why): of the methods that learn from the wedge, the simplest one that does what this beam needs.

    Acceptable is a held-out bias below 0.005 plus twice the steps' own standard error after the correction. With foam steps
    the acceptable method with the steadiest foam wins (a simpler one if it is steady within 1 % and noise). Without, the
    true signal's loss is estimated from the calibrated spectra: if it changes by less than 3 % over the wedge a look-up is
    enough, else the inversion is recommended, said to be unchecked.
    """
    error = float(np.median(series.dark_field_error))
    with_second = bool((~series.foam & (series.second_m > 0) & _inner(series)).any())

    def worst(row: Judged) -> float:
        # A method that leaves steps of the second material without a value is no method for them.
        return max(row.bias, np.inf if np.isnan(row.second) else row.second) if with_second else row.bias

    def limit(row: Judged) -> float:
        return BIAS_LIMIT + 2 * error * row.noise

    fitted = [row for row in judged if CANDIDATES[row.told][1]]
    good = [row for row in fitted if worst(row) <= limit(row)]
    if not good:
        best = min(fitted, key=worst)
        return best.told, f"no method brings the false -ln D below {limit(best):.4f}; this one leaves {worst(best):.4f}"

    def told(row: Judged) -> str:
        return f"false -ln D at most {worst(row):.4f} on held-out steps (limit {limit(row):.4f})"

    if series.foam.any():
        good = [row for row in good if np.isfinite(row.foam)]
        require(bool(good), "foam: no method leaves its steps a mean signal above 0; wanted steps with foam in the beam")
        steadiest = min(row.foam for row in good)
        best = next(row for row in good if row.foam <= max(CHANGE_LIMIT / 3 + 2 * row.foam_error, 1.1 * steadiest))
        return best.told, f"{told(best)}, foam steady within {100 * best.foam:.1f} %"
    span = np.array([0.0, float(series.thickness_m.max())])
    first, last = multiplicative_factor(response, span, exponent=exponent, material=series.material)
    change = 100 * abs(last / first - 1)
    if change < 100 * CHANGE_LIMIT:
        return good[0].told, f"{told(good[0])}; true signal changes by {change:.1f} % only behind the thickest step"
    inversions = [row for row in good if CANDIDATES[row.told][0] == "inversion"]
    best = (inversions or good)[0]
    why = f"true signal would change by {change:.0f} % behind the thickest step, which only the inversion corrects"
    return best.told, f"{told(best)}; {why} (not checked: no steps with foam)"


def _inner(series: WedgeSeries) -> NDArray[np.bool_]:
    """All steps but the ends of each single-material wedge, whose prediction would be an extrapolation."""
    inner = np.ones(len(series.foam), dtype=bool)
    second = ~series.foam & (series.second_m > 0) & (series.thickness_m == 0)
    for chosen, path in ((series.plain, series.thickness_m), (second, series.second_m)):
        if chosen.any():
            ends = (path == path[chosen].max()) | ((path == path[chosen].min()) & (chosen is not second))
            inner &= ~(chosen & ends)
    return inner


def _known(series: WedgeSeries, nominal: SpectralResponse, without: int, exponent: float) -> dict[bool, Knowledge]:
    """What is known from all steps but one: with calibrated spectra (True) and with the believed ones."""
    wedges = series.wedges(without)
    options: dict[str, Any] = {
        "material": series.material,
        "second_material": series.second_material,
        "exponent": exponent,
        "max_thickness_m": max(1.5 * float(series.thickness_m.max()), 1e-3),
    }
    return {
        True: Knowledge(calibrate_response(wedges, nominal), wedge=wedges[0], **options),
        False: Knowledge(nominal, **options),
    }


def _corrected(
    series: WedgeSeries, steps: NDArray[np.intp], told: str, known: dict[bool, Knowledge]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """−ln T and −ln D of some steps after a method, (2, step), and the growth of the latter's standard error."""
    method, calibrated, measured = CANDIDATES[told]
    second = series.second_m[steps].reshape(1, 1, 1, -1)
    knowledge = replace(known[calibrated], second_m=second, wedge=known[calibrated].wedge if measured else None)
    errors = [
        np.where(e[steps] > 0, e[steps], e0) for e, e0 in ((series.attenuation_error, 1e-4), (series.dark_field_error, 1e-3))
    ]
    values = {
        "attenuation": series.attenuation[steps],
        "dark_field": series.dark_field[steps],
        "attenuation_variance": errors[0] ** 2,
        "dark_field_variance": errors[1] ** 2,
    }
    shape = second.shape
    maps: dict[str, Any] = {
        name: np.broadcast_to(values.get(name, 0.0), shape).astype(np.float64) for name in PROJECTION_MAPS[:-1]
    }
    geometry = ParallelGeometry(np.zeros(1), 1, len(steps), 1e-4)
    start = Projections(**maps, valid=np.ones(shape, bool), directions_rad=np.zeros(1), geometry=geometry)
    result = find_correction(method)(start, knowledge)
    found = np.stack([result.attenuation.ravel(), result.dark_field.ravel()])
    return np.where(result.valid.ravel(), found, np.nan), np.sqrt(result.dark_field_variance.ravel()) / errors[1]


def _row(
    told: str,
    corrected: NDArray[np.float64],
    noise: NDArray[np.float64],
    series: WedgeSeries,
    plain: NDArray[np.bool_],
    second: NDArray[np.bool_],
    mu_reference: float,
) -> Judged:
    attenuation, dark = corrected

    def largest(values: NDArray[np.float64]) -> float:
        return float(np.abs(values).max()) if len(values) else float("nan")

    foam = dark[series.foam]
    known = bool(len(foam)) and foam.mean() > 0
    off = largest(foam / foam.mean() - 1) if known else float("nan")
    errors = (series.dark_field_error * noise)[series.foam]
    return Judged(
        told=told,
        bias=largest(dark[plain]),
        bias_rms=float(np.sqrt(np.mean(dark[plain] ** 2))),
        attenuation=largest(attenuation[plain] - mu_reference * series.thickness_m[plain]),
        second=largest(dark[second]),
        foam=off,
        foam_error=float(errors.mean() / foam.mean()) if known else float("nan"),
        noise=float(noise[plain | second | series.foam].mean()),
    )

"""All hardening corrections on known truth: ``python benchmarks/hardening.py``.

Three objects, three spectra. (1) Radiograph: 0 to 25 mm of water, without and with 4 mm of lung-like foam. (2) Radiograph:
the same water with 0 to 6 mm of bone (at 1 g/cm³) whose path is known. (3) CT slice: a water cylinder of 25 mm, first alone,
with foam rods of 5 mm at three depths, with two bone rods of 3 mm, and with both.

The truth has 1 keV bins, 3 mm Al + 0.1 mm Cu and one design energy; the believed instrument 30 bins, 2 mm Al and a design
energy 2 keV higher. The foam is a Debye–Bueche medium, the corrections assume E^−3.55. The wedge from which the calibrated
methods learn has 17 steps to 40 mm with errors of 2e-4 (−ln T) and 1e-3 (−ln D). Prints what docs/decisions/053 shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.correct.ladder import Knowledge, find_correction
from darklung.correct.response import SpectralResponse
from darklung.correct.wedge import Wedge, calibrate_response
from darklung.physics.instrument import Instrument, make_instrument
from darklung.physics.materials import MATERIALS, delta, linear_attenuation
from darklung.physics.scattering import two_phase
from darklung.physics.spectrum import band, tube
from darklung.tomo.fbp import fbp

PHI, INTERFACE_PER_M, FOAM_M = 0.25, 80_200.0, 0.004
WATER_M = np.linspace(0, 0.025, 26)
BONE_M = np.linspace(0, 0.006, 26)
SPECTRA = ("tube, design 30 keV", "tube, design 60 keV", "band 60-80 keV")
# Rows of the table: what is told -> (method, whether the spectra are calibrated, whether the look-up is the wedge's own).
RADIOGRAPH_ROWS: Mapping[str, tuple[str, bool, bool]] = {
    "none": ("none", False, False),
    "look_up, believed": ("look_up", False, False),
    "look_up, measured": ("look_up", True, True),
    "two_material, believed": ("two_material", False, False),
    "two_material, calibrated": ("two_material", True, False),
    "factor, measured": ("factor", True, True),
    "inversion, believed": ("inversion", False, False),
    "inversion, calibrated": ("inversion", True, False),
}
CT_ROWS = {
    **{k: v for k, v in RADIOGRAPH_ROWS.items() if not k.startswith("two_material")},
    "segmentation, calibrated": ("segmentation", True, False),
    "inversion_segmented, calibrated": ("inversion_segmented", True, False),
}
# CT slice: (y, x) of rods [m]; the cylinder's radius is 12.5 mm.
PIXEL_M, COLS, VIEWS, RADIUS_M = 2e-4, 144, 240, 0.0125
FOAM_RODS_M = {"centre": (0.0, 0.0), "half way": (0.0, 0.0062), "edge": (0.0088, 0.0)}
FOAM_RADIUS_M, BONE_RADIUS_M = 0.0025, 0.0015
BONE_RODS_M = ((-0.007, -0.004), (-0.006, 0.006))


@cache
def instrument(name: str, *, nominal: bool) -> Instrument:
    """The true instrument, or what its owner believes."""
    design, reference = {SPECTRA[0]: (30, 45), SPECTRA[1]: (60, 45), SPECTRA[2]: (70, 70)}[name]
    if name.startswith("tube"):
        filters = {"al": 2e-3} if nominal else {"al": 3e-3, "cu": 1e-4}
        source = tube(kvp=100, low_kev=15, bins=30 if nominal else 85, filters_m=filters)
    else:
        source = band(low_kev=60, high_kev=80, bins=8 if nominal else 40)
    return make_instrument(
        spectrum=source,
        design_energy_kev=design + 2 * nominal,
        flat_visibility=0.1,
        reference_energy_kev=reference,
        correlation_length_m=2e-6 * 70 / reference,
    )


def foam(energies_kev: ArrayLike, correlation_length_m: ArrayLike) -> NDArray[np.float64]:
    """ε of the foam [1/m]."""
    return two_phase(PHI, INTERFACE_PER_M, delta("soft_tissue", 1.05, energies_kev), energies_kev, correlation_length_m)


def true_foam(name: str) -> float:
    """ε of the foam at the reference energy [1/m]."""
    truth = instrument(name, nominal=False)
    return float(foam(truth.reference_energy_kev, truth.reference_correlation_length_m))


def measure(truth: Instrument, water_m: ArrayLike, foam_m: ArrayLike = 0.0, bone_m: ArrayLike = 0.0):
    """(−ln T, −ln D) of water, foam and bone (at 1 g/cm³) in the beam, noise-free."""
    densities = {"water": 1.0, "soft_tissue": 1.05 * PHI, "bone": 1.0}
    paths = np.broadcast_arrays(*(np.asarray(p, np.float64) for p in (water_m, foam_m, bone_m)))
    depth = sum(
        np.multiply.outer(p, linear_attenuation(m, d, truth.energies_kev)) for p, (m, d) in zip(paths, densities.items())
    )
    scatter = np.multiply.outer(paths[1], foam(truth.energies_kev, truth.correlation_length_m))
    return SpectralResponse.of(truth).measured(depth, scatter)


def projections(attenuation, dark_field, *, variances=(0.0, 0.0), geometry: ParallelGeometry | None = None) -> Projections:
    """Maps of one direction: a line of a radiograph, or (view, col) of a slice."""
    found = np.asarray(attenuation, dtype=np.float64)
    shape = (1, 1, 1, found.size) if geometry is None else (1, geometry.views, 1, geometry.cols)
    maps = {name: np.zeros(shape) for name in PROJECTION_MAPS[:-1]}
    maps |= {"attenuation": np.reshape(found, shape), "dark_field": np.reshape(dark_field, shape)}
    maps |= {"attenuation_variance": np.full(shape, variances[0]), "dark_field_variance": np.full(shape, variances[1])}
    place = geometry or ParallelGeometry(np.zeros(1), 1, shape[-1], 1e-4)
    return Projections(**maps, valid=np.ones(shape, bool), directions_rad=np.zeros(1), geometry=place)


@cache
def wedge(name: str) -> Wedge:
    """17 steps to 40 mm, each the mean of enough pixels for errors of 2e-4 in −ln T and 1e-3 in −ln D."""
    thickness, rng = np.linspace(0, 0.04, 17), stream(0, "wedge", name)
    attenuation, dark_field = measure(instrument(name, nominal=False), thickness)
    noise = rng.normal(0, 2e-4, 17), rng.normal(0, 1e-3, 17)
    return Wedge("water", thickness, attenuation + noise[0], dark_field + noise[1])


@cache
def knowledge(name: str, *, calibrated: bool, measured: bool) -> Knowledge:
    """What a row of the table knows."""
    nominal = SpectralResponse.of(instrument(name, nominal=True))
    response = calibrate_response(wedge(name), nominal) if calibrated else nominal
    return Knowledge(response, wedge=wedge(name) if measured else None)


def correction(name: str, row: tuple[str, bool, bool], **known) -> Callable[[Projections], Projections]:
    """Projections -> corrected projections."""
    method, calibrated, measured = row
    knows = replace(knowledge(name, calibrated=calibrated, measured=measured), **known)
    return lambda p: find_correction(method)(p, knows)


@dataclass(frozen=True)
class Quality:
    """How good a correction is on the radiographs.

    bias : largest |−ln D| of 0 to 25 mm of water; bone : the same with bone of known path; level : mean foam ε over the true
    one; variation : largest deviation of foam ε from its mean over the water; attenuation : largest error of −ln T of water.
    """

    bias: float
    bone: float
    level: float
    variation: float
    attenuation: float


@cache
def quality(name: str, told: str) -> Quality:
    """One row of the first table."""
    truth, row = instrument(name, nominal=False), RADIOGRAPH_ROWS[told]
    alone, with_foam = (correction(name, row)(projections(*measure(truth, WATER_M, path))) for path in (0.0, FOAM_M))
    known = {"second_m": BONE_M} if row[0] in ("two_material", "inversion") else {}
    bone = correction(name, row, **known)(projections(*measure(truth, WATER_M, 0.0, BONE_M)))
    epsilon = with_foam.dark_field.ravel() / FOAM_M
    mu = float(linear_attenuation("water", 1.0, truth.reference_energy_kev))
    return Quality(
        bias=float(np.abs(alone.dark_field).max()),
        bone=float(np.abs(bone.dark_field).max()),
        level=float(epsilon.mean() / true_foam(name)),
        variation=float(np.abs(epsilon / epsilon.mean() - 1).max()),
        attenuation=float(np.abs(alone.attenuation.ravel() - mu * WATER_M).max()),
    )


def _chord(geometry: ParallelGeometry, centre: tuple[float, float], radius_m: float) -> NDArray[np.float64]:
    """Paths through a circle at (y, x), (view, col), averaged over each pixel."""
    y, x = centre
    middle = (x * np.cos(geometry.angles_rad) + y * np.sin(geometry.angles_rad))[:, None, None]
    edges = (np.arange(geometry.cols) - geometry.axis_col)[:, None] + (np.arange(8) + 0.5) / 8 - 0.5
    s = geometry.pixel_m * edges[None] - middle
    return np.asarray(2 * np.sqrt(np.maximum(radius_m**2 - s**2, 0)).mean(axis=-1))


@cache
def slices(name: str) -> dict[str, Projections]:
    """The cylinder alone, with foam rods, with bone rods, and with both."""
    geometry = ParallelGeometry(np.pi * np.arange(VIEWS) / VIEWS, 1, COLS, PIXEL_M)
    truth = instrument(name, nominal=False)
    whole = _chord(geometry, (0, 0), RADIUS_M)
    foams = sum(_chord(geometry, c, FOAM_RADIUS_M) for c in FOAM_RODS_M.values())
    bones = sum(_chord(geometry, c, BONE_RADIUS_M) for c in BONE_RODS_M)
    mass = bones * MATERIALS["bone"].density_g_cm3
    objects = {"alone": (whole,), "foam": (whole - foams, foams), "bone": (whole - bones, 0.0, mass)}
    objects["both"] = (whole - foams - bones, foams, mass)
    return {k: projections(*measure(truth, *paths), geometry=geometry) for k, paths in objects.items()}


def _inside(centre: tuple[float, float], radius_m: float) -> NDArray[np.bool_]:
    y, x = PIXEL_M * (np.mgrid[:COLS, :COLS] - (COLS - 1) / 2)
    return np.asarray(np.hypot(y - centre[0], x - centre[1]) < radius_m)


@cache
def ct_quality(name: str, told: str) -> dict[str, float]:
    """One row of the second table: largest |−ln D| without foam; ε over the true foam's in water, bone, foam."""
    run, true = correction(name, CT_ROWS[told]), true_foam(name)
    found, rods = {}, [_inside(c, FOAM_RADIUS_M - 4 * PIXEL_M) for c in FOAM_RODS_M.values()]
    scans = {k: run(p) for k, p in slices(name).items()}
    volumes = {k: fbp(p.dark_field[0], p.geometry)[0] for k, p in scans.items()}
    found["bias"] = float(np.abs(scans["alone"].dark_field).max())
    found["bone bias"] = float(np.abs(scans["bone"].dark_field).max())
    found["water"] = float(volumes["alone"][_inside((0, 0), RADIUS_M - 6 * PIXEL_M)].mean() / true)
    for kind in ("foam", "both"):
        levels = np.array([volumes[kind][rod].mean() for rod in rods]) / true
        found[f"{kind} level"], found[f"{kind} spread"] = float(levels.mean()), float(np.ptp(levels) / levels.mean() / 2)
    bones = np.any([_inside(c, BONE_RADIUS_M - 3 * PIXEL_M) for c in BONE_RODS_M], axis=0)
    found["in bone"] = float(volumes["bone"][bones].mean() / true)
    return found


def main() -> None:
    """Print both tables."""
    for name in SPECTRA:
        raw = float(measure(instrument(name, nominal=False), 0.025)[1])
        print(f"\n{name}: false -ln D behind 25 mm of water {raw:+.4f}; foam at {true_foam(name):.1f} /m")
        print(f"  radiograph {'bias':>21}{'bone bias':>11}{'level':>8}{'variation':>11}{'-ln T':>8}")
        for told in RADIOGRAPH_ROWS:
            q = quality(name, told)
            numbers = f"{q.bias:9.4f}{q.bone:11.4f}{q.level:8.3f}{100 * q.variation:10.2f}%{q.attenuation:8.4f}"
            print(f"    {told:<25}{numbers}")
        columns = ("bias", "water", "bone bias", "in bone", "foam level", "foam spread", "both level", "both spread")
        print(f"  CT slice{'':<25}" + "".join(f"{c:>14}" for c in columns))
        for told in CT_ROWS:
            q = ct_quality(name, told)
            print(f"    {told:<29}" + "".join(f"{q[c]:14.4f}" for c in columns))


if __name__ == "__main__":
    main()

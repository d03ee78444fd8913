"""Calibration on known truth and on the measured microspheres: ``python benchmarks/calibration.py [--tables FOLDER]``.

Prints (1) pulls of ξ, scale and offset fitted to noisy sphere series; (2) sizes and amounts from one and from two settings;
(3) fibre bundles through the whole simulator, raw frames included; (4) foams in a water cylinder at two scanners with
different spectra: raw ε, ε at one energy, and scatter units. Measured powders and sizes: `benchmarks/spheres.py`.
``--tables`` writes the simulated measurements of docs/calibration.md as CSV.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darklung.calibrate.fibres import FibreCalibration, fit_fibres
from darklung.calibrate.sizes import sizes, sizes_from_two
from darklung.calibrate.sphere_fits import fit_spheres
from darklung.calibrate.spheres import SphereCalibration
from darklung.calibrate.units import to_reference_spectrum, unit_from_regions
from darklung.core.channel import dark_field as dark_field_channel
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.correct.response import SpectralResponse
from darklung.correct.wedge import Wedge, calibrate_response
from darklung.physics.constants import wavelength_m
from darklung.physics.instrument import Instrument, make_instrument
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import sphere, two_phase
from darklung.physics.spectrum import tube
from darklung.retrieve.stepping import retrieve
from darklung.simulate.objects import fibres, suspension
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan
from darklung.tomo.fbp import fbp
from hardening import (
    COLS,
    FOAM_M,
    PIXEL_M,
    RADIUS_M,
    SPECTRA,
    VIEWS,
    _chord,
    _inside,
    instrument,
    measure,
    projections,
)

DIAMETERS_M = 1e-6 * np.array([0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.5, 6.5, 9.0])
DEPTH_M, ENERGY_KEV, FILL = 0.012, 60.0, 0.1
XI_M = {"near": 0.8e-6, "far": 2.4e-6}
NOISE = 0.01
ANGLES_DEG, DIRECTIONS_DEG, TURN_DEG = (0.0, 20.0, 45.0, 70.0, 90.0, 120.0, 150.0), (0.0, 45.0, 90.0, 135.0), 3.0
# Foam rods of the comparison of scanners: (y, x) [m], φ, S_V [1/m]; the first is the reference phantom.
FOAMS = (
    ((0.0, 0.0), 0.25, 8.0e4),
    ((0.0, 0.0075), 0.30, 6.0e4),
    ((0.0075, 0.0), 0.20, 5.0e4),
    ((0.0, -0.0075), 0.35, 9.0e4),
)
ROD_M = 0.0025
# Cell with spheres in water, and their diameters.
SUSPENSION_M, SUSPENDED_M = 0.012, 1e-6 * np.array([0.5, 0.8, 1.3, 2.0, 3.0, 4.5, 7.0, 10.0, 15.0])


def sphere_signal(setting: str, diameter_m: NDArray[np.float64] = DIAMETERS_M) -> NDArray[np.float64]:
    """True −ln D of dilute spheres of polystyrene in water."""
    contrast = float(delta("sio2", 2.0, ENERGY_KEV) - delta("water", 1.0, ENERGY_KEV))
    return DEPTH_M * sphere(diameter_m, FILL, contrast, ENERGY_KEV, XI_M[setting])


def true_scale_per_m2() -> float:
    """3π² f δ²/λ² of the spheres."""
    contrast = float(delta("sio2", 2.0, ENERGY_KEV) - delta("water", 1.0, ENERGY_KEV))
    return float(3 * np.pi**2 * FILL * contrast**2 / wavelength_m(ENERGY_KEV) ** 2)


def sphere_pulls(runs: int = 200) -> dict[str, NDArray[np.float64]]:
    """(error over standard error) of the fitted parameters over noisy series, {parameter: (run,)}."""
    found = []
    for run in range(runs):
        noisy = sphere_signal("near") + 0.1 + stream(run, "spheres").normal(0, NOISE, len(DIAMETERS_M))
        fit = fit_spheres(diameter_m=DIAMETERS_M, signal=noisy, thickness_m=DEPTH_M)
        errors = np.sqrt(np.diag(fit.covariance))
        values = np.array([fit.scale_per_m2, fit.correlation_length_m, fit.offset])
        found.append((values - [true_scale_per_m2(), XI_M["near"], 0.1]) / errors)
    return dict(zip(("scale", "xi", "offset"), np.transpose(found)))


def sphere_curves(noise: float = 0.002) -> dict[str, SphereCalibration]:
    """A calibration of each setting, without an offset."""
    found = {}
    for setting in XI_M:
        noisy = sphere_signal(setting) + stream(0, "curve", setting).normal(0, noise, len(DIAMETERS_M))
        options = {"thickness_m": DEPTH_M, "offset": False, "setting": setting}
        found[setting] = fit_spheres(diameter_m=DIAMETERS_M, signal=noisy, **options)
    return found


@cache
def suspension_fit(ordered: bool) -> SphereCalibration:
    """Spheres in water through the simulator: raw frames of a 12 mm cell in a band of 60–80 keV, retrieved, fitted.

    A pixel behind the middle of the cell sees `SUSPENSION_M`. The fit knows neither the spectrum nor the order of spheres.
    """
    found = []
    protocol = Protocol(views=1, steps=8, directions_rad=(0.0,), flats=1, flat_repeats=4, counts_per_pixel=3e6)
    for diameter in SUSPENDED_M:
        cell = suspension(
            sphere_diameter_m=diameter,
            voxel_m=3e-4,
            shape=(10, 44, 44),
            volume_fraction=0.05,
            diameter_m=SUSPENSION_M,
            ordered=ordered,
        )
        maps = retrieve(simulate_scan(cell, instrument=make_instrument(), protocol=protocol, seed=int(1e9 * diameter)))
        middle = maps.dark_field[0, 0][:, 20:24][maps.valid[0, 0][:, 20:24]]
        found.append(float(np.mean(middle)))
    return fit_spheres(diameter_m=SUSPENDED_M, signal=found, thickness_m=SUSPENSION_M)


@cache
def fibre_signals() -> NDArray[np.float64]:
    """Median −ln D of a ball of fibres, (bundle, direction), from raw frames of gratings that are turned by `TURN_DEG`."""
    found = []
    true = tuple(np.radians(np.array(DIRECTIONS_DEG) + TURN_DEG))
    protocol = Protocol(views=1, steps=8, directions_rad=true, flats=1, flat_repeats=4, counts_per_pixel=1e6)
    for angle in ANGLES_DEG:
        ball = fibres(diameter_m=2.5e-3, voxel_m=1e-4, shape=(20, 30, 30), angle_rad=np.radians(angle), tissue_fraction=0.3)
        maps = retrieve(simulate_scan(ball, instrument=make_instrument(), protocol=protocol, seed=int(angle)))
        inside = np.hypot(*np.meshgrid(*(1e-4 * (np.arange(n) - (n - 1) / 2) for n in maps.valid.shape[2:]), indexing="ij"))
        found.append([np.mean(d[0][(inside < 8e-4) & v[0]]) for d, v in zip(maps.dark_field, maps.valid)])
    return np.array(found)


def fibre_fit() -> FibreCalibration:
    """Calibration with the directions as they are said to be."""
    return fit_fibres(angle_rad=np.radians(ANGLES_DEG), directions_rad=np.radians(DIRECTIONS_DEG), signal=fibre_signals())


@dataclass(frozen=True)
class Scanner:
    """A true instrument and what its owner believes, both with the same gratings and distance."""

    true: Instrument
    believed: Instrument


@cache
def scanners() -> dict[str, Scanner]:
    """Two scanners with the same gratings: 80 kV lightly filtered, and 120 kV with copper."""
    found = {}
    for name, kvp, true, believed, design in (
        ("80 kV", 80, {"al": 2e-3}, {"al": 1.5e-3}, 40),
        ("120 kV", 120, {"al": 3e-3, "cu": 2e-4}, {"al": 3e-3}, 50),
    ):
        options = {"flat_visibility": 0.12, "correlation_length_m": 1.5e-6, "reference_energy_kev": 60}
        made = [
            make_instrument(
                spectrum=tube(kvp=kvp, low_kev=20, bins=bins, filters_m=filters), design_energy_kev=design + shift, **options
            )
            for bins, filters, shift in ((50, true, 0), (30, believed, 2))
        ]
        found[name] = Scanner(*made)
    return found


def scan_of_foams(truth: Instrument):
    """CT slice of a water cylinder of 25 mm with the rods of `FOAMS`."""
    geometry = ParallelGeometry(np.pi * np.arange(VIEWS) / VIEWS, 1, COLS, PIXEL_M)
    energies, xi = truth.energies_kev, truth.correlation_length_m
    rods = [_chord(geometry, place, ROD_M) for place, _, _ in FOAMS]
    depth = np.multiply.outer(_chord(geometry, (0, 0), RADIUS_M) - sum(rods), linear_attenuation("water", 1.0, energies))
    scatter = 0.0
    for path, (_, phi, area) in zip(rods, FOAMS):
        depth = depth + np.multiply.outer(path, linear_attenuation("soft_tissue", 1.05 * phi, energies))
        law = two_phase(phi, area, delta("soft_tissue", 1.05, energies), energies, xi)
        scatter = scatter + np.multiply.outer(path, law)
    return projections(*SpectralResponse.of(truth).measured(depth, scatter), geometry=geometry)


@cache
def compared_scanners() -> dict[str, dict[str, NDArray[np.float64]]]:
    """{value: {scanner: of each foam}}: raw ε, ε at 60 keV, ε as the 120 kV beam shows it, and SU of raw and of both."""
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    rods = [_inside(place, ROD_M - 4 * PIXEL_M) for place, _, _ in FOAMS]
    zero = _inside((0.0052, 0.0052), 0.0015)
    responses = {}
    for name, scanner in scanners().items():
        thickness, rng = np.linspace(0, 0.04, 17), stream(0, "wedge", name)
        values = measure(scanner.true, thickness)
        noisy = [v + rng.normal(0, s, 17) for v, s in zip(values, (2e-4, 1e-3))]
        responses[name] = calibrate_response(Wedge("water", thickness, *noisy), SpectralResponse.of(scanner.believed))
    for name, scanner in scanners().items():
        raw = scan_of_foams(scanner.true)
        own, reference = responses[name], responses["120 kV"]
        versions = {
            "raw": raw,
            "at 60 keV": to_reference_spectrum(raw, own),
            "as at 120 kV": to_reference_spectrum(raw, own, reference),
        }
        for told, maps in versions.items():
            volume = fbp(maps.dark_field[0], maps.geometry)[0]
            found.setdefault(told, {})[name] = np.array([volume[rod].mean() for rod in rods])
            unit = unit_from_regions(volume, zero=zero, reference=rods[0], name="foam 0.25, 800/cm", correlated=4.0)
            found.setdefault(f"{told}, SU", {})[name] = np.array([unit.units(volume[rod].mean())[0] for rod in rods])
    found["true at 60 keV"] = {
        name: np.array(
            [
                float(two_phase(phi, area, delta("soft_tissue", 1.05, 60.0), 60.0, s.true.reference_correlation_length_m))
                for _, phi, area in FOAMS
            ]
        )
        for name, s in scanners().items()
    }
    return found


def print_simulated() -> None:
    """Sections 1 to 4."""
    pulls = sphere_pulls()
    print("pulls over 200 noisy series of 11 spheres (Student's t with 8 degrees of freedom: SD 1.15)")
    for name, values in pulls.items():
        print(f"  {name:<8} mean {values.mean():+.3f}  SD {values.std():.3f}")
    curves = sphere_curves()
    print("\nsizes from noisy signals (sigma 0.005 in −ln D); amount 0.7 of the calibration's in the last two columns")
    print(f"  {'true um':>8}{'one setting':>24}{'two settings um':>20}{'amount':>9}")
    rng = stream(1, "samples")
    for diameter in 1e-6 * np.array([0.4, 0.9, 1.6, 2.5, 4.0, 7.0]):
        noise = 0.005
        full = [float(sphere_signal(s, np.array([diameter]))[0]) + rng.normal(0, noise) for s in XI_M]
        one = sizes(curves["near"], full[0], noise**2)
        told = f"{1e6 * one.small_m.item():.2f} or {1e6 * one.large_m.item():.2f}, branch {one.branch.item()}"
        less = [0.7 * float(sphere_signal(s, np.array([diameter]))[0]) + rng.normal(0, noise) for s in XI_M]
        two = sizes_from_two((curves["near"], curves["far"]), (less[0], less[1]), (noise**2, noise**2))
        size = f"{1e6 * two.size_m.item():.2f} +- {1e6 * two.size_error_m.item():.2f}"
        print(f"  {1e6 * diameter:8.2f}{told:>24}{size:>20}{two.amount.item():9.3f}")
    made = make_instrument()
    weights = made.weights * made.visibility * made.energies_kev**-2.0 * made.correlation_length_m
    mean_xi = float((weights * made.correlation_length_m).sum() / weights.sum())
    print(
        "\nspheres in water through the simulator, 5 % of the volume, 60-80 keV; ξ at 70 keV "
        f"{1e6 * made.reference_correlation_length_m:.3f} um, mean weighed by scattering {1e6 * mean_xi:.3f} um"
    )
    for ordered in (False, True):
        cell = suspension_fit(ordered)
        error = np.sqrt(np.diag(cell.covariance))
        told = "ordered (hard spheres)" if ordered else "at random"
        print(
            f"  {told:<24} fitted xi {1e6 * cell.correlation_length_m:.3f} +- "
            f"{1e6 * error[1]:.3f} um, offset {cell.offset:+.4f} +- {error[2]:.4f}, residual {cell.residual:.4f}"
        )
    fit = fibre_fit()
    print(
        f"\nfibres through the simulator, gratings turned by {TURN_DEG:g} deg: found {-np.degrees(fit.turn_rad):.3f} +- "
        f"{np.degrees(fit.turn_error_rad):.3f} deg; angle errors {np.degrees(fit.angle_error_rad).round(3)} deg"
    )
    print(f"  modulation {fit.reference_modulation:.4f} +- {fit.reference_modulation_error:.4f}, misfit {fit.misfit:.4f}")
    print("\nfoams in a water cylinder of 25 mm at two scanners (foam 0 is the reference phantom)")
    for told, by in compared_scanners().items():
        ratio = by["80 kV"] / by["120 kV"]
        print(f"  {told:<18} 80 kV {by['80 kV'].round(1)}  120 kV {by['120 kV'].round(1)}  ratio {ratio.round(3)}")


def write_tables(folder: Path) -> None:
    """Simulated measurements as CSV, as a user would have them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = stream(0, "tables")

    def save(name: str, rows: list[dict[str, object]]) -> None:
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    for setting in XI_M:
        noisy = sphere_signal(setting) + rng.normal(0, 0.004, len(DIAMETERS_M))
        save(
            f"spheres_{setting}.csv",
            [
                {
                    "name": f"{1e6 * d:g} um",
                    "diameter_um": round(1e6 * d, 3),
                    "thickness_mm": 1e3 * DEPTH_M,
                    "attenuation": 0.25,
                    "dark_field": round(s, 5),
                }
                for d, s in zip(DIAMETERS_M, noisy)
            ],
        )
    name = SPECTRA[1]
    steps = [(w, 0.0, 0) for w in np.linspace(0, 30, 13)] + [(w, 0.0, 1) for w in np.linspace(0, 25, 6)]
    steps += [(0.0, b, 0) for b in (1.0, 2.0, 3.0)] + [(10.0, 1.5, 0), (20.0, 1.5, 0)]
    rows = []
    for water, bone, foam in steps:
        a, d = measure(instrument(name, nominal=False), 1e-3 * water, FOAM_M * foam, 1.92e-3 * bone)
        rows.append(
            {
                "water_mm": water,
                "bone_mm": bone,
                "foam": foam,
                "attenuation": round(float(a) + rng.normal(0, 2e-4), 6),
                "attenuation_error": 2e-4,
                "dark_field": round(float(d) + rng.normal(0, 1e-3), 5),
                "dark_field_error": 1e-3,
            }
        )
    save("wedge.csv", rows)
    columns = [dark_field_channel(a).name for a in DIRECTIONS_DEG]
    save(
        "fibres.csv",
        [
            {"name": f"fibres {a:g}", "angle_deg": a, **{c: round(float(v), 5) for c, v in zip(columns, s)}}
            for a, s in zip(ANGLES_DEG, fibre_signals())
        ],
    )
    print(f"tables: {folder}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, help="write the simulated measurements there and stop")
    options = parser.parse_args()
    if options.tables:
        write_tables(options.tables)
        return
    print_simulated()


if __name__ == "__main__":
    main()

"""Scattering models against measured data: ``python benchmarks/real_scattering.py [--data ../shared/data] [--out FOLDER]``.

Microspheres: −ln D against diameter with one free scale. Mouse lobes: the ratio ε/μ of dried healthy lung, nothing fitted,
and what emphysema and inflammation as stereology measured them would change beside what smoke changed.
Instruments are those of examples/protocols, which tell what is published and what assumed. Prints numbers; with
--out also draws figures there.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
from pathlib import Path

import h5py
import numpy as np
from scipy.optimize import brentq, minimize_scalar

from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import hard_spheres, sphere, two_phase
from darklung.physics.slab import slab_signal
from darklung.study.protocols import read_protocol

CELL_M = 12e-3
SPHERE_DENSITY = 2.0  # g/cm³ of colloidal silica
SOLID_FRACTION = 0.5  # assumed; absorbed by the free scale for the dilute model
FRESH_FRACTION = (0.25, 0.30)
FRESH_SURFACE_PER_M = (6.0e4, 8.0e4)
DRY_MASS = (0.20, 0.25)  # dry over wet mass of lung tissue
SHRINKAGE = (0.75, 0.90)  # linear, critical-point drying
DRY_DENSITY = 1.3  # g/cm³, protein
# Tissue fraction and S_V over those of controls, as stereology found them in other animals; docs/decisions/032 derives them.
DISEASES = {
    "emphysema, elastase, hamsters (10.1164/arrd.1978.117.4.685)": (0.72, 0.52),
    "S_V alone −20 %": (1.0, 0.8),
    "S_V and tissue −20 %": (0.8, 0.8),
    "inflammation, oxygen 48 h, mice (10.1111/j.1365-2613.2012.00823.x)": (1.28, 1.0),
    "the same with S_V −7 % (newborns, 24 h)": (1.28, 0.93),
}


def read_spheres(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Diameter [m], −ln T and −ln D (median over pixels) of every powder."""
    rows = list(csv.DictReader((folder / "index.csv").open()))
    basis = np.exp(-2j * np.pi * np.arange(19) / 19)
    found = []
    for row in rows:
        part = slice(int(row["first_pixel"]), int(row["last_pixel"]))
        with h5py.File(folder / row["file"]) as file:
            data = file["postprocessing"]
            curves = [
                np.asarray(data[k][0, part], float).sum(axis=1)
                for k in ("phase_stepping_curves", "flat_phase_stepping_curves")
            ]
        total, flat_total = (c.sum(axis=-1) for c in curves)
        visibility, flat_visibility = (np.abs(c @ basis) / c.sum(axis=-1) for c in curves)
        found.append(
            (
                float(row["diameter_um"]) * 1e-6,
                np.median(-np.log(total / flat_total)),
                np.median(-np.log(visibility / flat_visibility)),
            )
        )
    diameter, attenuation, dark_field = np.array(found).T
    return diameter, attenuation, dark_field


def packed(diameter_m: float, fraction: float, contrast: np.ndarray, energy_kev: np.ndarray, xi_m: np.ndarray) -> np.ndarray:
    """A two-phase medium with the spheres' interface, 6 f/D."""
    return two_phase(fraction, 6 * fraction / diameter_m, contrast, energy_kev, xi_m)


def microspheres(folder: Path, out: Path | None) -> None:
    """Fit one scale to the 11 diameters, for three models."""
    setup = read_protocol("microspheres").instrument.instrument()
    energies, xi = setup.energies_kev, setup.correlation_length_m
    diameter, attenuation, dark_field = read_spheres(folder)
    mu = linear_attenuation("sio2", 1.0, energies) * CELL_M
    mass = [brentq(lambda m, a=a: float(slab_signal(setup, attenuation=mu * m)[0]) - a, 0, 5) for a in attenuation]
    contrast = delta("sio2", SPHERE_DENSITY, energies)
    curves = {}
    models = {"independent spheres": sphere, "hard spheres": hard_spheres, "random medium": packed}
    for name, model in models.items():
        depth = np.array([model(d, SOLID_FRACTION, contrast, energies, xi) * CELL_M for d in diameter])

        def predict(scale: float, depth: np.ndarray = depth) -> np.ndarray:
            return slab_signal(setup, attenuation=np.outer(mass, mu), scattering=scale * depth)[1]

        scale = minimize_scalar(lambda s: ((predict(s) - dark_field) ** 2).sum(), bounds=(0, 20), method="bounded").x
        curves[name] = predict(scale)
        large = diameter > 0.4e-6
        rms = [np.sqrt(((curves[name] - dark_field)[part] ** 2).mean()) for part in (slice(None), large)]
        print(f"{name}: scale {scale:.3f}, RMS residual {rms[0]:.3f} (all), {rms[1]:.3f} (above 0.4 µm)")
        for d, measured, fitted in zip(diameter, dark_field, curves[name]):
            print(f"  {1e6 * d:6.3f} µm  measured {measured:.3f}  model {fitted:.3f}  residual {fitted - measured:+.3f}")
    if out is not None:
        draw(out, diameter, dark_field, curves)


def draw(out: Path, diameter: np.ndarray, dark_field: np.ndarray, curves: dict[str, np.ndarray]) -> None:
    """Figure of the microspheres."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(1e6 * diameter, dark_field, "ko", label="measured")
    for name, values in curves.items():
        axes.semilogx(1e6 * diameter, values, label=f"{name}, one free scale")
    ticks = [0.2, 0.5, 1, 2, 5]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="sphere diameter [µm]", ylabel="−ln D, 12 mm cell", ylim=(0, None))
    axes.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "microspheres.png", dpi=120)


def predicted_signals(tissue: float = 1.0, surface: float = 1.0) -> np.ndarray:
    """−ln T and −ln D of 3 mm of dried lung, (2, corner), over all corners of the assumed ranges.

    `tissue` and `surface` multiply tissue fraction and S_V of the fresh lung.
    """
    setup = read_protocol("mouse_lobes").instrument.instrument()
    energies = setup.energies_kev
    signals = []
    for fresh, area, dry, shrink in itertools.product(FRESH_FRACTION, FRESH_SURFACE_PER_M, DRY_MASS, SHRINKAGE):
        fraction = tissue * fresh * 1.05 * dry / DRY_DENSITY / shrink**3
        epsilon = two_phase(
            fraction,
            surface * area / shrink,
            delta("soft_tissue", DRY_DENSITY, energies),
            energies,
            setup.correlation_length_m,
        )
        mu = linear_attenuation("soft_tissue", fraction * DRY_DENSITY, energies)
        signals.append(slab_signal(setup, attenuation=mu * 3e-3, scattering=epsilon * 3e-3))
    return np.array(signals, dtype=float).T


def predicted_ratios() -> np.ndarray:
    """−ln D/−ln T of dried lung over all corners of the assumed ranges."""
    attenuation, dark_field = predicted_signals()
    return dark_field / attenuation


def diseases(measured: dict[str, np.ndarray]) -> None:
    """Changes of −ln T, −ln D and their ratio: measured with smoke, and predicted for the same thickness of lung."""
    smoke = np.exp(measured["smoke"].mean(axis=0) - measured["control"].mean(axis=0)) - 1
    spread = np.sqrt(sum(m.var(axis=0, ddof=1) / len(m) for m in measured.values()))
    print("change against controls [%]                                              −ln T    −ln D    ratio")
    told = "   ".join(f"{100 * c:+.0f} ± {100 * e:.0f}" for c, e in zip(smoke, spread))
    print(f"  measured, smoke, {len(measured['smoke'])} and {len(measured['control'])} mice {told}")
    plain = predicted_signals()
    for name, (tissue, surface) in DISEASES.items():
        attenuation, dark_field = predicted_signals(tissue, surface) / plain
        cells = [100 * (c - 1) for c in (attenuation, dark_field, dark_field / attenuation)]
        print(f"  {name:68s} " + "  ".join(f"{c.mean():+6.0f} " for c in cells))


def lobes(folder: Path, out: Path | None) -> None:
    """Compare with the medians of the lobes, mouse by mouse; nothing is fitted."""
    predicted = predicted_ratios()
    low, high = predicted.min(), predicted.max()
    print(
        f"dried healthy lung, predicted ratio: {predicted.mean():.1f}, range of assumptions {low:.1f} to {high:.1f}, "
        f"± 50 % of the model on top: {0.5 * low:.1f} to {1.5 * high:.1f}"
    )
    by_mouse: dict[tuple[str, str], list[float]] = {}
    signals: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for row in csv.DictReader((folder / "index.csv").open()):
        if row["kind"] == "region":
            data = np.load(folder / row["file"])
            attenuation, dark_field = (float(np.median(-np.log(data[name]))) for name in ("A", "B"))
            key = row["mouse"], row["exposure"]
            by_mouse.setdefault(key, []).append(dark_field / attenuation)
            signals.setdefault(key, []).append((attenuation, dark_field, dark_field / attenuation))
    for (mouse, exposure), values in by_mouse.items():
        print(f"  {mouse} {exposure:8s} measured {np.mean(values):.1f} (lobes {min(values):.1f} to {max(values):.1f})")
    healthy = [float(np.mean(values)) for (_, exposure), values in by_mouse.items() if exposure == "control"]
    inside = sum(low <= value <= high for value in healthy)
    print(
        f"  {inside} of {len(healthy)} control mice inside the range of assumptions; mean / predicted "
        f"{np.mean(healthy) / predicted.mean():.2f}"
    )
    means = {key: np.log(values).mean(axis=0) for key, values in signals.items()}
    kinds = ("control", "smoke")
    diseases({kind: np.array([m for (_, exposure), m in means.items() if exposure == kind]) for kind in kinds})
    if out is not None:
        draw_lobes(out, by_mouse, predicted)


def draw_lobes(out: Path, by_mouse: dict[tuple[str, str], list[float]], predicted: np.ndarray) -> None:
    """Figure of the lobes: one column a mouse, the prediction as a band."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    low, high = predicted.min(), predicted.max()
    axes.axhspan(0.5 * low, 1.5 * high, color="0.92", label="with ± 50 % of the model")
    axes.axhspan(low, high, color="0.8", label="predicted, range of assumptions")
    axes.axhline(predicted.mean(), color="0.4", lw=1)
    for column, ((_, exposure), values) in enumerate(by_mouse.items()):
        colour = "#1b6ca8" if exposure == "control" else "#c44e52"
        axes.plot([column] * len(values), values, "o", color=colour, ms=4, alpha=0.6)
        axes.plot(column, np.mean(values), "_", color=colour, ms=22, mew=2)
    axes.set_xticks(range(len(by_mouse)), [f"{mouse}\n{exposure}" for mouse, exposure in by_mouse], fontsize=8)
    axes.set(ylabel="−ln D / −ln T of dried lobes", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "mouse_lobes.png", dpi=120)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DARKLUNG_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"no measured data at {options.data}; give --data or set DARKLUNG_DATA")
    microspheres(options.data / "microspheres", options.out)
    lobes(options.data / "mouse_lung_lobes", options.out)


if __name__ == "__main__":
    main()

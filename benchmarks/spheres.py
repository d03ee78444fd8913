"""Calibration with spheres that predicts: ``python benchmarks/spheres.py [halves|floor|table|own|sizes] [--data FOLDER]``.

``halves``: of the measured powders five or six are fitted and the others predicted, for all 924 choices. ``floor``: the same
with powders drawn from the fit to all with the scatter that it found, so that the model is true. ``table``: −ln D
by diameter of a cell of 45 mm and of 12 mm behind 1 mm of copper, from the fit to all powders, of every sphere model and
averaged by their evidence. ``own``: each measured powder's size read by the calibration that all of them made. ``sizes``:
simulated powders and foams at 0.5, 1, 2 and 4 times the calibrated thickness, where neither spectrum nor V(E) is what is
believed: how often the 90 % interval holds the true size. Without a name all of them, floor and halves last (minutes).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darklung.calibrate.beam_fits import Belief, PowderRows, fit_with_evidence
from darklung.calibrate.powders import BEST, chosen_model
from darklung.calibrate.sizes import LEVEL, SizeMaps, sizes
from darklung.calibrate.sphere_fits import ModelRow, fit_powders
from darklung.calibrate.sphere_models import MODELS, SphereShape
from darklung.calibrate.spheres import SphereCalibration
from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.correct.response import SpectralResponse
from darklung.io.frames import load_scans
from darklung.physics.constants import wavelength_m
from darklung.physics.instrument import Instrument, make_instrument
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import two_phase
from darklung.physics.slab import slab_signal
from darklung.physics.spectrum import tube
from darklung.retrieve.stepping import retrieve
from darklung.study.protocols import read_protocol

CELL_M = 12e-3
FILL = 0.45
TOLD = {"45 mm": (0.045, ""), "12 mm, 1 mm Cu": (CELL_M, "cu 1 mm"), "45 mm, 1 mm Cu": (0.045, "cu 1 mm")}


# V0 behind 1 mm of copper over that without, as it was measured in this set-up (flats alone, no powder).
GAINS = (("cu 1 mm", 1.41),)


def belief(gains: tuple[tuple[str, float], ...] = GAINS) -> Belief:
    """The set-up as examples/protocols/microspheres.yaml has it, and what flats behind a filter say."""
    setup = read_protocol("microspheres").instrument.instrument()
    return Belief(SpectralResponse.of(setup), setup.reference_correlation_length_m, "sio2", gains=gains)


@cache
def measured_rows(folder: Path) -> PowderRows:
    """The measured powders as `darklung calibrate spheres` retrieves them."""
    os.environ["DARKLUNG_DATA"] = str(folder.resolve())
    found = []
    for _, scan, columns in load_scans(Path(__file__).parents[1] / "examples/real/microspheres.yaml"):
        maps = retrieve(scan, reference="interpolate")
        medians = [float(np.median(values[maps.valid])) for values in (maps.dark_field, maps.attenuation)]
        found.append((1e-6 * float(columns["diameter_um"]), *medians))
    diameter, dark_field, attenuation = np.array(found).T
    return PowderRows(diameter, dark_field, np.array(CELL_M), attenuation=attenuation)


def shapes(fill: float = FILL) -> list[SphereShape]:
    """All models."""
    return [SphereShape(model, fill) for model in MODELS]


def best_fit(rows: PowderRows, believed: Belief, fill: float = FILL) -> SphereCalibration:
    """The fit of the model that is taken."""
    return taken([fit_with_evidence(rows, believed, shape=s) for s in shapes(fill)])


def taken(fits: list[tuple[SphereCalibration, float]]) -> SphereCalibration:
    """Of fits with their evidence, that of the model that `darklung calibrate spheres` takes."""
    found = [ModelRow(fit, False, -2 * evidence, np.nan, np.nan) for fit, evidence in fits]
    model, _ = chosen_model(sorted(found, key=lambda row: row.score), BEST, False)
    return next(fit for fit, _ in fits if fit.shape.model == model)


def halves(rows: PowderRows, believed: Belief, every: int = 1) -> list[tuple[float, tuple[int, ...]]]:
    """(RMS error of the predicted powders, numbers of the fitted ones) of all choices of five or six, or of some.

    NaN where the calibration refuses the powders.
    """
    found = []
    everything = [c for size in (5, 6) for c in combinations(range(len(rows.signal)), size)]
    for chosen in everything[::every]:
        kept = np.isin(np.arange(len(rows.signal)), chosen)
        try:
            fit = best_fit(rows.part(kept), believed)
        except DarklungError:  # powders that contradict the gain predict nothing
            found.append((float("nan"), chosen))
            continue
        error = fit.signal_of(rows.diameter_m[~kept]) - rows.signal[~kept]
        found.append((float(np.sqrt(np.mean(error**2))), chosen))
    return found


def effective_halves(folder: Path) -> NDArray[np.float64]:
    """RMS error of all halves with packed spheres at one effective energy and an offset, for comparison."""
    rows, found = measured_rows(folder), []
    number = np.arange(len(rows.signal))
    for chosen in (c for size in (5, 6) for c in combinations(number, size)):
        kept = np.isin(number, chosen)
        fit = fit_powders(rows.part(kept), shape=SphereShape("packed", FILL))
        error = fit.signal_of(rows.diameter_m[~kept]) - rows.signal[~kept]
        found.append(float(np.sqrt(np.mean(error**2))))
    return np.array(found)


def print_halves(folder: Path, every: int = 1) -> None:
    """Median, quantiles and the worst half."""
    diameter = 1e6 * measured_rows(folder).diameter_m
    for name, gains in (("powders alone", ()), ("and the gain of V0 behind 1 mm of copper", GAINS)):
        found = sorted(pair for pair in halves(measured_rows(folder), belief(gains), every) if np.isfinite(pair[0]))
        values = np.array([rms for rms, _ in found])
        print(f"{len(found)} halves of the measured powders, {name}: RMS error of −ln D of those that were not fitted")
        print(f"  median {np.median(values):.4f}; 90 % below {np.quantile(values, 0.9):.4f}; worst:")
        for rms, chosen in found[:-4:-1]:
            print(f"  {rms:.3f} from " + ", ".join(f"{diameter[i]:.3g}" for i in chosen) + " µm")
    plain = effective_halves(folder)
    print(f"  one effective energy with an offset, all {len(plain)}: median {np.median(plain):.4f}, worst {plain.max():.3f}")


def print_floor(folder: Path, sets: int, every: int) -> None:
    """What the halves' median would be if the fitted curve were true: evenly filled cells drawn with the fit's scatter."""
    rows = measured_rows(folder)
    for name, gains in (("with the gain of V0 behind 1 mm of copper", GAINS), ("powders alone", ())):
        believed, medians, refused = belief(gains), np.empty(sets), 0
        fit = best_fit(rows, believed)
        for number in range(sets):
            noise = fit.residual * stream(number, "floor").standard_normal(len(rows.signal))
            drawn = replace(rows, signal=fit.signal_of(rows.diameter_m) + noise, attenuation=rows.attenuation.mean())
            found = [rms for rms, _ in halves(drawn, believed, every)]
            medians[number] = np.nanmedian(found)
            refused += int(np.isnan(found).sum())
        measured = [rms for rms, _ in halves(rows, believed, every)]
        low, middle, high = np.quantile(medians, (0.1, 0.5, 0.9))
        print(f"{fit.shape.model}, scatter {fit.residual:.3f}, {name}: median RMS of {len(measured)} halves {middle:.4f}")
        share = np.mean(medians <= 0.04)
        print(f"  ({low:.4f} to {high:.4f} in eight of ten of {sets} drawn sets); {share:.0%} within 0.04;")
        told = f"{np.mean(medians >= np.median(measured)):.0%} of the sets exceed; {refused} halves were refused"
        print(f"  measured {np.median(measured):.4f}, which {told}", flush=True)


def averaged(
    rows: PowderRows, believed: Belief, thickness_m: float, filters: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """−ln D of the rows' diameters averaged over models by evidence, its SD for one powder, and that of each model."""
    fits = [fit_with_evidence(rows, believed, shape=s) for s in shapes()]
    share = np.exp([evidence - max(e for _, e in fits) for _, evidence in fits])
    share /= share.sum()
    where = (rows.diameter_m, thickness_m, filters)
    values = np.array([fit.signal_of(*where) for fit, _ in fits])
    spread = np.array([fit.error_of(*where) ** 2 + fit.scatter_of(*where) ** 2 for fit, _ in fits])
    mean = share @ values
    return mean, np.sqrt(share @ (spread + (values - mean) ** 2)), {f.shape.model: v for (f, _), v in zip(fits, values)}


def print_table(folder: Path) -> None:
    """What the calibration says of thicknesses and filters that it has not seen."""
    for gains in ((), GAINS):
        print(f"\nflats behind a filter: {dict(gains) or 'none'}")
        _print_table(measured_rows(folder), belief(gains))


def _print_table(rows: PowderRows, believed: Belief) -> None:
    for shape in shapes():
        fit, evidence = fit_with_evidence(rows, believed, shape=shape)
        gain = fit.beam.gain("cu 1 mm") / fit.beam.gain("")  # type: ignore[union-attr]
        soft = float(fit.beam.visible[fit.beam.energies_kev < 30].sum())  # type: ignore[union-attr]
        print(
            f"{shape.model:<8} ln evidence {evidence:6.2f}  scatter {fit.residual:.4f}  scale {fit.scale_per_m2:.3g} /m²  "
            f"ξ(100 keV) {1e6 * fit.correlation_length_m:.2f} µm  visibility below 30 keV {soft:.2f}  "
            f"V0 behind 1 mm Cu × {gain:.2f}"
        )
    print("\n−ln D, averaged over the models ± standard deviation for one powder (models: " + ", ".join(MODELS) + ")")
    print(f"{'µm':>6} {'12 mm measured':>15} " + " ".join(f"{name:>36}" for name in ("12 mm fit", *TOLD)))
    columns = [averaged(rows, believed, *where) for where in ((CELL_M, ""), *TOLD.values())]
    for n, (d, s) in enumerate(zip(rows.diameter_m, rows.signal)):
        cells = []
        for mean, sd, each in columns:
            own = " ".join(f"{each[model][n]:5.2f}" for model in MODELS)
            cells.append(f"{mean[n]:6.3f} ± {sd[n]:.3f} ({own})".rjust(36))
        print(f"{1e6 * d:6.3f} {s:15.3f} " + " ".join(cells))


def print_own(folder: Path) -> None:
    """Sizes of the calibration's own powders, as `calibrate apply` reads a region: told, or the intervals alone."""
    rows = measured_rows(folder)
    fit = best_fit(rows, belief())
    print(f"own powders, read with {fit.shape.model} spheres (scatter of powders {fit.residual:.3f} in −ln D)")
    found = sizes(fit, rows.signal)
    for n, d in enumerate(rows.diameter_m):
        intervals = ", ".join(
            f"{1e6 * low:.3g} to {1e6 * high:.3g} µm" for low, high in (found.below_m[:, n], found.above_m[:, n]) if low > 0
        )
        told = f"{1e6 * found.size_m[n]:.3g} µm" if found.valid[n] else "censored"
        held = "holds it" if found.holds(rows.diameter_m)[n] else "misses it"
        print(f"  {1e6 * d:6.3f} µm: {told:<10} {intervals or 'no diameter'} ({held})")
    wrong = found.valid & (np.abs(found.size_m / rows.diameter_m - 1) > 0.1)
    print(
        f"  {int(found.valid.sum())} told, {int(wrong.sum())} of them off by more than 10 %; intervals hold "
        f"{int(found.holds(rows.diameter_m).sum())} of {len(rows.signal)}"
    )


@dataclass(frozen=True)
class Phantoms:
    """What is simulated: structures, the true instrument of a trial, and what is believed of it.

    Parameters
    ----------
    diameter_m : (sphere,) calibrated; unknown samples lie between the ends
    thickness_m : calibrated
    fill, material, density : of the scatterer [g/cm³ of the solid]
    believed : Instrument
    true : callable, trial -> Instrument
    law : callable, (diameter, δ, energies, ξ, trial) -> ε [1/m]
    models : which are fitted
    """

    diameter_m: NDArray[np.float64]
    thickness_m: float
    fill: float
    material: str
    density: float
    believed: Instrument
    true: Callable[[int], Instrument]
    law: Callable[..., NDArray[np.float64]]
    models: tuple[str, ...]


def true_instrument(trial: int, kvp: float, design: float, believed: Instrument) -> Instrument:
    """More filter than believed, another design energy, imperfect gratings, and soft photons of unknown visibility."""
    rng = stream(trial, "instrument", str(kvp))
    filters = {"al": 1e-3 * rng.uniform(2, 6)}
    options = {"correlation_length_m": believed.reference_correlation_length_m * rng.uniform(0.85, 1.15)}
    made = make_instrument(
        spectrum=tube(kvp=kvp, low_kev=20, bins=70, filters_m=filters),
        design_energy_kev=design * rng.uniform(0.93, 1.07),
        flat_visibility=0.07,
        reference_energy_kev=believed.reference_energy_kev,
        period_m=believed.period_m,
        **options,
    )
    soft = made.energies_kev < 0.35 * believed.reference_energy_kev
    mixed = made.visibility + rng.uniform(0, 0.2) * made.flat_visibility
    return replace(made, visibility=np.where(soft, mixed * rng.lognormal(0, 1), mixed).clip(0, 1))


def powders() -> Phantoms:
    """Powders of silica: random media in one half of the trials, hard spheres in the other."""

    def law(
        diameter: float, contrast: NDArray[np.float64], energies: NDArray[np.float64], xi: NDArray[np.float64], trial: int
    ):
        if trial % 2:
            strength = 3 * np.pi**2 * FILL * contrast**2 / wavelength_m(energies) ** 2
            return strength * xi * SphereShape("hard", FILL)(diameter / xi)
        return two_phase(FILL, 6 * FILL / diameter, contrast, energies, xi)

    believed = read_protocol("microspheres").instrument.instrument()
    diameter = 1e-6 * np.array([0.17, 0.26, 0.4, 0.6, 0.9, 1.3, 1.9, 2.8, 4.0, 5.6, 7.8])
    # Porous spheres: less contrast than silica of 2.2 g/cm³ has, by a factor that −ln T does not tell.
    said = (diameter, CELL_M / 4, FILL, "sio2", 1.2, believed)
    return Phantoms(*said, lambda n: true_instrument(n, 160, 100, believed), law, tuple(MODELS))


def foams() -> Phantoms:
    """Foams like lung: φ = 0.25, S_V of 3e4 to 1.5e5/m, that is 6φ/S_V of 10 to 50 µm."""

    def law(
        diameter: float, contrast: NDArray[np.float64], energies: NDArray[np.float64], xi: NDArray[np.float64], trial: int
    ):
        return two_phase(0.25, 6 * 0.25 / diameter, contrast, energies, xi)

    options = {
        "correlation_length_m": 2e-6,
        "reference_energy_kev": 45.0,
        "flat_visibility": 0.12,
        "design_energy_kev": 45.0,
    }
    believed = make_instrument(spectrum=tube(kvp=100, low_kev=20, bins=30, filters_m={"al": 2e-3}), **options)
    diameter = 1e-6 * np.geomspace(10, 50, 8)
    said = (diameter, 4e-3, 0.25, "soft_tissue", 1.05, believed)
    return Phantoms(*said, lambda n: true_instrument(n, 100, 45, believed), law, ("packed",))


def seen(
    what: Phantoms,
    truth: Instrument,
    trial: int,
    diameter_m: NDArray[np.float64],
    thickness_m: float,
    amount: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(−ln T, −ln D) of samples whose packing differs by `amount`."""
    energies, xi = truth.energies_kev, truth.correlation_length_m
    contrast = delta(what.material, what.density, energies)
    depth = thickness_m * linear_attenuation(what.material, what.fill * what.density, energies)
    signals = [
        slab_signal(truth, attenuation=a * depth, scattering=a * thickness_m * what.law(d, contrast, energies, xi, trial))
        for d, a in zip(diameter_m, amount)
    ]
    attenuation, dark_field = np.array(signals).T
    return attenuation, dark_field


FACTORS, SCATTER, NOISE, SAMPLES = (0.5, 1.0, 2.0, 4.0), 0.04, 0.004, 12


def size_trials(what: Phantoms, trials: int) -> dict[float, list[tuple[NDArray[np.float64], SizeMaps]]]:
    """{factor: [(true diameters, what was found)]}: one calibration a trial, unknown samples at each thickness."""
    found: dict[float, list[tuple[NDArray[np.float64], SizeMaps]]] = {f: [] for f in FACTORS}
    believed = Belief(SpectralResponse.of(what.believed), what.believed.reference_correlation_length_m, what.material)
    for trial in range(trials):
        rng, truth = stream(trial, "samples", what.material), what.true(trial)
        attenuation, signal = seen(
            what, truth, trial, what.diameter_m, what.thickness_m, rng.lognormal(0, SCATTER, len(what.diameter_m))
        )
        noisy = signal + rng.normal(0, NOISE, len(signal))
        rows = PowderRows(what.diameter_m, noisy, np.array(what.thickness_m), attenuation=attenuation)
        fits = [fit_with_evidence(rows, believed, shape=SphereShape(m, what.fill)) for m in what.models]
        fit = taken(fits)
        for factor in FACTORS:
            diameter = np.exp(rng.uniform(*np.log(fit.range_m), SAMPLES))
            amounts = rng.lognormal(0, SCATTER, SAMPLES)
            dark = seen(what, truth, trial, diameter, factor * what.thickness_m, amounts)[1]
            noise = rng.normal(0, NOISE, SAMPLES)
            options = {"thickness_m": factor * what.thickness_m, "within": 0.25}
            found[factor].append((diameter, sizes(fit, dark + noise, NOISE**2, **options)))
    return found


def print_sizes(trials: int = 60) -> None:
    """Coverage of the intervals, and what is told as a size."""
    print(f"\nunknown samples read by a calibration at one thickness; intervals of {100 * LEVEL:.0f} %, {trials} true beams")
    for name, what in (("powders", powders()), ("foams", foams())):
        for factor, pairs in size_trials(what, trials).items():
            print(f"  {name:<8} {factor:3g} × thickness  {coverage(pairs)}")


def coverage(pairs: list[tuple[NDArray[np.float64], SizeMaps]]) -> str:
    """What share of the intervals holds the truth, and how the sizes told compare."""
    held = np.concatenate([found.holds(d) for d, found in pairs])
    valid = np.concatenate([found.valid for _, found in pairs])
    branch = np.concatenate([found.branch for _, found in pairs])
    off = np.concatenate([np.abs(found.size_m / d - 1) for d, found in pairs])[valid]
    outside = 100 * float((~held[valid]).mean()) if valid.any() else 0.0
    worst = (
        f", off by {np.median(off):.3f} in the median, {off.max():.3f} at most; {outside:.1f} % outside"
        if valid.any()
        else ""
    )
    either = 100 * float((branch == 3).mean())
    return f"{100 * held.mean():5.1f} % hold it; both sides {either:4.1f} %; told {100 * valid.mean():4.1f} %{worst}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("halves", "floor", "table", "own", "sizes"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DARKLUNG_DATA", "../shared/data")))
    parser.add_argument("--every", type=int, help="of the halves only each so manieth (1; of the floor 42)")
    parser.add_argument("--sets", type=int, default=30, help="drawn for the floor")
    options = parser.parse_args()
    parts = (options.part,) if options.part else ("table", "own", "sizes", "floor", "halves")
    here = (options.data / "microspheres").is_dir()
    for part in parts:
        if part != "sizes" and not here:
            print(f"{part}: no measured data at {options.data}; give --data or set DARKLUNG_DATA")
        elif part == "halves":
            print_halves(options.data, options.every or 1)
        elif part == "floor":
            print_floor(options.data, options.sets, options.every or 42)
        elif part == "table":
            print_table(options.data)
        elif part == "own":
            print_own(options.data)
        else:
            print_sizes()


if __name__ == "__main__":
    main()

"""Cost of a simulated scan, and the plan of a protocol beside its full simulation.

``python benchmarks/simulation.py``   the mission's protocol, 160³ voxels, 360 views, every effect on: time and memory
``python benchmarks/simulation.py --scaling docs/images/simulation_scaling.png``   cost against views and voxels, with a plot
``python benchmarks/simulation.py --parts``    where the time goes, beside what memory bandwidth alone would take
``python benchmarks/simulation.py --plan``     darklung check's figures beside a full simulation

Times are CPU seconds, so that a busy machine does not matter much; set NUMBA_NUM_THREADS=1 for one core. `--size`, `--views`
and `--no-effects` change the first and the third.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from darklung.core.geometry import ParallelGeometry
from darklung.core.types import Phantom, Scan
from darklung.physics.instrument import Instrument
from darklung.physics.lung import HEALTHY, LESIONS, Medium
from darklung.simulate import scan as simulation
from darklung.simulate.effects import Detector, Effects, Stability
from darklung.simulate.plan import LESION_M, mouse_slice, plan_scan
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan
from darklung.study.protocols import read_protocol
from darklung.tomo.fbp import fbp

EVERYTHING = Effects(
    detector=Detector(
        blur_m=60e-6,
        charge_sharing=0.1,
        electronic_noise_counts=3.0,
        dark_counts=50.0,
        bad_pixels=1e-3,
        ring_gain=2e-3,
        saturation_counts=1e6,
    ),
    stability=Stability(step_error_rad=0.02, dose_jitter=0.01, phase_drift_rad=0.5, visibility_drift=-0.03, flux_drift=0.02),
    scatter_to_primary=0.03,
    depth_dependent_correlation=True,
    breathing_m=300e-6,
    unresolved_refraction=True,
)
LIMIT_S, LIMIT_BYTES = 90.0, 4 * 2**30
VOXEL_M = 120e-6


def thorax(depth: int, size: int) -> Phantom:
    """A body cylinder with a spine and two ellipsoidal lungs, scaled to the volume."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in (depth, size, size)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    body = y**2 + x**2 < 0.9**2
    lung = np.zeros(body.shape, dtype=bool)
    for side in (-1, 1):
        lung |= ((x - 0.4 * side) / 0.34) ** 2 + (y / 0.47) ** 2 + (z / 0.91) ** 2 < 1
    spine = np.hypot(y - 0.66, x) < 0.1
    tissue = np.where(lung, 0.3, 1.0) * 1.05 * (body & ~spine)
    phi = np.where(lung, 0.3, 0).astype(np.float32)
    axis = np.zeros((3, *body.shape), dtype=np.float32)
    axis[2] = 1
    return Phantom(
        voxel_m=VOXEL_M,
        materials=("soft_tissue", "bone", "adipose"),
        density=np.stack([tissue, spine * 1.5, 0 * tissue]).astype(np.float32),
        tissue_fraction=phi,
        interface_density_per_m=np.where(lung, 8e4, 0).astype(np.float32),
        aspect=np.full(body.shape, 1.1, dtype=np.float32),
        axis=axis,
        lobes=lung.astype(np.uint8),
        instances=np.zeros(body.shape, dtype=np.uint16),
    )


@dataclass(frozen=True)
class Cost:
    """What one scan took."""

    views: int
    voxels: int
    wall_s: float
    cpu_s: float


def mission() -> tuple[Instrument, Protocol]:
    """Instrument and protocol of examples/protocols/mission_ct.yaml, without its limit on the time."""
    protocol = read_protocol("mission_ct")
    return protocol.instrument.instrument(), replace(protocol.scan, time_limit_s=1e9)


def measure(depth: int, size: int, views: int, effects: Effects) -> Cost:
    """Simulate once; flats in proportion to the views."""
    instrument, protocol = mission()
    phantom = thorax(depth, size)
    protocol = replace(protocol, views=views, flat_repeats=max(1, round(protocol.flat_repeats * views / protocol.views)))
    start, cpu = time.perf_counter(), time.process_time()
    simulate_scan(phantom, instrument=instrument, protocol=protocol, seed=1, effects=effects)
    return Cost(views, depth * size**2, time.perf_counter() - start, time.process_time() - cpu)


def warm_up(effects: Effects) -> None:
    """Compile the kernels."""
    measure(2, 8, 2, effects)


def nominal(size: int, views: int, effects: Effects) -> None:
    """One mouse by the mission's protocol against its limits."""
    cost = measure(size, size, views, effects)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    full = (size, views) == (160, 360)
    limits = f" (limits {LIMIT_S:.0f} s, {LIMIT_BYTES / 2**30:.0f} GiB)" if full else ""
    print(
        f"{size}³ voxels, {views} views, 5 steps, 2 directions: {cost.cpu_s:.1f} s CPU, {cost.wall_s:.1f} s wall, "
        f"peak {peak / 2**30:.2f} GiB{limits}"
    )


def scaling(path: Path, effects: Effects) -> None:
    """Cost against views, and against voxels as more slices and as larger cubes; straight lines fitted, and plotted."""
    series = {
        "views, 96³ voxels": [measure(96, 96, views, effects) for views in (45, 90, 180, 360)],
        "voxels (slices of 160²), 90 views": [measure(depth, 160, 90, effects) for depth in (20, 40, 80, 160)],
        "voxels (cubes), 90 views": [measure(size, size, 90, effects) for size in (48, 64, 96, 128, 160)],
    }
    panels = []
    for label, costs in series.items():
        x = np.array([c.views if label.startswith("views") else c.voxels for c in costs], float)
        y = np.array([c.cpu_s for c in costs])
        line = np.polyval(np.polyfit(x, y, 1, w=1 / y), x)  # weights for relative errors
        exponent = float(np.polyfit(np.log(x), np.log(y), 1)[0])
        print(f"{label}: {', '.join(f'{n:g}: {s:.2f} s' for n, s in zip(x, y))} CPU")
        print(f"  straight line within {100 * np.abs(y / line - 1).max():.0f} %, exponent {exponent:.2f}")
        panels.append((label, x, y, line))
    draw(path, panels)


def draw(path: Path, panels: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Measured CPU seconds and the fitted lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, (label, x, y, line) in zip(figure.subplots(1, 3), panels):
        unit = 1e6 if x.max() > 1e5 else 1
        axes.plot(x / unit, y, "o", color="#1b6ca8", label="measured")
        axes.plot(x / unit, line, "-", color="0.5", lw=1, label="straight line")
        axes.set(xlabel=label if unit == 1 else f"million {label}", ylabel="CPU seconds", xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"drawn: {path}")


def parts(size: int, views: int, effects: Effects) -> None:
    """CPU seconds of each part of one mouse, measured by timing the functions that `simulate_scan` calls."""
    seconds: dict[str, float] = {}

    def timed(name: str, function: Callable) -> Callable:
        def call(*args, **options):  # type: ignore[no-untyped-def]
            start = time.process_time()
            try:
                return function(*args, **options)
            finally:
                seconds[name] = seconds.get(name, 0.0) + time.process_time() - start

        return call

    names = {
        "_scattering": "direction-dependent scattering, projected",
        "harmonics": "energy sum",
        "expose": "gratings, detector and noise",
    }
    before = {name: getattr(simulation, name) for name in names}
    for name, label in names.items():
        setattr(simulation, name, timed(label, before[name]))
    try:
        total = measure(size, size, views, effects).cpu_s
    finally:
        for name, function in before.items():
            setattr(simulation, name, function)
    seconds["materials projected, the rest"] = total - sum(seconds.values())
    for label, value in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{label:44s}{value:8.1f} s CPU {100 * value / total:5.0f} %")
    print(f"{'in all':44s}{total:8.1f} s CPU")
    bandwidth(size, views)


def bandwidth(size: int, views: int) -> None:
    """Least bytes that the calculation moves, over this machine's measured bandwidth and over an H100's on paper."""
    materials, nodes, directions, steps = 3, 3, 2, 5
    lung = float((thorax(size, size).tissue_fraction > 0).mean())
    volume, image = size**3, size**2
    moved = {
        "each material read once a view": 4 * materials * volume * views,
        # strength, two lengths and three components of the axis, then ε written and read
        "lung's shape tensors read, ε written and read": lung * volume * views * 4 * (6 + 2 * directions * nodes),
        "frames written": 2 * directions * steps * image * views,
    }
    block = np.ones(1 << 25)
    other = np.empty_like(block)
    other[:] = block
    start = time.perf_counter()
    for _ in range(4):
        other[:] = block
    rate = 4 * 2 * block.nbytes / (time.perf_counter() - start)
    total = sum(moved.values())
    for label, count in moved.items():
        print(f"{label:44s}{count / 2**30:8.1f} GiB")
    print(
        f"bound by memory: {total / rate:.1f} s at {rate / 1e9:.1f} GB/s measured here, "
        f"{total / 3.35e12:.2f} s at the 3.35 TB/s that an H100 has on paper ([M])"
    )


def plan_beside_simulation() -> None:
    """Figures of the plan beside those of full scans: noise from 48 equal slices, contrast from scans without noise."""
    instrument, protocol = mission()
    plan = plan_scan(instrument=instrument, protocol=protocol, pixel_m=VOXEL_M)

    def scanned(nodule: Medium, rows: int, noise: bool):  # type: ignore[no-untyped-def]
        return simulate_scan(
            stack(mouse_slice(VOXEL_M, HEALTHY, nodule), rows),
            instrument=instrument,
            protocol=protocol,
            seed=10,
            noise=noise,
        )

    def image(maps: tuple[np.ndarray, ...], geometry: ParallelGeometry) -> list[np.ndarray]:
        return [fbp(m.mean(axis=0).astype(np.float32), geometry) for m in maps[:2]]

    noisy = scanned(HEALTHY, 48, True)
    media = {"healthy": HEALTHY, **{name: one.medium(HEALTHY) for name, one in LESIONS.items()}}
    clean = {name: scanned(nodule, 1, False) for name, nodule in media.items()}
    exact, measured = retrieved(clean["healthy"]), retrieved(noisy)
    cols = noisy.geometry.cols
    noise = [float(np.sqrt(volume.var(axis=0, ddof=1)[core(cols)].mean())) for volume in image(measured, noisy.geometry)]
    slices = {name: image(retrieved(scan), scan.geometry) for name, scan in clean.items()}
    found = view_figures(exact, measured)
    pairs = [
        ("flat visibility", plan.flat_visibility, found["flat"]),
        ("largest −ln T", plan.attenuation, found["attenuation"]),
        ("largest −ln D", plan.dark_field, found["dark field"]),
        ("least N V²", plan.least_strength, found["strength"]),
        ("noise of −ln T in that ray", plan.attenuation_noise, found["noise of attenuation"]),
        ("noise of −ln D in that ray", plan.dark_field_noise, found["noise of dark field"]),
    ]
    for lesion in plan.lesions:
        for channel, (kind, planned) in enumerate(zip(("attenuation", "dark field"), lesion.ratios)):
            change = (slices[lesion.name][channel] - slices["healthy"][channel])[0]
            pairs.append((f"CNR {kind}, {lesion.name}", planned, abs(change[nodule_core(cols)].mean()) / noise[channel]))
    print(f"{'':34s}{'plan':>10s}{'simulated':>11s}{'ratio':>8s}")
    for label, planned, simulated in pairs:
        print(f"{label:34s}{planned:10.3f}{simulated:11.3f}{simulated / planned:8.2f}")


def stack(one: Phantom, rows: int) -> Phantom:
    """The same slice many times."""
    fields = ("tissue_fraction", "interface_density_per_m", "aspect", "lobes", "instances")
    tiled = {name: np.repeat(getattr(one, name), rows, axis=0) for name in fields}
    return replace(one, density=np.repeat(one.density, rows, axis=1), axis=np.repeat(one.axis, rows, axis=1), **tiled)


def retrieved(scan: Scan) -> tuple[np.ndarray, ...]:
    """−ln T, −ln D, V, N of every view, (direction, view, row, col), by the first Fourier harmonic; flat V last."""
    basis = np.exp(-1j * scan.step_phase_rad[0]).astype(np.complex64)

    def split(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total = frames.sum(axis=-3, dtype=np.float64)
        return total, 2 * np.abs(np.moveaxis(frames, -3, -1).astype(np.float32) @ basis) / total

    counts, visibility = split(scan.frames)
    flat_counts, flat_visibility = split(scan.flats.mean(axis=1, dtype=np.float64))
    attenuation = -np.log(counts / flat_counts[:, None])
    return attenuation, -np.log(visibility / flat_visibility[:, None]), visibility, counts, flat_visibility


def view_figures(exact: tuple[np.ndarray, ...], measured: tuple[np.ndarray, ...]) -> dict[str, float]:
    """Numbers of single rays: places from the scan without noise, values from the rows and 7 neighbouring views."""
    attenuation, dark_field, visibility, counts, flat = measured
    strength = exact[3] * exact[2] ** 2
    weak = np.unravel_index(np.argmin(strength), strength.shape)

    def around(values: np.ndarray, place: tuple) -> np.ndarray:
        views = [(place[1] + step) % values.shape[1] for step in range(-3, 4)]
        return values[place[0], views][:, :, place[3]]

    def largest(values: np.ndarray, clean: np.ndarray) -> float:
        return float(around(values, np.unravel_index(np.argmax(clean), clean.shape)).mean())

    return {
        "flat": float(flat.mean()),
        "attenuation": largest(attenuation, exact[0]),
        "dark field": largest(dark_field, exact[1]),
        # V² measured is too large by 4/N, two quadratures of variance 2/N; the neighbours' mean is brought to the weakest
        "strength": (float(around(counts * visibility**2, weak).mean()) - 4)
        * float(strength[weak] / around(strength, weak).mean()),
        "noise of attenuation": float(np.sqrt(around(attenuation, weak).var(axis=1, ddof=1).mean())),
        "noise of dark field": float(np.sqrt(around(dark_field, weak).var(axis=1, ddof=1).mean())),
    }


def core(cols: int) -> np.ndarray:
    """The inner part of the lungs of `mouse_slice`."""
    axis = (np.arange(cols) - (cols - 1) / 2) * VOXEL_M
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return ((np.abs(x) - 4.2e-3) / 2.88e-3) ** 2 + (y / 4.0e-3) ** 2 < 1


def nodule_core(cols: int) -> np.ndarray:
    """The inner part of its nodule."""
    axis = (np.arange(cols) - (cols - 1) / 2) * VOXEL_M
    return np.hypot(axis[None, :] - 4.2e-3, axis[:, None]) < 0.7 * LESION_M / 2


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=160, help="voxels along each edge")
    parser.add_argument("--views", type=int, default=360)
    parser.add_argument("--no-effects", action="store_true", help="a perfect scanner, with photon noise alone")
    parser.add_argument("--scaling", type=Path, metavar="PNG", help="cost against views and voxels, drawn to a file")
    parser.add_argument("--parts", action="store_true", help="where the time goes")
    parser.add_argument("--plan", action="store_true", help="the plan beside a full simulation")
    options = parser.parse_args()
    effects = Effects() if options.no_effects else EVERYTHING
    if options.plan:
        plan_beside_simulation()
        return
    warm_up(effects)
    if options.scaling:
        scaling(options.scaling, effects)
    elif options.parts:
        parts(options.size, options.views, effects)
    else:
        nominal(options.size, options.views, effects)


if __name__ == "__main__":
    main()

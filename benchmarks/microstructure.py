"""φ and S_V beside explicit microstructure: chords and dark field of realised tissue sheets against the mean-field formulas.

    python benchmarks/microstructure.py [--seeds 4] [--voxels 224] [--figure docs/images/microstructure.png]

For each kind of tissue, cubes of tissue sheets of the wanted φ and S_V are made (darklung.phantom.realisation); printed are
what is measured on them, the chord by 4 (1 − φ)/S_V, and ε at 70 keV and ξ = 3 um from their projections over the two-phase
formula that the phantom uses. That ratio is what the formula's exponential covariance leaves open.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from darklung.phantom.realisation import Microstructure, dark_field_of, measure, realise_sheets
from darklung.physics.lung import CLASSES, HEALTHY
from darklung.physics.materials import delta
from darklung.physics.scattering import two_phase

VOXEL_M, SHIFT, ENERGY_KEV = 1.5e-6, 2, 70.0
CLASSES_SHOWN = ("emphysema", "lepidic", "papillary", "filled")
SHOWN = {"healthy": HEALTHY, **{name: CLASSES[name].medium(HEALTHY) for name in CLASSES_SHOWN}}
KINDS = {  # φ and S_V [1/cm]
    **{name: (round(m.tissue_fraction, 3), round(m.interface_density_per_m / 100)) for name, m in SHOWN.items()},
    "healthy, P14": (0.25, 802),
}


def rows(kind: str, seeds: int, voxels: int) -> tuple[np.ndarray, Microstructure]:
    """(seed, number) of φ, S_V /cm, chord um, chord by formula um, ε over the two-phase formula; and one realisation."""
    fraction, surface = KINDS[kind]
    contrast = float(delta("soft_tissue", HEALTHY.tissue_density, ENERGY_KEV))
    model = float(two_phase(fraction, 100 * surface, contrast, ENERGY_KEV, SHIFT * VOXEL_M))
    found = []
    for seed in range(seeds):
        made = realise_sheets(
            tissue_fraction=fraction, interface_density_per_m=100 * surface, voxel_m=VOXEL_M, voxels=voxels, seed=seed
        )
        m = measure(made)
        formula = 4 * (1 - m.tissue_fraction) / m.interface_density_per_m
        epsilon = dark_field_of(made, shift=SHIFT, contrast=contrast, energy_kev=ENERGY_KEV)
        found.append(
            (m.tissue_fraction, m.interface_density_per_m / 100, 1e6 * m.air_chord_m, 1e6 * formula, epsilon / model)
        )
    return np.array(found), made


def draw(made: dict[str, Microstructure], numbers: dict[str, np.ndarray], path: Path) -> None:
    """A slice of each kind, chords against the formula, and the ratio of dark fields."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 4)
    for axis, (kind, one) in zip(axes.flat, made.items()):
        axis.imshow(one.tissue[0], cmap="gray", vmin=0, vmax=1)
        edge = 1e6 * one.voxel_m * len(one.tissue)
        axis.set_title(f"{kind}: φ {KINDS[kind][0]:.2f}, {KINDS[kind][1]} /cm\n{edge:.0f} µm across", fontsize=9)
        axis.set_axis_off()
    chords, ratios = axes.flat[6], axes.flat[7]
    for kind, n in numbers.items():
        mean = n.mean(axis=0)
        chords.plot(mean[3], mean[2], "o")
        ratios.errorbar(mean[0], mean[4], n[:, 4].std(ddof=1), fmt="o")
        ratios.annotate(kind, (mean[0], mean[4]), fontsize=7, xytext=(3, 3), textcoords="offset points")
    ends = [0, max(n[:, 3].max() for n in numbers.values()) * 1.05]
    chords.plot(ends, ends, "k:", lw=1)
    chords.set_xlabel("4 (1 − φ)/S_V [µm]")
    chords.set_ylabel("measured chord in air [µm]")
    ratios.axhline(1, color="k", ls=":", lw=1)
    ratios.set_xlabel("φ")
    ratios.set_ylabel("ε realised / two-phase formula")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--voxels", type=int, default=224)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    made, numbers = {}, {}
    print(
        f"{'':14s}{'phi':>7s}{'wanted':>8s}{'S_V /cm':>9s}{'wanted':>8s}{'chord um':>10s}{'formula':>9s}{'eps ratio':>15s}"
    )
    for kind, (fraction, surface) in KINDS.items():
        numbers[kind], made[kind] = rows(kind, options.seeds, options.voxels)
        n = numbers[kind].mean(axis=0)
        error = numbers[kind][:, 4].std(ddof=1) / np.sqrt(options.seeds)
        print(f"{kind:14s}{n[0]:7.3f}{fraction:8.2f}{n[1]:9.0f}{surface:8d}{n[2]:10.1f}{n[3]:9.1f}{n[4]:10.2f} ±{error:.2f}")
    if options.figure:
        draw(made, numbers, options.figure)


if __name__ == "__main__":
    main()

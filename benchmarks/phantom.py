"""Population statistics of the simulated mice beside published values, pictures of them, and the cost of one mouse.

    python benchmarks/phantom.py [--mice 8] [--voxel-um 200] [--families A B C] [--render docs/images/mice.png]

Each mean is called ok or OFF by the range in the last columns. Where the ranges come from:
  [H] Hoang et al. 2018, J Anat 232:472, 10.1111/joa.12773, table 1 (stereology at postnatal day 14; lobes: mean ± 1 SD)
  [C] Camara et al. 2022, J Imaging 8:204, 10.3390/jimaging8080204 (healthy mice, micro-CT, manual: 0.554 ml; ± 30 % is ours)
  [D] Digimouse, Dogdas et al. 2007, 10.1088/0031-9155/52/3/003 (lung label of the atlas: 0.417 ml)
  [L] lapdMouse, PMC7052583 (34 mice: 1617 ± 298 airway segments, 598 ± 60 mm in all; the depth to which airways are drawn
      was set by it)
  [T] two-phase table for φ = .25, S_V = 802/cm, 70 keV, ξ = 3 µm (computed from the formula, not measured; ε ± 50 %)
  [S] classes of lesions by φ and S_V, from histology as summarised in docs/decisions/042-classes.md
  [M] from memory, not read again: density in vivo about -650 to -400 HU; S_V and chords of adults
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from darklung.phantom.describe import describe_insertions, describe_mouse
from darklung.phantom.families import FAMILIES, draw_anatomy
from darklung.phantom.grid import make_grid
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.subject import FIELD_OF_VIEW_M, make_phantom
from darklung.phantom.thorax import build_thorax
from darklung.phantom.trees import grow_lung_trees
from darklung.physics.lung import LESIONS, MIMICS
from darklung.physics.materials import linear_attenuation

# name -> lowest, highest, and what was published
PUBLISHED = {
    "lung volume ml": (0.39, 0.72, "0.554 [C]; 0.417 [D]"),
    "lung density g/cm3": (0.35, 0.60, "[M]"),
    "tissue fraction": (0.22, 0.35, "[M]"),
    "interface density /cm": (500, 840, "802 ± 33 at P14 [H]; adults 500–700 [M]"),
    "chord of airspace um": (35, 60, "37 of [H]'s S_V at φ = .25; adults [M]"),
    "epsilon of lung /cm": (0.49, 1.48, "0.987 [T]"),
    "mu of lung /cm": (0.045, 0.065, "0.051 at φ = .25 [T]"),
    "lobe left %": (29.2, 41.6, "35.4 [H]"),
    "lobe right cranial %": (15.0, 19.6, "17.3 [H]"),
    "lobe right middle %": (10.1, 12.7, "11.4 [H]"),
    "lobe right caudal %": (20.6, 28.2, "24.4 [H]"),
    "lobe accessory %": (8.4, 14.6, "11.5 [H]"),
    "airway pieces": (1319, 1915, "1617 ± 298 [L]"),
    "airway length mm": (538, 658, "598 ± 60 [L]"),
    "vessel share %": (3, 8, "wanted"),
}
# class -> lowest and highest of μ and of ε, core over the lung around it
CONTRAST = {
    "solid": (2.8, 3.6, 0, 0.08),
    "filled": (2.3, 3.0, 0.2, 0.5),
    "papillary": (1.7, 2.3, 0.4, 0.85),
    "lepidic": (1.3, 1.8, 0.75, 1.1),
}
WATER_PER_CM = 0.1929  # at 70 keV; NIST XCOM interpolated


def tree_numbers(variant: str, seed: int, voxel_m: float) -> dict[str, float]:
    """Vessels and airways of one mouse, from its trees."""
    grid, anatomy = make_grid(FIELD_OF_VIEW_M, voxel_m), draw_anatomy(variant, seed)
    thorax = build_thorax(grid, anatomy, seed)
    trees = grow_lung_trees(grid, thorax.lungs, anatomy, variant, seed)
    lung = np.clip(0.5 - thorax.lung / voxel_m, 0, 1)
    length = np.linalg.norm(trees.lumen.end_m - trees.lumen.start_m, axis=1)
    return {
        "vessel share %": 100 * float((trees.vessels.drawn(grid) * lung).sum() / lung.sum()),
        "largest vessel radius um": 1e6 * float(trees.vessels.radius_m.max()),
        "smallest vessel radius um": 1e6 * float(trees.vessels.radius_m.min()),
        "airway pieces": float(len(length)),
        "airway length mm": 1e3 * float(length.sum()),
    }


def judged(name: str, mean: float) -> str:
    """ok or OFF, the range, and what was published."""
    if name not in PUBLISHED:
        return ""
    low, high, text = PUBLISHED[name]
    return f"{'ok ' if low <= mean <= high else 'OFF'}  {f'{low:g} to {high:g}':<16s}{text}"


def judged_contrast(tissue: str, mu: float, epsilon: float) -> str:
    """The same for a class of lesions."""
    if tissue not in CONTRAST:
        return ""
    low, high, dark_low, dark_high = CONTRAST[tissue]
    good = low <= mu <= high and dark_low <= epsilon <= dark_high
    return f"{'ok ' if good else 'OFF'}  {low:g} to {high:g}, {dark_low:g} to {dark_high:g}"


def render(path: Path, seed: int = 1001, voxel_m: float = 120e-6) -> None:
    """Coronal, sagittal and axial sections of one mouse of each family as CT numbers, -1000 (black) to 600 HU (white)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from scipy.ndimage import gaussian_filter

    figure = Figure(figsize=(11, 10), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(FAMILIES), 3, gridspec_kw={"width_ratios": (1, 1, 1)})
    for row, variant in zip(axes, sorted(FAMILIES)):
        phantom = make_phantom(
            seed=seed, voxel_m=voxel_m, variant=variant,
            lesions=[LesionRequest("solid", 1.6e-3), LesionRequest("lepidic", 1.6e-3, "pleura")],
        )  # fmt: skip
        mu = sum(linear_attenuation(m, d, 70.0) for m, d in zip(phantom.materials, phantom.density))
        hounsfield = 1000 * (gaussian_filter(mu / 100, 0.7) / WATER_PER_CM - 1)
        z, _, x = np.argwhere(phantom.instances == 1).mean(axis=0).round().astype(int)
        sections = {
            f"{variant}: coronal through the windpipe": hounsfield[::-1, hounsfield.shape[1] // 2 - 5],
            f"{variant}: sagittal through a solid lesion": hounsfield[::-1, :, x],
            f"{variant}: axial through the same lesion": hounsfield[z],
        }
        for axis, (title, section) in zip(row, sections.items()):
            axis.imshow(section, cmap="gray", vmin=-1000, vmax=600)
            axis.set_title(title, fontsize=9)
            axis.set_axis_off()
    figure.savefig(path, dpi=90)


def print_family(variant: str, mice: int, voxel_m: float) -> None:
    """Mean, spread and published value of each number."""
    numbers = defaultdict(list)
    contrast = defaultdict(list)
    requests = [LesionRequest(tissue, 1.2e-3) for tissue in LESIONS]
    mimics = [LesionRequest(tissue, 1.2e-3) for tissue in MIMICS]
    for seed in range(mice):
        phantom = make_phantom(seed=1000 + seed, voxel_m=voxel_m, variant=variant, lesions=requests, mimics=mimics)
        for name, value in {**describe_mouse(phantom), **tree_numbers(variant, 1000 + seed, voxel_m)}.items():
            numbers[name].append(value)
        for row in describe_insertions(phantom):
            contrast[row["tissue"]].append(
                (row["mu_ratio"], row["epsilon_ratio"], row["measured_diameter_mm"] - row["diameter_mm"])
            )
    print(f"\nfamily {variant}: {mice} mice at {voxel_m * 1e6:g} um, 70 keV, xi = 3 um")
    print(f"{'':28s}{'mean':>9s}{'sd':>9s}       {'range':<16s}published")
    for name, values in numbers.items():
        print(f"{name:28s}{np.mean(values):9.3f}{np.std(values):9.3f}  {judged(name, float(np.mean(values)))}")
    print(f"{'core over shell of lung':28s}{'mu':>9s}{'epsilon':>9s}{'size mm':>9s}       expected mu, epsilon [S]")
    for tissue, rows in contrast.items():
        mu, epsilon, error = np.nanmean(np.array(rows, dtype=float), axis=0)
        print(f"{tissue:28s}{mu:9.2f}{epsilon:9.2f}{error:+9.3f}  {judged_contrast(tissue, mu, epsilon)}")


def print_cost() -> None:
    """Processor time and peak memory of one mouse at 120 and 150 um."""
    for voxel_m in (150e-6, 120e-6):
        start = time.process_time()
        phantom = make_phantom(seed=5, voxel_m=voxel_m, lesions=[LesionRequest("solid", 1e-3)], shams=2, mimics=2)
        spent = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        print(f"{voxel_m * 1e6:g} um {phantom.lobes.shape}: {spent:.1f} s of one core, peak {peak:.2f} GiB")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mice", type=int, default=8)
    parser.add_argument("--voxel-um", type=float, default=200.0)
    parser.add_argument("--families", nargs="+", default=sorted(FAMILIES), choices=sorted(FAMILIES))
    parser.add_argument("--render", type=Path)
    options = parser.parse_args()
    if options.render:
        render(options.render)
    make_phantom(seed=1, voxel_m=5e-4, mimics=[LesionRequest("vessel_cluster", 1e-3)])  # compiles
    print_cost()
    for variant in options.families:
        print_family(variant, options.mice, options.voxel_um * 1e-6)


if __name__ == "__main__":
    main()

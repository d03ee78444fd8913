"""Population statistics of the simulated mice beside published values, and the time and memory that one mouse takes.

    python benchmarks/phantom.py [--mice 8] [--voxel-um 200] [--families A B C]

Published values, with where they were read:
  [H] Hoang et al. 2018, J Anat 232:472, 10.1111/joa.12773, table 1 (stereology at postnatal day 14)
  [D] Digimouse, Dogdas et al. 2007, 10.1088/0031-9155/52/3/003 (lung label of the atlas: 0.417 ml)
  [L] lapdMouse, PMC7052583 (34 mice: 1617 ± 298 airway segments, 598 ± 60 mm in all; the depth to which airways are drawn
      was set by it)
  [T] two-phase table for φ = .25, S_V = 802/cm, 70 keV, ξ = 3 µm (computed from the formula, not measured)
  [S] classes of lesions by φ and S_V, from histology as summarised in docs/decisions/042-classes.md
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict

import numpy as np

from darklung.phantom.describe import describe_insertions, describe_mouse
from darklung.phantom.families import FAMILIES, draw_anatomy
from darklung.phantom.grid import make_grid
from darklung.phantom.lesions import LESIONS, MIMICS, LesionRequest
from darklung.phantom.subject import FIELD_OF_VIEW_M, make_phantom
from darklung.phantom.thorax import build_thorax
from darklung.phantom.trees import grow_lung_trees

PUBLISHED = {
    "lung volume ml": "0.417 [D]; 0.24 at P14 [H]",
    "interface density /cm": "802 ± 33 at P14, 750–850 by lobe [H]; falls with age",
    "epsilon of lung /cm": "0.987 [T]",
    "mu of lung /cm": "0.051 [T]",
    "lobe left %": "35 [H]",
    "lobe right cranial %": "17 [H]",
    "lobe right middle %": "11 [H]",
    "lobe right caudal %": "24 [H]",
    "lobe accessory %": "12 [H]",
    "airway pieces": "1617 ± 298 [L]",
    "airway length mm": "598 ± 60 [L]",
    "vessel share %": "3–8 (wanted)",
}
CONTRAST = {
    "solid": "mu 3.2, eps 0–.05",
    "filled": "mu 2.3–3, eps .2–.5",
    "papillary": "mu 1.7–2.3, eps .4–.85",
    "lepidic": "mu 1.3–1.8, eps .75–1.1",
}


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
    print(f"{'':28s}{'mean':>9s}{'sd':>9s}   published")
    for name, values in numbers.items():
        print(f"{name:28s}{np.mean(values):9.3f}{np.std(values):9.3f}   {PUBLISHED.get(name, '')}")
    print(f"{'core over shell of lung':28s}{'mu':>9s}{'epsilon':>9s}{'size mm':>9s}   expected [S]")
    for tissue, rows in contrast.items():
        mu, epsilon, error = np.mean(rows, axis=0)
        print(f"{tissue:28s}{mu:9.2f}{epsilon:9.2f}{error:+9.3f}   {CONTRAST.get(tissue, '')}")


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
    options = parser.parse_args()
    make_phantom(seed=1, voxel_m=5e-4, mimics=[LesionRequest("vessel_cluster", 1e-3)])  # compiles
    print_cost()
    for variant in options.families:
        print_family(variant, options.mice, options.voxel_um * 1e-6)


if __name__ == "__main__":
    main()

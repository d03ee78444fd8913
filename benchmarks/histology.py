"""Stereology against what synthetic sections were made of, at several pixels; a real section at several resolutions.

    python benchmarks/histology.py
    python benchmarks/histology.py --section lung_section_he.jpg --scale-bar "500 um"
    python benchmarks/histology.py --truth sections/section/first --measured measured/stereology/first

Without a section: bias of φ and S_V in per cent (mean ± standard deviation over seeds, sections of 4 mm²) and the time of
separating stains beside scikit-image's. With a truth: what ``darklung stereology`` found in a section that ``darklung
section`` cut, beside the phantom over the same parenchyma.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from darklung.core.resample import resample
from darklung.core.types import Phantom
from darklung.core.units import parse_quantity
from darklung.histology.plane import make_pose
from darklung.histology.regions import PARENCHYMA
from darklung.histology.stain import grey_density, optical_density, plateau_of, separate, threshold_between
from darklung.histology.stereology import Measured, count, measured
from darklung.histology.synthetic import Cut, render
from darklung.histology.tissue import Sight, density_at, without_specks
from darklung.io.images import load_image
from darklung.io.tables import load_table
from darklung.slides.slide import averaged
from darklung.steps.sections import open_section
from darklung.steps.stereology import measure
from darklung.study.histology import SectionPart, StereologyPart

MEDIA = ((0.2, 45e3), (0.3, 65e3), (0.45, 70e3), (0.6, 50e3))
FINE_M, PIXELS = 1e-6, 2000


def uniform(fraction: float, surface: float) -> Phantom:
    """A phantom that is lung of one kind throughout."""
    one = np.ones((16,) * 3, np.float32)
    return Phantom(
        voxel_m=300e-6,
        materials=("soft_tissue",),
        density=(1.05 * fraction * one)[None],
        tissue_fraction=fraction * one,
        interface_density_per_m=surface * one,
        aspect=one,
        axis=np.stack([0 * one, 0 * one, one]),
        lobes=one.astype(np.uint8),
        instances=np.zeros(one.shape, np.uint16),
    )


def counted(rgb: np.ndarray, pixel_m: float) -> Measured:
    """As `darklung stereology` counts a tile."""
    plateau = plateau_of(grey_density(optical_density(rgb)))
    density = density_at(rgb, pixel_m=pixel_m, sight=Sight(), plateau=plateau)
    tissue = density > threshold_between(density, plateau)
    tissue = without_specks(tissue, pixel_m=pixel_m, least_area_m2=Sight().least_area_m2)
    return measured(count(tissue, np.ones_like(tissue), pixel_m=pixel_m, every=max(1, round(10e-6 / pixel_m))))


def synthetic(seeds: int) -> None:
    """Bias by medium and pixel."""
    print("| φ | S_V /cm | pixel um | bias of φ % | bias of S_V % |\n|---|---|---|---|---|")
    for fraction, surface in MEDIA:
        found: dict[int, list[tuple[float, float]]] = {1: [], 2: [], 4: []}
        for seed in range(seeds):
            rgb = render(Cut(uniform(fraction, surface), make_pose(), FINE_M, PIXELS, PIXELS, seed), (0, 0, PIXELS, PIXELS))
            for step, rows in found.items():
                one = counted(averaged(rgb, step), step * FINE_M)
                rows.append((one.tissue_fraction / fraction - 1, one.interface_density_per_m / surface - 1))
        for step, rows in found.items():
            mean, spread = 100 * np.mean(rows, axis=0), 100 * np.std(rows, axis=0, ddof=1)
            told = " | ".join(f"{m:+.1f} ± {s:.1f}" for m, s in zip(mean, spread))
            print(f"| {fraction} | {surface / 100:.0f} | {step} | {told} |")


def stains() -> None:
    """Processor time of separating the stains of 4 million pixels, ours and scikit-image's."""
    from skimage.color import rgb2hed

    rgb = np.random.default_rng(0).integers(60, 255, (2000, 2000, 3)).astype(np.uint8)
    for name, separated in (("darklung", lambda: separate(optical_density(rgb))), ("scikit-image", lambda: rgb2hed(rgb))):
        times = []
        for _ in range(5):
            start = time.process_time()
            separated()
            times.append(time.process_time() - start)
        print(f"{name}: {min(times):.3f} s")


def real(path: Path, scale_bar: str) -> None:
    """φ and S_V of a section by resolution, at its own pixel and at twice it."""
    section = SectionPart(file=path, scale_bar=scale_bar)
    slide = open_section(section)
    print("| resolution um | φ | S_V /cm | φ, half | S_V /cm, half |\n|---|---|---|---|---|")
    for text in ("0.5 um", "1 um", "1.5 um", "2.5 um"):
        found = measure(slide, section, StereologyPart(resolution=text), lambda *_: None)
        sums = [sum((getattr(t, n) for t in found.tiles[1:]), getattr(found.tiles[0], n)) for n in ("fine", "coarse")]
        values = [f"{m.tissue_fraction:.3f} | {m.interface_density_per_m / 100:.0f}" for m in map(measured, sums)]
        print(f"| {1e6 * parse_quantity(text, 'length'):g} | {' | '.join(values)} |")


def against(cut: Path, found: Path) -> None:
    """φ and S_V of the phantom and of stereology, over what was counted."""
    regions = load_image(found / "regions.ome.zarr")
    truth = resample(load_image(cut / "truth.ome.zarr", ("tissue_fraction", "interface_density_per_m")), like=regions)
    counted_there = regions.channel("region") == PARENCHYMA
    kept = 1 - json.loads((cut / "section.json").read_text())["handling"]["shrinkage"]
    whole = load_table(found / "pieces")[0]
    for name, scale in (("tissue_fraction", 1.0), ("interface_density_per_m", kept)):
        true = float(np.nanmean(truth.channel(name)[counted_there]))
        mine = scale * whole[name]
        print(f"{name}: phantom {true:.4g}, measured {mine:.4g} ({100 * (mine / true - 1):+.1f} %)")


def main() -> None:
    """Print what was asked for."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--seeds", type=int, default=6)
    words.add_argument("--section", type=Path)
    words.add_argument("--scale-bar", default="500 um")
    words.add_argument("--truth", type=Path)
    words.add_argument("--measured", type=Path)
    given = words.parse_args()
    if given.truth:
        against(given.truth, given.measured)
        return
    if given.section:
        real(given.section, given.scale_bar)
        return
    synthetic(given.seeds)
    stains()


if __name__ == "__main__":
    main()

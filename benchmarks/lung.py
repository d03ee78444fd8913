"""Are the lungs found, lesions included, and do lesions stay in the search region? Simulated mice and a real one.

    python benchmarks/lung.py [--mice 40] [--seed 41] [--cache DIR] [--contours FILE] [--pictures DIR]

Simulated mice (families A and B, lesions of all classes of 0.5 to 3 mm, a third of them at the pleura) are scanned,
retrieved, corrected and reconstructed at the settings of examples/quick.yaml, and some of them at others:

- nominal: 5e7 counts a pixel instead of 1.5e7;
- hard: visibility .10, scatter 3 %, a sixth of the flats, parenchyma with 20 % texture (less where that is impossible);
- west: the hardest site of examples/cross_site.yaml (tube of 90 kV, 90 views, 1e7 counts, rings, drift, bad pixels).

Truth is what fills half a voxel or more. Printed: Dice of the lung; lesion voxels inside the search region, and how many
lesions have less than half inside; volume of the search region over that of the true lung; the same of the way before.

The real scan is `mouse_ct_invivo` in $DARKLUNG_DATA. Contours drawn by hand are no part of the repository: --contours or
$DARKLUNG_CONTOURS names a JSON file ``{"slices": {"<index>": [[[col, row], ...], ...]}}``, pixel centres at whole numbers.
With --cache volumes are kept; with --pictures slices of the real scan in three planes are drawn.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter as clock

import numpy as np
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from darklung.core.checks import DarklungError
from darklung.core.types import Image, Phantom
from darklung.correct.flux import normalise_flux
from darklung.correct.invalid import fill_invalid
from darklung.correct.ladder import Knowledge, find_correction
from darklung.correct.response import SpectralResponse
from darklung.features.grey_levels import find_grey_levels
from darklung.features.labels import instances_on_grid
from darklung.features.lung import LungRegions, find_lungs
from darklung.io.volumes import read_volume
from darklung.phantom.cohort import Subject, plan_cohort
from darklung.phantom.families import FAMILIES
from darklung.physics.instrument import make_instrument
from darklung.retrieve.stepping import retrieve
from darklung.simulate.effects import Detector, Effects, Stability
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan
from darklung.tomo.methods import fbp_method
from lung_before import lung_before

VOXEL_M, SUPERSAMPLING, VIEW_M = 1.5e-4, 2, (18e-3, 24e-3)
CLASSES = ("solid", "filled", "papillary", "lepidic")
TEXTURES = (0.20, 0.17, 0.15, 0.12)  # a fifth gives more tissue than fits into a voxel in some mice

Mask = NDArray[np.bool_]
Found = Callable[[Image], LungRegions]


@dataclass(frozen=True)
class Setting:
    """How mice are scanned; the defaults are those of examples/quick.yaml."""

    instrument: dict[str, object]
    scan: dict[str, object]
    effects: Effects
    textures: tuple[float | None, ...] = (None,)


SETTINGS = {
    "quick": Setting({}, {}, Effects()),
    "nominal": Setting({}, {"counts_per_pixel": 5e7}, Effects()),
    "hard": Setting(
        {"flat_visibility": 0.10, "correlation_length_m": 2e-6},
        {"flats": 2, "flat_repeats": 3},
        Effects(scatter_to_primary=0.03),
        TEXTURES,
    ),
    "west": Setting(
        {
            "spectrum": "tube",
            "low_kev": 30.0,
            "high_kev": 90.0,
            "bins": 8,
            "design_energy_kev": 60.0,
            "flat_visibility": 0.10,
        },
        {"views": 90, "counts_per_pixel": 1e7},
        Effects(
            detector=Detector(ring_gain=0.005, bad_pixels=0.001),
            stability=Stability(visibility_drift=-0.05, flux_drift=0.02),
        ),
    ),
}


@dataclass(frozen=True)
class Mouse:
    """A reconstruction with its truth: the lung, instances, and (number, class, diameter) of lesions."""

    image: Image
    lung: Mask
    instances: NDArray[np.uint16]
    lesions: tuple[tuple[int, str, float], ...]


def plan(variant: str, seed: int, mice: int) -> list[Subject]:
    """Mice that all have lesions."""
    return plan_cohort(
        subjects=mice, test_subjects=0, seed=seed, variants={"train": variant}, lesions_per_subject=(2, 5),
        diameters_m=(0.5e-3, 3e-3), classes=CLASSES, lesion_free_fraction=0, shams=(1, 2), mimics=(0, 3),
    )  # fmt: skip


@contextmanager
def textured(variant: str, texture: float | None) -> Iterator[None]:
    """Mice of a family with parenchyma of a given texture."""
    own = FAMILIES[variant]
    if texture is not None:
        FAMILIES[variant] = replace(own, ranges={**own.ranges, "texture": (texture, texture)})
    try:
        yield
    finally:
        FAMILIES[variant] = own


def reconstructed(animal: Phantom, setting: Setting, seed: int) -> Image:
    """The attenuation volume of one animal, through raw frames."""
    instrument = make_instrument(**setting.instrument)
    protocol = Protocol(**{"supersampling": SUPERSAMPLING, "exposure_s": 0.4, **setting.scan})
    frames = simulate_scan(animal, instrument=instrument, protocol=protocol, effects=setting.effects, seed=seed)
    knowledge = Knowledge(SpectralResponse.of(instrument), material="soft_tissue", max_thickness_m=0.06)
    projections = find_correction("inversion")(normalise_flux(retrieve(frames)), knowledge)
    found = fbp_method(fill_invalid(projections)[0])
    return Image(found.attenuation[None], ("attenuation",), ("1/m",), (projections.geometry.pixel_m,) * 3)


def make(subject: Subject, setting: Setting, seed: int) -> Mouse:
    """Simulate one mouse and what is true on the grid of its reconstruction."""
    for texture in setting.textures:
        with textured(subject.variant, texture):
            animal = subject.make(voxel_m=VOXEL_M, field_of_view_m=VIEW_M)
        try:
            image = reconstructed(animal, setting, seed)
            break
        except DarklungError:  # more tissue than fits: less texture
            if texture == setting.textures[-1]:
                raise
    blocks = (animal.lobes > 0).reshape(*(n for size in image.shape for n in (size, SUPERSAMPLING)))
    lesions = tuple((i.number, i.tissue, i.diameter_m) for i in animal.insertions if i.kind == "lesion")
    return Mouse(image, blocks.mean(axis=(1, 3, 5)) >= 0.5, instances_on_grid(animal, image), lesions)


def cached(cache: Path | None, variant: str, seed: int, number: int, setting: str, subject: Subject) -> Mouse:
    """`make`, kept in a folder."""
    file = cache / f"{variant}_{seed}_{number:03d}_{setting}.npz" if cache else None
    if file is None or not file.exists():
        mouse = make(subject, SETTINGS[setting], 1000 + number)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            lesions = json.dumps(mouse.lesions)
            np.savez_compressed(
                file, image=mouse.image.data, spacing=mouse.image.spacing_m, lung=mouse.lung, instances=mouse.instances,
                lesions=lesions,
            )  # fmt: skip
        return mouse
    kept = np.load(file)
    image = Image(kept["image"], ("attenuation",), ("1/m",), tuple(float(d) for d in kept["spacing"]))
    return Mouse(image, kept["lung"], kept["instances"], tuple(tuple(row) for row in json.loads(str(kept["lesions"]))))


def dice(one: Mask, other: Mask) -> float:
    """Overlap of two masks."""
    return float(2 * np.sum(one & other) / max(np.sum(one) + np.sum(other), 1))


def before(image: Image) -> LungRegions:
    """The way before: its lung is its search region. It wants air at zero, which it is given."""
    air = find_grey_levels(np.asarray(image.data[0], np.float32), spacing_m=image.spacing_m).air
    lung = lung_before(replace(image, data=image.data - air) if image.units[0] != "1/m" else image)
    return LungRegions(lung, lung)


@dataclass
class Tally:
    """Sums over mice."""

    dices: list[float]
    ratios: list[float]
    shares: list[tuple[str, float, int, float]]
    seconds: float = 0.0

    def add(self, mouse: Mouse, find: Found) -> None:
        """One mouse more."""
        started = clock()
        found = find(mouse.image)
        self.seconds += clock() - started
        self.dices.append(dice(found.lung, mouse.lung))
        self.ratios.append(float(found.search.sum() / mouse.lung.sum()))
        for number, tissue, diameter in mouse.lesions:
            own = mouse.instances == number
            self.shares.append((tissue, diameter, int(own.sum()), float((own & found.search).sum() / max(own.sum(), 1))))

    def row(self) -> str:
        """As a line of the table."""
        voxels = sum(n for *_, n, _ in self.shares)
        inside = sum(n * share for *_, n, share in self.shares) / voxels
        half = [s for s in self.shares if s[3] < 0.5]
        text = f"{len(self.dices):5d} {np.mean(self.dices):7.4f} {min(self.dices):6.3f} {len(self.shares):8d}"
        text += f" {100 * inside:7.1f} % {len(half):6d} {np.mean(self.ratios):7.3f} {max(self.ratios):6.3f}"
        text += f" {self.seconds / len(self.dices):7.2f} s"
        return text + "".join(f"  {t} {1e3 * d:.1f} mm {100 * s:.0f} %" for t, d, _, s in half[:6])


def simulated(mice: int, seed: int, cache: Path | None) -> None:
    """Print the table of simulated mice."""
    names = ("mice", "Dice", "least", "lesions", "inside", "< half", "volume", "most", "a mouse")
    print(" " * 22 + "".join(f"{n:>{w}s}" for n, w in zip(names, (5, 8, 7, 9, 10, 7, 8, 7, 10))))
    for variant, setting, count in [
        ("A", "quick", mice), ("B", "quick", mice * 2 // 5), ("A", "nominal", mice // 4), ("B", "nominal", mice * 3 // 20),
        ("A", "hard", mice // 4), ("B", "hard", mice * 3 // 20), ("A", "west", mice // 4), ("B", "west", mice * 3 // 20),
    ]:  # fmt: skip
        tallies = {"now": Tally([], [], []), "before": Tally([], [], [])}
        for number, subject in enumerate(plan(variant, seed, count), start=1):
            mouse = cached(cache, variant, seed, number, setting, subject)
            tallies["now"].add(mouse, find_lungs)
            tallies["before"].add(mouse, before)
        for name, tally in tallies.items():
            print(f"{setting:8s} {variant}   {name:8s} {tally.row()}", flush=True)


def contours(file: Path, shape: tuple[int, ...]) -> dict[int, Mask]:
    """Masks of the slices that were contoured."""
    rows, cols = np.mgrid[0 : shape[1], 0 : shape[2]]
    points = np.c_[cols.ravel(), rows.ravel()]
    drawn = json.loads(file.read_text())["slices"]
    return {
        int(z): np.any([Outline(p).contains_points(points).reshape(shape[1:]) for p in polygons], axis=0)
        for z, polygons in drawn.items()
    }


def real(folder: Path, drawn: Path | None, pictures: Path | None) -> None:
    """Print what is found in the real scan."""
    if not folder.is_dir():
        print(f"real scan: not at {folder} ($DARKLUNG_DATA)")
        return
    image = read_volume(folder)
    image = replace(image, data=image.data[:1], names=("attenuation",), units=image.units[:1])
    volume = float(np.prod(image.spacing_m)) * 1e6
    for told, find in (("now", find_lungs), ("before", before)):
        started = clock()
        found = find(image)
        seconds = clock() - started
        ratio = found.search.sum() / found.lung.sum()
        print(f"real scan, {told}: lung {volume * found.lung.sum():.3f} ml, search {ratio:.3f} of it, {seconds:.1f} s")
        if drawn is None:
            print("  no contours given (--contours or $DARKLUNG_CONTOURS): no Dice")
            continue
        truth = contours(drawn, image.shape)
        all_true, all_found = (np.stack(list(m)) for m in (truth.values(), (found.lung[z] for z in truth)))
        each = ", ".join(f"{z}: {dice(found.lung[z], truth[z]):.3f}" for z in sorted(truth))
        print(f"  Dice {dice(all_found, all_true):.4f} over {len(truth)} contoured slices ({each})")
        if told == "now" and pictures is not None:
            draw(image, found, truth, pictures)


def draw(image: Image, found: LungRegions, truth: dict[int, Mask], folder: Path) -> None:
    """Slices in three planes: lung red, search region yellow, contours green."""
    folder.mkdir(parents=True, exist_ok=True)
    low, high = np.percentile(image.data[0], [25, 97])
    middle = [np.flatnonzero(found.lung.any(axis=tuple(a for a in range(3) if a != k))) for k in range(3)]
    for axis, plane in enumerate(("transverse", "coronal", "sagittal")):
        places = sorted(truth) if axis == 0 and truth else np.linspace(middle[axis][3], middle[axis][-4], 12).astype(int)
        figure = Figure(figsize=(16, 12))
        for n, k in enumerate(places[:12]):
            axes = figure.add_subplot(3, 4, n + 1)
            axes.imshow(
                np.take(image.data[0], k, axis), cmap="gray", vmin=low, vmax=high, origin="upper" if axis == 0 else "lower"
            )
            for mask, colour in ((found.search, "yellow"), (found.lung, "red")):
                axes.contour(np.take(mask, k, axis), [0.5], colors=colour, linewidths=0.6)
            if axis == 0 and k in truth:
                axes.contour(truth[k], [0.5], colors="lime", linewidths=0.6)
            axes.set_axis_off()
        figure.savefig(folder / f"{plane}.png", dpi=80, bbox_inches="tight")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mice", type=int, default=40, help="of family A at the quick setting; fewer elsewhere")
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--contours", type=Path, default=os.environ.get("DARKLUNG_CONTOURS"))
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args()
    data = Path(os.environ.get("DARKLUNG_DATA", Path(__file__).parents[1] / "../shared/data"))
    real(data / "mouse_ct_invivo", Path(given.contours) if given.contours else None, given.pictures)
    if given.mice:
        simulated(given.mice, given.seed, given.cache)


if __name__ == "__main__":
    main()

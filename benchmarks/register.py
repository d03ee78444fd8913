"""Sections of mice of unseen families placed in their volumes: target registration error, flags, labels, time and memory.

    python benchmarks/register.py --out cases --cases 30 [--pictures] [--keep labels]
    python benchmarks/register.py --truth cut/section --placed placed/register/test-0002

Each case is a mouse of family B or C (features and thresholds were set on other mice) of 100 um voxels, whose
attenuation and dark field are brought to 120 um with the blur of a voxel and white noise; no projections are simulated.
Of four to six coronal or axial sections, cut with tilts up to 15 degrees about two axes, 5 to 25 % of shrinkage, up to
4 % of compression, tears and folds, one or two are lost. They are seen as 60 um pixels of tissue and interface with the
noise that pictures of 4 um have there; with --pictures they are drawn, stained and segmented. The stack and its
middle section alone are placed on attenuation, dark field and both; a section with the volume of the mouse before,
mirrored or with a wrong pixel is what must be flagged. With --keep, labels that the stack carried into the volume are
written as labelled cases of 240 um, beside true ones (for benchmarks/section_labels.py);
animals to test on are made with --held-out. One JSON file a case: what is there is not made again; the tables are of
benchmarks/register_tables.py.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from darklung.core.random import stream
from darklung.core.resample import resample
from darklung.core.types import UNKNOWN, Image, Phantom
from darklung.features.labels import instances_on_grid
from darklung.features.lung import find_lungs
from darklung.histology.plane import PLANES
from darklung.histology.regions import NAMES, find_regions
from darklung.histology.synthetic import lesions_at, lung_at, truth_at
from darklung.io.documents import validate
from darklung.io.images import load_image
from darklung.phantom.describe import scattering_map
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.subject import make_phantom
from darklung.physics.materials import linear_attenuation
from darklung.register.carry import Carried, Drawn, carry
from darklung.register.features import SectionView
from darklung.register.files import load_maps
from darklung.register.place import Placed, place
from darklung.register.search import Question
from darklung.register.transform import PlaneMap
from darklung.slides.slide import averaged, origin_m
from darklung.steps.carried import save_labels
from darklung.steps.placeable import DRAWN_M, OVERVIEW_M, Placeable, placeable
from darklung.steps.section import Marked, make_cut
from darklung.study.histology import CutPart, RegisterPart
from register_tables import CHANNELS, told

VOXEL_M, FINE_M, LEARN_M, ENERGY_KEV, XI_M = 120e-6, 100e-6, 240e-6, 70.0, 3e-6
KINDS = {
    "carried": "from placed sections, voxels of doubtful borders unknown",
    "halved": "from placed sections, borders at a probability of one half",
    "seen": "true, of the voxels that the placed sections saw",
    "true": "true everywhere",
}
NOISE = {"attenuation": 1.5, "dark_field": 0.06}
FAMILIES, PIXEL_M, VIEW_M = ("B", "C"), 4e-6, 60e-6
TEXTURE = (0.16, 0.33)
"""Standard deviation of tissue, and of the interface relative to it, in pixels of 60 um of a synthetic picture."""
LESIONS = ("solid", "papillary", "lepidic")


def mouse(seed: int, variant: str) -> Phantom:
    """With four lesions of 0.5 to 1.8 mm."""
    rng = stream(seed, "benchmark", "lesions")
    sizes = rng.uniform(0.5e-3, 1.8e-3, 4)
    wanted = [LesionRequest(LESIONS[int(rng.integers(3))], float(s)) for s in sizes]
    return make_phantom(seed=seed, variant=variant, voxel_m=FINE_M, lesions=wanted)


def volume(phantom: Phantom, seed: int) -> Image:
    """Attenuation and dark field at 120 um, blurred and noisy."""
    mu = sum(linear_attenuation(m, d, ENERGY_KEV) for m, d in zip(phantom.materials, phantom.density))
    epsilon = scattering_map(phantom, energy_kev=ENERGY_KEV, correlation_length_m=XI_M)
    data = np.stack([mu, epsilon]).astype(np.float32)
    fine = Image(data, ("attenuation", "dark_field"), ("1/m", "1/m"), (FINE_M,) * 3)
    coarse = resample(fine, spacing_m=(VOXEL_M,) * 3)
    rng = stream(seed, "benchmark", "noise")
    noisy = []
    for name, values in zip(coarse.names, np.nan_to_num(coarse.data)):
        size = NOISE[name] * (1.0 if name == "attenuation" else float(np.percentile(values, 99.5)))
        noisy.append(gaussian_filter(values, 0.6) + rng.normal(0, size, values.shape))
    return coarse.with_data(np.stack(noisy).astype(np.float32))


def cuts(phantom: Phantom, seed: int) -> tuple[list[Any], list[int], dict[str, Any]]:
    """Sections of a block, their numbers, and what is true of them."""
    rng = stream(seed, "benchmark", "cuts")
    plane = ("coronal", "axial")[int(rng.integers(2))]
    tilt, roll = (float(np.radians(rng.uniform(-15, 15))) for _ in range(2))
    count, step = int(rng.integers(4, 7)), float(rng.uniform(0.7e-3, 1.1e-3))
    lost = rng.choice(np.arange(2, count), 1 + (count > 5), replace=False)
    shared = {"shrinkage": float(rng.uniform(0.05, 0.25)), "compression": float(rng.uniform(0, 0.04))}
    numbers, made = [n for n in range(1, count + 1) if n not in lost], []
    middle = float(rng.uniform(-0.8e-3, 0.8e-3)) + (1.5e-3 if plane == "axial" else 0.0)
    turn = float(rng.uniform(-10, 10))
    for n in numbers:
        at = middle + (n - (count + 1) / 2) * step
        given = {
            **shared, "plane": plane, "at": f"{at} m", "tilt": f"{tilt} rad", "roll": f"{roll} rad", "pixel": f"{PIXEL_M} m",
            "turn": f"{turn + rng.normal(0, 3)} deg", "tears": int(rng.integers(0, 4)), "folds": int(rng.integers(0, 2)),
            "seed": 100 * seed + n,
        }  # fmt: skip
        made.append(make_cut(phantom, validate(given, CutPart, "cut")))
    spacing = step * float(np.cos(tilt) * np.cos(roll))
    return made, numbers, {"plane": plane, "spacing_m": spacing, **shared}


def drawn_section(name: str, cut: Any, field_m: Any) -> Placeable:
    """As a file's picture is taken."""
    marked = Marked(cut, field_m)
    factor = max(1, round(OVERVIEW_M / cut.pixel_m))
    bands = []
    for row in range(0, cut.rows, 256 * factor):
        bands.append(averaged(marked((row, 0, min(256 * factor, cut.rows - row), cut.cols)), factor))
    rgb = np.concatenate(bands)
    regions = find_regions(rgb, pixel_m=factor * cut.pixel_m)
    origin = origin_m((cut.rows, cut.cols), factor, cut.pixel_m)
    return placeable(name, rgb, regions, origin, carried=NAMES[4], coarse_m=VIEW_M)


def seen_section(name: str, cut: Any, field_m: Any) -> Placeable:
    """Without a picture: the phantom's values on the coarse grid, with the noise that pictures of 4 um show there."""
    views = []
    for pixel_m in (VIEW_M, DRAWN_M):
        shape = [int(n * cut.pixel_m / pixel_m) for n in (cut.rows, cut.cols)]
        origin = tuple(-(n - 1) / 2 * pixel_m for n in shape)
        axes = [o + pixel_m * np.arange(n) for o, n in zip(origin, shape)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        lung, fraction, surface, torn = truth_at(cut, points)
        half = np.asarray(field_m) * cut.handling.scale() / 2
        views.append((origin, (lung > 0.5) & ~torn & (np.abs(points) <= half).all(axis=-1), fraction, surface))
    (origin, lung, fraction, surface), (fine_origin, fine, *_) = views
    rng = stream(cut.seed, "benchmark", "texture")
    noise = rng.standard_normal((2, *lung.shape))
    shown = {"tissue": fraction + TEXTURE[0] * noise[0], "interface": surface * (1 + TEXTURE[1] * noise[1])}
    kept = {n: (v * lung).astype(np.float32) for n, v in shown.items()}
    view = SectionView(name, lung.astype(np.float32), kept, VIEW_M, origin)
    blank = np.zeros((2, 2, 3), np.uint8)
    return Placeable(name, view, Drawn(np.zeros_like(fine), fine, DRAWN_M, fine_origin), blank, DRAWN_M, (0.0, 0.0))


def errors_m(cut: Any, one: Placeable, plane: Any) -> np.ndarray:
    """How far each place of the lung in the picture is off."""
    view = one.view
    points = view.points_m()[view.lung > 0.5]
    source, torn = cut.handling.source(points)
    true = cut.pose.position_m(source)
    kept = ~torn & (lung_at(cut.phantom, true) > 0.5)
    return np.linalg.norm(plane.position_m(points) - true, axis=1)[kept]


def truth_drawn(cut: Any, one: Placeable) -> Drawn:
    """Lesions as a pathologist who errs nowhere would draw them."""
    d = one.drawn
    axes = [o + d.pixel_m * np.arange(n) for o, n in zip(d.origin_m, d.lung.shape)]
    lesions = {i.number for i in cut.phantom.insertions if i.kind == "lesion"}
    mask = np.isin(lesions_at(cut, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)), list(lesions))
    return Drawn(mask, d.lung | mask, d.pixel_m, d.origin_m)


def labels_of(phantom: Phantom, image: Image, carried: Carried) -> dict[str, Any]:
    """Carried labels against true ones: Dice of each lesion where it was seen, and how many borders the band covers."""
    numbers = instances_on_grid(phantom, image)
    lesions = [i for i in phantom.insertions if i.kind == "lesion"]
    true = np.isin(numbers, [i.number for i in lesions]) & carried.seen
    mine = (carried.probability >= 0.5) & carried.seen
    dice = []
    for one in lesions:
        own = (numbers == one.number) & carried.seen
        if own.sum() >= 5:
            near = gaussian_filter(own.astype(np.float32), 4) > 1e-3
            both = 2 * float((own & mine).sum()) / max(1, int(own.sum()) + int((mine & near & (~true | own)).sum()))
            dice.append([1e3 * one.diameter_m, both])
    inside = covered = 0
    low, high = 0.05, 0.95
    for axis in range(3):
        ahead, behind = ([slice(None)] * 3 for _ in range(2))
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        a, b = tuple(ahead), tuple(behind)
        edge = (true[a] != true[b]) & carried.seen[a] & carried.seen[b]
        middle = (carried.probability[a][edge] + carried.probability[b][edge]) / 2
        inside += int(edge.sum())
        covered += int(((middle > low) & (middle < high)).sum())
    return {"lesions": dice, "borders": inside, "in_band": covered}


def question(true: dict[str, Any], numbers: tuple[int, ...], channels: tuple[str, ...], known: bool) -> Question:
    """What a user would know."""
    axes = np.eye(3)[:, list(PLANES[true["plane"]])]
    return Question(axes, channels, numbers, true["spacing_m"] if known else None)


def summed(made: list[Any], chosen: list[Placeable], placed: Placed) -> dict[str, Any]:
    """Errors of a placing, true and predicted [voxels]."""
    off = np.concatenate([errors_m(c, p, m) for (c, _), p, m in zip(made, chosen, placed.maps)]) / VOXEL_M
    told = [np.sqrt(np.sum(np.square(q.error_m))) / VOXEL_M for q in placed.quality]
    texture = float(np.mean([e[1:] for e in placed.answer.matched.explained]))
    return {
        "median": float(np.median(off)), "p95": float(np.percentile(off, 95)), "rms": float(np.sqrt(np.mean(off**2))),
        "predicted": float(np.mean(told)), "dice": float(min(q.dice for q in placed.quality)), "texture": texture,
        "flags": list(placed.flags), "rival": float(min((r[1] for r in placed.answer.rivals), default=1e9)),
    }  # fmt: skip


@dataclass(frozen=True)
class Mouse:
    """A phantom, its maps, and the lung that was found in them."""

    phantom: Phantom
    image: Image
    lung: np.ndarray


def make_mouse(seed: int, variant: str) -> Mouse:
    """One of a family."""
    phantom = mouse(seed, variant)
    image = volume(phantom, seed)
    return Mouse(phantom, image, find_lungs(image).lung)


def keep_labels(folder: Path, name: str, own: Mouse, maps: tuple[PlaneMap, ...] = (), drawn: tuple[Drawn, ...] = ()) -> None:
    """Labelled cases of one mouse, of every kind; without sections of the true kind alone."""
    grid = resample(own.image, spacing_m=(LEARN_M,) * 3)
    lung = find_lungs(grid).lung
    lesions = [i.number for i in own.phantom.insertions if i.kind == "lesion"]
    true = np.isin(instances_on_grid(own.phantom, grid), lesions).astype(np.uint8)
    kinds = {"true": true}
    if maps:
        carried = carry(grid, maps, drawn)
        seen = np.where(carried.seen, true, np.uint8(UNKNOWN))
        kinds |= {"carried": carried.labels(RegisterPart().band), "halved": carried.labels(0.0), "seen": seen}
    for kind, labels in kinds.items():
        save_labels(folder / kind / name, grid, lung, labels, subject=name, animal=name, told={"labels": kind})


def run_case(
    seed: int, own: Mouse, other: Mouse | None, *, pictures: bool, keep: Path | None, held_out: bool
) -> dict[str, Any]:
    """All placings of one mouse; of one that is held out the stack on both channels alone."""
    made, numbers, true = cuts(own.phantom, seed)
    draw = drawn_section if pictures else seen_section
    sections = [draw(f"s{n}", *one) for n, one in zip(numbers, made)]
    out: dict[str, Any] = {"seed": seed, "truth": true, "sections": len(sections), "pictures": pictures}
    known, half = seed % 4 < 2, len(sections) // 2
    for word, channels in {w: c for w, c in CHANNELS.items() if w == "both" or not held_out}.items():
        for kind, chosen in (("stack", slice(None)), ("one", slice(half, half + 1)))[: 1 if held_out else 2]:
            ask = question(true, tuple(numbers[chosen]), channels, known)
            start = time.process_time()
            with_mirrored = word == "both" and kind == "one"
            placed = place([s.view for s in sections[chosen]], own.image, own.lung, ask, mirrored=with_mirrored)
            out[f"{kind} {word}"] = {**summed(made[chosen], sections[chosen], placed), "s": time.process_time() - start}
            if kind == "stack" and word == "both":
                drawn = [truth_drawn(c, s) for (c, _), s in zip(made, sections)]
                out["labels"] = labels_of(own.phantom, own.image, carry(own.image, placed.maps, drawn))
                if keep:
                    keep_labels(keep, f"mouse-{seed:03d}", own, () if held_out else tuple(placed.maps), tuple(drawn))
    if not held_out:
        ask = question(true, (numbers[half],), CHANNELS["both"], known)
        out["wrong"] = wrong(sections[half], own, other, ask)
    out["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return out


def wrong(section: Placeable, own: Mouse, other: Mouse | None, ask: Question) -> dict[str, Any]:
    """What must be flagged: the pixel told 1.6 times too large, a mirrored picture, the volume of another mouse."""
    view = section.view
    row, col = view.origin_m
    large = replace(view, pixel_m=1.6 * view.pixel_m, origin_m=(1.6 * row, 1.6 * col))
    tried = {"pixel": (large, own), "mirrored": (view.mirrored(), own)}
    if other is not None:
        tried["other animal"] = (view, other)
    found = {}
    for name, (given, where) in tried.items():
        placed = place([given], where.image, where.lung, ask)
        texture = [float(e) for e in placed.answer.matched.explained[0]]
        found[name] = {"flags": list(placed.flags), "explained": texture, "dice": placed.quality[0].dice}
    return found


def against(cut: Path, placed: Path) -> None:
    """Errors of what ``darklung register`` placed, by the places that ``darklung section`` wrote down."""
    for name, plane in load_maps(placed / "transforms.json").items():
        truth = load_image(cut / name / "truth.ome.zarr")
        axes = [o + d * np.arange(n) for o, d, n in zip(truth.origin_m, truth.spacing_m, truth.shape)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        true = np.stack([truth.channel(n) for n in ("z_m", "y_m", "x_m")], axis=-1)
        known = np.isfinite(true).all(axis=-1)
        off = 1e6 * np.linalg.norm(plane.position_m(points[known]) - true[known], axis=1)
        told = 1e6 * np.sqrt((plane.error_m(points[known]) ** 2).sum(axis=1).mean())
        print(f"{name}: median {np.median(off):.0f} um, 95 % {np.percentile(off, 95):.0f}, predicted {told:.0f} (rms)")


def main() -> None:
    """Run what is lacking and print the tables."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--out", type=Path, default=Path("cases"))
    words.add_argument("--truth", type=Path)
    words.add_argument("--placed", type=Path)
    words.add_argument("--cases", type=int, default=30)
    words.add_argument("--first", type=int, default=1)
    words.add_argument("--family", choices=("A", "B", "C"))
    words.add_argument("--keep", type=Path, help="folder for labelled cases")
    words.add_argument("--held-out", action="store_true", help="only the stack on both; true labels are kept")
    words.add_argument("--pictures", action="store_true", help="draw and segment each section, which takes most of the time")
    given = words.parse_args()
    if given.truth:
        against(given.truth, given.placed)
        return
    given.out.mkdir(parents=True, exist_ok=True)
    cases, before = [], None
    for number in range(given.first, given.first + given.cases):
        variant = given.family or FAMILIES[number % len(FAMILIES)]
        file = given.out / f"{variant}{number:03d}.json"
        if not file.exists():
            own = make_mouse(number, variant)
            how = {"pictures": given.pictures, "keep": given.keep, "held_out": given.held_out}
            case = run_case(number, own, before, **how)
            file.write_text(json.dumps(case, indent=1))
            before = own
        cases.append(json.loads(file.read_text()))
        medians = {k: round(v["median"], 2) for k, v in cases[-1].items() if k.startswith(("stack", "one"))}
        print(file.name, medians, flush=True)
    print(told(cases))


if __name__ == "__main__":
    main()

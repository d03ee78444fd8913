"""Is an insertion what the same lesion in the phantom would have been? Pulls, contrasts, shams and seams.

    python benchmarks/insertion.py [--mice 12] [--parts pulls radiograph shams seams]

A mouse is simulated and scanned healthy. Lesions are placed in its reconstruction and inserted into its noisy frames,
projections and volume by the code of `darklung insert`. The truth is the same mouse with the same outlines grown in its
phantom (airways that they fill and compressed rims with flattened pores included), scanned with other noise.

- pulls: (inserted - expected) / standard deviation in the lesions' shadow. Mean 0 and spread 1 is a perfect insertion;
- contrast: what was inserted over what would have been there (least squares in the shadow);
- shams: can a classifier tell sham from untouched lung?
- seams: how well a classifier that sees three voxels about the outline tells lesions from untouched lung, for inserted
  and for grown lesions; and whether it can tell the two from each other. Intervals are 95 %, bootstrap over mice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from darklung.core.channel import Channel, dark_field_at
from darklung.core.types import Image, Phantom, Projections, Scan
from darklung.correct.ladder import Knowledge, find_correction
from darklung.correct.response import SpectralResponse
from darklung.insert.bank import reach_m
from darklung.insert.beam import shadows_of
from darklung.insert.frames import changed_views
from darklung.insert.planned import Planned, drawn_changes, volume_noise
from darklung.insert.projections import changed_projections
from darklung.insert.scale import Scale
from darklung.insert.volume import PlacedLesion, VolumeChanges, place_insertions
from darklung.phantom.body import body_densities
from darklung.phantom.families import draw_anatomy
from darklung.phantom.grid import make_grid
from darklung.phantom.lesions import edit
from darklung.phantom.lungs import LungBuilder
from darklung.phantom.thorax import build_thorax
from darklung.physics.instrument import make_instrument
from darklung.retrieve.stepping import retrieve
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan
from darklung.tomo.methods import Volumes, fbp_method

INSTRUMENT = make_instrument()
KNOWLEDGE = Knowledge(SpectralResponse.of(INSTRUMENT), material="soft_tissue", max_thickness_m=0.06)
SCALE = Scale("known", INSTRUMENT.reference_energy_kev, INSTRUMENT.reference_correlation_length_m, INSTRUMENT)
LESIONS = (("lesion", "solid"), ("lesion", "filled"), ("lesion", "papillary"), ("lesion", "lepidic"))
VIEW_M = (9.6e-3, 24e-3)  # a part of the lungs is enough
SUPERSAMPLING = 2  # the phantom is finer than the detector, so that its voxels do not blur what is grown in it


@dataclass(frozen=True)
class Setting:
    """Size of the experiment; `voxel_m` is that of detector and reconstruction."""

    voxel_m: float = 240e-6
    views: int = 90
    counts: float = 1.5e7
    diameter_m: tuple[float, float] = (1.2e-3, 2.2e-3)
    wanted: tuple[tuple[str, str], ...] = LESIONS
    directions: tuple[float, ...] = (0.0, np.pi / 2)

    def protocol(self) -> Protocol:
        """The scan."""
        return Protocol(
            views=self.views, steps=5, directions_rad=self.directions, counts_per_pixel=self.counts, exposure_s=0.01,
            supersampling=SUPERSAMPLING,
        )  # fmt: skip


def mouse(seed: int, setting: Setting, placed: Sequence[PlacedLesion] = ()) -> Phantom:
    """A mouse of family A, with lesions grown at given places."""
    grid, anatomy = make_grid(VIEW_M, setting.voxel_m / SUPERSAMPLING), draw_anatomy("A", seed)
    thorax = build_thorax(grid, anatomy, seed)
    lungs = LungBuilder(grid, thorax.lungs, anatomy, "A", seed)
    for one in placed:
        centre = one.insertion.center_m
        box = grid.box_around(centre, reach_m(one.growth) + 3 * grid.voxel_m)
        core = edit(one.growth, lungs._site(box), centre) & (lungs.share[box] > 0.5)
        if not one.sham:
            lungs.instances[box][core] = one.insertion.number
    return lungs.finish(body_densities(grid, thorax, anatomy, seed), tuple(one.insertion for one in placed))


def scanned(phantom: Phantom, setting: Setting, seed: int, *, noise: bool = True) -> Scan:
    """Raw frames."""
    return simulate_scan(phantom, instrument=INSTRUMENT, protocol=setting.protocol(), seed=seed, noise=noise)


def volumes(projections: Projections) -> Volumes:
    """Attenuation and dark fields at the reference energy, with their noise."""
    return fbp_method(find_correction("inversion")(projections, KNOWLEDGE), noise=True)


def planned(phantom: Phantom, found: Volumes, setting: Setting, seed: int) -> Planned:
    """Lesions placed in a reconstruction; the region is the truth's, so that insertion alone is judged."""
    grid = make_grid(VIEW_M, setting.voxel_m)
    k = SUPERSAMPLING
    blocks = (phantom.lobes > 0).reshape(*(n for size in grid.shape for n in (size, k)))
    region = np.asarray(blocks.mean(axis=(1, 3, 5)) > 0.5)
    lung = float(np.median(found.attenuation[region]))
    dark = [float(np.median(d[region])) for d in found.dark_field]
    tissue = float(SCALE.tissue_per_m or 0)
    host = SCALE.host(tissue_per_m=tissue, lung_per_m=lung, scattering_per_m=float(np.mean(dark)))
    placed = place_insertions(
        found.attenuation, list(found.dark_field), region, grid, wanted=setting.wanted, diameter_m=setting.diameter_m,
        host=host, seed=seed, edge_m=0.3e-3,
    )  # fmt: skip
    names = ("attenuation", *(dark_field_at(a).name for a in setting.directions))
    data = np.concatenate([found.attenuation[None], found.dark_field])
    image = Image(data, names, ("1/m",) * len(data), (setting.voxel_m,) * 3)
    return Planned(image, list(names[1:]), region, grid, placed, host, SCALE)


@dataclass(frozen=True)
class Pair:
    """One mouse: scanned healthy, the plan of its lesions, and the mouse with the lesions grown."""

    seed: int
    healthy: Scan
    before: Projections
    found: Volumes
    plan: Planned
    ill: Phantom


def make_pair(seed: int, setting: Setting) -> Pair:
    """Simulate one mouse healthy, place lesions in its reconstruction, and grow them in its phantom."""
    phantom = mouse(seed, setting)
    healthy = scanned(phantom, setting, seed)
    before = retrieve(healthy)
    found = volumes(before)
    plan = planned(phantom, found, setting, seed)
    return Pair(seed, healthy, before, found, plan, mouse(seed, setting, plan.placed))


@dataclass(frozen=True)
class Pulls:
    """Pulls and contrasts of one signal.

    Parameters
    ----------
    pulls : (n,)
    inserted, expected, error : (n,)
        Changes against the healthy expectation, and the standard deviation of one.
    """

    pulls: np.ndarray
    inserted: np.ndarray
    expected: np.ndarray
    error: np.ndarray

    def line(self, name: str) -> str:
        """Mean and spread of the pulls, and the contrast by least squares."""
        n = len(self.pulls)
        weight = self.expected / self.error**2
        slope = float((weight * self.inserted).sum() / (weight * self.expected).sum())
        slope_error = float(1 / np.sqrt((weight * self.expected).sum()))
        mean, spread = (
            f"{self.pulls.mean():+9.3f} ±{1 / np.sqrt(n):.3f}",
            f"{self.pulls.std():9.3f} ±{1 / np.sqrt(2 * n):.3f}",
        )
        return f"{name:34s}{n:9d}{mean}{spread}{slope:10.3f} ±{slope_error:.3f}"


def together(parts: Sequence[Pulls]) -> Pulls:
    """All mice."""
    return Pulls(*(np.concatenate([getattr(p, k) for p in parts]) for k in ("pulls", "inserted", "expected", "error")))


def shadow_masks(pair: Pair, least_m: float = 2e-4) -> np.ndarray:
    """Pixels whose ray crosses a lesion, (view, row, col)."""
    g = pair.healthy.geometry
    shadow = shadows_of(pair.plan, g, blur_m=0.0)
    mask = np.zeros((g.views, g.rows, g.cols), bool)
    for view in range(g.views):
        one = shadow(view)
        if one is not None:
            mask[(view, *one.window)] = one.path_m > least_m
    return mask


def inserted_frames(pair: Pair, scale: Scale = SCALE) -> np.ndarray:
    """Frames of the healthy scan with the plan inserted."""
    frames = pair.healthy.frames.copy()
    shadow = shadows_of(pair.plan, pair.healthy.geometry, blur_m=0.0)
    for d, view, curves in changed_views(pair.healthy, shadow, scale, pair.seed, gain=1.0, whole=False):
        frames[d, view] = curves
    return frames


def frame_pulls(pair: Pair, setting: Setting, truth: Scan, healthy: Scan) -> Pulls:
    """Counts against the expected counts of the grown mouse."""
    mask = np.broadcast_to(shadow_masks(pair)[None, :, None], pair.healthy.frames.shape)
    new, wanted, old = (f[mask].astype(float) for f in (inserted_frames(pair), truth.frames, healthy.frames))
    error = np.sqrt(wanted)
    return Pulls((new - wanted) / error, new - old, wanted - old, error)


def retrieved_pulls(new: Projections, truth: Projections, healthy: Projections, mask: np.ndarray, name: str) -> Pulls:
    """One retrieved map against the noise-free map of the grown mouse."""
    full = np.broadcast_to(mask[None], truth.valid.shape) & new.valid
    values = [getattr(p, name)[full].astype(float) for p in (new, truth, healthy)]
    error = np.sqrt(getattr(new, f"{name}_variance")[full].astype(float))
    return Pulls((values[0] - values[1]) / error, values[0] - values[2], values[1] - values[2], error)


def volume_pulls(pair: Pair, truth: Volumes, healthy: Volumes, changes: VolumeChanges) -> list[tuple[str, Pulls]]:
    """Voxels of the lesions against the noise-free reconstruction of the grown mouse."""
    core = changes.share > 0.5
    parts = {
        "attenuation": (pair.found.attenuation + changes.attenuation, truth.attenuation, healthy.attenuation),
        **{
            name: (pair.found.dark_field[d] + changes.scattering[d], truth.dark_field[d], healthy.dark_field[d])
            for d, name in enumerate(pair.plan.dark)
        },
    }
    out = []
    for name, volumes_of in parts.items():
        new, wanted, old = (v[core].astype(float) for v in volumes_of)
        error = pair.found.extras[Channel.parse(name).noise().name][1][core].astype(float)
        label = f"volume: {name.replace('_', ' ')}"
        out.append((label, Pulls((new - wanted) / error, new - old, wanted - old, error)))
    return out


def pulls_of(pair: Pair, setting: Setting) -> dict[str, Pulls]:
    """Every route of one mouse."""
    truth = scanned(pair.ill, setting, pair.seed, noise=False)
    healthy = scanned(mouse(pair.seed, setting), setting, pair.seed, noise=False)
    exact, plain = retrieve(truth), retrieve(healthy)
    mask = shadow_masks(pair)
    out = {"frames: counts": frame_pulls(pair, setting, truth, healthy)}
    from_frames = retrieve(replace(pair.healthy, frames=inserted_frames(pair)))
    shadow = shadows_of(pair.plan, pair.healthy.geometry, blur_m=0.0)
    from_maps = changed_projections(pair.before, shadow, scale=SCALE, seed=pair.seed)
    for route, new in (("frames", from_frames), ("projections", from_maps)):
        for name in ("attenuation", "dark_field", "phase"):
            out[f"{route}: {name.replace('_', ' ')}"] = retrieved_pulls(new, exact, plain, mask, name)
    blur = (0.0, 0.5 * setting.voxel_m, 0.5 * setting.voxel_m)
    changes = drawn_changes(pair.plan, blur, volume_noise(pair.plan))
    out |= dict(volume_pulls(pair, volumes(exact), volumes(plain), changes))
    return out


def print_pulls(mice: int, setting: Setting) -> None:
    """Pulls and contrasts of all routes."""
    parts = [pulls_of(make_pair(100 + k, setting), setting) for k in range(mice)]
    print(f"\n{mice} mice, {len(setting.wanted)} lesions each, {setting.voxel_m * 1e6:g} um, {setting.views} views")
    print(f"{'in the lesions shadow':34s}{'n':>9s}{'mean pull':>16s}{'spread':>16s}{'contrast':>17s}")
    for name in parts[0]:
        print(together([p[name] for p in parts]).line(name))


def main() -> None:
    """Print everything that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mice", type=int, default=4)
    parser.add_argument("--voxel-um", type=float, default=240.0)
    parser.add_argument("--views", type=int, default=90)
    parser.add_argument("--parts", nargs="+", default=["pulls", "radiograph", "shams", "seams"])
    options = parser.parse_args()
    if "pulls" in options.parts:
        print_pulls(options.mice, Setting(voxel_m=options.voxel_um * 1e-6, views=options.views))


if __name__ == "__main__":
    main()

"""Simulated radiographs of excised lobes, with tumours and hard negatives in them, as labelled cases.

A lobe is a patch of textured lung of known thickness. Along each ray −ln T = μ_lung t and −ln D = ε_lung t, both with the
texture of the tissue (ε follows it by the power 0.4, as S_V does in ``insertion_radiograph.py``), plus

    tumour           −ln T + c (μ_tumour − μ_lung),   −ln D − 0.97 c ε_lung    (nearly no interfaces are left)
    missing lung     −ln T − c μ_lung,                −ln D − c ε_lung          (air in place of lung)
    thickness bump   −ln T + c μ_lung,                −ln D + c ε_lung          (more of the same lung)

with c the chord of an irregular body, of one distribution for all three. Photon noise is normal with the variances of
`darklung.physics.noise` at the counts and visibility of ``dey_2025_radiograph``. One energy, so no hardening; no scatter, no
blur. Tumours and hard negatives are of equal sizes, so that size tells nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.geometry import centred_axis
from darklung.core.random import stream
from darklung.core.types import LESION, Image, Insertion
from darklung.insert.chords import Body, chords_on_grid, find_place
from darklung.insert.radiograph import LABEL_CHORD_M
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.io.names import CASE
from darklung.phantom.grid import Grid, fractal_noise
from darklung.physics.lung import HEALTHY
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.noise import dark_field_variance, log_transmission_variance
from darklung.physics.scattering import two_phase
from evidence_parts.limits import Stop

ATTENUATION_PER_CM, THICKNESS_MM = (0.18, 0.24, 0.39), (3, 4)
CELLS = {f"{mu:g}-{t}mm": (100 * mu, 1e-3 * t) for mu in ATTENUATION_PER_CM for t in THICKNESS_MM}
"""Name -> attenuation of the tumours [1/m], thickness of the lobes [m]."""
ENERGY_KEV, XI_M, VISIBILITY, COUNTS, FLAT_COUNTS = 40.0, 1.5e-6, 0.2, 1e5, 1e6
PIXEL_M, PIXELS, TEXTURE = 100e-6, 96, 0.12
DIAMETER_M, TUMOURS, NEGATIVES = (0.75e-3, 1.5e-3), (2, 4), ("missing_lung", "thickness_bump")
REST = 0.03  # of the lung's scattering, in a tumour
TRAIN, TEST = 60, 200


def lung_per_m() -> tuple[float, float]:
    """μ and ε of healthy lung at the energy."""
    mu = linear_attenuation("soft_tissue", HEALTHY.tissue_density * HEALTHY.tissue_fraction, [ENERGY_KEV])
    contrast = float(delta("soft_tissue", HEALTHY.tissue_density, ENERGY_KEV))
    medium = (HEALTHY.tissue_fraction, HEALTHY.interface_density_per_m)
    return float(np.asarray(mu)[0]), float(two_phase(*medium, contrast, ENERGY_KEV, XI_M))


def make_lobes(folder: Path, cell: str, stop: Stop, *, trial: bool) -> Path:
    """All lobes of a cell, those that are there left alone."""
    for use, count in (("train", 6 if trial else TRAIN), ("test", 6 if trial else TEST)):
        for number in range(1, count + 1):
            name = f"{use}-{number:04d}"
            if not (folder / name / CASE).is_file():
                stop.check()
                save_case(folder / name, lobe(name, *CELLS[cell]))
    return folder


def lobe(name: str, tumour_per_m: float, thickness_m: float) -> LabelledCase:
    """One lobe: the same texture, bodies and noise draws in every cell, since they follow from its name."""
    rng, (mu, eps) = stream(1, "lobe", name), lung_per_m()
    mask = _outline(rng)
    texture = _texture(int(rng.integers(2**31)))
    thick = thickness_m * _dome(mask)
    values = np.stack([mu * thick * texture, eps * thick * texture**0.4])
    blank = Image(
        np.zeros((2, *mask.shape), np.float32), ("attenuation", "dark_field"), ("1", "1"), (PIXEL_M,) * 2, frame="detector"
    )
    instances, hard = np.zeros(mask.shape, np.uint16), np.zeros(mask.shape, bool)
    insertions, free = [], mask.copy()
    signs = {"solid": (tumour_per_m - mu, (REST - 1) * eps), "missing_lung": (-mu, -eps), "thickness_bump": (mu, eps)}
    wanted = [("lesion", "solid")] * int(rng.integers(TUMOURS[0], TUMOURS[1] + 1))
    wanted += [("mimic", name) for name in NEGATIVES for _ in range(int(rng.integers(1, 3)))]
    for kind, tissue in wanted:
        placed = _place(free, thick, rng)
        if placed is None:
            continue
        chord, (row, col), diameter = placed
        z, x = blank.position_m([row, col])
        number = len(insertions) + 1
        insertions.append(Insertion(number, kind, tissue, (z, 0.0, x), diameter))
        values += chord * np.array(signs[tissue])[:, None, None]
        instances[chord > LABEL_CHORD_M] = number
        hard |= (chord > LABEL_CHORD_M) & (kind == "mimic")
        free &= chord == 0
    values = values + _noise(values, stream(1, "lobe noise", name))
    values = np.where(mask, values, np.median(values[:, mask], axis=1)[:, None, None]).astype(np.float32)
    image = blank.with_data(values, blank.names, blank.units)
    lesions = [i.number for i in insertions if i.kind == "lesion"]
    labels = np.where(np.isin(instances, lesions), LESION, 0).astype(np.uint8)
    about = CaseFacts(name, name, source="simulated lobe", synthetic=True, provenance={"energy_kev": ENERGY_KEV})
    return LabelledCase(image, labels, mask, mask, instances, hard, tuple(insertions), about)


def _outline(rng: np.random.Generator) -> NDArray[np.bool_]:
    """An ellipse with a wavy border."""
    y, x = np.meshgrid(*[centred_axis(PIXELS, 1.0)] * 2, indexing="ij")
    angle, phases = np.arctan2(y, x), rng.uniform(0, 2 * np.pi, 3)
    wave = sum(0.04 * np.sin((k + 2) * angle + p) for k, p in enumerate(phases))
    axes = PIXELS / 2 * rng.uniform(0.75, 0.92, 2)
    return np.asarray(np.hypot(y / axes[0], x / axes[1]) < 1 + wave)


def _dome(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the greatest thickness: full in the middle, falling over the outer 1.5 mm."""
    inward = ndimage.distance_transform_edt(mask) * PIXEL_M
    share = np.clip(inward / 1.5e-3, 0, 1)
    return np.asarray(np.sqrt(share * (2 - share)))


def _texture(seed: int) -> NDArray[np.float64]:
    """Mean of the tissue's texture along rays, about 1: coarse structure that a thickness of some millimetres leaves."""
    axis = centred_axis(PIXELS, PIXEL_M)
    grid = Grid(PIXEL_M, axis, centred_axis(1, PIXEL_M), axis)
    return np.exp(TEXTURE * fractal_noise(grid, seed, "lobe", (1.5e-3, 0.5e-3), 0.8)[:, 0, :].astype(np.float64))


def _place(
    free: NDArray[np.bool_], thick: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], tuple[float, float], float] | None:
    """Chords of a body on the lobe's grid, its centre in pixels and diameter; None without room after some tries."""
    for _ in range(20):
        diameter = float(rng.uniform(*DIAMETER_M))
        row, col = rng.uniform(-0.5, 0.5, 2)
        body = Body(diameter, float(rng.uniform(0.08, 0.18)), (float(row), float(col)), int(rng.integers(2**63)))
        chords = body.chords(PIXEL_M)
        place = find_place(chords, free, thick, edge_px=1.0, rng=rng)
        if place is not None:
            return chords_on_grid(chords, place, free.shape), (place[0] + float(row), place[1] + float(col)), diameter
    return None


def _noise(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Photon noise of −ln T and −ln D, of the view and of the flat."""
    counts, seen = COUNTS * np.exp(-values[0]), VISIBILITY * np.exp(-values[1])
    variances = [
        log_transmission_variance(counts) + log_transmission_variance(FLAT_COUNTS),
        dark_field_variance(seen, counts, VISIBILITY, FLAT_COUNTS),
    ]
    return rng.standard_normal(values.shape) * np.sqrt(np.stack(variances))

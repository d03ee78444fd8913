"""Synthetic tumours in measured radiographs of lung: the same physical lesion in attenuation and dark field.

A lesion replaces lung along the ray. Where a ray crosses it over the chord c,

    Δ(−ln T) = c μ_lung (r_μ − 1),      Δ(−ln D) = c ε_lung (r_ε − 1),

with μ_lung and ε_lung the lung's own local signals divided by its local thickness, and r_μ, r_ε the lesion's attenuation
and scattering relative to lung: those of one medium in the φ and S_V of its class over healthy lung as it was before it was
excised and dried (`darklung.physics.lung`).

Not modelled: the thickness is an assumption (`lung_thickness`), as it was not measured; what drying does to a lesion and not
to lung; a compressed rim; the lesion's own texture; displaced (rather than replaced) vessels; hardening. A lesion that
scatters less raises the visibility and so lowers the dark field's noise (by V_before/V_after, about a quarter under a thick
solid one); ``noise="photons"`` changes the noise of both maps as physics does (`darklung.insert.renoise`), ``noise="kept"``
leaves it, to the dark field's disadvantage inside lesions. The change of photon noise by the added attenuation (a few per
cent of the counts) is below 2 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import check_one_of, check_positive, check_range, check_shape, require
from darklung.core.random import stream
from darklung.core.types import Image, Insertion
from darklung.insert.chords import Body, chords_on_grid, find_place, has_room
from darklung.insert.lobes import LobeQuality, RadiographLobe, lobe_quality, lung_thickness, smooth_inside
from darklung.insert.renoise import changed_maps
from darklung.insert.scale import ASSUMED_XI_M
from darklung.physics.lung import HEALTHY, INSERTABLE_MIMICS, LESIONS, SHAM_RATIO, find_class

Range = tuple[float, float]
# A ray belongs to the lesion's label where it crosses more than this much of it.
LABEL_CHORD_M = 1.0e-4
# Bodies tried for each insertion; from SMALLEST_FROM on the smallest diameter, for lobes with room in one place only.
TRIES, SMALLEST_FROM = 40, 9


@dataclass(frozen=True)
class InsertionSettings:
    """What is put into each case, and the assumptions (docs/decisions/081).

    Parameters
    ----------
    classes : tuple of str
        Lesion classes to draw from.
    mimics : tuple of str
        Mimic classes to draw from, without those that are vessels and no medium.
    diameter_m : (low, high)
        Diameters of the spheres of the same volume; uniform.
    lesions, shams, mimic_count : (fewest, most)
        Numbers in a case, each equally likely.
    greatest_thickness_m : float
        The thickness is this times −ln T over its 95th percentile in the lobe (so μ_lung is one number a lobe).
    blur_m : float
        Standard deviation of the detector's blur (Gaussian), applied to what is inserted; the measurement has its own.
    edge_m : float
        Distance that a lesion keeps from the mask's edge and from other insertions.
    at_edge : bool
        Put lesions across the mask's edge instead, cut by it; mimics and shams too.
    lung_per_m : float, optional
        Attenuation coefficient of lung, where the attenuation is not the lung's alone (a whole animal).
    noise : {"kept", "photons"}
        Of the changed pixels: as measured, or as fewer photons and another visibility make it.
    correlation_length_m : float
        ξ of the maps; the ratio of two ε hardly depends on it.
    """

    classes: tuple[str, ...] = ("solid", "filled")
    mimics: tuple[str, ...] = ()
    diameter_m: Range = (0.5e-3, 1.5e-3)
    lesions: tuple[int, int] = (0, 2)
    shams: tuple[int, int] = (1, 1)
    mimic_count: tuple[int, int] = (0, 0)
    greatest_thickness_m: float = 3.0e-3
    blur_m: float = 4.25e-5
    edge_m: float = 7.5e-5
    at_edge: bool = False
    lung_per_m: float | None = None
    noise: str = "kept"
    correlation_length_m: float = ASSUMED_XI_M

    def __post_init__(self) -> None:
        for name in self.classes:
            find_class("classes", name, LESIONS)
        for name in self.mimics:
            find_class("mimics", name, INSERTABLE_MIMICS)
        low, high = self.diameter_m
        check_range("diameter_m", low, 1e-5, high)
        check_range("greatest_thickness_m", self.greatest_thickness_m, high, 1e-1)
        check_range("blur_m", self.blur_m, 0.0, 1e-3)
        check_positive("correlation_length_m", self.correlation_length_m)
        check_range("edge_m", self.edge_m, 0.0, 1e-2)
        check_one_of("noise", self.noise, ("kept", "photons"))
        for name in ("lesions", "shams", "mimic_count"):
            few, most = getattr(self, name)
            require(0 <= few <= most, f"{name}: wanted 0 <= fewest <= most, got {few}, {most}")
        require(bool(self.classes) or self.lesions[1] == 0, "classes: wanted at least one for lesions")
        require(bool(self.mimics) or self.mimic_count[1] == 0, "mimics: wanted at least one for mimic_count > 0")


@dataclass(frozen=True)
class RadiographInsertion:
    """One insertion with what makes it: the record, the drawn ratios, the greatest chord, the body and its middle pixel."""

    insertion: Insertion
    attenuation_ratio: float
    dark_field_ratio: float
    greatest_chord_m: float
    body: Body
    place: tuple[int, int]


@dataclass(frozen=True)
class RadiographCase:
    """One lobe with insertions, ready to learn from.

    Parameters
    ----------
    name : str
    group : str
        The animal (fold by this).
    lobe : str
        Name of the measured lobe (never in two folds).
    image : Image
        Channels ``attenuation`` (−ln T) and ``dark_field`` (−ln V/V0) on (row, col).
    target : (row, col) bool array
        Pixels whose ray crosses more than 0.1 mm of a lesion.
    region : (row, col) bool array
        The lobe. Outside it the channels hold the lobe's median, which is not a measurement.
    instances : (row, col) uint16 array
        Number of the insertion of kind lesion or mimic under the pixel, else 0.
    insertions : tuple of RadiographInsertion
    changes : (2, row, col) float64
        What the insertions add to −ln T and to −ln D.
    path_m : (row, col) float64
        Path through lesions and mimics: partial pixels are kept here.
    skipped : tuple of str
        Insertions asked for that found no place, one sentence each.
    """

    name: str
    group: str
    lobe: str
    image: Image
    target: NDArray[np.bool_]
    region: NDArray[np.bool_]
    instances: NDArray[np.uint16]
    insertions: tuple[RadiographInsertion, ...]
    changes: NDArray[np.float64]
    path_m: NDArray[np.float64]
    skipped: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for name in ("target", "region", "instances", "path_m"):
            check_shape(name, getattr(self, name), "row, col", self.image.shape)


@dataclass
class _Canvas:
    """A case while it is being made: changes of −ln T and −ln D, what is free, labels, path through lesions and mimics."""

    changes: NDArray[np.float64]
    free: NDArray[np.bool_]
    instances: NDArray[np.uint16]
    path_m: NDArray[np.float64]


def make_case(
    lobe: RadiographLobe,
    *,
    settings: InsertionSettings,
    seed: int,
    version: int,
    wanted: Sequence[tuple[str, str]] | None = None,
    avoid: NDArray[np.bool_] | None = None,
    must_fit: bool = True,
) -> RadiographCase:
    """One synthetic version of `lobe`; depends on `seed`, the lobe's name and `version` alone.

    Parameters
    ----------
    lobe : RadiographLobe
    settings : InsertionSettings
    seed, version : int
    wanted : sequence of (kind, class), optional
        In place of what `settings` would draw.
    avoid : (row, col) bool, optional
        Pixels that no insertion may touch, such as streaks.
    must_fit : bool
        Refuse a lobe without room for all lesions of `wanted`; otherwise those are among the skipped.

    Raises
    ------
    DarklungError
        The fewest lesions asked for do not fit (too large for the mask, or longer than the lung is thick).
    """
    rng = stream(seed, "radiograph", lobe.name, version)
    thickness = lung_thickness(lobe, greatest_thickness_m=settings.greatest_thickness_m)
    shape = lobe.mask.shape
    free = lobe.mask.copy() if avoid is None else lobe.mask & ~avoid
    canvas = _Canvas(np.zeros((2, *shape)), free, np.zeros(shape, np.uint16), np.zeros(shape))
    fewest = settings.lesions[0] if wanted is None else sum(kind == "lesion" for kind, _ in wanted) * must_fit
    wanted = _wanted(settings, rng) if wanted is None else wanted
    made: list[RadiographInsertion] = []
    skipped = []
    for kind, tissue in wanted:
        placed = _insert(lobe, canvas, thickness, settings=settings, kind=kind, tissue=tissue, number=len(made) + 1, rng=rng)
        if placed is None:
            skipped.append(f"{kind} ({tissue}): no place for any diameter tried")
        else:
            made.append(placed)
    lesions = [i.insertion.number for i in made if i.insertion.kind == "lesion"]
    require(
        len(lesions) >= fewest,
        f"{lobe.name}: only {len(lesions)} of at least {fewest} lesions of {settings.diameter_m} m fit",
    )
    image = _filled(lobe, canvas, settings.noise, stream(seed, "radiograph noise", lobe.name, version))
    target = np.isin(canvas.instances, lesions) & (canvas.instances > 0)
    name = f"{lobe.name}-{version:03d}"
    return RadiographCase(
        name, lobe.group, lobe.name, image, target, lobe.mask, canvas.instances, tuple(made),
        canvas.changes, canvas.path_m, tuple(skipped),
    )  # fmt: skip


def _wanted(settings: InsertionSettings, rng: np.random.Generator) -> list[tuple[str, str]]:
    """What to insert, lesions first, then mimics and shams."""
    out = []
    for kind, names, (few, most) in (
        ("lesion", settings.classes, settings.lesions),
        ("mimic", settings.mimics, settings.mimic_count),
        ("sham", settings.classes or tuple(LESIONS), settings.shams),
    ):
        out += [(kind, names[rng.integers(len(names))]) for _ in range(rng.integers(few, most + 1))]
    return out


def _insert(
    lobe: RadiographLobe,
    canvas: _Canvas,
    thickness: NDArray,
    *,
    settings: InsertionSettings,
    kind: str,
    tissue: str,
    number: int,
    rng: np.random.Generator,
) -> RadiographInsertion | None:
    """Draw diameters, uniform in the range, until one finds a place; at last the smallest. Small lobes get smaller ones."""
    for attempt in range(TRIES):
        diameter = settings.diameter_m[0] if attempt >= SMALLEST_FROM else rng.uniform(*settings.diameter_m)
        if not has_room(canvas.free, thickness, diameter_px=diameter / lobe.pixel_m, diameter_m=diameter):
            continue
        row, col = rng.uniform(-0.5, 0.5, 2)
        body = Body(diameter, float(rng.uniform(0.08, 0.18)), (float(row), float(col)), int(rng.integers(2**63)))
        chords = body.chords(lobe.pixel_m)
        cut = lobe.mask if settings.at_edge else None
        place = find_place(chords, canvas.free, thickness, edge_px=settings.edge_m / lobe.pixel_m, rng=rng, mask=cut)
        if place is not None:
            break
    else:
        return None
    chord = chords_on_grid(chords, place, canvas.free.shape) * lobe.mask
    ratios = drawn_ratios(kind, tissue, correlation_length_m=settings.correlation_length_m, rng=rng)
    _apply(lobe, canvas, thickness, chord, ratios=ratios, settings=settings)
    if kind != "sham":
        canvas.instances[chord > LABEL_CHORD_M] = number
        canvas.path_m += chord
    canvas.free[chord > 0] = False
    row, col = lobe.maps.position_m([p + f for p, f in zip(place, body.offset_px)])
    record = Insertion(number, kind, tissue, (row, 0.0, col), diameter)
    return RadiographInsertion(record, *ratios, float(chord.max()), body, place)


def drawn_ratios(kind: str, tissue: str, *, correlation_length_m: float, rng: np.random.Generator) -> tuple[float, float]:
    """r_μ and r_ε of one insertion: φ and S_V uniform within its class, or a sham's own ratios."""
    if kind == "sham":
        low, high = SHAM_RATIO
        return float(rng.uniform(low, high)), float(rng.uniform(low, high))
    one = find_class(kind, tissue, LESIONS if kind == "lesion" else INSERTABLE_MIMICS)
    made = one.medium(HEALTHY, fraction_share=rng.uniform(), surface_share=rng.uniform())
    return made.ratios_to(HEALTHY, correlation_length_m=correlation_length_m)


def _apply(
    lobe: RadiographLobe,
    canvas: _Canvas,
    thickness: NDArray,
    chord: NDArray,
    *,
    ratios: tuple[float, float],
    settings: InsertionSettings,
) -> None:
    """Add both changes, blurred; μ and ε of lung from the smoothed measurement, so that its noise is not copied."""
    known = np.maximum(thickness, 1e-9)
    sigma = settings.blur_m / lobe.pixel_m
    own = [smooth_inside(measured, lobe.mask, sigma_px=2.0) / known for measured in (lobe.attenuation, lobe.dark_field)]
    if settings.lung_per_m is not None:
        own[0] = np.full_like(own[0], settings.lung_per_m)
    for total, coefficient, ratio in zip(canvas.changes, own, ratios):
        change = chord * np.where(chord > 0, coefficient, 0.0) * (ratio - 1)
        total += ndimage.gaussian_filter(change, sigma) if sigma > 0 else change


def _filled(lobe: RadiographLobe, canvas: _Canvas, noise: str, rng: np.random.Generator) -> Image:
    mask = lobe.mask
    values = [lobe.attenuation + canvas.changes[0], lobe.dark_field + canvas.changes[1]]
    if noise == "photons":
        values = _with_photon_noise(lobe, canvas, lobe_quality(lobe), rng)
    data = [np.where(mask, v, np.median(v[mask])) for v in values]
    return lobe.maps.with_data(np.stack(data).astype(np.float32), ("attenuation", "dark_field"), ("1", "1"))


def _with_photon_noise(lobe: RadiographLobe, canvas: _Canvas, seen: LobeQuality, rng: np.random.Generator) -> list[NDArray]:
    """Both maps with the noise that the changed beam would have; its level is that of the whole lobe."""
    mask, zero = lobe.mask, np.zeros(lobe.mask.shape)
    made = changed_maps(
        attenuation=np.where(mask, lobe.attenuation, 0.0),
        dark_field=np.where(mask, lobe.dark_field, 0.0),
        phase=zero,
        attenuation_change=canvas.changes[0],
        dark_field_change=canvas.changes[1],
        phase_change=zero,
        attenuation_variance=zero + seen.attenuation_noise**2,
        dark_field_variance=zero + seen.dark_field_noise**2,
        valid=mask,
        rng=rng,
    )
    return [made.attenuation, made.dark_field]

"""Synthetic tumours in measured radiographs of lung: the same physical lesion in attenuation and dark field.

A lesion replaces lung along the ray. Where a ray crosses it over the chord c,

    Δ(−ln T) = c μ_lung (r_μ − 1),      Δ(−ln D) = c ε_lung (r_ε − 1),

with μ_lung and ε_lung the lung's own local signals divided by its local thickness, and r_μ, r_ε the lesion's attenuation
and scattering relative to lung.

Not modelled: the thickness is an assumption (`lung_thickness`), as it was not measured; the lesion's own texture; displaced
(rather than replaced) vessels; hardening; the noise of the measurement is kept as it is. In truth a lesion that scatters
less raises the visibility and so lowers the dark field's noise (by V_before/V_after, about a quarter under a thick solid
one): keeping it is to the dark field's disadvantage, inside lesions only. The change of photon noise by the added
attenuation (a few per cent of the counts) is below 2 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import check_one_of, check_positive, check_range, check_shape, require
from darklung.core.random import stream
from darklung.core.types import Image, Insertion
from darklung.phantom.lobes import RadiographLobe, lung_thickness, smooth_inside

Range = tuple[float, float]
# Class -> ranges of r_mu and r_epsilon relative to healthy lung (docs/decisions/081).
CLASSES: dict[str, tuple[Range, Range]] = {
    "solid": ((2.9, 3.3), (0.0, 0.05)),
    "partly_filled": ((2.3, 3.0), (0.2, 0.5)),
    "papillary": ((1.7, 2.3), (0.4, 0.85)),
    "lepidic": ((1.3, 1.8), (0.75, 1.1)),
}
MIMICS: dict[str, tuple[Range, Range]] = {
    "atelectasis": ((2.0, 3.0), (0.7, 1.4)),
    "pneumonia": ((1.8, 2.8), (0.5, 0.95)),
    "emphysema": ((0.5, 0.83), (0.5, 0.8)),
}
HEALTHY: tuple[Range, Range] = ((0.95, 1.05), (0.95, 1.05))
# A ray belongs to the lesion's label where it crosses more than this much of it.
LABEL_CHORD_M = 1.0e-4
# Subsamples of a pixel, along each axis, when a lesion is drawn.
FINE = 3
TRIES = 12


@dataclass(frozen=True)
class InsertionSettings:
    """What is put into each case, and the assumptions (docs/decisions/081).

    Parameters
    ----------
    classes : tuple of str
        Lesion classes to draw from; see `CLASSES`.
    mimics : tuple of str
        Mimic classes to draw from; see `MIMICS`.
    diameter_m : (low, high)
        Diameters of the spheres of the same volume; uniform.
    lesions, shams, mimic_count : (fewest, most)
        Numbers in a case, each equally likely.
    greatest_thickness_m : float
        The thickness is this times −ln T over its 95th percentile in the lobe (so μ_lung is one number a lobe).
    psf_fwhm_m : float
        Detector blur (Gaussian) applied to what is inserted; the measurement has its own.
    edge_m : float
        Distance that a lesion keeps from the mask's edge and from other insertions.
    """

    classes: tuple[str, ...] = ("solid", "partly_filled")
    mimics: tuple[str, ...] = ()
    diameter_m: Range = (0.5e-3, 1.5e-3)
    lesions: tuple[int, int] = (0, 2)
    shams: tuple[int, int] = (1, 1)
    mimic_count: tuple[int, int] = (0, 0)
    greatest_thickness_m: float = 3.0e-3
    psf_fwhm_m: float = 1.0e-4
    edge_m: float = 7.5e-5

    def __post_init__(self) -> None:
        for name in self.classes:
            check_one_of("classes", name, CLASSES)
        for name in self.mimics:
            check_one_of("mimics", name, MIMICS)
        low, high = self.diameter_m
        check_range("diameter_m", low, 1e-5, high)
        check_range("greatest_thickness_m", self.greatest_thickness_m, high, 1e-1)
        check_range("psf_fwhm_m", self.psf_fwhm_m, 0.0, 1e-3)
        check_range("edge_m", self.edge_m, 0.0, 1e-2)
        for name in ("lesions", "shams", "mimic_count"):
            few, most = getattr(self, name)
            require(0 <= few <= most, f"{name}: wanted 0 <= fewest <= most, got {few}, {most}")
        require(bool(self.classes) or self.lesions[1] == 0, "classes: wanted at least one for lesions")
        require(bool(self.mimics) or self.mimic_count[1] == 0, "mimics: wanted at least one for mimic_count > 0")


@dataclass(frozen=True)
class RadiographInsertion:
    """One insertion with what makes it: the record, the drawn ratios and the greatest chord."""

    insertion: Insertion
    attenuation_ratio: float
    dark_field_ratio: float
    greatest_chord_m: float


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
    skipped: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for name in ("target", "region", "instances"):
            check_shape(name, getattr(self, name), "row, col", self.image.shape)


def lesion_chords(
    *,
    diameter_m: float,
    pixel_m: float,
    roughness: float,
    rng: np.random.Generator,
    offset_px: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.float64]:
    """Chords [m] of rays through an irregular body, averaged over each pixel, (row, col), odd sides.

    The body is r < R (1 + h(n)), h a sum of twelve random plane waves on the direction n with standard deviation
    `roughness`; it is scaled so that its sampled volume is the sphere's.

    Parameters
    ----------
    diameter_m : float
        Of the sphere of the same volume.
    pixel_m : float
    roughness : float
        0 gives the sphere.
    rng : numpy Generator
    offset_px : (row, col)
        Where the body's middle lies from the middle pixel's centre, within half a pixel.
    """
    check_positive("diameter_m", diameter_m)
    check_range("roughness", roughness, 0.0, 0.3)
    half = int(np.ceil(0.5 * diameter_m * (1 + 4 * roughness) / pixel_m)) + 1
    side, step = 2 * half + 1, pixel_m / FINE
    axis = ((np.arange(side * FINE) - (side * FINE - 1) / 2) * step).astype(np.float32)
    row, col = (axis - np.float32(o * pixel_m) for o in offset_px)
    grid = np.meshgrid(row, axis, col, indexing="ij")  # rows, depth, columns
    radius = np.sqrt(grid[0] ** 2 + grid[1] ** 2 + grid[2] ** 2) + np.float32(1e-12)
    bump = np.zeros_like(radius)
    if roughness > 0:
        for wave, phase in zip(rng.normal(0.0, 2.5, (12, 3)).astype(np.float32), rng.uniform(0, 2 * np.pi, 12)):
            bump += np.cos(sum(w * g for w, g in zip(wave, grid)) / radius + np.float32(phase))
        bump *= np.float32(roughness * np.sqrt(2 / 12))
    relative = radius / np.maximum(1 + bump, np.float32(0.3))
    # The surface that encloses the wanted volume: a quantile of the relative radius.
    count = max(round(np.pi / 6 * diameter_m**3 / step**3), 1)
    body = relative <= np.partition(relative.ravel(), count - 1)[count - 1]
    fine = body.sum(axis=1) * step
    return np.asarray(fine.reshape(side, FINE, side, FINE).mean(axis=(1, 3)))


@dataclass
class _Canvas:
    """A case while it is being made."""

    attenuation: NDArray[np.float64]
    dark_field: NDArray[np.float64]
    free: NDArray[np.bool_]
    instances: NDArray[np.uint16]


def make_case(lobe: RadiographLobe, *, settings: InsertionSettings, seed: int, version: int) -> RadiographCase:
    """One synthetic version of `lobe`; depends on `seed`, the lobe's name and `version` alone.

    Parameters
    ----------
    lobe : RadiographLobe
    settings : InsertionSettings
    seed, version : int

    Raises
    ------
    DarklungError
        The fewest lesions asked for do not fit (too large for the mask, or longer than the lung is thick).
    """
    rng = stream(seed, "radiograph", lobe.name, version)
    thickness = lung_thickness(lobe, greatest_thickness_m=settings.greatest_thickness_m)
    canvas = _Canvas(lobe.attenuation, lobe.dark_field, lobe.mask.copy(), np.zeros(lobe.mask.shape, np.uint16))
    wanted = _wanted(settings, rng)
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
        len(lesions) >= settings.lesions[0],
        f"{lobe.name}: only {len(lesions)} of at least {settings.lesions[0]} lesions of {settings.diameter_m} m fit",
    )
    image = _filled(lobe, canvas)
    target = np.isin(canvas.instances, lesions) & (canvas.instances > 0)
    name = f"{lobe.name}-{version:03d}"
    return RadiographCase(
        name, lobe.group, lobe.name, image, target, lobe.mask, canvas.instances, tuple(made), tuple(skipped)
    )


def _wanted(settings: InsertionSettings, rng: np.random.Generator) -> list[tuple[str, str]]:
    """What to insert, lesions first, then mimics and shams."""
    out = []
    for kind, names, (few, most) in (
        ("lesion", settings.classes, settings.lesions),
        ("mimic", settings.mimics, settings.mimic_count),
        ("sham", settings.classes or tuple(CLASSES), settings.shams),
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
    ratios = {"lesion": CLASSES, "mimic": MIMICS, "sham": dict.fromkeys(CLASSES, HEALTHY)}[kind][tissue]
    for attempt in range(TRIES):
        diameter = settings.diameter_m[0] if attempt >= TRIES - 3 else rng.uniform(*settings.diameter_m)
        if not _has_room(canvas.free, thickness, diameter_px=diameter / lobe.pixel_m, diameter_m=diameter):
            continue
        offset, roughness = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.08, 0.18)
        chords = lesion_chords(
            diameter_m=diameter, pixel_m=lobe.pixel_m, roughness=roughness, rng=rng, offset_px=(offset[0], offset[1])
        )
        place = _place(chords, canvas.free, thickness, edge_px=settings.edge_m / lobe.pixel_m, rng=rng)
        if place is not None:
            break
    else:
        return None
    chord = _at(chords, place, canvas.free.shape)
    r_mu, r_epsilon = (float(rng.uniform(*r)) for r in ratios)
    _apply(
        lobe, canvas, thickness, chord, r_mu=r_mu, r_epsilon=r_epsilon, psf_px=settings.psf_fwhm_m / 2.3548 / lobe.pixel_m
    )
    if kind != "sham":
        canvas.instances[chord > LABEL_CHORD_M] = number
    canvas.free[chord > 0] = False
    row, col = (o + (p + f) * lobe.pixel_m for o, p, f in zip(lobe.maps.origin_m, place, offset))
    record = Insertion(number, kind, tissue, (row, 0.0, col), diameter)
    return RadiographInsertion(record, r_mu, r_epsilon, float(chord.max()))


def _has_room(free: NDArray[np.bool_], thickness: NDArray, *, diameter_px: float, diameter_m: float) -> bool:
    """Whether a somewhat smaller sphere would fit: a quick look before the body is drawn."""
    room = ndimage.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1]
    return bool(((room > 0.42 * diameter_px) & (thickness > 0.85 * diameter_m)).any())


def _place(
    chords: NDArray, free: NDArray[np.bool_], thickness: NDArray, *, edge_px: float, rng: np.random.Generator
) -> tuple[int, int] | None:
    """A random middle pixel where the whole body lies in free lung, off the edge, no chord longer than the lung is thick."""
    half = chords.shape[0] // 2
    if min(free.shape) <= 2 * half:
        return None
    inside = ndimage.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1] > edge_px + 0.5
    # Erosion by the body's outline, and by its chords as a grey structure: min over the body of (thickness − chord) > 0.
    body = chords > 0
    fits = ndimage.binary_erosion(inside, structure=body)
    fits &= ndimage.grey_erosion(thickness, structure=chords, footprint=body, mode="constant", cval=0.0) > 0
    places = np.argwhere(fits)
    return tuple(int(i) for i in places[rng.integers(len(places))]) if len(places) else None  # type: ignore[return-value]


def _at(chords: NDArray, place: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The chords on the lobe's grid."""
    out = np.zeros(shape)
    half = chords.shape[0] // 2
    rows, cols = (slice(max(p - half, 0), min(p + half + 1, n)) for p, n in zip(place, shape))
    out[rows, cols] = chords[
        rows.start - place[0] + half : rows.stop - place[0] + half,
        cols.start - place[1] + half : cols.stop - place[1] + half,
    ]
    return out


def _apply(
    lobe: RadiographLobe,
    canvas: _Canvas,
    thickness: NDArray,
    chord: NDArray,
    *,
    r_mu: float,
    r_epsilon: float,
    psf_px: float,
) -> None:
    """Add both changes, blurred; μ and ε of lung from the smoothed measurement, so that its noise is not copied."""
    known = np.maximum(thickness, 1e-9)
    for values, measured, ratio in (
        (canvas.attenuation, lobe.attenuation, r_mu),
        (canvas.dark_field, lobe.dark_field, r_epsilon),
    ):
        coefficient = smooth_inside(measured, lobe.mask, sigma_px=2.0) / known
        change = chord * np.where(chord > 0, coefficient, 0.0) * (ratio - 1)
        values += ndimage.gaussian_filter(change, psf_px) if psf_px > 0 else change


def _filled(lobe: RadiographLobe, canvas: _Canvas) -> Image:
    mask = lobe.mask
    data = [np.where(mask, v, np.median(v[mask])) for v in (canvas.attenuation, canvas.dark_field)]
    maps = lobe.maps
    return Image(
        np.stack(data).astype(np.float32),
        ("attenuation", "dark_field"),
        ("1", "1"),
        maps.spacing_m,
        maps.origin_m,
        maps.frame,
    )


def make_cases(
    lobes: Sequence[RadiographLobe], *, settings: InsertionSettings, versions: int, seed: int, smallest_px: int = 32
) -> tuple[RadiographCase, ...]:
    """`versions` synthetic versions of each lobe, padded to at least `smallest_px` a side.

    Raises
    ------
    DarklungError
        No lobe, two of one name, or lesions that do not fit.
    """
    require(len(lobes) > 0, "lobes: wanted at least one, got none")
    require(versions >= 1, f"versions: wanted >= 1, got {versions}")
    names = [lobe.name for lobe in lobes]
    require(len(set(names)) == len(names), "lobes: each name once")
    cases = (make_case(lobe, settings=settings, seed=seed, version=v) for lobe in lobes for v in range(versions))
    return tuple(padded(case, smallest_px=smallest_px) for case in cases)


def padded(case: RadiographCase, *, smallest_px: int) -> RadiographCase:
    """`case` with at least `smallest_px` pixels a side: the rim is outside the region and holds the lobe's median."""
    lack = [max(smallest_px - n, 0) for n in case.image.shape]
    if not any(lack):
        return case
    widths = [(n // 2, n - n // 2) for n in lack]
    image = case.image
    medians = [float(np.median(channel[case.region])) for channel in image.data]
    data = np.stack([np.pad(c, widths, constant_values=m) for c, m in zip(image.data, medians)])
    origin = tuple(o - w[0] * d for o, w, d in zip(image.origin_m, widths, image.spacing_m))
    grown = Image(data, image.names, image.units, image.spacing_m, origin, image.frame)
    return replace(
        case,
        image=grown,
        target=np.asarray(np.pad(case.target, widths), dtype=bool),
        region=np.asarray(np.pad(case.region, widths), dtype=bool),
        instances=np.asarray(np.pad(case.instances, widths), dtype=np.uint16),
    )

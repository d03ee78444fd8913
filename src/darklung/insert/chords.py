"""Irregular bodies as their chords along the rays, and where they fit in the mask of a radiograph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import check_positive, check_range

# Subsamples of a pixel, along each axis, when a body is drawn.
FINE = 3
# Share of its volume that a body cut by the mask's edge has inside.
INSIDE = (0.5, 0.9)


@dataclass(frozen=True)
class Body:
    """An irregular body that can be drawn again, as chords or in three dimensions; see `lesion_chords`."""

    diameter_m: float
    roughness: float
    offset_px: tuple[float, float]
    seed: int

    def chords(self, pixel_m: float) -> NDArray[np.float64]:
        """Chords [m], (row, col)."""
        return lesion_chords(
            diameter_m=self.diameter_m, pixel_m=pixel_m, roughness=self.roughness, offset_px=self.offset_px,
            rng=np.random.default_rng(self.seed),
        )  # fmt: skip

    def voxels(self, pixel_m: float) -> NDArray[np.bool_]:
        """The body on voxels of a third of a pixel, (row, depth, col)."""
        return lesion_body(
            diameter_m=self.diameter_m, pixel_m=pixel_m, roughness=self.roughness, offset_px=self.offset_px,
            rng=np.random.default_rng(self.seed),
        )  # fmt: skip


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
    body = lesion_body(diameter_m=diameter_m, pixel_m=pixel_m, roughness=roughness, rng=rng, offset_px=offset_px)
    fine = body.sum(axis=1) * (pixel_m / FINE)
    side = len(body) // FINE
    return np.asarray(fine.reshape(side, FINE, side, FINE).mean(axis=(1, 3)))


def lesion_body(
    *,
    diameter_m: float,
    pixel_m: float,
    roughness: float,
    rng: np.random.Generator,
    offset_px: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.bool_]:
    """The body of `lesion_chords` itself on voxels of a third of a pixel, (row, depth, col)."""
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
    return np.asarray(relative <= np.partition(relative.ravel(), count - 1)[count - 1])


def has_room(free: NDArray[np.bool_], thickness: NDArray, *, diameter_px: float, diameter_m: float) -> bool:
    """Whether a somewhat smaller sphere would fit: a quick look before the body is drawn."""
    room = ndimage.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1]
    return bool(((room > 0.42 * diameter_px) & (thickness > 0.85 * diameter_m)).any())


def find_place(
    chords: NDArray,
    free: NDArray[np.bool_],
    thickness: NDArray,
    *,
    edge_px: float,
    rng: np.random.Generator,
    mask: NDArray[np.bool_] | None = None,
) -> tuple[int, int] | None:
    """A random middle pixel where the whole body lies in free lung, off the edge, no chord longer than the lung is thick.

    With a `mask` the body is cut by the mask's edge instead, with half to nine tenths of its volume inside.
    """
    half = chords.shape[0] // 2
    if min(free.shape) <= 2 * half:
        return None
    if mask is not None:
        return _place_at_edge(chords, free, thickness, mask, rng)
    inside = ndimage.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1] > edge_px + 0.5
    # Erosion by the body's outline, and by its chords as a grey structure: min over the body of (thickness − chord) > 0.
    body = chords > 0
    fits = ndimage.binary_erosion(inside, structure=body)
    fits &= ndimage.grey_erosion(thickness, structure=chords, footprint=body, mode="constant", cval=0.0) > 0
    return _one_of(fits, rng)


def _place_at_edge(
    chords: NDArray, free: NDArray[np.bool_], thickness: NDArray, mask: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[int, int] | None:
    body = chords > 0
    fits = ndimage.binary_erosion(free | ~mask, structure=body, border_value=1) & mask
    inside = ndimage.correlate(mask.astype(np.float64), chords / chords.sum(), mode="constant")
    fits &= (inside > INSIDE[0]) & (inside < INSIDE[1])
    deep = np.where(mask, thickness, np.inf)
    fits &= ndimage.grey_erosion(deep, structure=chords, footprint=body, mode="constant", cval=np.inf) > 0
    return _one_of(fits, rng)


def _one_of(fits: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int] | None:
    places = np.argwhere(fits)
    return tuple(int(i) for i in places[rng.integers(len(places))]) if len(places) else None  # type: ignore[return-value]


def chords_on_grid(chords: NDArray, place: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The chords on the lobe's grid."""
    out = np.zeros(shape)
    half = chords.shape[0] // 2
    rows, cols = (slice(max(p - half, 0), min(p + half + 1, n)) for p, n in zip(place, shape))
    out[rows, cols] = chords[
        rows.start - place[0] + half : rows.stop - place[0] + half,
        cols.start - place[1] + half : cols.stop - place[1] + half,
    ]
    return out

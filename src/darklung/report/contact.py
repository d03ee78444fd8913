"""Contact sheets: every insertion of a class, before and after, in both signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.types import Insertion

TILES = "tiles.npz"
SIDE_PX, REACH_M = 44, 1.8e-3  # of one picture: pixels along a side, and half of what it shows
ACROSS, MOST = 5, 200  # insertions in a row of a sheet, and on a sheet
SCALE = 2
OUTLINE = (1.0, 0.35, 0.1)
Plane = NDArray[np.floating]


@dataclass(frozen=True)
class Tile:
    """Pictures of one insertion, attenuation before and after, dark field (if any) before and after, and its label."""

    insertion: Insertion
    pictures: NDArray[np.float32]
    label: NDArray[np.bool_]


def make_tile(
    insertion: Insertion,
    planes: Sequence[Plane],
    label: Plane,
    *,
    centre_px: tuple[float, float],
    pixel_m: float,
) -> Tile:
    """Cut the surroundings of an insertion out of its planes and its label."""
    axis = np.linspace(-REACH_M, REACH_M, SIDE_PX) / pixel_m
    at = np.meshgrid(centre_px[0] + axis, centre_px[1] + axis, indexing="ij")

    def cut(plane: Plane, order: int, outside: float) -> NDArray[np.float64]:
        values = np.asarray(plane, np.float64)
        return np.asarray(ndimage.map_coordinates(values, at, order=order, mode="constant", cval=outside))

    pictures = np.stack([cut(p, 0, np.nan) for p in planes]).astype(np.float32)
    return Tile(insertion, pictures, cut(label, 1, 0.0) > 0.5)


def save_tiles(folder: Path, tiles: Sequence[Tile]) -> None:
    """Keep the pictures of one copy."""
    np.savez_compressed(
        folder / TILES,
        pictures=np.array([t.pictures for t in tiles], dtype=np.float32),
        label=np.array([t.label for t in tiles], dtype=bool).reshape(-1, SIDE_PX, SIDE_PX),
        what=np.array([f"{t.insertion.kind} {t.insertion.tissue}" for t in tiles], dtype=str),
        diameter_m=np.array([t.insertion.diameter_m for t in tiles], dtype=np.float64),
    )


def contact_sheets(copies: Sequence[Path], out: Path) -> list[Path]:
    """One sheet for each kind and class (at most 200 insertions, smallest first), as ``contact_KIND_CLASS.png``.

    Each insertion is four pictures of 3.6 mm (two without dark field): each signal before and after, the two of a signal
    with the same grey levels; lines are the outline of the label.
    """
    found: dict[str, list[tuple[float, NDArray[Any], NDArray[Any]]]] = {}
    for place in copies:
        with np.load(place / TILES, allow_pickle=False) as archive:
            parts = (archive["what"], archive["diameter_m"], archive["pictures"], archive["label"])
        for what, size, pictures, label in zip(*parts):
            found.setdefault(str(what), []).append((float(size), pictures, label))
    paths = []
    for what, tiles in sorted(found.items()):
        spread = np.linspace(0, len(tiles) - 1, min(len(tiles), MOST)).round().astype(int)
        ordered = [sorted(tiles, key=lambda t: t[0])[i] for i in spread]
        path = out / f"contact_{what.replace(' ', '_')}.png"
        _save(path, _mosaic([_strip(pictures, label) for _, pictures, label in ordered]))
        paths.append(path)
    return paths


def _strip(pictures: NDArray[Any], label: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Grey pictures side by side as RGB (row, col, 3)."""
    edge = label & ~ndimage.binary_erosion(label)
    parts = []
    for first in range(0, len(pictures), 2):
        low, high = np.nanpercentile(pictures[first : first + 2], (1, 99.5))
        for when, picture in enumerate(pictures[first : first + 2]):
            grey = np.clip(0.05 + 0.95 * np.nan_to_num((picture - low) / max(high - low, 1e-12), nan=-1.0), 0, 1)
            colour = np.repeat(grey[:, :, None], 3, axis=2).astype(np.float64)
            if when == 1:
                colour[edge] = OUTLINE
            parts.append(np.pad(colour, [(1, 1), (1, 1), (0, 0)]))
    return np.pad(np.concatenate(parts, axis=1), [(2, 2), (4, 4), (0, 0)], constant_values=1.0)


def _mosaic(strips: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    empty = np.ones_like(strips[0])
    rows = [list(strips[i : i + ACROSS]) for i in range(0, len(strips), ACROSS)]
    full = [np.concatenate(r + [empty] * (min(ACROSS, len(strips)) - len(r)), axis=1) for r in rows]
    return np.concatenate(full, axis=0)


def _save(path: Path, colours: NDArray[np.float64]) -> None:
    from matplotlib.image import imsave

    bits = (255 * colours).round().astype(np.uint8)
    imsave(path, np.repeat(np.repeat(bits, SCALE, axis=0), SCALE, axis=1))

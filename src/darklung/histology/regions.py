"""What a section is made of, at a few micrometres a pixel: parenchyma, airways, vessels, dense tissue, gaps, and the rest.

By stain and density alone, so that stereology counts septa and not bronchi: lumens with a thick wall all round are airways
or vessels, what is tissue throughout is dense (infiltrate, tumour, collapsed lung), rooms wider than any duct are gaps. A
pathologist knows better: `with_drawn` puts drawn outlines over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_fields, check_one_of, check_positive, require
from darklung.histology.stain import grey_density, is_stain, optical_density, separate, threshold_between

OUTSIDE, PARENCHYMA, AIRWAY, VESSEL, DENSE, GAP, TUMOUR, EXCLUDED = range(8)
NAMES = ("outside", "parenchyma", "airway", "vessel", "dense", "gap", "tumour", "excluded")
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Looks:
    """Sizes by which parts are told apart; of mouse lung.

    Parameters
    ----------
    close_m : float
        Tissue nearer than twice this belongs together.
    piece_m2 : float
        Smaller pieces are debris.
    rim_m : float
        Of this much at the edge nothing is counted: pleura and cut edges.
    lumen_m : float
        Least radius of a lumen that is looked at.
    wall_m : float
        Half of the least thickness of a wall; septa are thinner.
    walled_share : float
        Of the outline of a lumen that must have a wall.
    dense_m, dense_share : float
        Tissue is dense where it fills this share of the disc of this radius.
    gap_m : float
        Rooms in which a disc of this radius fits are no airspace of the parenchyma: tears, bullae, unwalled bronchi.
    red_excess : float
        By how much the share of eosin in all stain must exceed the section's median for blood and muscle: a vessel.
    """

    close_m: float = 25e-6
    piece_m2: float = 0.1e-6
    rim_m: float = 20e-6
    lumen_m: float = 25e-6
    wall_m: float = 9e-6
    walled_share: float = 0.65
    dense_m: float = 35e-6
    dense_share: float = 0.85
    gap_m: float = 200e-6
    red_excess: float = 0.15

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Regions:
    """Labels of a section on a coarse grid over its whole picture.

    Parameters
    ----------
    labels : (row, col) uint8
        Index into `NAMES`.
    pieces : (row, col) uint16
        0 outside, 1, 2, ... the pieces of lung from the largest.
    pixel_m : float
    threshold : float
        Grey density from which the coarse pixels counted as tissue.
    """

    labels: NDArray[np.uint8]
    pieces: NDArray[np.uint16]
    pixel_m: float
    threshold: float

    def area_m2(self, label: int, piece: int | None = None) -> float:
        """Of one label, in one piece or all."""
        where = self.labels == label
        return float((where if piece is None else where & (self.pieces == piece)).sum()) * self.pixel_m**2

    @property
    def count(self) -> int:
        """Pieces."""
        return int(self.pieces.max())


def find_regions(rgb: NDArray[np.uint8], *, pixel_m: float, looks: Looks | None = None) -> Regions:
    """Label a coarse picture of a section.

    Parameters
    ----------
    rgb : (row, col, 3) uint8
    pixel_m : float
        About 4 to 8 um; coarser, walls are not seen.
    looks : Looks, optional

    Raises
    ------
    DarklungError
        No stain, no piece of tissue as large as `Looks.piece_m2`.
    """
    looks = looks or Looks()
    check_positive("pixel_m", pixel_m)
    density = optical_density(rgb)
    able = is_stain(density)
    grey = np.where(able, grey_density(density), 0).astype(np.float32)
    require(bool(able.any()), "section: no stain in it; wanted a stained section on a bright ground")
    threshold = threshold_between(grey[grey > 0.01])
    tissue = grey > threshold
    labels, pieces = np.zeros(tissue.shape, np.uint8), np.zeros(tissue.shape, np.uint16)
    box = _box_around(tissue)
    pieces[box] = _pieces(tissue[box], pixel_m, looks)
    require(bool(pieces.any()), f"section: no piece of tissue of at least {1e6 * looks.piece_m2:g} mm²")
    share = separate(density[box])
    red = share[..., 1] / np.maximum(share[..., 0] + share[..., 1], 1e-3)
    red -= np.median(red[tissue[box]])
    labels[box] = _labelled(tissue[box], pieces[box] > 0, red, pixel_m, looks)
    return Regions(labels, pieces, pixel_m, threshold)


def with_drawn(regions: Regions, drawn: Mapping[str, Mask]) -> Regions:
    """The labels with a user's masks put over them: names of `NAMES`; "parenchyma" is where lung is, nothing else counts."""
    labels, pieces = regions.labels.copy(), regions.pieces.copy()
    for name in drawn:
        check_one_of("mask", name, NAMES)
    if "parenchyma" in drawn:
        inside = drawn["parenchyma"]
        labels[inside & (labels == OUTSIDE)] = PARENCHYMA
        labels[~inside] = OUTSIDE
        pieces = _numbered(inside, 0)
    for name, mask in drawn.items():
        if name != "parenchyma":
            labels[mask & (pieces > 0)] = NAMES.index(name)
    return replace(regions, labels=labels, pieces=pieces)


def _box_around(mask: Mask) -> tuple[slice, slice]:
    """The smallest box that holds all of a mask."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)


def _pieces(tissue: Mask, pixel_m: float, looks: Looks) -> NDArray[np.uint16]:
    """Lung with its airspaces, its pieces by number."""
    from scipy.ndimage import binary_fill_holes

    pad = int(np.ceil(looks.close_m / pixel_m)) + 1
    wide = np.pad(tissue, pad)
    closed = eroded(dilated(wide, looks.close_m / pixel_m), looks.close_m / pixel_m)
    filled = np.asarray(binary_fill_holes(closed))[pad:-pad, pad:-pad]
    return _numbered(filled, looks.piece_m2 / pixel_m**2)


def _numbered(mask: Mask, least: float) -> NDArray[np.uint16]:
    """Parts of at least so many pixels, the largest first."""
    from scipy.ndimage import label

    parts, count = label(mask)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    order = [int(n) for n in np.argsort(-sizes) if sizes[n] >= max(least, 1)]
    number = np.zeros(count + 1, np.uint16)
    for rank, part in enumerate(order, start=1):
        number[part + 1] = rank
    return np.asarray(number[parts])


def _labelled(tissue: Mask, outline: Mask, red: NDArray[Any], pixel_m: float, looks: Looks) -> NDArray[np.uint8]:
    labels = np.where(outline, PARENCHYMA, OUTSIDE).astype(np.uint8)
    walls = opened(tissue, looks.wall_m / pixel_m)
    dense = _dense(tissue & outline, pixel_m, looks)
    thick = walls | dense
    air = outline & ~tissue
    for lumen, ring in _rooms(air, pixel_m, looks.lumen_m):
        if thick[ring].mean() < looks.walled_share:
            continue
        own = dilated(lumen.mask, 3 * looks.wall_m / pixel_m) & (lumen.mask | thick[lumen.box])
        kind = VESSEL if red[ring].mean() > looks.red_excess else AIRWAY
        labels[lumen.box][own & outline[lumen.box]] = kind
    rest = dense & (labels == PARENCHYMA)
    labels[rest] = DENSE
    labels[rest & _mostly_red(red, rest, pixel_m, looks)] = VESSEL
    gaps = opened(air & (labels == PARENCHYMA), looks.gap_m / pixel_m)
    labels[gaps] = GAP
    rim = outline & ~eroded(np.pad(outline, 1), looks.rim_m / pixel_m)[1:-1, 1:-1]
    labels[rim & (labels == PARENCHYMA)] = EXCLUDED
    return labels


def _dense(tissue: Mask, pixel_m: float, looks: Looks) -> Mask:
    """Where tissue fills nearly all of a disc, and the tissue that belongs to it."""
    from scipy.ndimage import gaussian_filter

    # A Gaussian weighs as a disc of twice its standard deviation.
    full = gaussian_filter(tissue.astype(np.float32), looks.dense_m / 2 / pixel_m) > looks.dense_share
    return tissue & dilated(full, looks.dense_m / 2 / pixel_m)


def _mostly_red(red: NDArray[Any], dense: Mask, pixel_m: float, looks: Looks) -> Mask:
    """Where eosin prevails over about the width of a wall: blood and muscle."""
    from scipy.ndimage import gaussian_filter

    sigma = looks.wall_m / pixel_m
    weight = gaussian_filter(dense.astype(np.float32), sigma)
    mean = gaussian_filter(np.where(dense, red, 0).astype(np.float32), sigma) / np.maximum(weight, 1e-3)
    return opened(dense & (mean > looks.red_excess), sigma)


@dataclass(frozen=True)
class _Part:
    box: tuple[slice, slice]
    mask: Mask


def _parts(mask: Mask, margin: int = 0) -> list[_Part]:
    from scipy.ndimage import find_objects, label

    parts, _ = label(mask)
    found = []
    for number, box in enumerate(find_objects(parts), start=1):
        wide = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in box)
        found.append(_Part((wide[0], wide[1]), parts[wide] == number))
    return found


def _rooms(air: Mask, pixel_m: float, radius_m: float) -> list[tuple[_Part, tuple[NDArray[np.intp], NDArray[np.intp]]]]:
    """Rooms in which a disc of the radius fits, each with the pixels just outside of its outline."""
    margin = int(np.ceil(30e-6 / pixel_m)) + 2
    found = []
    for part in _parts(opened(air, radius_m / pixel_m), margin):
        near = dilated(part.mask, 12e-6 / pixel_m + 1) & ~dilated(part.mask, 1)
        rows, cols = np.nonzero(near)
        found.append((part, (rows + part.box[0].start, cols + part.box[1].start)))
    return found


def dilated(mask: Mask, radius: float) -> Mask:
    """Within so many pixels of the mask."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return mask
    return np.asarray(distance_transform_edt(~mask) <= radius)


def eroded(mask: Mask, radius: float) -> Mask:
    """Farther than so many pixels from what is not the mask; the border of the array is no edge."""
    from scipy.ndimage import distance_transform_edt

    if mask.all():
        return mask
    return np.asarray(distance_transform_edt(mask) > radius)


def opened(mask: Mask, radius: float) -> Mask:
    """The parts of a mask in which a disc of so many pixels fits."""
    return mask & dilated(eroded(mask, radius), radius)

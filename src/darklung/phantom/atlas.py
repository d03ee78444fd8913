"""A label volume becomes a phantom: each label stands for a tissue; the lungs are grown new inside their label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import check_one_of, check_positive, require
from darklung.core.files import reading
from darklung.core.orientation import ANATOMY
from darklung.core.types import Phantom
from darklung.io.npy import read_npy, read_npz
from darklung.phantom.body import MATERIALS
from darklung.phantom.families import MM, draw_anatomy
from darklung.phantom.grid import Grid, make_grid
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.lungs import LungBuilder
from darklung.phantom.subject import all_requests
from darklung.phantom.thorax import LungShape

Field = NDArray[np.float32]

# tissue -> (material, density [g/cm³]); lung and air hold nothing here.
TISSUES: Mapping[str, tuple[str, float] | None] = {
    "air": None,
    "lung": None,
    "soft_tissue": ("soft_tissue", 1.05),
    "liver": ("soft_tissue", 1.06),
    "adipose": ("adipose", 0.95),
    "bone": ("bone", 1.5),
}
MARGIN_M = 0.6 * MM
LEFT, RIGHT = 1, 2

# The 22 labels of the Digimouse atlas (Dogdas et al. 2007, 10.1088/0031-9155/52/3/003) and where its axes point.
DIGIMOUSE_TABLE: Mapping[int, str] = {
    **dict.fromkeys(range(1, 21), "soft_tissue"), 0: "air", 2: "bone", 18: "liver", 21: "lung",
}  # fmt: skip
DIGIMOUSE_AXES = ("left", "tail", "back")
DIGIMOUSE_VOXEL_M = 2e-4


@dataclass(frozen=True)
class Atlas:
    """A label volume in the phantom's axes.

    Parameters
    ----------
    labels : (z, y, x) integer array
        z towards the head, y towards the back, x towards the animal's left.
    voxel_m : float
    table : mapping
        Label -> tissue, a key of `TISSUES`. A label that occurs and is not listed is refused.
    """

    labels: NDArray
    voxel_m: float
    table: Mapping[int, str]

    def __post_init__(self) -> None:
        require(self.labels.ndim == 3, f"labels: wanted 3 axes, got shape {self.labels.shape}")
        require(np.issubdtype(self.labels.dtype, np.integer), f"labels: wanted integers, got {self.labels.dtype}")
        check_positive("voxel_m", self.voxel_m)
        for tissue in self.table.values():
            check_one_of("table", tissue, TISSUES)
        unknown = sorted(set(np.unique(self.labels).tolist()) - set(self.table))
        require(not unknown, f"table: labels {unknown} occur in the volume but have no tissue")
        require(bool(self.of("lung").any()), "table: no voxel of the volume is lung")

    def of(self, tissue: str) -> NDArray[np.bool_]:
        """Voxels of one tissue."""
        return np.isin(self.labels, [label for label, name in self.table.items() if name == tissue])


def read_labels(path: str | Path) -> NDArray:
    """A label volume from .nii, .nii.gz, .npz (its only array) or .npy, with the file's axes.

    Raises
    ------
    DarklungError
        No such file, another format, or an archive of several arrays.
    """
    path = Path(path)
    require(path.is_file(), f"atlas: no file {path}")
    if path.name.endswith((".nii", ".nii.gz")):
        import nibabel  # read here because few need it

        with reading(path, "NIfTI"):
            image = nibabel.load(path)
            return np.asanyarray(image.dataobj)  # type: ignore[attr-defined]
    require(path.suffix in (".npz", ".npy"), f"atlas: wanted .nii, .nii.gz, .npz or .npy, got {path.name}")
    if path.suffix == ".npy":
        return read_npy(path)
    content = read_npz(path)
    require(len(content) == 1, f"atlas: wanted one array in {path.name}, got {', '.join(content)}")
    return next(iter(content.values()))


def make_atlas(labels: NDArray, *, voxel_m: float, table: Mapping[int, str], axes: Sequence[str]) -> Atlas:
    """Turn a label volume into the phantom's axes.

    Parameters
    ----------
    labels : (a, b, c) integer array
    voxel_m : float
    table : mapping
    axes : three of "head", "tail", "back", "belly", "left", "right"
        Where each axis of `labels` points.
    """
    require(len(axes) == 3, f"axes: wanted three directions, got {tuple(axes)}")
    for name in axes:
        check_one_of("axes", name, ANATOMY)
    targets = [ANATOMY[name] for name in axes]
    require(len({axis for axis, _ in targets}) == 3, f"axes: wanted one of each pair of directions, got {tuple(axes)}")
    flipped = labels[tuple(slice(None, None, sign) for _, sign in targets)]
    order = [next(k for k, (axis, _) in enumerate(targets) if axis == wanted) for wanted in range(3)]
    return Atlas(np.ascontiguousarray(flipped.transpose(order)), voxel_m, table)


def _crop(atlas: Atlas, depth_m: float | None) -> NDArray:
    """The labels around the lungs: whole in the plane, `depth_m` (or lungs and a margin) along z."""
    lung = atlas.of("lung")
    z = np.flatnonzero(lung.any(axis=(1, 2)))
    half = (z[-1] - z[0] + 1) / 2 + MARGIN_M / atlas.voxel_m
    if depth_m is not None:
        half = depth_m / 2 / atlas.voxel_m
    middle = (z[0] + z[-1]) / 2
    low, high = max(int(np.floor(middle - half)), 0), min(int(np.ceil(middle + half)) + 1, len(lung))
    body = ~atlas.of("air")[low:high]
    edges = []
    for axis in (1, 2):
        used = np.flatnonzero(body.any(axis=(0, 3 - axis)))
        edges.append(slice(int(used[0]), int(used[-1]) + 1))
    return atlas.labels[low:high, edges[0], edges[1]]


def _resampled(values: Field, atlas_voxel_m: float, grid: Grid, outside: float) -> Field:
    """Values of the cropped atlas, both centred on zero, at the voxels of `grid`."""
    coordinates = [axis / atlas_voxel_m + (n - 1) / 2 for axis, n in zip(grid.axes, values.shape)]
    moved = values
    for axis, points in enumerate(coordinates):
        moved = _along(moved, axis, points, outside)
    return np.ascontiguousarray(moved, dtype=np.float32)


def _along(values: Field, axis: int, points: NDArray[np.float64], outside: float) -> Field:
    """Linear interpolation along one axis; beyond the ends the z axis repeats, the others are `outside`."""
    pad = [(0, 0)] * 3
    pad[axis] = (1, 1)
    padded = np.pad(values, pad, mode="edge") if axis == 0 else np.pad(values, pad, constant_values=outside)
    at = np.clip(points + 1, 0, padded.shape[axis] - 1)
    low = np.minimum(at.astype(np.intp), padded.shape[axis] - 2)
    shape = [1, 1, 1]
    shape[axis] = -1
    share = (at - low).reshape(shape).astype(np.float32)
    return np.take(padded, low, axis) * (1 - share) + np.take(padded, low + 1, axis) * share


def _lung_shape(labels: NDArray, atlas: Atlas, grid: Grid) -> LungShape:
    """Distance to the lung label's surface, left and right lung."""
    inside = np.isin(labels, [label for label, name in atlas.table.items() if name == "lung"])
    out = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    signed = (out - 0.5 * np.sign(out)) * atlas.voxel_m
    distance = _resampled(ndimage.gaussian_filter(signed, 0.7).astype(np.float32), atlas.voxel_m, grid, 1.0)
    lung = distance < 0
    require(bool(lung.any()), "voxel_m: too coarse for the atlas's lungs")
    middle = float(np.mean(grid.x_m[np.nonzero(lung)[2]]))
    lobe = np.where(grid.x_m > middle, LEFT, RIGHT).astype(np.uint8)
    z, y, _ = (axis[index] for axis, index in zip(grid.axes, np.nonzero(lung)))
    carina = np.array([np.quantile(z, 0.65), np.mean(y), middle])
    fissure = np.full(grid.shape, 1.0, dtype=np.float32)
    return LungShape(distance, np.broadcast_to(lobe, grid.shape).copy(), fissure, carina)


def _densities(labels: NDArray, atlas: Atlas, grid: Grid, lung_distance_m: Field, bone_density: float) -> Field:
    """(material, z, y, x) [g/cm³] of everything but the lungs; edges are blended over about an atlas voxel."""
    density = np.zeros((len(MATERIALS), *grid.shape), dtype=np.float32)
    empty = np.clip(0.5 - lung_distance_m / np.float32(grid.voxel_m), 0, 1)
    for tissue, content in TISSUES.items():
        if content is None:
            continue
        which = np.isin(labels, [label for label, name in atlas.table.items() if name == tissue])
        if not which.any():
            continue
        share = ndimage.gaussian_filter(which.astype(np.float32), 0.5)
        material, mass = content
        factor = bone_density if tissue == "bone" else mass
        density[MATERIALS.index(material)] += np.float32(factor) * _resampled(share, atlas.voxel_m, grid, 0.0) * (1 - empty)
    return density


def phantom_from_atlas(
    atlas: Atlas,
    *,
    seed: int,
    voxel_m: float,
    variant: str = "A",
    lesions: Sequence[LesionRequest] = (),
    shams: int | Sequence[LesionRequest] = 0,
    mimics: int | Sequence[LesionRequest] = 0,
    depth_m: float | None = None,
    multiple: int = 1,
) -> Phantom:
    """A phantom whose organs are those of a label volume and whose lungs are grown inside the lung label.

    Parameters
    ----------
    atlas : Atlas
    seed : int
        Of trees, microstructure and insertions.
    voxel_m : float
        Of the phantom; need not be the atlas's.
    variant : str
        Family whose microstructure and trees the lungs have.
    lesions, shams, mimics
        As for `subject.make_phantom`.
    depth_m : float, optional
        Extent along z, centred on the lungs; by default the lungs and a margin.
    multiple : int
        The sides are rounded up to this many voxels, those of a detector pixel.

    Returns
    -------
    Phantom
        Lobes are 1 (left) and 2 (right lung). In the plane the field of view holds the whole body.

    Raises
    ------
    DarklungError
        As for `make_phantom`; also a table without lung.

    Notes
    -----
    NOT modelled: fissures, and anything that the labels do not tell apart.
    """
    wanted = all_requests(seed, lesions, shams, mimics)
    labels = _crop(atlas, depth_m)
    width = max(labels.shape[1:]) * atlas.voxel_m + 2 * MARGIN_M
    pixel = multiple * voxel_m
    sides = [pixel * int(np.ceil(side / pixel - 1e-9)) for side in (labels.shape[0] * atlas.voxel_m, width)]
    grid = make_grid((sides[0], sides[1]), voxel_m)
    anatomy = draw_anatomy(variant, seed)
    shape = _lung_shape(labels, atlas, grid)
    lungs = LungBuilder(grid, shape, anatomy, variant, seed)
    insertions = tuple(lungs.insert(number, kind, request) for number, (kind, request) in enumerate(wanted, start=1))
    return lungs.finish(_densities(labels, atlas, grid, shape.distance_m, anatomy.bone_density), insertions)

"""One frozen type per stage of knowledge; the type fixes the axes and is checked when it is made.

``Phantom`` -> ``Scan`` -> ``Projections`` -> ``Image``. Arrays are taken as they are (no copies) and must not be changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_one_of, check_positive, check_shape, require
from darklung.core.geometry import Geometry, ParallelGeometry, parallel_only
from darklung.core.orientation import Direction, check_direction, corner_gap_m, identity, towards

INSERTION_KINDS = ("lesion", "sham", "mimic")
# Values of a label: a voxel is background, lesion, or nobody knows. What is unknown counts nowhere.
BACKGROUND, LESION, UNKNOWN = 0, 1, 255


@dataclass(frozen=True)
class Insertion:
    """One thing put into a lung: a lesion, a sham (the same editing with healthy parameters) or a mimic.

    Parameters
    ----------
    number : int
        Its value in ``Phantom.instances``, from 1. A sham has its own number and no voxels of a lesion class.
    kind : {"lesion", "sham", "mimic"}
    tissue : str
        Class name, such as ``"solid"``; for a sham the class whose shape it borrowed.
    center_m : (3,) tuple
        (z, y, x) [m].
    diameter_m : float
        Diameter of the sphere of the same volume [m].
    """

    number: int
    kind: str
    tissue: str
    center_m: tuple[float, float, float]
    diameter_m: float

    def __post_init__(self) -> None:
        check_one_of("insertion kind", self.kind, INSERTION_KINDS)
        check_positive("insertion diameter_m", self.diameter_m)

    def center_on(self, spatial: int) -> tuple[float, ...]:
        """Centre on a grid of 3 spatial axes, or of 2: rows of a radiograph run along z, columns (at angle 0) along x."""
        return self.center_m if spatial == 3 else (self.center_m[0], self.center_m[2])


@dataclass(frozen=True)
class Phantom:
    """A simulated animal: what attenuates, what scatters, and what is true.

    Parameters
    ----------
    voxel_m : float
    materials : tuple of str
        Names known to ``darklung.physics.materials``.
    density : (material, z, y, x) float32 [g/cm³]
        Mass of each material per voxel volume; lung is ``soft_tissue`` at tissue fraction × tissue density.
    tissue_fraction : (z, y, x) float32
        φ of porous voxels, 0 elsewhere.
    interface_density_per_m : (z, y, x) float32 [1/m]
        S_V, interface area per volume; 0 where nothing scatters.
    aspect : (z, y, x) float32
        Long over short correlation length of the voxel's pores, 1 = isotropic.
    axis : (3, z, y, x) float32
        Unit vector (z, y, x) of the long correlation length.
    lobes : (z, y, x) uint8
        Lung label: 0 outside, 1, 2, ... the lungs or lobes.
    instances : (z, y, x) uint16
        Number of the `Insertion` with kind "lesion" or "mimic" that fills more than half of the voxel, else 0.
    insertions : tuple of Insertion
    """

    voxel_m: float
    materials: tuple[str, ...]
    density: NDArray[np.float32]
    tissue_fraction: NDArray[np.float32]
    interface_density_per_m: NDArray[np.float32]
    aspect: NDArray[np.float32]
    axis: NDArray[np.float32]
    lobes: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    insertions: tuple[Insertion, ...] = ()

    def __post_init__(self) -> None:
        check_positive("voxel_m", self.voxel_m)
        check_shape("tissue_fraction", self.tissue_fraction, "z, y, x", (None, None, None))
        shape = self.tissue_fraction.shape
        check_shape("density", self.density, "material, z, y, x", (len(self.materials), *shape))
        for name in ("interface_density_per_m", "aspect", "lobes", "instances"):
            check_shape(name, getattr(self, name), "z, y, x", shape)
        check_shape("axis", self.axis, "component, z, y, x", (3, *shape))

    def lesion_mask(self) -> NDArray[np.bool_]:
        """Voxels of lesions (not of mimics), (z, y, x)."""
        numbers = [i.number for i in self.insertions if i.kind == "lesion"]
        return np.isin(self.instances, numbers)


@dataclass(frozen=True)
class Scan:
    """Raw phase-stepping frames of one acquisition, CT or radiograph (one view).

    Parameters
    ----------
    frames : (direction, view, step, row, col) array [counts]
    flats : (direction, flat, step, row, col) array [counts]
        Frames without sample; several flats of one direction were taken at `flat_time_s`.
    step_phase_rad : (direction, step) float64
        Grating phase θ_k of each step, I_k = a0 (1 + V cos(θ_k + φ)).
    directions_rad : (direction,) float64
        α, sensitivity direction of the gratings from the rotation axis.
    geometry : ParallelGeometry or ConeGeometry
    view_time_s : (direction, view) float64
    flat_time_s : (direction, flat) float64
    dark_frame : (row, col) array, optional [counts]
        Detector signal without beam.
    bad_pixels : (row, col) bool array, optional
        True where the detector cannot be trusted.
    """

    frames: NDArray[Any]
    flats: NDArray[Any]
    step_phase_rad: NDArray[np.float64]
    directions_rad: NDArray[np.float64]
    geometry: Geometry
    view_time_s: NDArray[np.float64]
    flat_time_s: NDArray[np.float64]
    dark_frame: NDArray[Any] | None = None
    bad_pixels: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        g = self.geometry
        directions = len(self.directions_rad)
        check_shape("step_phase_rad", self.step_phase_rad, "direction, step", (directions, None))
        steps = self.step_phase_rad.shape[1]
        require(steps >= 3, f"steps: a sinusoid needs at least 3 phase steps, got {steps}")
        check_shape("frames", self.frames, "direction, view, step, row, col", (directions, g.views, steps, g.rows, g.cols))
        check_shape("flats", self.flats, "direction, flat, step, row, col", (directions, None, steps, g.rows, g.cols))
        require(self.flats.shape[1] >= 1, "flats: wanted at least one flat in each direction, got none")
        check_shape("view_time_s", self.view_time_s, "direction, view", (directions, g.views))
        check_shape("flat_time_s", self.flat_time_s, "direction, flat", (directions, self.flats.shape[1]))
        for name in ("dark_frame", "bad_pixels"):
            if getattr(self, name) is not None:
                check_shape(name, getattr(self, name), "row, col", (g.rows, g.cols))

    def parallel(self) -> ParallelGeometry:
        """The geometry, for what is right in a parallel beam only; raises in a cone beam."""
        return parallel_only(self.geometry)


@dataclass(frozen=True)
class Projections:
    """Retrieved line integrals, one set for each grating direction; all arrays (direction, view, row, col) float32.

    Parameters
    ----------
    attenuation : −ln T, T the transmission
    dark_field : −ln(V/V0); negative values are kept
    phase : differential phase, (−π, π] [rad]
    attenuation_variance, dark_field_variance, phase_variance : variances of the three
    visibility : V with sample
    flat_visibility : V0, the flat's visibility at the time of the view
    valid : bool; False where a value cannot be trusted (the others are then still finite)
    directions_rad : (direction,) float64, α
    geometry : ParallelGeometry or ConeGeometry
    """

    attenuation: NDArray[np.float32]
    dark_field: NDArray[np.float32]
    phase: NDArray[np.float32]
    attenuation_variance: NDArray[np.float32]
    dark_field_variance: NDArray[np.float32]
    phase_variance: NDArray[np.float32]
    visibility: NDArray[np.float32]
    flat_visibility: NDArray[np.float32]
    valid: NDArray[np.bool_]
    directions_rad: NDArray[np.float64]
    geometry: Geometry

    def __post_init__(self) -> None:
        g = self.geometry
        shape = (len(self.directions_rad), g.views, g.rows, g.cols)
        for name in PROJECTION_MAPS:
            check_shape(name, getattr(self, name), "direction, view, row, col", shape)

    def parallel(self) -> ParallelGeometry:
        """The geometry, for what is right in a parallel beam only; raises in a cone beam."""
        return parallel_only(self.geometry)


PROJECTION_MAPS = (
    "attenuation",
    "dark_field",
    "phase",
    "attenuation_variance",
    "dark_field_variance",
    "phase_variance",
    "visibility",
    "flat_visibility",
    "valid",
)


@dataclass(frozen=True)
class Image:
    """Channels on a regular grid of 2 or 3 spatial dimensions.

    Voxel ``index`` lies at origin + direction @ (spacing · index), all of them in the order of the spatial axes.

    Parameters
    ----------
    data : (channel, *spatial) array
        Spatial axes are (z, y, x), or (row, col) of a radiograph. NaN marks voxels without a value.
    names, units : tuple of str
        One a channel; unit "1" where there is none, "a.u." where grey values mean nothing (`darklung.core.grey`).
    spacing_m : tuple of float
        One a spatial axis.
    origin_m : tuple of float, optional
        Position of the first voxel's centre; by default the grid is centred on zero.
    frame : str
        Name of the coordinate frame: ``"scanner"``, ``"detector"``, or ``"LPS"`` where the anatomy is known (z towards the
        head, y towards the back, x towards the left: `darklung.core.orientation`).
    direction : (spatial, spatial) tuple of tuples, optional
        Orthonormal; column k is the unit vector along which index k grows. By default array axes run along the frame's.
    """

    data: NDArray[Any]
    names: tuple[str, ...]
    units: tuple[str, ...]
    spacing_m: tuple[float, ...]
    origin_m: tuple[float, ...] = ()
    frame: str = "scanner"
    direction: Direction = ()

    def __post_init__(self) -> None:
        spatial = self.data.ndim - 1
        require(spatial in (2, 3), f"data: wanted (channel, *spatial) with 2 or 3 spatial axes, got {self.data.shape}")
        require(len(self.names) == len(self.data), f"names: wanted {len(self.data)}, got {self.names}")
        require(len(set(self.names)) == len(self.names), f"names: each once, got {self.names}")
        require(len(self.units) == len(self.data), f"units: wanted {len(self.data)}, got {self.units}")
        require(len(self.spacing_m) == spatial, f"spacing_m: wanted {spatial} numbers, got {self.spacing_m}")
        for value in self.spacing_m:
            check_positive("spacing_m", value)
        direction = check_direction("direction", self.direction or identity(spatial), spatial)
        object.__setattr__(self, "direction", direction)
        if not self.origin_m:
            half = [(n - 1) / 2 * d for n, d in zip(self.data.shape[1:], self.spacing_m)]
            object.__setattr__(self, "origin_m", tuple(float(-v) for v in np.asarray(direction) @ half))
        require(len(self.origin_m) == spatial, f"origin_m: wanted {spatial} numbers, got {self.origin_m}")
        check_finite("origin_m", np.asarray(self.origin_m))

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return self.data.shape[1:]

    def channel(self, name: str) -> NDArray[Any]:
        """The array of one channel, (*spatial)."""
        check_one_of("channel", name, self.names)
        found: NDArray[Any] = self.data[self.names.index(name)]
        return found

    def unit(self, name: str) -> str:
        """The unit of one channel."""
        check_one_of("channel", name, self.names)
        return self.units[self.names.index(name)]

    def with_data(
        self, data: NDArray[Any], names: tuple[str, ...] | None = None, units: tuple[str, ...] | None = None
    ) -> Image:
        """Other channels on the same grid; names and units stay where they are not given."""
        require(data.shape[1:] == self.shape, f"data: wanted (channel, {self.shape}), got {data.shape}")
        return replace(
            self, data=data, names=self.names if names is None else names, units=self.units if units is None else units
        )

    def cropped(self, box: tuple[slice, ...]) -> Image:
        """The voxels of a box, one slice (without step) a spatial axis, at the place where they were."""
        require(len(box) == len(self.shape), f"box: wanted {len(self.shape)} slices, got {len(box)}")
        starts = []
        for part, count in zip(box, self.shape):
            start, stop, step = part.indices(count)
            require(step == 1 and stop > start, f"box: wanted slices with voxels in them and without step, got {box}")
            starts.append(start)
        return replace(self, data=self.data[(slice(None), *box)], origin_m=self.position_m(starts))

    def position_m(self, index: Sequence[float]) -> tuple[float, ...]:
        """Where a voxel (or a point between voxels) lies in the frame: origin + direction @ (spacing · index) [m]."""
        along = np.asarray(self.spacing_m) * np.asarray(index, dtype=np.float64)
        return tuple(float(v) for v in np.asarray(self.origin_m) + np.asarray(self.direction) @ along)

    def index_of(self, position_m: Sequence[float]) -> tuple[float, ...]:
        """The (fractional) index of a point of the frame; the inverse of `position_m`."""
        along = np.asarray(self.direction).T @ (np.asarray(position_m, dtype=np.float64) - self.origin_m)
        return tuple(float(v) for v in along / self.spacing_m)

    def distance_m(self, position_m: Sequence[float]) -> NDArray[np.float64]:
        """How far each voxel's centre lies from a point of the frame, (*spatial)."""
        away = [d * (np.arange(n) - c) for n, d, c in zip(self.shape, self.spacing_m, self.index_of(position_m))]
        return np.asarray(np.sqrt(sum(o**2 for o in np.meshgrid(*away, indexing="ij", sparse=True))))

    def axes_m(self) -> tuple[NDArray[np.float64], ...]:
        """Coordinates of the voxels along each axis; raises where array axes do not run along the frame's."""
        aligned = self.direction == identity(len(self.shape))
        told = ", ".join(towards(self.direction, self.frame))
        require(aligned, f"image: wanted axes along the frame's own, got axes towards {told}; reorient or resample it first")
        return tuple(o + d * np.arange(n, dtype=np.float64) for o, d, n in zip(self.origin_m, self.spacing_m, self.shape))

    def grid_difference(self, other: Image, *, tolerance: float = 0.02) -> str:
        """What differs between the grids of two images, in words; empty where each voxel lies where the other's does.

        Parameters
        ----------
        other : Image
        tolerance : float
            In voxels, of the corner that is farthest off.
        """
        if self.shape != other.shape:
            return f"shape {self.shape} and {other.shape}"
        if self.frame != other.frame:
            return f"frame {self.frame!r} and {other.frame!r}"
        grids = [(image.spacing_m, image.origin_m, image.direction) for image in (self, other)]
        if not np.allclose(self.spacing_m, other.spacing_m, rtol=tolerance / max(self.shape)):
            return f"spacing {_um(self.spacing_m)} and {_um(other.spacing_m)} um"
        gap = corner_gap_m(self.shape, *grids)
        if gap <= tolerance * min(self.spacing_m):
            return ""
        if not np.allclose(self.direction, other.direction, atol=1e-3):
            axes = [", ".join(towards(image.direction, image.frame)) for image in (self, other)]
            return f"axes towards {axes[0]} and {axes[1]}"
        voxels = gap / min(self.spacing_m)
        return f"place: origin {_um(self.origin_m)} and {_um(other.origin_m)} um, a corner off by {voxels:.3g} voxels"

    def same_grid(self, other: Image) -> bool:
        """Whether each voxel lies where the other's does."""
        return not self.grid_difference(other)


def _um(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{1e6 * v:.6g}" for v in values) + ")"

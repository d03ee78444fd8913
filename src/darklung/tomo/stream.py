"""Reconstruction slab by slab, for scans that do not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_positive, require
from darklung.core.geometry import ConeGeometry, Geometry, ParallelGeometry
from darklung.tomo.beams import field_shape
from darklung.tomo.fbp import fbp

SPLINE = 8  # rows after which the end of a spline does not count


@dataclass(frozen=True)
class SlabPlan:
    """How a scan is cut along the rotation axis, and what that takes.

    Parameters
    ----------
    slabs : tuple of slice
        Detector rows, which are slices of the volume, of each slab.
    peak_bytes : int
        Estimated most memory at any time: one slab's projections, filtered copy, blocks and volume.
    output_bytes : int
        Size of the whole volume in float32.
    halo : int
        Neighbouring slices on either side that are computed along with a slab and thrown away, for methods that couple
        slices.
    reads : tuple of slice
        Rows that each slab needs, where they are not the slab and its halo: in a cone beam.
    """

    slabs: tuple[slice, ...]
    peak_bytes: int
    output_bytes: int
    halo: int = 0
    reads: tuple[slice, ...] = ()

    def __str__(self) -> str:
        rows = self.slabs[0].stop - self.slabs[0].start
        memory, size = self.peak_bytes / 2**30, self.output_bytes / 2**30
        return f"{len(self.slabs)} slabs of {rows} slices: about {memory:.2f} GiB of memory, {size:.2f} GiB of results"

    def around(self, rows: slice) -> tuple[slice, slice]:
        """Rows to read for a slab, with its halo as far as there are rows, and where the slab lies among them."""
        low, high = max(rows.start - self.halo, 0), min(rows.stop + self.halo, self.slabs[-1].stop)
        if self.reads:
            needed = self.reads[self.slabs.index(rows)]
            low, high = needed.start, needed.stop
        return slice(low, high), slice(rows.start - low, rows.stop - low)


def plan_slabs(
    geometry: ParallelGeometry,
    *,
    memory_bytes: float,
    multiple: int = 8,
    bytes_per_slice: float = 0,
    halo: int = 0,
    channels: int = 1,
) -> SlabPlan:
    """Largest slabs whose reconstruction stays within `memory_bytes`.

    Parameters
    ----------
    geometry : ParallelGeometry
        Of the whole scan; voxels are as large as its pixels.
    memory_bytes : float
    multiple : int
        Slabs hold a multiple of this many slices (such as the chunks of the store), save the last.
    bytes_per_slice : float
        Most memory at any time for each slice of a slab and its halo, such as `method_bytes`; by default that of `fbp`.
    halo : int
    channels : int
        Volumes in the result.

    Raises
    ------
    DarklungError
        Not even one slab of `multiple` slices fits.
    """
    check_positive("memory_bytes", memory_bytes)
    require(multiple >= 1, f"multiple: wanted >= 1, got {multiple}")
    wide = field_shape(geometry)[1]
    per_slice = bytes_per_slice or 4 * (3 * geometry.views * (geometry.cols + 6) + 2 * wide**2)
    output = 4 * wide**2 * geometry.rows * channels
    whole = int(per_slice * geometry.rows)
    if whole <= memory_bytes:
        return SlabPlan((slice(0, geometry.rows),), whole, output, halo)
    count = int((memory_bytes / per_slice - 2 * halo) // multiple) * multiple
    least = min(per_slice * (multiple + 2 * halo), per_slice * geometry.rows)
    require(count > 0, f"memory_bytes: wanted at least {least:.3g} for {multiple} slices, got {memory_bytes:.3g}")
    count = min(count, geometry.rows)
    cuts = tuple(slice(lo, min(lo + count, geometry.rows)) for lo in range(0, geometry.rows, count))
    most = min(count + 2 * halo, geometry.rows)
    return SlabPlan(cuts, int(per_slice * most), output, halo)


def plan_cone_slabs(
    geometry: ConeGeometry,
    *,
    memory_bytes: float,
    bytes_per_slice: float,
    multiple: int = 8,
    channels: int = 1,
    whole: bool = False,
) -> SlabPlan:
    """As `plan_slabs`, in a cone beam: a slab off the plane of the source needs more rows than it has slices.

    All the slices that these rows cross at the axis are computed, and those that are not the slab's are thrown away.

    Parameters
    ----------
    whole : bool
        The method couples all slices through the rays, as iterations do: one slab or none.

    Raises
    ------
    DarklungError
        Not even one slab fits.
    """
    check_positive("memory_bytes", memory_bytes)
    slices, _, wide = field_shape(geometry)
    output = 4 * wide**2 * slices * channels
    sizes = [slices] if whole else [slices, *range((slices - 1) // multiple * multiple, 0, -multiple)]
    most = slices
    for size in sizes:
        slabs = tuple(slice(lo, min(lo + size, slices)) for lo in range(0, slices, size))
        reads = tuple(_rows_needed(geometry, slab, wide) for slab in slabs)
        most = max(r.stop - r.start for r in reads)
        if bytes_per_slice * most <= memory_bytes:
            return SlabPlan(slabs, int(bytes_per_slice * most), output, 0, reads)
    least = bytes_per_slice * most
    what = "the whole cone-beam scan, which this method needs at once" if whole else f"{sizes[-1]} slices"
    raise DarklungError(f"memory_bytes: wanted at least {least:.3g} for {what}, got {memory_bytes:.3g}")


def _rows_needed(geometry: ConeGeometry, slab: slice, wide: int) -> slice:
    """Rows onto which any voxel of a slab falls, and some more for interpolation."""
    reach = 0.5 * float(np.hypot(wide, wide)) * geometry.pixel_m
    far, middle = geometry.source_axis_m, float(geometry.axis_row or 0.0)
    magnified = np.array([far / (far + reach), far / (far - reach)])
    tilted = abs(np.tan(geometry.tilt_rad)) * wide / 2 * magnified[1]
    margin = 2 + (tilted + SPLINE if geometry.tilt_rad else 0)
    low = middle + ((slab.start - 0.5 - middle) * magnified).min() - margin
    high = middle + ((slab.stop - 0.5 - middle) * magnified).max() + margin
    return slice(max(int(np.floor(low)), 0), min(int(np.ceil(high)) + 1, geometry.rows))


# Arrays that a method holds at its peak besides the projections it was given: volumes, and single (view, col) sinograms.
# Measured with tracemalloc by tests/tomo/test_stream.py; a method of one's own is taken to need as much as the worst.
WORK = {"fbp": (3, 3), "cgls": (4, 6), "pwls_tv": (20, 4), "tensor": (60, 4)}


def method_bytes(method: str, geometry: Geometry, *, directions: int, maps: int, channels: int) -> float:
    """Estimated most memory [byte] for each slice: `maps` of float32 projections, results, and what `method` needs."""
    volumes, sinograms = WORK.get(method, WORK["tensor"])
    rays, voxels = geometry.views * (geometry.cols + 6), field_shape(geometry)[1] ** 2
    return 4.0 * ((maps * directions + sinograms) * rays + (volumes + channels) * voxels)


def fbp_slabs(
    read: Callable[[slice], NDArray],
    geometry: ParallelGeometry,
    plan: SlabPlan,
    *,
    filter: str = "ramp",
    cutoff: float = 1.0,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Filtered back-projection of one slab after the other: the same numbers as `fbp` of the whole.

    Parameters
    ----------
    read : callable
        Gives the projections (view, row, col) of a slice of rows, for instance ``lambda rows: stored[:, rows]``.
    geometry : ParallelGeometry
        Of the whole scan.
    plan : SlabPlan
        From `plan_slabs`; say ``str(plan)`` to the user before the start.
    progress : callable, optional
        Called with the number of slabs done and of all.

    Yields
    ------
    (slice, (z, y, x) float32)
        Where the slab belongs in the volume, and the slab.
    """
    for i, rows in enumerate(plan.slabs):
        part = replace(geometry, rows=rows.stop - rows.start)
        yield rows, fbp(read(rows), part, filter=filter, cutoff=cutoff, threads=threads)
        if progress is not None:
            progress(i + 1, len(plan.slabs))

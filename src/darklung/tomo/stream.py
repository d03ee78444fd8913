"""Reconstruction slab by slab, for scans that do not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_positive, require
from darklung.core.geometry import ParallelGeometry
from darklung.tomo.fbp import fbp


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
    """

    slabs: tuple[slice, ...]
    peak_bytes: int
    output_bytes: int

    def __str__(self) -> str:
        rows = self.slabs[0].stop - self.slabs[0].start
        memory, size = self.peak_bytes / 2**30, self.output_bytes / 2**30
        return f"{len(self.slabs)} slabs of {rows} slices: about {memory:.2f} GiB of memory, {size:.2f} GiB of results"


def plan_slabs(geometry: ParallelGeometry, *, memory_bytes: float, multiple: int = 8) -> SlabPlan:
    """Largest slabs whose reconstruction stays within `memory_bytes`.

    Parameters
    ----------
    geometry : ParallelGeometry
        Of the whole scan; voxels are as large as its pixels.
    memory_bytes : float
    multiple : int
        Slabs hold a multiple of this many slices (such as the chunks of the store), save the last.

    Raises
    ------
    DarklungError
        Not even one slab of `multiple` slices fits.
    """
    check_positive("memory_bytes", memory_bytes)
    require(multiple >= 1, f"multiple: wanted >= 1, got {multiple}")
    cols = geometry.cols
    per_slice = 4 * (3 * geometry.views * (cols + 6) + 2 * cols**2)
    count = int(memory_bytes // (per_slice * multiple)) * multiple
    least = per_slice * multiple
    require(count > 0, f"memory_bytes: wanted at least {least:.3g} for {multiple} slices, got {memory_bytes:.3g}")
    count = min(count, geometry.rows)
    cuts = tuple(slice(lo, min(lo + count, geometry.rows)) for lo in range(0, geometry.rows, count))
    return SlabPlan(cuts, per_slice * count, 4 * cols**2 * geometry.rows)


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

"""What is measured, for how long and with how many photons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray

from darklung.core.checks import check_fields, check_finite, require


@dataclass(frozen=True)
class Protocol:
    """A phase-stepping scan: views, steps, directions, flats, photons and time.

    Directions are scanned one after the other. Flats come in groups spread evenly over each direction's views, the first
    group before the first view and the last after the last one. A flat's step is exposed as long as a view's.

    Parameters
    ----------
    views : int
        Views over `arc_rad`, end point excluded. 1 is a radiograph.
    arc_rad : float
        π or 2π for FBP.
    first_rad : float
        Angle of the first view.
    steps : int
        Equidistant phase steps M >= 3 over one period, θ_k = 2πk/M.
    directions_rad : tuple of float
        Sensitivity directions α from the rotation axis.
    flats : int
        Groups of flats (whole stepping curves without sample) in each direction, >= 1.
    flat_repeats : int
        Flats in each group, >= 1.
    counts_per_pixel : float
        Detected open-beam counts of one detector pixel, summed over directions, views and steps; flats come on top.
    exposure_s, dead_time_s : float
        Of one step of one view; the dead time covers stepping, turning and reading out.
    time_limit_s : float
        The whole scan must fit; 25 min in the mission's protocol.
    source_axis_m : float
        Distance from the source to the rotation axis: a divergent beam onto a flat detector. Infinite: a parallel beam.
    supersampling : int
        k: the phantom's voxel is the detector's pixel / k. Intensities are summed over k × k fine pixels.

    Raises
    ------
    DarklungError
        A field that makes no sense, or a scan that takes longer than `time_limit_s`.
    """

    views: Annotated[int, Interval(ge=1, le=100_000)] = 120
    arc_rad: Annotated[float, Interval(ge=1e-9, le=2 * np.pi + 1e-9)] = np.pi
    steps: Annotated[int, Interval(ge=3, le=1000)] = 5
    directions_rad: tuple[float, ...] = (0.0, np.pi / 2)
    flats: Annotated[int, Interval(ge=1, le=10_000)] = 6
    flat_repeats: Annotated[int, Interval(ge=1, le=10_000)] = 4
    counts_per_pixel: Annotated[float, Gt(0)] = 1.5e7
    exposure_s: Annotated[float, Gt(0)] = 0.4
    dead_time_s: Annotated[float, Ge(0)] = 0.02
    time_limit_s: Annotated[float, Gt(0)] = 1500.0
    supersampling: Annotated[int, Interval(ge=1, le=16)] = 1
    source_axis_m: Annotated[float, Gt(0)] = np.inf
    first_rad: Annotated[float, Interval(ge=-2 * np.pi - 1e-9, le=2 * np.pi + 1e-9)] = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "directions_rad", tuple(float(a) for a in self.directions_rad))
        require(len(self.directions_rad) >= 1, "directions_rad: wanted at least one direction, got none")
        check_finite("directions_rad", np.asarray(self.directions_rad))
        require(
            self.total_time_s <= self.time_limit_s,
            f"protocol: takes {self.total_time_s:.0f} s, more than time_limit_s = {self.time_limit_s:.0f} s; "
            "fewer views, steps, directions or flats, or a shorter exposure_s would fit",
        )

    def memory_bytes(self, rows: int, cols: int, *, gratings: bool = True) -> int:
        """What a simulation on this detector holds at the least: frames and flats of 16 bit, two maps of voxels."""
        curves = len(self.directions_rad) * (self.views + self.flats) * self.steps if gratings else self.views
        return 2 * curves * rows * cols + 8 * self.supersampling**3 * rows * cols * cols

    @property
    def angles_rad(self) -> NDArray[np.float64]:
        """View angles, (view,)."""
        return np.asarray(self.first_rad + np.arange(self.views) * (self.arc_rad / self.views), dtype=np.float64)

    @property
    def step_phase_rad(self) -> NDArray[np.float64]:
        """θ_k = 2πk/M, (direction, step)."""
        phases = 2 * np.pi * np.arange(self.steps) / self.steps
        return np.tile(phases, (len(self.directions_rad), 1))

    @property
    def frame_counts(self) -> float:
        """Open-beam counts of a detector pixel in one step of one view."""
        return self.counts_per_pixel / (len(self.directions_rad) * self.views * self.steps)

    @property
    def flat_count(self) -> int:
        """Flats in each direction."""
        return self.flats * self.flat_repeats

    @property
    def flat_share(self) -> float:
        """Counts in all flats over counts in all views."""
        return self.flat_count / self.views

    @property
    def view_duration_s(self) -> float:
        """Time of one view or flat, all steps of one direction."""
        return self.steps * (self.exposure_s + self.dead_time_s)

    @property
    def total_time_s(self) -> float:
        """Time of the whole scan."""
        return len(self.directions_rad) * (self.views + self.flat_count) * self.view_duration_s

    def times_s(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Middle of each view (direction, view) and of each flat (direction, flat) [s] from the start of the scan."""
        groups = np.round(np.linspace(0, self.views, self.flats)) if self.flats > 1 else np.zeros(1)
        before = np.repeat(groups, self.flat_repeats)
        # Flats sort before the view of the same number: place = view number, second key 0 for flats, 1 for views.
        place = np.concatenate([before, np.arange(self.views)])
        order = np.lexsort((np.r_[np.zeros(len(before)), np.ones(self.views)], place))
        time = np.empty(len(order))
        time[order] = (np.arange(len(order)) + 0.5) * self.view_duration_s
        starts = np.arange(len(self.directions_rad))[:, None] * len(order) * self.view_duration_s
        return starts + time[len(before) :], starts + time[: len(before)]

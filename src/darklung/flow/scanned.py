"""What processing asks of a scan: its turn, its detector, its phase steps and its light, looked at before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from darklung.core.checks import DarklungError, check_range, require
from darklung.core.geometry import ConeGeometry, Geometry
from darklung.correct.geometry import opposite_views
from darklung.io.retrieval import Retrieval
from darklung.retrieve.eigenflats import LEAST_FLATS
from darklung.retrieve.fits import check_harmonics
from darklung.steps.reconstruct import in_beam
from darklung.study.processing import AlignmentPart, ProcessingPart, ReconstructionPart
from darklung.tomo.fbp import view_weights
from darklung.tomo.fdk import redundancy_weights
from darklung.tomo.methods import check_device
from darklung.tomo.sinogram import check_rings

T = TypeVar("T")


@dataclass(frozen=True)
class Light:
    """What retrieval finds: the phases of the steps, flats in each direction, N V² of the open beam where it is known."""

    phases_rad: tuple[float, ...]
    flats: int
    strength: float = np.inf


def in_place(told: str, make: Callable[[], T]) -> T:
    """What `make` gives; what it raises is told with its place."""
    try:
        return make()
    except DarklungError as error:
        raise DarklungError(f"{told}: {error}") from error


def check_turn(told: str, geometry: Geometry, part: ReconstructionPart) -> None:
    """Refuse a device that is not there, and angles that leave a gap where the method needs a half or a full turn.

    Raises
    ------
    DarklungError
        One line that begins with `told`.
    """
    beam = in_place(told, lambda: in_beam(geometry, part))
    in_place(told, lambda: check_device(part.method, part.options, cone=isinstance(beam, ConeGeometry)))
    if part.method not in ("fbp", "tensor"):
        return
    if isinstance(beam, ConeGeometry):
        in_place(told, lambda: redundancy_weights(beam))
    else:
        in_place(told, lambda: view_weights(beam.angles_rad))


def check_detector(told: str, geometry: Geometry, part: ProcessingPart, retrieval: Retrieval | None = None) -> None:
    """Refuse an axis and air beside the detector, a window wider than it, and an alignment that it cannot show.

    Raises
    ------
    DarklungError
        One line that begins with `told`.
    """
    axes, rings = {"reconstruction": part.reconstruction.axis_col()}, part.reconstruction.rings
    if part.alignment is not None:
        axes["alignment"] = part.alignment.axis_col()
        _check_opposite(f"{told}: processing.alignment", geometry, part.alignment)
    for name, column in axes.items():
        if column is not None:
            check_range(f"{told}: processing.{name}.axis", column, 0, geometry.cols - 1)
    if rings:
        in_place(f"{told}: processing.reconstruction.rings", lambda: check_rings(rings, geometry.cols))
    if retrieval is not None:
        sides = {"air_cols": (retrieval.air(), geometry.cols), "air_lines": (retrieval.lines(), geometry.rows)}
        for name, (chosen, count) in sides.items():
            most = max(chosen, default=0)
            require(most < count, f"{told}: processing.retrieval.{name}: wanted 0 to {count - 1}, got {most}")


def _check_opposite(place: str, geometry: Geometry, part: AlignmentPart) -> None:
    """Refuse an alignment where no views mirror each other."""
    require(not isinstance(geometry, ConeGeometry), f"{place}: a cone beam's opposite views do not mirror each other")
    sought = "estimate" in (part.tilt, part.axis)
    seen = not sought or bool(opposite_views(geometry.angles_rad))
    require(seen, f"{place}: estimate wants opposite views (θ and θ + 180°), and there are none")


def check_light(told: str, light: Light, part: Retrieval) -> None:
    """Refuse what the steps, the flats or the light of a scan do not allow; a method of one's own knows itself.

    Raises
    ------
    DarklungError
        One line that begins with `told`.
    """
    if part.own:
        return
    place, steps = f"{told}: processing.retrieval", len(light.phases_rad)
    if part.harmonics > 1:
        in_place(place, lambda: check_harmonics(np.asarray(light.phases_rad), np.ones(steps), part.harmonics))
    require(part.most_misfit is None or steps > 3, f"{place}.most_misfit: wanted 4 steps or more, got {steps}")
    enough = part.reference != "eigenflats" or light.flats >= LEAST_FLATS
    require(enough, f"{place}.reference: eigenflats wants {LEAST_FLATS} flats or more in each direction, got {light.flats}")
    require(
        light.strength > part.least_strength,
        f"{place}.least_strength: no pixel will be valid: N V² of the open beam is {light.strength:.3g}, "
        f"wanted more than {part.least_strength:g}",
    )

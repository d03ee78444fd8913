"""One simulated mouse, from a seed."""

from __future__ import annotations

from collections.abc import Sequence

from darklung.core.checks import check_range, require
from darklung.core.random import stream
from darklung.core.types import Phantom
from darklung.phantom.body import body_densities
from darklung.phantom.families import MM, draw_anatomy
from darklung.phantom.grid import make_grid
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.lungs import LungBuilder
from darklung.phantom.thorax import Thorax, build_thorax
from darklung.physics.lung import LESIONS, MIMICS, find_class

FIELD_OF_VIEW_M = (18 * MM, 24 * MM)
DRAWN_M = (0.7 * MM, 2.0 * MM)  # diameters of what is drawn by a number


def make_phantom(
    *,
    seed: int,
    voxel_m: float,
    variant: str = "A",
    lesions: Sequence[LesionRequest] = (),
    shams: int | Sequence[LesionRequest] = 0,
    mimics: int | Sequence[LesionRequest] = 0,
    field_of_view_m: tuple[float, float] = FIELD_OF_VIEW_M,
) -> Phantom:
    """A mouse thorax with its microstructure and whatever was put into its lungs.

    Parameters
    ----------
    seed : int
        Of this mouse. The same seed gives the same animal at any voxel size, up to discretisation; a field of view that
        cuts the lungs changes the trees.
    voxel_m : float
    variant : str
        Family of mice, a key of `families.FAMILIES`.
    lesions : sequence of LesionRequest
    shams : int or sequence of LesionRequest
        Places edited as for a lesion of that outline, but with healthy parameters. A number draws that many, evenly of
        `DRAWN_M`; one that finds no room becomes smaller within that, so that crowded lungs hold smaller ones than asked.
    mimics : int or sequence of LesionRequest
        Things that look like a lesion and are none. A number draws that many in the same way.
    field_of_view_m : (depth, width)
        Along z, and along y and x.

    Returns
    -------
    Phantom
        ``tissue_fraction`` and ``interface_density_per_m`` of a voxel shared by several media are those of the one
        medium that scatters as much (docs/decisions/040-mixed-voxels.md); mass is in ``density``.

    Raises
    ------
    DarklungError
        Unknown variant or tissue, a field of view that cuts the body in the plane, an insertion without room.

    Examples
    --------
    >>> mouse = make_phantom(seed=1, voxel_m=3e-4, lesions=[LesionRequest("solid", 1e-3)])
    >>> int(mouse.lesion_mask().sum()) > 10
    True
    """
    wanted = all_requests(seed, lesions, shams, mimics)
    grid = make_grid(field_of_view_m, voxel_m)
    anatomy = draw_anatomy(variant, seed)
    thorax = build_thorax(grid, anatomy, seed)
    _check_inside(thorax, field_of_view_m[1])
    lungs = LungBuilder(grid, thorax.lungs, anatomy, variant, seed)
    insertions = tuple(lungs.insert(number, kind, request) for number, (kind, request) in enumerate(wanted, start=1))
    density = body_densities(grid, thorax, anatomy, seed)
    return lungs.finish(density, insertions)


def _drawn(seed: int, name: str, count: int, tissues: Sequence[str]) -> list[LesionRequest]:
    """So many insertions; as in a cohort a crowded lung takes a smaller one of the same range."""
    rng = stream(seed, "drawn", name)
    low, high = DRAWN_M
    return [
        LesionRequest(str(rng.choice(tissues)), float(rng.uniform(low, high)), least_diameter_m=low) for _ in range(count)
    ]


def all_requests(
    seed: int,
    lesions: Sequence[LesionRequest],
    shams: int | Sequence[LesionRequest],
    mimics: int | Sequence[LesionRequest],
) -> list[tuple[str, LesionRequest]]:
    """All insertions in the order they are placed, with their kind."""
    if isinstance(shams, int):
        check_range("shams", shams, 0, 100)
        shams = _drawn(seed, "sham", shams, list(LESIONS))
    if isinstance(mimics, int):
        check_range("mimics", mimics, 0, 100)
        mimics = _drawn(seed, "mimic", mimics, list(MIMICS))
    for name, requests, known in (("lesions", lesions, LESIONS), ("mimics", mimics, MIMICS)):
        for request in requests:
            find_class(name, request.tissue, known)
    return [("lesion", r) for r in lesions] + [("mimic", r) for r in mimics] + [("sham", r) for r in shams]


def body_room_m(*, variant: str, seed: int, field_of_view_m: tuple[float, float], voxel_m: float = 1e-3) -> float:
    """Air between a mouse's body and the border of the field of view [m], negative where it is cut.

    On coarse voxels, so that it takes milliseconds; at 1 mm it comes out up to 0.4 mm too small.
    """
    thorax = build_thorax(make_grid(field_of_view_m, voxel_m), draw_anatomy(variant, seed), seed)
    return _room_m(thorax)


def _room_m(thorax: Thorax) -> float:
    body = thorax.body
    return min(float(side.min()) for side in (body[:, 0], body[:, -1], body[:, :, 0], body[:, :, -1]))


def _check_inside(thorax: Thorax, width_m: float) -> None:
    edge = _room_m(thorax)
    require(
        edge > 0, f"field_of_view_m: the body is {-2 * edge * 1e3:.1f} mm wider than the {width_m * 1e3:g} mm field of view"
    )

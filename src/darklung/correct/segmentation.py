"""The second material's path from the images themselves: reconstruct, call dense voxels bone, project them again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.types import Projections
from darklung.correct.invalid import fill_invalid
from darklung.correct.materials import correct_two_materials
from darklung.correct.response import SpectralResponse
from darklung.physics.materials import MATERIALS, linear_attenuation
from darklung.tomo.fbp import fbp
from darklung.tomo.projector import Projector

FEWEST_VIEWS = 20


def segmented_path(
    projections: Projections,
    response: SpectralResponse,
    *,
    materials: tuple[str, str] = ("water", "bone"),
    threshold: float = 0.4,
    rounds: int = 2,
    correct: Callable[[NDArray[np.float64]], Projections] | None = None,
) -> NDArray[np.float64]:
    """Path of the second material [m at 1 g/cm³] in every ray of a CT scan, (1, view, row, col).

    The attenuation, corrected for what is known so far, is reconstructed by filtered back-projection. A voxel of μ holds a
    share p = (μ − μ1)/(μ2 − μ1) of the second material, μ1 and μ2 those of both at their usual densities and the reference
    energy; voxels with p above `threshold` are called the second material, p ρ2 is projected forward, and with that path the
    attenuation is corrected anew, `rounds` times: the way of bone corrections in ordinary CT (Joseph & Spital 1978 [M]).

    Not modelled: thin bone that partial volume hides below the threshold, more than two materials, contrast agents.

    Parameters
    ----------
    projections : Projections
        At least 20 views; attenuation as measured.
    threshold : float
        Share of the second material above which a voxel counts, 0 to 1.
    correct : callable, optional
        Path -> projections with monochromatic attenuation; `correct_two_materials` by default.

    Raises
    ------
    DarklungError
        Too few views to reconstruct, or a cone beam.
    """
    g = projections.parallel()
    require(g.views >= FEWEST_VIEWS, f"segmentation: wanted at least {FEWEST_VIEWS} views of a turn, got {g.views}")
    densities = [MATERIALS[name].density_g_cm3 for name in materials]
    energy = response.reference_energy_kev
    first, second = (float(linear_attenuation(m, d, energy)) for m, d in zip(materials, densities))
    require(second > first, f"materials: wanted the denser one second, got {materials[0]}, {materials[1]}")
    run = correct or (lambda path: correct_two_materials(projections, response, second_m=path, materials=materials))
    projector = Projector(g, (g.rows, g.cols, g.cols), g.pixel_m)
    path = np.zeros((1, g.views, g.rows, g.cols))
    for _ in range(rounds):
        volume = fbp(fill_invalid(run(path))[0].attenuation.mean(axis=0), g)  # else dead pixels make rings of bone
        share = np.clip((volume - first) / (second - first), 0.0, 1.0)
        share[share < threshold] = 0.0
        if not share.any():
            return np.zeros_like(path)
        path = np.maximum(projector.forward(share * np.float32(densities[1])), 0.0)[None].astype(np.float64)
    return path

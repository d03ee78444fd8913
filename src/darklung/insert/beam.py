"""Insertion of a CT's plan, or of a radiograph's, into single views: what each view sees of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.geometry import ParallelGeometry
from darklung.correct.response import SpectralResponse
from darklung.insert.planned import Planned
from darklung.insert.shadow import Shadow, make_solid, shadow_of
from darklung.insert.volume import PLACES
from darklung.physics.instrument import Instrument

MARGIN_PX = 6  # around a shadow, for the neighbours that a beam is estimated from
ViewShadow = Callable[[int], Shadow | None]


def shadows_of(plan: Planned, geometry: ParallelGeometry, *, blur_m: float) -> ViewShadow:
    """View -> shadow of all insertions of a CT's plan."""
    cut = plan.region if any(one.place == PLACES[0] for one in plan.placed) else None
    solids = [make_solid(one, geometry, host=plan.host, region=cut, grid=plan.grid) for one in plan.placed]
    sigma = blur_m / geometry.pixel_m
    margin = MARGIN_PX + int(np.ceil(3 * sigma))

    def of(view: int) -> Shadow | None:
        shadow = shadow_of(solids, geometry, view, margin=margin)
        return shadow if shadow is None or sigma == 0 else _blurred(shadow, sigma)

    return of


def _blurred(shadow: Shadow, sigma: float) -> Shadow:
    soft = [ndimage.gaussian_filter(v, sigma) for v in (shadow.attenuation, *shadow.scattering, *shadow.slopes)]
    return Shadow(shadow.window, soft[0], np.stack(soft[1:-2]), np.stack(soft[-2:]), shadow.path_m)


@dataclass(frozen=True)
class Hardening:
    """What a broad spectrum makes of changes at the reference energy: differences of measured values.

    Parameters
    ----------
    response : SpectralResponse
    depth : (point,), attenuation : (point,)
        Tissue depth [m at 1 g/cm³] and the −ln T that is measured behind it.
    """

    response: SpectralResponse
    depth: NDArray[np.float64]
    attenuation: NDArray[np.float64]

    @classmethod
    def of(cls, instrument: Instrument) -> Hardening:
        """That of an instrument, for soft tissue."""
        response = SpectralResponse.of(instrument)
        depth = np.linspace(-0.02, 0.08, 2001)
        mu, _ = response.attenuation_of("soft_tissue")
        return cls(response, depth, response.measured(np.multiply.outer(depth, mu))[0])

    def changes(
        self, *, attenuation: NDArray, scattering: NDArray, transmission: NDArray, dark_field: NDArray
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Measured changes of −ln T and −ln D for changes of ∫μ dl and ∫ε dl at the reference energy.

        `transmission` and `dark_field` are what is measured there before; the latter stands for the scattering at the
        reference energy, whose second-order effect alone it has.
        """
        mu, reference = self.response.attenuation_of("soft_tissue")
        law = self.response.scattering_law()
        measured = -np.log(np.clip(transmission, 1e-6, None))
        depth = np.interp(measured, self.attenuation, self.depth)
        before = self.response.measured(depth[..., None] * mu, dark_field[..., None] * law)
        grown = depth + attenuation / reference
        after = self.response.measured(grown[..., None] * mu, (dark_field + scattering)[..., None] * law)
        return after[0] - before[0], after[1] - before[1]

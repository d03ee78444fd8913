"""The ladder of hardening corrections as one seam: projections and what is known of beam and object, projections out.

A method is a function ``method(projections, knowledge)`` that returns `Projections` at the reference energy. `METHODS` lists
the short names, from the simplest to the most complete; any ``package.module:function`` of the same shape will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_one_of, check_positive, check_range, require
from darklung.core.seams import check_options, resolve
from darklung.core.types import Projections
from darklung.correct.hardening import HardeningTable, computed_table, correct_hardening, measured_table
from darklung.correct.materials import correct_two_materials, scale_dark_field
from darklung.correct.monochromatic import inversion_table, invert_hardening, invert_two_materials
from darklung.correct.response import LUNG_EXPONENT, SpectralResponse
from darklung.correct.segmentation import segmented_path
from darklung.correct.wedge import Wedge
from darklung.physics.materials import MATERIALS

RECOMMENDED = "recommended"  # by a calibration file; without one, inversion
_HERE = "darklung.correct.ladder"
METHODS = {
    "none": f"{_HERE}:leave",
    "look_up": f"{_HERE}:look_up",
    "two_material": f"{_HERE}:two_material",
    "segmentation": f"{_HERE}:segmentation",
    "factor": f"{_HERE}:factor",
    "inversion": f"{_HERE}:inversion",
    "inversion_segmented": f"{_HERE}:inversion_segmented",
}
# What each is, for tables: additive false signal / loss of true signal / saturation / a second material.
TREATS = {
    "none": "nothing",
    "look_up": "false signal of one material",
    "two_material": "false signal of two materials, the second one's path known",
    "segmentation": "false signal of two materials, the second found in the images (CT)",
    "factor": "false signal; loss of weak true signal",
    "inversion": "false signal, loss and saturation of true signal",
    "inversion_segmented": "all of these, the second material found in the images (CT)",
}

Method = Callable[[Projections, "Knowledge"], Projections]


@dataclass(frozen=True)
class Knowledge:
    """What corrections may use.

    Parameters
    ----------
    response : SpectralResponse
        Spectra, believed or calibrated (`darklung.correct.wedge.calibrate_response`).
    wedge : Wedge, optional
        Measured steps of `material`, which the look-up then takes as they are; without it the look-up is computed.
    material, second_material : str
        What the object is made of, and what else is in the beam (bone, a container).
    second_m : float or array that broadcasts to (direction, view, row, col)
        Path of the second material [m at 1 g/cm³], for ``two_material``; 0 where there is none.
    threshold : float
        Share of the second material above which a voxel counts as such, for the segmentation.
    exponent : float
        ε ∝ E^−exponent.
    max_thickness_m : float
        Of `material` at 1 g/cm³; more is outside the tables and marked not valid.
    """

    response: SpectralResponse
    wedge: Wedge | None = None
    material: str = "water"
    second_material: str = "bone"
    second_m: float | NDArray[np.floating] = 0.0
    threshold: float = 0.4
    exponent: float = LUNG_EXPONENT
    max_thickness_m: float = 0.06

    def __post_init__(self) -> None:
        for name in ("material", "second_material"):
            check_one_of(name, getattr(self, name), MATERIALS)
        require(self.wedge is None or self.wedge.material == self.material, "wedge: wanted one of the object's material")
        check_finite("second_m", np.asarray(self.second_m))
        check_range("threshold", self.threshold, 0, 1)
        check_range("exponent", self.exponent, 0, 10)
        check_positive("max_thickness_m", self.max_thickness_m)

    @property
    def materials(self) -> tuple[str, str]:
        """Both."""
        return self.material, self.second_material

    def table(self) -> HardeningTable:
        """Look-up of the first material: as measured if there is a wedge, else computed from the response."""
        if self.wedge is not None:
            w = self.wedge
            return measured_table(
                attenuation=w.attenuation,
                dark_field=w.dark_field,
                thickness_m=w.thickness_m,
                mu_reference_per_m=self.response.attenuation_of(self.material)[1],
                material=self.material,
            )
        return computed_table(self.response, max_thickness_m=self.max_thickness_m, material=self.material)


def find_correction(name: str) -> Method:
    """The method that `name` stands for.

    Raises
    ------
    DarklungError
        Neither in `METHODS` nor an importable ``package.module:function``, or it needs more than projections and knowledge.
    """
    method = resolve("hardening correction", name, METHODS)
    check_options(f"hardening correction {name}", method, {}, positional=2)
    return method


def leave(projections: Projections, knowledge: Knowledge) -> Projections:
    """No correction: what the others are compared with."""
    return projections


def look_up(projections: Projections, knowledge: Knowledge) -> Projections:
    """−ln D − f(−ln T) for one structure-free material, see `correct_hardening`."""
    return correct_hardening(projections, knowledge.table())


def two_material(projections: Projections, knowledge: Knowledge) -> Projections:
    """The look-up for two materials, the second one's path given, see `correct_two_materials`."""
    return _two_materials(projections, knowledge, np.asarray(knowledge.second_m, dtype=np.float64))


def segmentation(projections: Projections, knowledge: Knowledge) -> Projections:
    """`two_material` with the second material's path from a first reconstruction, see `segmented_path`."""
    return _two_materials(projections, knowledge, _path(projections, knowledge))


def factor(projections: Projections, knowledge: Knowledge) -> Projections:
    """`look_up`, then ε(E_ref)/⟨ε⟩ behind the thickness that was found, see `scale_dark_field`."""
    return scale_dark_field(
        look_up(projections, knowledge), knowledge.response, exponent=knowledge.exponent, material=knowledge.material
    )


def inversion(projections: Projections, knowledge: Knowledge) -> Projections:
    """Pseudo-monochromatic inversion with the two spectra, see `invert_hardening`; `second_m` is taken into account."""
    return _inverted(projections, knowledge, np.asarray(knowledge.second_m, dtype=np.float64))


def inversion_segmented(projections: Projections, knowledge: Knowledge) -> Projections:
    """`inversion` with the second material's path from a first reconstruction."""
    return _inverted(projections, knowledge, _path(projections, knowledge))


def _two_materials(projections: Projections, knowledge: Knowledge, path: NDArray[np.float64]) -> Projections:
    return correct_two_materials(
        projections,
        knowledge.response,
        second_m=path,
        materials=knowledge.materials,
        max_thickness_m=knowledge.max_thickness_m,
    )


def _inverted(projections: Projections, knowledge: Knowledge, path: NDArray[np.float64]) -> Projections:
    options: dict[str, Any] = {"max_thickness_m": knowledge.max_thickness_m, "exponent": knowledge.exponent}
    if not np.any(path):
        table = inversion_table(knowledge.response, material=knowledge.material, **options)
        return invert_hardening(projections, table)
    return invert_two_materials(projections, knowledge.response, second_m=path, materials=knowledge.materials, **options)


def _path(projections: Projections, knowledge: Knowledge) -> NDArray[np.float64]:
    return segmented_path(
        projections,
        knowledge.response,
        materials=knowledge.materials,
        threshold=knowledge.threshold,
        correct=lambda path: _two_materials(projections, knowledge, path),
    )

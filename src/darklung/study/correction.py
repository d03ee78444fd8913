"""What may be said of the correction of retrieved projections."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from darklung.core.seams import is_plugin
from darklung.correct.ladder import METHODS, RECOMMENDED
from darklung.io.documents import Document, Energy, Length


class CorrectionPart(Document):
    """Beam and visibility hardening of projections.

    Everything that is not said here comes from the scanner's calibration of wedges, and without
    one from the instrument; what is said here overrides the file, and the record tells so.
    """

    hardening: str = Field(
        RECOMMENDED,
        description=f"recommended (by the file; else inversion), {', '.join(METHODS)}, or package.module:function",
    )
    material: str | None = Field(None, description="what the object is made of; soft_tissue without a calibration")
    second_material: str | None = Field(
        None, description="what else is in the beam, for two_material and the segmented methods; bone without a calibration"
    )
    second_path: Length = Field(0.0, ge=0, description="its path in every ray, such as a container's walls; bone is found")
    exponent: Annotated[float, Field(ge=0, le=10)] | None = Field(
        None, description="scattering falls as energy to this power; 3.55 (lung) without a calibration"
    )
    reach: Annotated[Length, Field(ge=1e-3)] | None = Field(
        None, description="most of the material, at 1 g/cm3; more is not valid; 6 cm without a calibration"
    )
    energy: Annotated[Energy, Field(gt=0)] | None = Field(
        None, description="energy that values refer to; must be said where calibration and instrument differ in it"
    )

    @model_validator(mode="after")
    def _check(self) -> CorrectionPart:
        from darklung.correct.ladder import find_correction
        from darklung.physics.materials import MATERIALS

        if self.hardening != RECOMMENDED and not is_plugin(self.hardening):
            find_correction(self.hardening)
        for name in ("material", "second_material"):
            value = getattr(self, name)
            if value is not None and value not in MATERIALS:
                raise ValueError(f"{name}: {value!r} is not known; known: {', '.join(sorted(MATERIALS))}")
        return self

    def plugins(self) -> tuple[str, ...]:
        """Functions of the user that the correction runs, as ``package.module:function``."""
        return (self.hardening,) if is_plugin(self.hardening) else ()

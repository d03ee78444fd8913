"""The calibration files of one scanner: what a study, a site or a source may name, checked when the study is read."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from darklung.calibrate.file import KINDS, Calibration, load_calibration
from darklung.calibrate.units import attenuation_of
from darklung.core.checks import DarklungError
from darklung.io.description import resolve_path
from darklung.io.documents import Document, Energy, Length


class CalibrationsPart(Document):
    """Files that ``darklung calibrate`` wrote for this scanner, one of a kind; empty where there is none."""

    wedges: str = Field("", description="hardening: spectra, look-up and recommended method, for the correction")
    spheres: str = Field("", description="response to sizes: the instrument's correlation length")
    fibres: str = Field("", description="response to directions: recorded, no step corrects by it")
    unit: str = Field(
        "", description="units: dark fields are told in SU, attenuation at one energy if the file has its scale"
    )

    def located(self, folder: Path) -> CalibrationsPart:
        """The same with paths that start from `folder` made absolute; ``${NAME:-default}`` is the environment's."""
        return self.model_validate({k: str(resolve_path(t, folder / "study.yaml")) for k, t in self.given().items()})

    def given(self) -> dict[str, str]:
        """Kind -> path of the files that there are."""
        return {kind: getattr(self, kind) for kind in KINDS if getattr(self, kind)}

    def files(self, *kinds: str) -> dict[str, Path]:
        """Kind -> file of these kinds (all if none is named): what a task that uses them depends on."""
        return {kind: Path(text) for kind, text in self.given().items() if not kinds or kind in kinds}

    def only(self, *kinds: str) -> CalibrationsPart:
        """The same without files of other kinds: what a step that uses these kinds gets."""
        return self.model_validate({kind: text for kind, text in self.given().items() if kind in kinds})

    def load(self, kind: str) -> Calibration | None:
        """The calibration of a kind, None if there is no file.

        Raises
        ------
        DarklungError
            What `load_calibration` raises; another kind than this one in one line with file, wanted kind and what came.
        """
        path = getattr(self, kind)
        return load_calibration(Path(path), kind) if path else None

    def correlation_length_m(self) -> float | None:
        """ξ that the calibration by spheres found (of its first setting); None where there is none."""
        return _correlation_length_m(self.spheres, Path(self.spheres).stat().st_mtime_ns) if self.spheres else None

    def unit_energy_kev(self) -> float | None:
        """Energy that the unit's file tells attenuation for; None where it tells none."""
        known = self.load("unit")
        return None if known is None or known.attenuation is None else known.attenuation.energy_kev

    def check(self, name: str = "calibrations") -> None:
        """Read every file; all mistakes are told, each in one line that starts with `name` and the kind."""
        lines = []
        for kind in self.given():
            try:
                self.load(kind)
            except DarklungError as error:
                lines.append(f"{name}.{kind}: {error}")
        if lines:
            raise DarklungError("\n".join(lines))


class AbsorberPart(Document):
    """A solid object beside the animal in every scan: attenuation is told so that it reads what tables say of it."""

    shape: Literal["cylinder", "sphere"] = Field("cylinder", description="cylinder: along z; sphere")
    diameter: Length = Field(gt=0, description="of the object, at least 8 voxels; it is found by it")
    material: str = Field(description="a material that darklung has tables of, such as water or pmma, at its density")
    energy: Energy = Field(gt=0, description="that attenuation is then told for; the same in all sources")

    @model_validator(mode="after")
    def _known(self) -> AbsorberPart:
        try:
            attenuation_of(self.material, self.energy)
        except DarklungError as error:
            raise ValueError(str(error)) from None
        return self


class ReferencePart(Document):
    """An object beside the animal in every scan that gives dark fields their unit: air around it is 0 SU, it is 1000 SU."""

    shape: Literal["cylinder", "sphere"] = Field("cylinder", description="cylinder: along z; sphere")
    diameter: Length = Field(gt=0, description="of the object, at least 8 voxels; it is found by it")
    material: str = Field(min_length=1, description="what it is made of; scans compare only if it is the same")
    absorber: AbsorberPart | None = Field(None, description="a second object, which gives attenuation its scale; none")


@lru_cache(maxsize=64)
def _correlation_length_m(path: str, modified_ns: int) -> float:
    """Read once for all animals of a scanner."""
    return float(load_calibration(Path(path), "spheres").curves[0].correlation_length_m)

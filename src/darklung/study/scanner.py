"""A scanner in a file: instrument, protocol and flaws, by the names of the dataclasses that they are (decision 037)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from annotated_types import Interval
from pydantic import Field

from darklung.io.sections import Section
from darklung.physics.instrument import Setup
from darklung.simulate.effects import Effects, Gratings
from darklung.simulate.protocol import Protocol

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]

SENSOR_WORDS = {
    "kind": "detector",
    "thickness_m": "sensor",
    "material": "sensor_material",
    "pixel_m": "sensor_pixel",
    "cloud_m": "charge_cloud",
}


class InstrumentPart(Section, Setup, words={"flat_visibility": "visibility", **SENSOR_WORDS}):
    """The grating interferometer with its beam and detector."""

    def located(self, folder: Path) -> InstrumentPart:
        """The same with a path of `file` that starts from `folder` made absolute."""
        return replace(self, file=str((folder / self.file).resolve())) if self.file else self

    def files(self) -> dict[str, Path]:
        """Files from outside that decide the spectrum."""
        return {"spectrum": Path(self.file)} if self.file else {}


@dataclass(frozen=True)
class ScanPart(Section, Protocol, words={"counts_per_pixel": "counts"}):
    """The protocol: what is exposed, how long, how often.

    Parameters
    ----------
    supersampling : int
        Phantom voxels along a detector pixel.
    keep_frames : bool
        Keep the raw frames (large) when the animal is reconstructed.
    """

    supersampling: Annotated[int, Interval(ge=1, le=8)] = 2
    keep_frames: bool = False


class EffectsPart(
    Section, Effects, words={"electronic_noise_counts": "electronic_noise", "saturation_counts": "saturation"}
):
    """What goes wrong in a real scan; gratings' maps and refraction within voxels are on, the rest is off."""


NO_FLAWS = EffectsPart(gratings=Gratings(uneven_flux=0, uneven_visibility=0, moire_fringes=0))
"""A perfect scan: even the gratings' maps are off."""

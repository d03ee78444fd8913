"""What may be said of histology: sections, stacks of them, how they are measured, and how synthetic ones are made."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from darklung.io.documents import Angle, Document, Length, read_document

Flip = Literal["no", "up-down", "left-right"]


class SectionPart(Document):
    """One picture of a section, and what its file does not say."""

    file: Path
    pixel: Length | None = Field(None, gt=0, description="edge of a pixel of the finest level; else the file's")
    scale_bar: Length | None = Field(None, gt=0, description="length of the bar that is burnt into the picture")
    flip: Flip = Field("no", description="the section lay turned over: up-down or left-right")
    outlines: Path | None = Field(None, description="drawn outlines (GeoJSON, QuPath) in pixels of the finest level")
    masks: dict[str, Path] = Field({}, description="class -> picture of the same shape, not 0 where the class is")
    position: Length | None = Field(None, description="along the stack; else from its number and the spacing")

    def files(self) -> dict[str, Path]:
        """What is read: name -> file."""
        found = {"section": self.file, **{f"mask {name}": path for name, path in self.masks.items()}}
        return found if self.outlines is None else {**found, "outlines": self.outlines}


class StackPart(Document):
    """Sections of one block in order; some may be missing, and how far they are apart may be unknown."""

    sections: tuple[SectionPart, ...] = Field(min_length=1)
    pixel: Length | None = Field(None, gt=0, description="of every section that does not say its own")
    scale_bar: Length | None = Field(None, gt=0, description="of every section that does not say its own")
    spacing: Length | None = Field(None, gt=0, description="from one section to the next; left out: unknown")
    missing: tuple[int, ...] = Field((), description="numbers of sections (from 1) that were lost")

    @model_validator(mode="after")
    def _check(self) -> StackPart:
        if any(n < 1 for n in self.missing) or len(set(self.missing)) < len(self.missing):
            raise ValueError(f"missing: wanted numbers from 1, each once, got {list(self.missing)}")
        last = len(self.sections) + len(self.missing)
        if any(n > last for n in self.missing):
            raise ValueError(f"missing: {len(self.sections)} sections and {len(self.missing)} missing end at number {last}")
        files = [s.file for s in self.sections]
        if len(set(files)) < len(files):
            raise ValueError("sections: the same file twice")
        known = [p for p in self.positions() if p is not None]
        if any(b <= a for a, b in pairwise(known)):
            raise ValueError("sections: wanted positions that rise from one section to the next")
        return self

    def numbers(self) -> list[int]:
        """Number of each section in the block, from 1; missing ones are left out."""
        count = len(self.sections) + len(self.missing)
        return [n for n in range(1, count + 1) if n not in self.missing]

    def positions(self) -> list[float | None]:
        """Where each section lies along the stack [m], from the first number; None where nobody knows."""
        found = []
        for number, section in zip(self.numbers(), self.sections):
            counted = None if self.spacing is None else (number - 1) * self.spacing
            found.append(counted if section.position is None else section.position)
        return found


class StereologyPart(Document):
    """How a section is measured."""

    tile: Length = Field(0.5e-3, ge=0.1e-3, le=5e-3, description="edge of a tile", validate_default=False)
    lines: Length = Field(10e-6, ge=2e-6, le=200e-6, description="from one test line to the next")
    resolution: Length = Field(
        1.5e-6, ge=0.3e-6, le=5e-6, description="standard deviation at which interfaces are looked at"
    )
    shrinkage: float = Field(0.0, ge=0, le=0.5, description="by how much of them all lengths shrank on the way to the slide")


class CutPart(Document):
    """A synthetic section of a phantom."""

    plane: Literal["axial", "coronal", "sagittal"] = Field("axial", description="before it is tilted")
    at: Length = Field(0.0, description="along the plane's normal, from the middle of the phantom", validate_default=False)
    tilt: Angle = Field(0.0, ge=-0.8, le=0.8, description="about the picture's columns")
    roll: Angle = Field(0.0, ge=-0.8, le=0.8, description="about the picture's rows")
    turn: Angle = Field(0.0, description="of the picture in its own plane")
    pixel: Length = Field(2e-6, ge=0.2e-6, le=4e-6, description="edge of a pixel")
    field: tuple[Length, Length] | None = Field(None, description="rows and columns before shrinkage; the lung's extent")
    shrinkage: float = Field(0.0, ge=0, le=0.5, description="all lengths become 1 - shrinkage of what they were")
    compression: float = Field(0.0, ge=0, le=0.5, description="rows become shorter by this under the knife")
    tears: int = Field(0, ge=0, le=50)
    folds: int = Field(0, ge=0, le=50)
    stain: float = Field(0.1, ge=0, le=1, description="relative standard deviation of the stain from batch to batch")
    seed: int = Field(1, ge=0)


def read_stack(path: Path) -> StackPart:
    """A description of a stack; files are relative to it.

    Raises
    ------
    DarklungError
        One line for each mistake.
    """
    found: StackPart = read_document(path, StackPart)
    folder = path.parent

    def placed(section: SectionPart) -> SectionPart:
        own = {"file": folder / section.file, "masks": {n: folder / p for n, p in section.masks.items()}}
        outlines = None if section.outlines is None else folder / section.outlines
        shared = {"pixel": section.pixel or found.pixel, "scale_bar": section.scale_bar or found.scale_bar}
        return section.model_copy(update={**own, **shared, "outlines": outlines})

    return found.model_copy(update={"sections": tuple(placed(s) for s in found.sections)})


class RegisterPart(Document):
    """How sections are placed in a volume, and what is carried there."""

    plane: Literal["axial", "coronal", "sagittal"] = Field("coronal", description="nearest to the sections' own")
    channels: tuple[str, ...] = Field(
        (), description="of the volume that sections are compared with; else attenuation and dark_field where it has them"
    )
    turn: Literal["upright", "any"] = Field(
        "upright", description="upright: pictures lie as the plane does, to 20 degrees; any: in every quarter turn"
    )
    shrinkage: float | None = Field(None, ge=0, le=0.5, description="of all lengths; else found, 0.15 ± 0.08")
    spacing: Literal["before", "after"] = Field(
        "before", description="whether distances in the stack are of before shrinking"
    )
    carry: Literal["tumour", "dense"] = Field("tumour", description="mask of the sections that becomes lesions")
    band: float = Field(0.9, ge=0, le=0.999, description="share of borders in the band of probability that is unknown")
    reach: Length | None = Field(None, gt=0, description="how far from its plane a section speaks; else half a voxel")
    landmark_error: Length = Field(0.1e-3, gt=0, description="standard deviation of a landmark")
    tile: Length = Field(0.5e-3, ge=0.1e-3, le=5e-3, description="edge of the tiles that are compared with maps")
    fraction_map: str = Field("tissue_fraction", description="channel of the tissue fraction, where the volume has it")
    surface_map: str = Field("interface_density", description="channel of the interface density [1/m], likewise")

"""Which simulated animals there are, what is put into them, and how they are sampled."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from darklung.io.description import resolve_path
from darklung.io.documents import Document, Length
from darklung.physics.lung import LESIONS
from darklung.study.classes import LesionNames
from darklung.study.scanner import Fraction


class CohortPart(Document):
    """Which animals there are and what is put into them."""

    animals: int = Field(12, ge=0, le=100_000, description="animals for training and validation")
    test_animals: int = Field(6, ge=0, le=100_000, description="held-out animals of the test variant")
    variant: str = Field("A", description="phantom family of the training animals")
    test_variant: str = Field("B", description="phantom family of the held-out animals")
    tissues: LesionNames = Field(tuple(LESIONS), description="lesion classes")
    diameter: tuple[Length, Length] = Field((0.5e-3, 3e-3), description="smallest and largest lesion")
    lesions: tuple[int, int] = Field((1, 4), description="fewest and most lesions of an animal that has any")
    lesion_free: Fraction = Field(0.25, description="part of the animals without a lesion")
    shams: tuple[int, int] = Field((1, 2), description="fewest and most sham insertions in an animal")
    mimics: tuple[int, int] = Field((0, 3), description="fewest and most mimics (atelectasis, pneumonia, ...)")
    mimic_surface: tuple[float, float] | None = Field(
        None,
        description="S_V of dense mimics over that of healthy lung, such as [0.8, 1.1]; that of their classes if not given",
    )
    sites: tuple[str, ...] = Field((), description="sites dealt to the training animals in turn; all if not given")
    test_sites: tuple[str, ...] = Field((), description="sites dealt to the held-out animals in turn; all if not given")

    @model_validator(mode="after")
    def _check(self) -> CohortPart:
        if self.animals + self.test_animals == 0:
            raise ValueError("animals: the cohort is empty; wanted at least one animal")
        for name in ("diameter", "lesions", "shams", "mimics"):
            low, high = getattr(self, name)
            if low > high or low < 0:
                raise ValueError(f"{name}: wanted the smaller number first and none below 0, got {low:g}, {high:g}")
        if self.mimic_surface is not None and not 0 < self.mimic_surface[0] <= self.mimic_surface[1] <= 2:
            raise ValueError(f"mimic_surface: wanted 0 < low <= high <= 2, got {self.mimic_surface}")
        if self.lesions[0] < 1:
            raise ValueError(
                f"lesions: of an animal that has any, wanted at least 1, got {self.lesions[0]}; lesion_free gives none"
            )
        return self


class AtlasPart(Document):
    """A label volume that takes the place of the simulated body; lungs are grown new inside its lung label."""

    file: str = Field(description=".nii, .nii.gz, .npz or .npy with one array of integers")
    voxel: Length = Field(gt=0, description="voxel of the label volume")
    axes: tuple[str, str, str] = Field(description="where its axes point: head, tail, back, belly, left, right")
    table: dict[int, str] = Field(description="label -> air, lung, soft_tissue, liver, adipose, bone; all that occur")


class BodyPart(Document):
    """How the animals are sampled."""

    voxel: Length = Field(1.5e-4, gt=0, description="voxel of the phantom; a detector pixel is scan.supersampling voxels")
    length: Length = Field(18e-3, gt=0, description="length of the simulated chest along z")
    width: Length = Field(24e-3, gt=0, description="width of the field of view in the plane; must hold the whole body")
    atlas: AtlasPart | None = Field(None, description="labels in place of the simulated body; its width is its own")

    def located(self, folder: Path) -> BodyPart:
        """The same with a path of `atlas.file` that starts from `folder` made absolute."""
        if self.atlas is None:
            return self
        file = str(resolve_path(self.atlas.file, folder / "study.yaml"))
        return self.model_copy(update={"atlas": self.atlas.model_copy(update={"file": file})})

    def files(self) -> dict[str, Path]:
        """Files from outside that decide the animals."""
        return {"atlas": Path(self.atlas.file)} if self.atlas else {}

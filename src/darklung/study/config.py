"""The study file: what a study is made of, with units in the text. The defaults are those of a small, quick study."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from darklung.io.description import resolve_path
from darklung.io.documents import Document, Length, read_document, validate
from darklung.physics.lung import LESIONS
from darklung.study.classes import LesionNames
from darklung.study.scanner import Count, EffectsPart, Fraction, InstrumentPart, ScanPart
from darklung.tomo.methods import find_method


class CohortPart(Document):
    """Which animals there are and what is put into them."""

    animals: int = Field(12, ge=0, description="animals for training and validation")
    test_animals: int = Field(6, ge=0, description="held-out animals of the test variant")
    variant: str = Field("A", description="phantom family of the training animals")
    test_variant: str = Field("B", description="phantom family of the held-out animals")
    tissues: LesionNames = Field(tuple(LESIONS), description="lesion classes")
    diameter: tuple[Length, Length] = Field((0.5e-3, 3e-3), description="smallest and largest lesion")
    lesions: tuple[int, int] = Field((1, 4), description="fewest and most lesions of an animal that has any")
    lesion_free: Fraction = Field(0.25, description="part of the animals without a lesion")
    shams: tuple[int, int] = Field((1, 2), description="fewest and most sham insertions in an animal")
    mimics: tuple[int, int] = Field((0, 3), description="fewest and most mimics (atelectasis, pneumonia, ...)")
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


SITE_PARTS = ("instrument", "scan", "effects")
# The networks take the same channels on the same grid from every site.
SAME_AT_ALL_SITES = ("directions", "supersampling")


class SitePart(Document):
    """A scanner: what it changes of the study's instrument, scan and effects. Values are written as in those parts."""

    subjects: tuple[str, ...] = Field((), description="animals scanned here whatever their turn, such as test-0001")
    instrument: dict[str, Any] = Field({}, description="changes to instrument")
    scan: dict[str, Any] = Field({}, description="changes to scan, the grating directions and supersampling excepted")
    effects: dict[str, Any] = Field({}, description="changes to effects")


class RetrievalPart(Document):
    """How stepping curves become attenuation, dark field and phase."""

    reference: Literal["mean", "interpolate"] = Field("mean", description="mean of all flats, or interpolated in time")
    steps: Literal["nominal", "estimate", "ramp"] = Field(
        "nominal", description="as set, or phase and dose of each step found from the frames; ramp: also its tilt"
    )
    variance: Literal["pixel", "neighbourhood"] = Field(
        "neighbourhood", description="whose visibility the dark field's variance and validity come from"
    )


class CorrectionPart(Document):
    """What is done to retrieved projections."""

    flux: bool = Field(True, description="normalise each view by the air beside the animal")
    hardening: str = Field(
        "inversion",
        description="none, look_up, two_material, segmentation, factor, inversion, inversion_segmented, or module:function",
    )
    calibration: str = Field(
        "", description="calibration.json of darklung calibrate wedges: its spectra instead of the instrument's own"
    )
    second_material: str = Field("bone", description="what else is in the beam, for two_material and the segmented methods")
    second_path: Length = Field(0.0, ge=0, description="its path in every ray, such as a container's walls; bone is found")

    @model_validator(mode="after")
    def _check(self) -> CorrectionPart:
        from darklung.correct.ladder import find_correction
        from darklung.physics.materials import MATERIALS

        find_correction(self.hardening)
        if self.second_material not in MATERIALS:
            known = ", ".join(sorted(MATERIALS))
            raise ValueError(f"second_material: {self.second_material!r} is not known; known: {known}")
        return self

    def located(self, folder: Path) -> CorrectionPart:
        """The same with the path of `calibration` made absolute from `folder`."""
        if not self.calibration:
            return self
        return self.model_copy(update={"calibration": str((folder / self.calibration).resolve())})

    def files(self) -> dict[str, Path]:
        """Files from outside that decide the correction."""
        return {"calibration": Path(self.calibration)} if self.calibration else {}


class ReconstructionPart(Document):
    """From projections to volumes."""

    method: str = Field("fbp", description="fbp, cgls, pwls_tv, tensor, or package.module:function")
    options: dict[str, bool | int | float | str] = Field({}, description="keyword arguments of the method, such as cutoff")

    @model_validator(mode="after")
    def _check(self) -> ReconstructionPart:
        find_method(self.method, self.options)
        return self


# What lesions of a bank change, or what stays as it is by its nature; other channels would contradict them.
BANK_CHANNELS = re.compile(r"attenuation|dark_field(_-?\d+)?|noise")


class BankPart(Document):
    """Lesions drawn once that are put into the training animals again and again while a network learns."""

    lesions: int = Field(24, ge=1, le=1000, description="lesions in the bank, like the training animals' own")
    per_case: tuple[int, int] = Field((1, 2), description="fewest and most that an animal gets at a time; as many shams")
    every: Count = Field(50, description="training steps until others are drawn")

    @model_validator(mode="after")
    def _check(self) -> BankPart:
        low, high = self.per_case
        if not 0 <= low <= high or not 1 <= high <= 20:
            raise ValueError(f"per_case: wanted the smaller number first, 0 to 20 and not both 0, got {low}, {high}")
        return self


class LearningPart(Document):
    """What is trained: one network for each arm and fold, alike but for its channels."""

    arms: dict[str, tuple[str, ...]] = Field(description="arm -> channels")
    network: str = Field("residual_attention_unet", description="short name or package.module:function")
    loss: str = Field("dice_focal_boundary", description="short name or package.module:function")
    metric: str = Field("tile_auroc", description="score on validation cases by which a model is chosen")
    widths: tuple[Count, ...] = Field((16, 32, 48), description="channels of each level")
    patch: Count = Field(16, description="edge of a training patch in voxels")
    batch: Count = 4
    steps: Count = 200
    learning_rate: float = Field(4e-3, gt=0)
    folds: int = Field(3, ge=2)
    overlap: float = Field(0.25, ge=0, le=0.75, description="share of a prediction window that the next one covers")
    bank: BankPart | None = Field(
        None, description="fresh lesions for the training animals; kind ct only, none if not given"
    )

    @model_validator(mode="after")
    def _check(self) -> LearningPart:
        if not self.arms:
            raise ValueError("arms: wanted at least one arm, got none")
        for name, channels in self.arms.items():
            if not re.fullmatch(r"[A-Za-z0-9_+-]+", name):
                raise ValueError(f"arms: a name is made of letters, digits, _, + and -, got {name!r}")
            if not channels:
                raise ValueError(f"arms: {name!r} has no channels")
        return self


class EvaluationPart(Document):
    """How the arms are compared."""

    tile: Length = Field(2e-3, description="edge of the tiles that are called positive or negative")
    specificity: Fraction = Field(0.95, description="specificity at which the threshold is fixed on validation")
    replicates: int = Field(2000, ge=100, description="bootstrap replicates over animals")


CT_ARMS = {
    "transmission": ("attenuation",),
    "dark_field": ("dark_field",),
    "directional": ("dark_field_0", "dark_field_90"),
    "hybrid": ("attenuation", "dark_field_0", "dark_field_90"),
}


class CTStudy(Document):
    """Simulated directional dark-field CT of a cohort of mice, learning and comparison."""

    kind: Literal["ct"]
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    seed: int = Field(1, ge=0)
    cohort: CohortPart = CohortPart()
    body: BodyPart = BodyPart()
    instrument: InstrumentPart = InstrumentPart()
    scan: ScanPart = ScanPart()
    effects: EffectsPart = EffectsPart()
    sites: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], SitePart] = Field(
        {}, description="scanners; each animal is scanned at one"
    )
    retrieval: RetrievalPart = RetrievalPart()
    correction: CorrectionPart = CorrectionPart()
    reconstruction: ReconstructionPart = ReconstructionPart()
    learning: LearningPart = LearningPart(arms=CT_ARMS)
    evaluation: EvaluationPart = EvaluationPart()

    def at(self, site: str) -> CTStudy:
        """The study with instrument, scan and effects of one site; ``""`` where there are no sites."""
        if not site:
            return self
        parts = {}
        for name in SITE_PARTS:
            own = getattr(self, name)
            merged = {**own.model_dump(mode="json"), **getattr(self.sites[site], name)}
            parts[name] = validate(merged, type(own), f"sites.{site}.{name}")
        return self.model_copy(update=parts)

    def located(self, folder: Path) -> CTStudy:
        """The same with paths that start from `folder` made absolute."""
        sites = {
            name: site.model_copy(
                update={"instrument": {**site.instrument, "file": str((folder / site.instrument["file"]).resolve())}}
            )
            for name, site in self.sites.items()
            if site.instrument.get("file")
        }
        own: dict[str, Any] = {"instrument": self.instrument.located(folder), "correction": self.correction.located(folder)}
        own["body"] = self.body.located(folder)
        return self.model_copy(update={**own, "sites": {**self.sites, **sites}})

    @model_validator(mode="after")
    def _check_sites(self) -> CTStudy:
        if self.sites and self.correction.calibration:
            raise ValueError("correction.calibration: belongs to one scanner, a study with sites has several")
        for split in ("sites", "test_sites"):
            for name in getattr(self.cohort, split):
                if name not in self.sites:
                    known = ", ".join(self.sites) or "none; name them under sites"
                    raise ValueError(
                        f"cohort.{split}: wanted one site an animal, each a key of sites ({known}), got {name!r}"
                    )
        listed: dict[str, str] = {}
        for name, site in self.sites.items():
            for key in SAME_AT_ALL_SITES:
                if key in site.scan:
                    raise ValueError(f"sites.{name}.scan.{key}: all sites share the study's, so that their images compare")
            for subject in site.subjects:
                if subject in listed:
                    raise ValueError(f"sites: {subject} is at {listed[subject]} and at {name}; a scan is made at one site")
                listed[subject] = name
            self.at(name)
        return self

    @model_validator(mode="after")
    def _check(self) -> CTStudy:
        if 0 < self.cohort.animals < self.learning.folds:
            raise ValueError(
                f"cohort.animals: wanted at least learning.folds = {self.learning.folds}, got {self.cohort.animals}"
            )
        if self.learning.bank:
            for arm, channels in self.learning.arms.items():
                for name in channels:
                    if not BANK_CHANNELS.fullmatch(name):
                        raise ValueError(
                            f"learning.bank: lesions change attenuation and dark_field..., not {name!r} of arm {arm!r}"
                        )
        return self


class InsertionPart(Document):
    """Synthetic tumours in measured radiographs, and what is assumed about the measured lobes."""

    versions: Count = Field(6, description="copies of each lobe, each with its own lesions")
    tissues: LesionNames = Field(("solid", "filled"), description="lesion classes")
    diameter: tuple[Length, Length] = Field((0.5e-3, 1.5e-3), description="smallest and largest lesion")
    lesions: tuple[int, int] = Field((0, 2), description="fewest and most lesions of a copy")
    shams: tuple[int, int] = Field((1, 1), description="fewest and most sham insertions in a copy")
    thickness: Length = Field(3e-3, description="assumed thickness of a lobe where it attenuates most")
    blur: Length = Field(4.25e-5, ge=0, description="assumed standard deviation of the detector's point spread")
    edge: Length = Field(7.5e-5, description="distance that a lesion keeps from the lobe's edge")
    pixel: Length = Field(7.5e-5, gt=0, description="detector pixel; the files do not say it")


class RadiographStudy(Document):
    """Measured radiographs of mouse lung lobes with synthetic tumours, learning and comparison."""

    kind: Literal["radiographs"]
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    seed: int = Field(1, ge=0)
    data: str = Field(description="folder of the maps; ${NAME:-default} is replaced by the environment")
    insertion: InsertionPart = InsertionPart()
    learning: LearningPart
    evaluation: EvaluationPart = EvaluationPart.model_validate({"tile": "2.4 mm"})

    @model_validator(mode="after")
    def _check(self) -> RadiographStudy:
        if self.learning.bank:
            raise ValueError("learning.bank: puts lesions into volumes, so it belongs to studies of kind ct")
        return self


Study = CTStudy | RadiographStudy
_STUDY = Annotated[Study, Field(discriminator="kind")]


def read_study(path: Path) -> Study:
    """Read a study file; every mistake is told at once, each with its path."""
    study = read_document(path, _STUDY)
    return study.located(path.parent) if isinstance(study, CTStudy) else study

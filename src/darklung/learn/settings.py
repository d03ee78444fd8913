"""How a network is trained, as a study file may say it under ``learning.training``. Nothing here needs torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from darklung.core.channel import Channel
from darklung.core.checks import require
from darklung.io.documents import Document

# What each loss is made of, term and weight; a loss of the user is one term, LOSS.
LOSS = "loss"
LOSS_TERMS = {
    "dice_focal_boundary": {"dice": 1.0, "focal": 1.0, "boundary": 0.5},
    "dice_focal": {"dice": 1.0, "focal": 1.0},
}
DETECTION_TERMS = {"centre": 1.0, "diameter": 0.2, "presence": 0.2}
TERMS = ("dice", "focal", "boundary", *DETECTION_TERMS, LOSS)

Share = Annotated[float, Field(ge=0, le=1)]


def _rising(factors: tuple[float, float]) -> tuple[float, float]:
    """Raise unless the smaller factor comes first."""
    if not factors[0] <= factors[1]:
        raise ValueError(f"wanted the smaller factor first, got {factors[0]:g}, {factors[1]:g}")
    return factors


Rising = AfterValidator(_rising)
Factor = Annotated[float, Field(ge=0.2, le=5)]
Less = Annotated[float, Field(ge=0.1, le=1)]
More = Annotated[float, Field(ge=1, le=100)]
SAME = (1.0, 1.0)  # a range of a factor that changes nothing
# What a scan measures, and a control: physical augmentations change the first two with their errors, and leave the last.
MEASURED, CONTROL = ("attenuation", "dark_field"), "noise"


class TermPart(Document):
    """What one term adds to the loss."""

    weight: float = Field(ge=0, le=1e6, description="factor; 0 leaves the term out")
    ramp: int = Field(0, ge=0, le=10_000_000, description="steps over which the factor rises from 0, from the first on")

    @model_validator(mode="before")
    @classmethod
    def _weight_alone(cls, given: Any) -> Any:
        number = isinstance(given, int | float) and not isinstance(given, bool)
        return {"weight": given} if number else given


class AugmentationPart(Document):
    """What is changed in each patch; every draw is a function of seed and step."""

    flips: bool = Field(True, description="mirror images that leave the directions of channels what their names say")
    turns: bool = Field(False, description="quarter turns about the rotation axis, of volumes whose directions allow them")
    gain: float = Field(0.05, ge=0, le=1, description="standard deviation of a factor of each channel")
    offset: float = Field(0.1, ge=0, le=10, description="of what is added, in standard deviations of the channel")
    noise: float = Field(
        0.0, ge=0, le=10, description="variance of noise drawn anew in each patch, as a share of the scan's own"
    )
    dose: Annotated[tuple[More, More], Rising] = Field(
        SAME, description="range of a factor that the dose is divided by: what noise that adds is drawn"
    )
    visibility: Annotated[tuple[Less, Less], Rising] = Field(
        SAME, description="range of a factor of the flats' visibility: dark fields get noisier"
    )
    correlation_length: Annotated[tuple[Factor, Factor], Rising] = Field(
        SAME, description="range of a factor of ξ: dark fields change as healthy lung's does"
    )
    energy: Annotated[tuple[Factor, Factor], Rising] = Field(
        SAME, description="range of a factor of the energy, the gratings as they are: tissue, bone, lung"
    )
    breathing: float = Field(0.0, ge=0, le=4, description="largest displacement in voxels, along z above all")
    texture: Literal["ramp", "shepp-logan", "hann", "white"] = Field(
        "ramp", description="filter of the back-projection that correlates the noise of volumes; of radiographs it is white"
    )
    flat_visibility: float = Field(0.15, gt=0, le=1, description="V0 of the scans, which `visibility` is a factor of")

    @property
    def rescans(self) -> tuple[str, ...]:
        """Settings that are on and ask for what another scan would have measured; they need the errors of channels."""
        ranges = ("dose", "visibility", "correlation_length", "energy")
        return (*(("noise",) if self.noise else ()), *(name for name in ranges if getattr(self, name) != SAME))

    @property
    def physical(self) -> tuple[str, ...]:
        """Settings that are on and change patches as physics does."""
        return (*self.rescans, *(("breathing",) if self.breathing else ()))

    def why_not(self, name: str) -> str:
        """Why a channel cannot be changed as asked for, in words; empty where it can."""
        channel = Channel.parse(name)
        measured = channel.signal in MEASURED and channel.role in ("value", "noise")
        if not self.physical or measured or channel == Channel(CONTROL):
            return ""
        change = ", ".join(self.physical)
        return f"{change}: changes attenuation, dark_field... and their noise; {name!r} would have to be made again of them"


LIGHT = AugmentationPart()


class TrainingPart(Document):
    """Loss terms, optimizer (AdamW), schedule, precision, choice of the state that is kept, augmentation."""

    terms: dict[Literal["dice", "focal", "boundary", "centre", "diameter", "presence", "loss"], TermPart] = Field(
        {}, description="weights that differ from those of the loss and the heads: term -> weight, or weight and ramp"
    )
    weighting: Literal["fixed", "uncertainty"] = Field(
        "fixed", description="uncertainty: each term's weight is learned too, beside the one given"
    )
    weight_decay: float = Field(1e-4, ge=0, le=1, description="of the weights, a step, times the learning rate")
    warm_up: Share = Field(0.1, description="share of the steps over which the learning rate rises")
    clip: float = Field(5.0, gt=0, le=1e6, description="largest norm of the gradient; a larger one is made shorter")
    averaging: float = Field(0.0, ge=0, lt=1, description="of weights over steps, such as 0.99; 0: the last are taken")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 on a GPU that has it, float32 on a CPU"
    )
    validations: int | None = Field(
        None, ge=1, le=1000, description="how often scored; one each 200 steps, 2 to 20, by default"
    )
    patience: int | None = Field(
        None, ge=1, le=1000, description="worse scores in a row that end it; half of the validations, at least 2, by default"
    )
    augmentation: AugmentationPart = LIGHT
    tracking: tuple[Literal["tensorboard", "mlflow"], ...] = Field(
        (), description="programs whose files the log is written to as well, beside the model"
    )


BY_DEFAULT = TrainingPart()


def weighted_terms(loss: str, training: TrainingPart, *, detects: bool) -> dict[str, TermPart]:
    """The terms that count, in their order, with their weights.

    Parameters
    ----------
    loss : str
        As ``learning.loss``.
    training : TrainingPart
    detects : bool
        Whether the network has the detection heads.

    Raises
    ------
    DarklungError
        A term of the detection heads for a network without them, of a loss that is not used, or no term at all.
    """
    weights = {**LOSS_TERMS.get(loss, {LOSS: 1.0}), **(DETECTION_TERMS if detects else {})}
    headless = [name for name in training.terms if name in DETECTION_TERMS and not detects]
    require(not headless, f"training.terms: {', '.join(headless)} need a network with detection heads")
    known = ", ".join(weights)
    require(LOSS not in training.terms or LOSS in weights, f"training.terms: {LOSS} is no term of {loss}, which has {known}")
    found = {name: TermPart(weight=weight) for name, weight in weights.items()} | dict(training.terms)
    found = {name: term for name, term in found.items() if term.weight > 0}
    require(len(found) > 0, "training.terms: wanted a term with a weight above 0")
    return found

"""What is trained and how it is compared."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from darklung.core.channel import Channel, asked_for
from darklung.core.checks import require
from darklung.core.recipe import rejoined
from darklung.io.documents import Document, Length
from darklung.learn.settings import BY_DEFAULT, TrainingPart
from darklung.study.observers import NETWORK, BoostingPart, Observer, Row
from darklung.study.scanner import Count, Fraction


def _each_once(levels: tuple[float, ...]) -> tuple[float, ...]:
    require(len(set(levels)) == len(levels), f"wanted each level once, got {', '.join(map(str, levels))}")
    return levels


# Written one way whatever the user wrote: dark_field_45.0 is dark_field_45.
ChannelName = Annotated[str, AfterValidator(asked_for)]
Option = bool | int | float | str
Options = dict[str, Option | tuple[Option, ...]]
# Signals that lesions of a bank change, or that stay as they are by their nature; others would contradict them.
BANK_SIGNALS = ("attenuation", "dark_field", "noise")


def _check_name(place: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_+-]{1,100}", name):
        raise ValueError(f"{place}: a name is made of letters, digits, _, + and -, got {name!r}")


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


def _rejoined(channels: Any) -> Any:
    """The list as it was meant: commas within parentheses are no list's."""
    return rejoined(channels) if isinstance(channels, list | tuple) else channels


Arms = dict[str, Annotated[tuple[ChannelName, ...], BeforeValidator(_rejoined)]]


class RadiographArms(Document):
    """Radiographs of the same animals as the volumes: arms that see them, and both together."""

    arms: Arms = Field(description="arm -> channels of a radiograph")
    joint: dict[str, tuple[str, str]] = Field(
        {}, description="name -> arm of volumes and arm of radiographs, whose logits are joined in the volume"
    )


# Keys of a learning part that trees read too; all others are a network's.
OF_TREES = ("arms", "observers", "boosting", "metric", "normalisation", "folds", "bank")
OF_PREDICTION = ("overlap", "candidates", "mirroring", "radiographs")  # what no training reads


class LearningPart(Document):
    """What is trained: one network for each arm and fold, alike but for its channels, and other observers beside it."""

    arms: Arms = Field(description="arm -> channels")
    observers: tuple[Observer, ...] = Field(
        ("network",), min_length=1, description="who looks at each arm: network, and boosting (trees on filtered channels)"
    )
    boosting: BoostingPart = BoostingPart()
    network: str = Field("residual_attention_unet", description="short name or package.module:function")
    network_options: Options = Field({}, description="further arguments of the network, by name")
    loss: str = Field("dice_focal_boundary", description="short name or package.module:function")
    loss_options: Options = Field({}, description="further arguments of the loss, by name")
    metric: str = Field("tile_auroc", description="score on validation cases by which a model is chosen")
    widths: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (16, 32, 48), min_length=1, description="channels of each level"
    )
    patch: Count = Field(16, description="edge of a training patch in voxels")
    batch: Count = Field(4, description="patches of a step")
    steps: Count = Field(200, description="of training, at most")
    learning_rate: float = Field(4e-3, gt=0, le=1, description="largest; it rises at the start and falls to zero")
    training: TrainingPart = Field(BY_DEFAULT, description="loss terms, optimizer, precision, stopping, augmentation")
    normalisation: Literal["volume", "cohort"] = Field(
        "volume", description="of the channels: each image's own, which no gain or offset changes, or one for all images"
    )
    keep_state: bool = Field(True, description="keep what it takes to go on with more steps, about four times the model")
    folds: int = Field(3, ge=2, le=1000, description="groups of animals that take turns in validation")
    overlap: float = Field(0.25, ge=0, le=0.75, description="share of a prediction window that the next one covers")
    candidates: Literal["head", "logits"] = Field(
        "head", description="from the detection head where the network has one, or from the largest voxel logits in any case"
    )
    mirroring: bool = Field(
        False, description="predictions are the mean over mirror images that leave directions what they are, 8 of a volume"
    )
    bank: BankPart | None = Field(
        None, description="fresh lesions for the training animals, which must be simulated; none if not given"
    )
    radiographs: RadiographArms | None = Field(
        None, description="arms that see radiographs of the same animals; none if not given"
    )

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every arm with every observer, in the order that tables have."""
        return tuple(Row(arm, observer) for observer in self.observers for arm in self.arms)

    @property
    def flat(self) -> LearningPart | None:
        """The part as the arms of radiographs have it: alike but for arms and images; None without any."""
        if self.radiographs is None:
            return None
        return self.model_copy(update={"arms": self.radiographs.arms, "radiographs": None})

    @property
    def joint_rows(self) -> dict[Row, tuple[Row, Row]]:
        """Each pair with every observer -> its row of volumes and its row of radiographs."""
        pairs = self.radiographs.joint if self.radiographs else {}
        return {
            Row(name, observer): (Row(solid, observer), Row(flat, observer))
            for observer in self.observers
            for name, (solid, flat) in pairs.items()
        }

    @property
    def compared(self) -> tuple[Row, ...]:
        """The rows of the comparison: of volumes, of radiographs, of both."""
        return (*self.rows, *(self.flat.rows if self.flat else ()), *self.joint_rows)

    def shown(self, row: Row) -> tuple[str, ...]:
        """Channels of a volume that show what a row of the comparison looked at; for radiographs those of the first arm."""
        solid = self.joint_rows.get(row, (row,))[0].arm
        return self.arms.get(solid) or next(iter(self.arms.values()))

    def of_row(self, row: Row) -> LearningPart:
        """The part as one row is trained by it: other arms, other observers and prediction have no say."""
        own = {"arms": {row.arm: self.arms[row.arm]}, "observers": (row.observer,)}
        fields = type(self).model_fields
        others = ["boosting"] if row.observer == NETWORK else [name for name in fields if name not in OF_TREES]
        return self.model_copy(update=own | {name: fields[name].default for name in (*others, *OF_PREDICTION)})

    @model_validator(mode="after")
    def _check(self) -> LearningPart:
        if not self.arms:
            raise ValueError("arms: wanted at least one arm, got none")
        long = {term: part.ramp for term, part in self.training.terms.items() if part.ramp > self.steps}
        for term, ramp in long.items():
            raise ValueError(f"training.terms.{term}.ramp: wanted at most the {self.steps} steps, got {ramp}")
        if len(set(self.observers)) < len(self.observers):
            raise ValueError(f"observers: wanted each once, got {', '.join(self.observers)}")
        self._check_arms("arms", self.arms)
        return self

    @model_validator(mode="after")
    def _check_radiographs(self) -> LearningPart:
        part = self.radiographs
        if part is None:
            return self
        if not part.arms:
            raise ValueError("radiographs.arms: wanted at least one arm, got none")
        if self.bank:
            raise ValueError("bank: its lesions are put into volumes and not into their radiographs; wanted one of them")
        self._check_arms("radiographs.arms", part.arms)
        taken = [*self.arms, *part.arms, *part.joint]
        if twice := {name for name in taken if taken.count(name) > 1}:
            raise ValueError(f"radiographs: an arm's name stands for one arm, got {', '.join(sorted(twice))} twice")
        for name, pair in part.joint.items():
            _check_name("radiographs.joint", name)
            for arm, what, known in zip(pair, ("volumes", "radiographs"), (self.arms, part.arms)):
                if arm not in known:
                    raise ValueError(f"radiographs.joint.{name}: {arm!r} is no arm of {what}; these are {', '.join(known)}")
        return self

    def _check_arms(self, place: str, arms: Arms) -> None:
        for name, channels in arms.items():
            _check_name(place, name)
            if not channels:
                raise ValueError(f"{place}: {name!r} has no channels")
            if len(set(channels)) < len(channels):
                raise ValueError(f"{place}: {name!r} has a channel twice: {', '.join(channels)}")
            for channel in map(Channel.parse, channels if self.bank else ()):
                if channel.signal not in BANK_SIGNALS or channel.role != "value":
                    raise ValueError(
                        f"bank: lesions change attenuation and dark_field..., not {channel.name!r} of arm {name!r}"
                    )
            for reason in filter(None, map(self.training.augmentation.why_not, channels)):
                raise ValueError(f"training.augmentation.{reason} (arm {name!r})")


class MetricPart(Document):
    """A metric of the user beside darklung's own."""

    function: str = Field(pattern=r"^[^:\s]+:[^:\s]+$", description="package.module:function of the arm's tables")
    options: dict[str, Any] = Field({}, description="what the function takes by name")
    title: str = Field("", description="head of its column; the name by default")
    replicates: int = Field(
        200, ge=0, le=100_000, description="bootstrap replicates that it is computed for; 0: no interval"
    )

    @model_validator(mode="before")
    @classmethod
    def _function_alone(cls, given: Any) -> Any:
        return {"function": given} if isinstance(given, str) else given


class EvaluationPart(Document):
    """How the arms are compared."""

    tile: Length = Field(2e-3, description="edge of the tiles that are called positive or negative")
    specificity: Fraction = Field(0.95, description="specificity at which the threshold is fixed on validation")
    replicates: int = Field(10_000, ge=100, le=100_000, description="bootstrap replicates over animals")
    levels: Annotated[tuple[Annotated[float, Field(ge=0.01, le=0.999)], ...], AfterValidator(_each_once)] = Field(
        (0.9,), max_length=10, description="shares of the lesions that lists of candidates are to promise"
    )
    questions: tuple[tuple[str, str], ...] = Field(
        (),
        max_length=100,
        description="pairs of arms that are compared, first minus second; by default dark_field, directional and hybrid "
        "against transmission, or all arms against the first",
    )
    metrics: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], MetricPart] = Field(
        {}, description="further metrics: name -> package.module:function, or its function, options, title and replicates"
    )

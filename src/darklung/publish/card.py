"""What a model's card says, as one document: JSON is its dump, Markdown is rendered of it, so that both agree."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from darklung.io.documents import Document

Names = tuple[str, ...]
# Where each fold tests its own animals, scores are no logits: the settings tell their scale.
CALLED_FROM = "score from which a tile is called, on the scale that the settings tell"


class NetworkArchitecture(Document):
    """A network; None is what nothing tells."""

    kind: Literal["network"] = "network"
    name: str = Field(description="network")
    dims: int = Field(description="spatial axes")
    widths: tuple[int, ...] = Field(description="channels of each level")
    options: dict[str, JsonValue] = Field(description="options")
    layers: dict[str, int] | None = Field(description="layers, and how many of each")
    activations: Names | None = Field(description="activations that are layers")
    parameters: int | None = Field(description="parameters")
    patch: tuple[int, ...] = Field(description="patch that it is trained on [voxels]")
    field_of_view: tuple[int, ...] | None = Field(
        description="receptive field: side of the cube that holds 95 % of the squared gradient, of each model [voxels]"
    )
    reach: tuple[int, ...] | None = Field(description="side of the cube beyond which nothing counts, of each model [voxels]")


class TreesArchitecture(Document):
    """Boosted trees."""

    kind: Literal["boosting"] = "boosting"
    dims: int = Field(description="spatial axes")
    leaves: int | None = Field(description="leaves of a tree, at most")
    scales_um: tuple[float, ...] = Field(description="scales of the filters [um]")
    features: int = Field(description="features of a voxel")


class NetworkTraining(Document):
    """Hyper-parameters of a network; None is what nothing tells."""

    kind: Literal["network"] = "network"
    optimizer: str = Field(description="optimizer")
    learning_rate: float | None = Field(description="highest learning rate")
    batch: int | None = Field(description="patches of a step")
    steps: int | None = Field(description="steps that were asked for")
    loss: str | None = Field(description="loss")
    loss_options: dict[str, JsonValue] = Field(description="options of the loss")
    terms: dict[str, float] | None = Field(description="terms of the loss, and their weights")
    weight_decay: float | None = Field(description="regularisation: weight decay")
    clip: float | None = Field(description="largest norm of the gradient")
    warm_up: float | None = Field(description="share of the steps in which the learning rate rises")
    averaging: float | None = Field(description="averaging of weights over steps (0: none)")
    augmentation: dict[str, JsonValue] | None = Field(description="augmentation")
    precision: str | None = Field(description="precision")
    metric: str | None = Field(description="metric that chose the state which is kept")
    redraw_every: int | None = Field(description="steps between draws of inserted lesions (0: they stay)")


class TreesTraining(Document):
    """Hyper-parameters of boosted trees."""

    kind: Literal["boosting"] = "boosting"
    method: str = Field(description="method")
    learning_rate: float | None = Field(description="learning rate")
    trees: int | None = Field(description="trees that were asked for")
    voxels: int | None = Field(description="voxels of an animal that are learned from")
    metric: str | None = Field(description="metric that chose how many trees are kept")


class Score(Document):
    """One line of a training's log."""

    step: int
    loss: float | None = None
    score: float | None = None
    error: float | None = None


class Member(Document):
    """One trained model of those that are averaged."""

    name: str = Field(description="model")
    seed: int | None = Field(description="seed")
    steps_done: int | None = Field(description="steps or trees done")
    kept_step: int | None = Field(description="step or trees kept")
    kept_score: float | None = Field(description="its score in validation")
    training: Names = Field(description="training scans")
    validation: Names = Field(description="validation scans")
    weights_sha256: str | None = Field(description="SHA-256 of the weights")
    key: str | None = Field(description="key of the task")
    wall_s: float | None = Field(description="wall time [s]")
    processor_s: float | None = Field(description="processor time [s]")
    peak_memory_mib: float | None = Field(description="peak memory [MiB]")
    environment: dict[str, JsonValue] | None = Field(description="versions and machine")
    scores: tuple[Score, ...] = ()


class Measure(Document):
    """A metric with its interval."""

    name: str
    title: str
    value: float | None
    low: float | None
    high: float | None


class Group(Document):
    """Results of some animals: a split, a fold of it, or a site."""

    title: str
    animals: int | None
    positives: int | None = None
    negatives: int | None = None
    measures: tuple[Measure, ...]


class Bin(Document):
    """Units whose predicted probability is about the same."""

    predicted: float | None
    observed: float | None
    low: float | None
    high: float | None
    count: int | None


class Split(Document):
    """Results of validation or test."""

    split: str
    whole: Group
    folds: tuple[Group, ...]
    slope: float | None = Field(description="slope of the calibration curve, of the same scores")
    intercept: float | None = Field(description="its intercept")
    reliability: tuple[Bin, ...]


class Evaluation(Document):
    """What the run's comparison says of the arm, and of what models (`scope`)."""

    scope: str
    threshold: float | None = Field(description=CALLED_FROM)
    splits: tuple[Split, ...]
    sites: tuple[Group, ...]
    settings: dict[str, JsonValue]


class Channel(Document):
    """A channel as the model takes it."""

    name: str
    unit: str | None
    mean: float | None
    deviation: float | None


Animals = Literal["simulated", "measured", "not known"]


class Source(Document):
    """Animals of a source of the study."""

    name: str = Field(description="source")
    origin: str = Field(description="from")
    animals: Animals = Field(description="animals")
    synthetic: bool | None = Field(description="anything labelled is simulated or inserted (`synthetic`)")
    learned: int = Field(description="in training and validation")
    tested: int = Field(description="in the test")
    sites: Names = Field(description="sites")
    names: Names = Field(description="names of the animals")


class Data(Document):
    """What the model learned from."""

    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]
    spacing_um: tuple[float, ...] | None
    energies_kev: tuple[float, ...]
    correlation_lengths_um: tuple[float, ...]
    normalisation: str
    sources: tuple[Source, ...] | None
    atlases: Names = ()


class Asked(Document):
    """An item of the ARRIVE guidelines; `told` is empty until somebody fills it in."""

    number: int
    item: str
    told: str = ""


class Ethics(Document):
    """Animals and 3Rs."""

    simulated: int
    measured: int
    not_known: int
    statement: Names
    approval: str | None = None
    authority: str | None = None
    justification: str | None = None
    welfare: str | None = None
    arrive: tuple[Asked, ...] = ()


class Run(Document):
    """Of the whole run that the model is of."""

    name: str = Field(description="run")
    seed: int = Field(description="seed of the study")
    tasks: int = Field(description="tasks")
    wall_s: float | None = Field(description="time of all tasks [s]")
    processor_s: float | None = Field(description="processor time of those that tell it [s]")


class Card(Document):
    """A model's card.

    ``members`` are averaged. What is None is not told by any file of the model, and is said to be so.
    """

    darklung_card: Literal[1] = 1
    name: str
    license: str | None = None
    version: str = Field(description="version of darklung that wrote the card")
    architecture: Annotated[NetworkArchitecture | TreesArchitecture, Field(discriminator="kind")]
    training: Annotated[NetworkTraining | TreesTraining, Field(discriminator="kind")]
    members: Annotated[tuple[Member, ...], Field(min_length=1)]
    evaluation: Evaluation | None
    data: Data
    run: Run | None
    ethics: Ethics
    use: Names
    limits: Names

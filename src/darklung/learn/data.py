"""What a network learns from: a case, and the normalisation of its channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_one_of, check_positive, check_range, check_shape, require
from darklung.core.types import BACKGROUND, LESION, UNKNOWN, Image

# Beyond this many standard deviations values are compressed smoothly (bone and streaks outside the lung reach 50).
COMPRESSION_SD = 8.0
# Standard deviation of a normal distribution over its median absolute deviation.
SD_PER_MAD = 1.4826
NORMALISATIONS = ("cohort", "volume")


@dataclass(frozen=True)
class Case:
    """One subject as the networks see it.

    Parameters
    ----------
    subject : str
        The animal; folds and bootstrap go by it.
    image : Image
        Channels without NaN.
    target : (*spatial) uint8
        `LESION` (1), background (0), or `UNKNOWN` (255): what is unknown counts neither in a loss nor in a score.
    region : (*spatial) bool
        Where is searched; loss and evaluation look only here. It must come from the image, not the truth.
    hard : (*spatial) bool, optional
        Voxels of known hard negatives of a training case (mimics, shams, vessels); a share of the patches is drawn there.
    lung : (*spatial) bool, optional
        Where channels are normalised; the region if not given.

    Raises
    ------
    DarklungError
        Shapes that differ, values that are not finite, a target other than 0, 1 and 255, or an empty region.
    """

    subject: str
    image: Image
    target: NDArray[np.uint8]
    region: NDArray[np.bool_]
    hard: NDArray[np.bool_] | None = None
    lung: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        axes, shape = "*spatial", self.image.shape
        check_finite(f"image of {self.subject}", self.image.data)
        check_shape(f"target of {self.subject}", self.target, axes, shape)
        check_shape(f"region of {self.subject}", self.region, axes, shape)
        require(self.region.dtype == bool, f"region of {self.subject}: wanted bool, got {self.region.dtype}")
        require(bool(self.region.any()), f"region of {self.subject}: no voxel is inside")
        strange = self.target[(self.target != BACKGROUND) & (self.target != LESION) & (self.target != UNKNOWN)]
        got = next(iter(strange), None)
        require(got is None, f"target of {self.subject}: wanted 0, 1 and {UNKNOWN} (unknown), got {got}")
        for name in ("hard", "lung"):
            if getattr(self, name) is not None:
                check_shape(f"{name} of {self.subject}", getattr(self, name), axes, shape)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Where channels are normalised, (*spatial)."""
        return self.region if self.lung is None or not self.lung.any() else self.lung

    @property
    def lesion(self) -> NDArray[np.bool_]:
        """Voxels known to be lesion, (*spatial)."""
        return np.asarray(self.target == LESION)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Voxels of the region of which something is known, (*spatial): losses and scores look only here."""
        return np.asarray(self.region & (self.target != UNKNOWN))


@dataclass(frozen=True)
class Redraw:
    """Training cases that change while a network learns.

    Parameters
    ----------
    every : int
        Steps between two draws; the first is at step 0.
    cases : callable
        ``cases(step)``: the training cases from a multiple of `every` on. They must depend on `step` alone, so that a
        training that was killed goes on with the same.
    """

    every: int
    cases: Callable[[int], Sequence[Case]]

    def __post_init__(self) -> None:
        check_range("redraw: every", self.every, 1, 10_000_000)


@dataclass(frozen=True)
class Normalisation:
    """Affine normalisation of named channels, then a smooth compression of far values.

    y = L tanh(z / L) with z = (x − mean) / deviation and L = `COMPRESSION_SD`: within 2.1 % of z up to ± 2 deviations, and
    monotonic, so bone and streaks stay ordered but do not rule the statistics of a patch.

    Parameters
    ----------
    channels : tuple of str
    mean, deviation : tuple of float
        One a channel, in the channel's unit.
    per : {"cohort", "volume"}
        Whether these numbers hold for every image, or each image's own take their place (`of_volume`): the latter survives
        another gain, offset and spectrum, and images without calibrated values.
    """

    channels: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    per: str = "cohort"

    def __post_init__(self) -> None:
        check_one_of("normalisation", self.per, NORMALISATIONS)
        count = len(self.channels)
        require(count >= 1, "channels: wanted at least one")
        require(len(self.mean) == count and len(self.deviation) == count, f"mean, deviation: wanted {count} values each")
        for name, value in zip(self.channels, self.deviation):
            check_positive(f"deviation of channel {name}", value)

    def apply(self, case: Case) -> NDArray[np.float32]:
        """Normalised channels of a case in the model's order, (channel, *spatial) float32."""
        own = self if self.per == "cohort" else self.of_volume(case)
        return np.stack([own._one(case.image, i) for i in range(len(self.channels))])

    def of_volume(self, case: Case) -> Normalisation:
        """The same channels with the location and scale of one case's image inside its lung.

        Raises
        ------
        DarklungError
            A channel that is constant there.
        """
        found = [_location(name, [case.image.channel(name)[case.inside]]) for name in self.channels]
        return Normalisation(self.channels, tuple(m for m, _ in found), tuple(d for _, d in found))

    def _one(self, image: Image, i: int) -> NDArray[np.float32]:
        z = (image.channel(self.channels[i]).astype(np.float32) - np.float32(self.mean[i])) / np.float32(self.deviation[i])
        return COMPRESSION_SD * np.tanh(z / np.float32(COMPRESSION_SD))


def fit_normalisation(*, cases: Sequence[Case], channels: Sequence[str], per: str = "cohort") -> Normalisation:
    """Median and robust deviation (1.4826 · median absolute deviation) of each channel inside the regions of `cases`.

    Every case weighs alike, whatever its size. Use training cases alone.

    Parameters
    ----------
    cases : sequence of Case
    channels : sequence of str
        Names and order of the channels that the network will see.
    per : {"cohort", "volume"}
        As in `Normalisation`; the numbers of the cohort are kept in either case.

    Raises
    ------
    DarklungError
        No case, an unknown channel, or a channel that is constant inside the regions.
    """
    require(len(cases) >= 1, "cases: wanted at least one training case, got none")
    count = min(20_000, min(int(c.inside.sum()) for c in cases))
    found = []
    for name in channels:
        for case in cases:
            check_one_of(f"channel of {case.subject}", name, case.image.names)
        found.append(_location(name, [_spread(c.image.channel(name)[c.inside], count) for c in cases]))
    return Normalisation(tuple(channels), tuple(m for m, _ in found), tuple(d for _, d in found), per)


def _location(name: str, parts: Sequence[NDArray]) -> tuple[float, float]:
    """Median and robust deviation; where more than half of the values are the same (such as 0), the standard deviation."""
    values = np.concatenate(parts).astype(np.float64)
    center = float(np.median(values))
    deviation = SD_PER_MAD * float(np.median(np.abs(values - center))) or float(values.std())
    require(deviation > 0, f"channel {name!r}: constant inside the lung regions, nothing to learn from")
    return center, deviation


def _spread(values: NDArray, count: int) -> NDArray:
    """`count` of the values, evenly spread over the array."""
    return values[np.linspace(0, len(values) - 1, count).astype(np.int64)]

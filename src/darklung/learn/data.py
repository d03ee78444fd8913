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
# Standard deviation of a normal distribution over its median absolute deviation, and over the range of `QUANTILES`.
SD_PER_MAD, SD_PER_RANGE = 1.4826, 1 / 3.2897
QUANTILES = (0.05, 0.95)
SAME = 1e-9  # a deviation below this share of the location is the rounding of its sums
_LARGEST = 1 - 2.0**-24  # of tanh in float32, below 1
NORMALISATIONS = ("cohort", "volume")
# Of voxels that nothing was computed for, all of them outside the region.
OUTSIDE_LOGIT = -20.0


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
    energy_kev, correlation_length_m : float, optional
        That the values refer to, where they are known.
    directions : tuple of float
        Of the gratings [degrees], of all dark fields that channels may be made of; empty where they are not known.

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
    energy_kev: float | None = None
    correlation_length_m: float | None = None
    directions: tuple[float, ...] = ()

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

    y = L tanh(z / L) with z = (x − location) / scale and L = `COMPRESSION_SD`: within 2.1 % of z up to ± 2 scales, and
    monotonic, so bone and streaks stay ordered but do not rule the statistics of a patch.

    Parameters
    ----------
    channels : tuple of str
    mean, deviation : tuple of float
        Location and scale of the cohort, one a channel, in the channel's unit (`location_and_scale`).
    per : {"cohort", "volume"}
        Whether these numbers hold for every image, or each image's own, inside its lung, take their place: y then stays the
        same under any gain and offset of a channel, and images without calibrated values can be used. A channel that is
        constant inside an image's lung becomes zeros there and everywhere (`constant`).
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
        scales = self.scales(case)
        return np.stack([normalised(case.image.channel(name), *of) for name, of in zip(self.channels, scales)])

    def constant(self, case: Case) -> tuple[str, ...]:
        """Channels that say nothing of this case: they are normalised by the volume and constant inside its lung."""
        return tuple(name for name, (_, scale) in zip(self.channels, self.scales(case)) if not scale)

    def scales(self, case: Case) -> tuple[tuple[float, float], ...]:
        """Location and scale of each channel that hold for a case; a scale of 0 where it is constant."""
        if self.per == "cohort":
            return tuple(zip(self.mean, self.deviation))
        return tuple(location_and_scale(case.image.channel(name)[case.inside]) for name in self.channels)


def normalised(values: NDArray, location: float, scale: float) -> NDArray[np.float32]:
    """y of values in a channel's unit, as `Normalisation` defines it; zeros where the scale is 0."""
    if not scale:
        return np.zeros(values.shape, dtype=np.float32)
    # In float64: of a large offset float32 would leave its rounding in the difference.
    z = (values.astype(np.float64) - location) / (scale * COMPRESSION_SD)
    return np.asarray(COMPRESSION_SD * np.tanh(z.astype(np.float32)), dtype=np.float32)


def in_units(y: NDArray[np.float32], location: float, scale: float) -> NDArray[np.float64]:
    """The values that `normalised` made y of, in the channel's unit; beyond 69 scales all are the same."""
    share = np.clip(y.astype(np.float64) / COMPRESSION_SD, -_LARGEST, _LARGEST)
    return np.asarray(location + scale * COMPRESSION_SD * np.arctanh(share))


def fit_normalisation(*, cases: Sequence[Case], channels: Sequence[str], per: str = "volume") -> Normalisation:
    """Location and scale of each channel inside the lungs of `cases`.

    Every case weighs alike, whatever its size. Use training cases alone.

    Parameters
    ----------
    cases : sequence of Case
    channels : sequence of str
        Names and order of the channels that the observer will see.
    per : {"volume", "cohort"}
        As in `Normalisation`; the numbers of the cohort are kept in either case.

    Raises
    ------
    DarklungError
        No case, an unknown channel, or a channel that is constant inside the lungs of all cases.
    """
    require(len(cases) >= 1, "cases: wanted at least one training case, got none")
    count = min(20_000, min(int(c.inside.sum()) for c in cases))
    found = []
    for name in channels:
        for case in cases:
            check_one_of(f"channel of {case.subject}", name, case.image.names)
        found.append(location_and_scale(np.concatenate([_spread(c.image.channel(name)[c.inside], count) for c in cases])))
        require(found[-1][1] > 0, f"channel {name!r}: constant inside the lung regions, nothing to learn from")
    return Normalisation(tuple(channels), tuple(m for m, _ in found), tuple(d for _, d in found), per)


def location_and_scale(values: NDArray) -> tuple[float, float]:
    """Median and robust deviation of values; a deviation of 0 where all are the same.

    The deviation is 1.4826 times the median absolute deviation; where that is 0, as more than half of the values are the
    same (a channel of many zeros), the range of the quantiles .05 to .95 over 3.29; where that is 0 too, the standard
    deviation. All three scale with a gain and do not see an offset.
    """
    exact = np.asarray(values, dtype=np.float64)
    location = float(np.median(exact))
    least = SAME * abs(location)
    for spread in (_from_median, _from_quantiles, np.std):
        scale = float(spread(exact))
        if scale > least:
            return location, scale
    return location, 0.0


def _from_median(values: NDArray[np.float64]) -> float:
    return SD_PER_MAD * float(np.median(np.abs(values - np.median(values))))


def _from_quantiles(values: NDArray[np.float64]) -> float:
    low, high = np.quantile(values, QUANTILES)
    return SD_PER_RANGE * float(high - low)


def _spread(values: NDArray, count: int) -> NDArray:
    """`count` of the values, evenly spread over the array."""
    return values[np.linspace(0, len(values) - 1, count).astype(np.int64)]


def check_cases(cases_train: Sequence[Case], cases_validation: Sequence[Case]) -> None:
    """Refuse cases that nothing can be learned from together.

    Raises
    ------
    DarklungError
        No case, a subject on both sides, other voxels, a case of which nothing is known, or no lesion in training.
    """
    require(len(cases_train) >= 1, "cases_train: wanted at least one case, got none")
    both = {c.subject for c in cases_train} & {c.subject for c in cases_validation}
    require(not both, f"cases_validation: subjects are in cases_train too: {', '.join(sorted(both))}")
    first = cases_train[0].image
    for case in (*cases_train, *cases_validation):
        same = np.allclose(case.image.spacing_m, first.spacing_m) if len(case.image.shape) == len(first.shape) else False
        require(
            same, f"{case.subject}: spacing {case.image.spacing_m} m, wanted {first.spacing_m} m as {cases_train[0].subject}"
        )
        known = bool(case.counted.any())
        require(known, f"{case.subject}: nothing is known of its lung; it can be predicted, but neither train nor validate")
    found = any(bool((c.lesion & c.region).any()) for c in cases_train)
    require(found, "cases_train: no case has a lesion voxel inside its region, nothing to learn from")

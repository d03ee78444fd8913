"""Patches for training: half of them on lesions, the rest anywhere in the lung or on hard negatives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.channel import DECIMALS, MIXED, Channel, call_of, directions_in, modality
from darklung.core.checks import require
from darklung.core.recipe import Call
from darklung.learn import centres
from darklung.learn.breathing import moved, moved_truth, places, towards_diaphragm, variance_lost
from darklung.learn.data import Case, Normalisation
from darklung.learn.losses import signed_distance
from darklung.learn.rescan import Measured, measured, padded, rescanned
from darklung.learn.settings import LIGHT, AugmentationPart

AXES = "zyx"
HARD_SHARE = 0.5  # of the patches that are not on a lesion, where the case names hard negatives
ROWS = ("target", "distance", "region")  # of the truth; with detection those of `centres` follow
Array = NDArray[np.float32]
PHYSICAL = RESCAN, BREATHING = ("rescan", "breathing")  # names of their random streams
Streams = Callable[[str], np.random.Generator]  # of a step, by the name of what is drawn


@dataclass(frozen=True)
class Source:
    """One training case, normalised and padded to at least the patch, with the places that patches are drawn from.

    Parameters
    ----------
    data : (channel, *spatial) float32
    truth : (3 or 7, *spatial) float32
        Lesion, signed distance, and the part of the region that is known; with detection those of `centres.ROWS` too.
    lesions : list of (voxel,) int arrays
        Flat indices of the known voxels of each lesion inside the region: a patch is drawn on nothing that may be one.
    anywhere, hard : (voxel,) int arrays
        Flat indices of the known part of the region, and of hard negatives in it.
    flips : tuple of tuple of int
        Spatial axes that are flipped together, see `flip_groups`.
    turn : tuple of int
        Two spatial axes that quarter turns are about, see `turn_axes`; none if empty.
    measured : Measured, optional
        The channels in their own units with their errors, where another scan is asked for.
    moves : (z,) float32, optional
        How far each slice breathes, as a share of the largest displacement, where breathing is asked for.
    """

    data: Array
    truth: Array
    lesions: list[NDArray[np.int64]]
    anywhere: NDArray[np.int64]
    hard: NDArray[np.int64]
    flips: tuple[tuple[int, ...], ...]
    turn: tuple[int, ...] = ()
    measured: Measured | None = None
    moves: Array | None = None


@dataclass(frozen=True)
class Batch:
    """(batch, channel, *patch) data and what is true of it, all float32.

    Parameters
    ----------
    data : (batch, channel, *patch)
    truth : mapping
        Rows of a source's truth by name, (batch, 1, *patch) each.
    """

    data: NDArray[np.float32]
    truth: dict[str, NDArray[np.float32]]

    @property
    def target(self) -> NDArray[np.float32]:
        """Lesion."""
        return self.truth["target"]

    @property
    def distance(self) -> NDArray[np.float32]:
        """Signed distance to lesions."""
        return self.truth["distance"]

    @property
    def region(self) -> NDArray[np.float32]:
        """Region without the unknown."""
        return self.truth["region"]


def flip_groups(channels: Sequence[str], spatial: int, directions: Sequence[float] = ()) -> tuple[tuple[int, ...], ...]:
    """Spatial axes that may be flipped, each group at once, so that the channels stay what their names say.

    A mirrored animal scanned at α is the mirror image of the animal scanned at α only if the mirror keeps the sensitivity
    direction u. Along and across the axis every mirror does. An oblique u = cos α ẑ + sin α e_s becomes that of −α when z is
    flipped alone: there z goes with y (volumes of a half turn from angle 0, where views θ and π − θ change places with x) or
    with the columns (radiographs). What would change its sign in a mirror, refraction along the axis that is flipped and a
    tensor's component of two axes of which one is, allows no such flip.

    Parameters
    ----------
    channels : sequence of str
        ``dark_field_<degrees>`` says α (`darklung.core.channel`), also within a call; most other names have no direction.
    spatial : int
        Axes, (z, y, x) or (row, col).
    directions : sequence of float
        α of all dark fields of the image [degrees], which those without a direction in their name are made of; empty where
        they are not known.
    """
    plain = all(direction % 90 == 0 for name in channels for direction in directions_in(name))
    plain = plain and all(_mirrors_all(name, directions) for name in channels)
    groups = tuple((a,) for a in range(spatial)) if plain else ((0, 1), *((a,) for a in range(2, spatial)))
    return tuple(g for g in groups if all(_keeps_sign(name, g) for name in channels))


def _mirrors_all(name: str, directions: Sequence[float]) -> bool:
    """Whether a flip of z alone keeps what is made of all directions.

    A mean does where each direction has its mirror image among them. What else is made of them may be relative to the first,
    as anisotropy is, which must be its own mirror image.
    """
    signal = Channel.parse(name).signal
    inner = [str(a) for a in call.arguments if isinstance(a, str | Call)] if (call := call_of(signal)) else []
    if inner:
        return all(_mirrors_all(one, directions) for one in inner)
    if directions_in(name) or modality(name) not in ("dark_field", MIXED):
        return True
    axes = {round(d % 180, DECIMALS) for d in directions}
    closed = axes == {round(-d % 180, DECIMALS) for d in axes}
    return closed and (signal == "dark_field" or all(d % 90 == 0 for d in directions[:1]))


def _keeps_sign(name: str, flipped: Sequence[int]) -> bool:
    """Whether a channel that was measured has the same sign in a mirror; of a call, all that is in it."""
    channel = Channel.parse(name)
    if (call := call_of(channel.signal)) is not None:
        return all(_keeps_sign(str(a), flipped) for a in call.arguments if isinstance(a, str | Call))
    if channel.role != "value":
        return True
    if channel.signal == "tensor":
        return _keeps_part(channel.part, flipped)
    if channel.signal != "refraction":
        return True
    if channel.direction is None:
        return False
    along, across = (channel.direction % 180 != 90, channel.direction % 180 != 0)
    return not (along and 0 in flipped) and not (across and any(axis > 0 for axis in flipped))


def _keeps_part(part: str, flipped: Sequence[int]) -> bool:
    """`_keeps_sign` of what is told of a tensor: a component, an angle in the plane, an axis, or a size."""
    if set(part) <= set(AXES) and len(part) == 2:
        return sum(AXES.index(letter) in flipped for letter in part) % 2 == 0
    if part.startswith("in_plane_angle"):
        return all(axis == 0 for axis in flipped)
    return not part.startswith("main_axis")


def turn_axes(channels: Sequence[str], spacing_m: Sequence[float], directions: Sequence[float] = ()) -> tuple[int, ...]:
    """The axes (y, x) of quarter turns about z that leave the channels what their names say; none where there are none.

    A turned animal is one scanned from another angle on: channels along and across the axis do not change. An oblique
    direction does where a scan is half a turn (views of the other half see −α). Components of a tensor, and what is known of
    them, would change places, refraction its sign, in a radiograph the axis itself would turn, and other spacings along y
    and x would stretch the animal.
    """
    words = {word for name in channels for word in re.split("[^a-z]+", name)}  # of calls too
    plain = flip_groups(channels, 1, directions) == ((0,),) and not words & {"tensor", "known", "refraction"}
    alike = len(spacing_m) == 3 and np.isclose(spacing_m[1], spacing_m[2])
    return (1, 2) if plain and alike else ()


def make_source(
    *,
    case: Case,
    normalisation: Normalisation,
    patch: Sequence[int],
    detection: bool = False,
    augmentation: AugmentationPart = LIGHT,
) -> Source:
    """Normalise `case`, compute its distance map once, and pad it where it is smaller than the patch.

    Padding repeats the edge in the channels and lies outside the region, so the loss does not see it, nor what is unknown.
    With `detection` the truth has the rows of `centres.centre_maps` too, and with physical augmentations the source what
    those need.
    """
    lengths = case.image.shape
    require(len(patch) == len(lengths), f"patch: wanted {len(lengths)} lengths, got {tuple(patch)}")
    missing = [max(0, p - n) for p, n in zip(patch, lengths)]
    pad = [(m // 2, m - m // 2) for m in missing]
    data = np.pad(normalisation.apply(case), [(0, 0), *pad], mode="edge")
    distance = signed_distance(target=case.target, spacing_m=case.image.spacing_m)
    target = np.pad(case.lesion, pad)
    region = np.pad(case.counted, pad)
    truth = np.stack([target, np.pad(distance, pad, mode="edge"), region]).astype(np.float32)
    if detection:
        truth = np.concatenate([truth, np.pad(centres.centre_maps(case), [(0, 0), *pad])])
    hard = np.zeros(0, dtype=np.int64)
    if case.hard is not None:
        hard = np.flatnonzero(np.pad(case.hard, pad) & region & ~target)
    flips = flip_groups(normalisation.channels, len(lengths), case.directions)
    turn = turn_axes(normalisation.channels, case.image.spacing_m, case.directions)
    found = Source(data, truth, _components(target & region), np.flatnonzero(region), hard, flips, turn)
    return _physical(found, case, normalisation, pad, augmentation) if augmentation.physical else found


def _physical(
    source: Source, case: Case, normalisation: Normalisation, pad: Sequence[tuple[int, int]], part: AugmentationPart
) -> Source:
    """The source with what physical augmentations need of its case."""
    own = padded(measured(case, normalisation, part), pad) if part.rescans else None
    moves = np.pad(towards_diaphragm(case.image, case.inside), pad[0], mode="edge") if part.breathing else None
    return replace(source, measured=own, moves=moves)


def _components(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    labels, count = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim))
    flat = labels.ravel()
    return [np.flatnonzero(flat == i) for i in range(1, count + 1)]


def draw_batch(
    *,
    sources: Sequence[Source],
    patch: Sequence[int],
    batch: int,
    rng: np.random.Generator,
    augmentation: AugmentationPart = LIGHT,
    streams: Streams | None = None,
) -> Batch:
    """Draw `batch` patches; the first half (rounded up) lie on lesions if any source has one.

    A lesion is drawn before its voxel, so small lesions are seen as often as large ones; the patch is then shifted by up to
    a quarter of its size, so that the middle says nothing.

    Physical augmentations draw from `streams` of their own, by name, and leave every draw of `rng` as it is without them.
    """
    told = ", ".join(augmentation.physical)
    require(streams is not None or not told, f"streams: wanted those that {told} draw from, got none")
    own = {name: streams(name) for name in PHYSICAL} if streams and told else {}
    with_lesion = [s for s in sources if s.lesions]
    cuts = []
    for i in range(batch):
        on_lesion = bool(with_lesion) and i < (batch + 1) // 2
        pool = with_lesion if on_lesion else sources
        source = pool[int(rng.integers(len(pool)))]
        center = _center(source, on_lesion, patch, rng)
        cuts.append(_cut(source, center, patch, rng, augmentation, own))
    truth = np.stack([c[1] for c in cuts])
    rows = (*ROWS, *centres.ROWS)[: truth.shape[1]]
    return Batch(np.stack([c[0] for c in cuts]), {name: truth[:, i : i + 1] for i, name in enumerate(rows)})


def _center(source: Source, on_lesion: bool, patch: Sequence[int], rng: np.random.Generator) -> NDArray[np.int64]:
    if on_lesion:
        voxels = source.lesions[int(rng.integers(len(source.lesions)))]
    elif len(source.hard) and rng.random() < HARD_SHARE:
        voxels = source.hard
    else:
        voxels = source.anywhere
    index = np.array(np.unravel_index(voxels[rng.integers(len(voxels))], source.data.shape[1:]))
    shift = [rng.integers(-(p // 4), p // 4 + 1) for p in patch]
    return index + np.array(shift)


def _cut(
    source: Source,
    center: NDArray,
    patch: Sequence[int],
    rng: np.random.Generator,
    augmentation: AugmentationPart,
    own: Mapping[str, np.random.Generator],
) -> tuple[Array, Array]:
    """Cut one patch, change it as physics does, flip, turn and lightly augment it; it stays inside the volume."""
    sides = np.array(patch)
    start = np.clip(center - sides // 2, 0, np.array(source.data.shape[1:]) - sides)
    data, truth = _changed(source, start, patch, augmentation, own)
    groups = source.flips if augmentation.flips else ()
    axes = tuple(1 + a for group in groups if rng.random() < 0.5 for a in group)
    data, truth = np.flip(data, axes), np.flip(truth, axes)
    if augmentation.turns and source.turn:
        plane = (1 + source.turn[0], 1 + source.turn[1])
        quarters = int(rng.integers(4))
        data, truth = np.rot90(data, quarters, plane), np.rot90(truth, quarters, plane)
    channels = (len(data), *(1,) * len(patch))
    gain = 1 + augmentation.gain * rng.standard_normal(channels)
    offset = augmentation.offset * rng.standard_normal(channels)
    return (data * gain + offset).astype(np.float32), truth


def _changed(
    source: Source,
    start: NDArray,
    patch: Sequence[int],
    augmentation: AugmentationPart,
    own: Mapping[str, np.random.Generator],
) -> tuple[Array, Array]:
    """A window of data and truth, moved and scanned anew where that is asked for."""
    window = (slice(None), *(slice(a, a + n) for a, n in zip(start, patch)))
    data, truth = source.data[window], source.truth[window]
    errors, lost = source.measured.errors[window] if source.measured else data[:0], None
    if source.moves is not None and own:
        at = places(own[BREATHING], start.tolist(), patch, source.moves, augmentation.breathing)
        data, truth = moved(source.data, at), moved_truth(source.truth, at)
        if source.measured:
            errors, lost = moved_truth(source.measured.errors, at), variance_lost(at, augmentation.texture)
    if source.measured is not None and own:
        data = rescanned(data, errors, source.measured, augmentation, own[RESCAN], lost)
    return data, truth

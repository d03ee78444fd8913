"""Voxel logits of a case from one trained model, network or trees, or from several (the folds' ensemble)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from safetensors.torch import load_file
from torch import nn

from darklung.core.checks import check_range, require
from darklung.core.files import read_object, reading
from darklung.io.documents import Document, validate
from darklung.learn.boosted import BOOSTING, BoostedModel
from darklung.learn.data import OUTSIDE_LOGIT, Case, Normalisation
from darklung.learn.device import choose_device, one_thread, place
from darklung.learn.files import DESCRIPTION_FILE, WEIGHTS_FILE
from darklung.learn.filters import features_of
from darklung.learn.mirrors import NONE, averaged, mirrors_of
from darklung.learn.network import CENTRE, DIAMETER, LOGITS, detects, heads_of, make_network, sizes_of
from darklung.learn.seams import LEAST_PATCH, MOST_PATCH, Sizes, known_sizes
from darklung.learn.trees import Forest

# Windows a forward pass. Never one: torch's heuristic then takes a path that is 5 times slower (measured, 3-D, fp32).
WINDOWS = 4


@dataclass(frozen=True)
class Model:
    """A trained network with all that is needed to apply it.

    Parameters
    ----------
    network : nn.Module
    normalisation : Normalisation
    window : tuple of int
        Sliding window of prediction, one length a spatial axis.
    description : dict
        What model.json holds.
    """

    network: nn.Module
    normalisation: Normalisation
    window: tuple[int, ...]
    description: dict[str, Any]


def load_model(model_dir: Path) -> Model:
    """Read the model that `darklung.learn.train.train` wrote.

    Raises
    ------
    DarklungError
        A file is missing or does not fit the network.
    """
    description, normalisation = _opened(model_dir)
    dims, widths = int(description["dims"]), description["widths"]
    make = partial(
        make_network,
        description["network"],
        channels=normalisation.channels,
        dims=dims,
        widths=widths,
        options=description.get("network_options", {}),
    )
    if known_sizes(description["network"], widths) is not None:
        _check_size(model_dir / WEIGHTS_FILE, make)
    with reading(model_dir / DESCRIPTION_FILE, "a model"):
        network = make()
    _require_weights(model_dir / WEIGHTS_FILE, description.get("weights_sha256"))
    with reading(model_dir / WEIGHTS_FILE, f"weights of {description['network']}"):
        network.load_state_dict(load_file(model_dir / WEIGHTS_FILE))
    window = window_of(patch=description["patch"][0], dims=dims, sizes=sizes_of(network, widths))
    return Model(network, normalisation, window, description)


def load_boosted(model_dir: Path) -> BoostedModel:
    """Read the model that `darklung.learn.boosting.train_boosting` wrote.

    Raises
    ------
    DarklungError
        A file is missing, or its trees do not fit its channels and scales.
    """
    description, normalisation = _opened(model_dir)
    _require_weights(model_dir / WEIGHTS_FILE, description["weights_sha256"])
    forest, scales = Forest.load(model_dir / WEIGHTS_FILE), tuple(description["scales_m"])
    many = len(features_of(normalisation.channels, scales))
    told = f"{model_dir / WEIGHTS_FILE}: its trees ask for {forest.columns} features, {DESCRIPTION_FILE} tells of {many}"
    require(forest.columns <= many, told)
    return BoostedModel(forest, normalisation, scales, description)


def _opened(model_dir: Path) -> tuple[dict[str, Any], Normalisation]:
    """What model.json says, where there are weights beside it."""
    description = read_description(model_dir)
    require((model_dir / WEIGHTS_FILE).is_file(), f"{model_dir}: {WEIGHTS_FILE} is missing")
    norm = description["normalisation"]
    with reading(model_dir / DESCRIPTION_FILE, "a model"):
        numbers = tuple(norm["mean"]), tuple(norm["deviation"]), norm["per"]
        return description, Normalisation(tuple(description["channels"]), *numbers)


def _require_weights(path: Path, known: str | None) -> None:
    """Refuse weights other than those that model.json tells of; descriptions of before did not tell."""
    if known is not None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        require(digest == known, f"{path}: is not what was trained ({DESCRIPTION_FILE} tells another SHA-256)")


def window_of(*, patch: int, dims: int, sizes: Sizes) -> tuple[int, ...]:
    """Window of prediction: 1.5 times the training patch, since voxels at a window's faces see less.

    Measured on a toy with patches of 16³: windows of 24³ at overlap 0.25 take 0.6 of the time of 16³ and find more lesions
    (AUROC 0.972 against 0.955); windows of 32³ and 40³ find no more.
    """
    return (sizes.fit(-(-3 * patch // 2)),) * dims


def _check_size(path: Path, make: Callable[[], nn.Module]) -> None:
    """Raise where a description tells of a larger network than the file has weights for, before it takes any memory."""
    with reading(path.with_name(DESCRIPTION_FILE), "a model"), torch.device("meta"):
        wanted = sum(value.numel() for value in make().state_dict().values())
    held = path.stat().st_size // torch.float16.itemsize
    require(wanted <= held, f"{path}: {DESCRIPTION_FILE} tells of {wanted} weights, the file has room for {held}")


class _Loose(Document):
    """What is looked at; the rest of the file is for people."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Normalised(_Loose):
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    per: str


class _Images(_Loose):
    directions: tuple[float, ...] = ()
    spacing_m: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    units: dict[str, str] = Field({})
    beams: tuple[Annotated[tuple[float | None, ...], Field(min_length=1)], ...] = ()
    arm: str = ""


class _Any(_Loose):
    """What every model.json must hold."""

    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    normalisation: _Normalised
    dims: Literal[2, 3]
    images: _Images = _Images()


class Described(_Any):
    """What model.json of a network must hold, as what, and within which bounds."""

    network: str
    widths: Annotated[tuple[Annotated[int, Field(gt=0, le=2**14)], ...], Field(min_length=1, max_length=12)]
    patch: Annotated[tuple[Annotated[int, Field(ge=LEAST_PATCH, le=MOST_PATCH)], ...], Field(min_length=1)]
    network_options: dict[str, Any] = Field({})


class DescribedTrees(_Any):
    """The same of boosted trees."""

    observer: Literal["boosting"]
    scales_m: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1, max_length=64)]
    weights_sha256: str


def read_description(model_dir: Path) -> dict[str, Any]:
    """What model.json says of a model.

    Raises
    ------
    DarklungError
        No model there, or a file that is none.
    """
    path = model_dir / DESCRIPTION_FILE
    require(path.is_file(), f"{model_dir}: no model of darklung in it (no {DESCRIPTION_FILE})")
    description = read_object(path)
    validate(description, DescribedTrees if description.get("observer") == BOOSTING else Described, str(path))
    return description


@dataclass(frozen=True)
class Prediction:
    """What one model, or the mean of several, says of a case.

    Parameters
    ----------
    logits : (*spatial) float32
        `OUTSIDE_LOGIT` where no window was needed.
    spread : (*spatial) float32
        Standard deviation of the models' logits; 0 for one model.
    own : (model, *spatial) float32
        Logits of each model.
    centre, diameter_m : (*spatial) float32, optional
        Where every model has detection heads: the mean logit of a lesion's middle, and the diameter of a lesion there [m].
    own_centre : (model, *spatial) float32, optional
        Of each model, where there is a mean.
    """

    logits: NDArray[np.float32]
    spread: NDArray[np.float32]
    own: NDArray[np.float32]
    centre: NDArray[np.float32] | None = None
    diameter_m: NDArray[np.float32] | None = None
    own_centre: NDArray[np.float32] | None = None


def predict(*, model_dir: Path | Sequence[Path], case: Case, overlap: float = 0.25, mirroring: bool = False) -> Prediction:
    """Logits of every voxel: sliding windows of 1.5 training patches, blended by a Gaussian; the mean over several models.

    Parameters
    ----------
    model_dir : Path or sequence of Path
        Folders written by training; with several, the mean of their logits (ensemble) and how far they differ.
    case : Case
        Its channels must include the model's, in any order; its target is not used. Windows without lung are skipped.
    overlap : float
        Share of a window that the next one covers, 0 to 0.75. 0.25 costs 2.4 times the compute of 0 in 3-D.
    mirroring : bool
        Average each network over the mirror images of `darklung.learn.mirrors.mirrors_of`. Trees see the same in all.
    """
    folders = [model_dir] if isinstance(model_dir, Path) else list(model_dir)
    require(len(folders) >= 1, "model_dir: wanted at least one model, got none")
    check_range("overlap", overlap, 0, 0.75)
    found: list[dict[str, NDArray[np.float32]]] = []
    with one_thread():
        for folder in folders:
            found.append(_maps(folder, case, overlap, mirroring))
    own = np.stack([one[LOGITS] for one in found])
    mean, spread = own.mean(axis=0, dtype=np.float64), own.std(axis=0, dtype=np.float64)
    centres = [one[CENTRE] for one in found if CENTRE in one]
    centre, size = _mean(centres, len(found)), _mean([one[DIAMETER] for one in found if DIAMETER in one], len(found))
    diameter_m = None if size is None else (1e-3 * np.exp(np.clip(size, -7, 7))).astype(np.float32)
    own_centre = None if centre is None else np.stack(centres)
    return Prediction(mean.astype(np.float32), spread.astype(np.float32), own, centre, diameter_m, own_centre)


def _mean(maps: list[NDArray[np.float32]], wanted: int) -> NDArray[np.float32] | None:
    """Of a head that all models have."""
    return np.asarray(np.mean(maps, axis=0, dtype=np.float32)) if len(maps) == wanted else None


def _maps(folder: Path, case: Case, overlap: float, mirroring: bool) -> dict[str, NDArray[np.float32]]:
    """What one model says of every voxel, as `apply_heads`."""
    if read_description(folder).get("observer") == BOOSTING:
        boosted = load_boosted(folder)
        dims = boosted.description["dims"]
        require(
            dims == len(case.region.shape), f"image: the model works on {dims} spatial axes, got shape {case.region.shape}"
        )
        return {LOGITS: boosted.logits(case)}
    model = load_model(folder)
    place(model.network, choose_device())
    apply = partial(_windowed, model.network, model.window, overlap)
    channels, dims = model.normalisation.channels, len(case.region.shape)
    mirrors = mirrors_of(channels, dims, case.directions) if mirroring else NONE
    return averaged(apply, data=model.normalisation.apply(case), region=case.region, mirrors=mirrors)


def _windowed(
    network: nn.Module, window: Sequence[int], overlap: float, data: NDArray[np.float32], region: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]]:
    return apply_heads(network=network, data=data, region=region, window=window, overlap=overlap)


def apply_network(
    *, network: nn.Module, data: NDArray[np.float32], region: NDArray[np.bool_], window: Sequence[int], overlap: float
) -> NDArray[np.float32]:
    """Logits (*spatial) of normalised `data` (channel, *spatial), wherever a window meets `region`."""
    return apply_heads(network=network, data=data, region=region, window=window, overlap=overlap)[LOGITS]


def apply_heads(
    *, network: nn.Module, data: NDArray[np.float32], region: NDArray[np.bool_], window: Sequence[int], overlap: float
) -> dict[str, NDArray[np.float32]]:
    """``logits`` as of `apply_network`, and of a network that detects ``centre`` and ``diameter`` in the same way."""
    shape = region.shape
    require(len(window) == len(shape), f"image: the model works on {len(window)} spatial axes, got shape {shape}")
    pad = [(max(0, w - n) // 2, max(0, w - n) - max(0, w - n) // 2) for w, n in zip(window, shape)]
    data = np.pad(data, [(0, 0), *pad], mode="edge")
    inside = np.pad(region, pad)
    corners = [c for c in _corners(inside.shape, window, overlap) if inside[_box(c, window)].any()]
    weight = _gaussian(window)
    names = (LOGITS, CENTRE, DIAMETER) if detects(network) else (LOGITS,)
    total = np.zeros((len(names), *inside.shape), dtype=np.float32)
    weights = np.zeros(inside.shape, dtype=np.float32)
    for group in _groups(corners):
        maps = _forward(network, np.stack([data[(slice(None), *_box(c, window))] for c in group]), names)
        for corner, values in zip(group, maps):
            total[(slice(None), *_box(corner, window))] += weight * values
            weights[_box(corner, window)] += weight
    covered = weights > 0
    np.divide(total, weights, out=total, where=covered)
    total[:, ~covered] = OUTSIDE_LOGIT
    cut = tuple(slice(a, a + n) for (a, _), n in zip(pad, shape))
    return {name: values[cut] for name, values in zip(names, total)}


def _forward(network: nn.Module, windows: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
    """Maps of some heads, (window, head, *spatial)."""
    device = next(network.parameters()).device
    count = len(windows)
    if count == 1:  # see WINDOWS
        windows = np.concatenate([windows, windows])
    network.eval()
    with torch.inference_mode():
        found = heads_of(network(torch.from_numpy(windows).to(device)))
        maps = torch.stack([found[name][:count, 0].float() for name in names], dim=1).cpu().numpy()
    require(bool(np.isfinite(maps).all()), "prediction: the network returned values that are not finite")
    return maps


def _corners(shape: Sequence[int], window: Sequence[int], overlap: float) -> list[tuple[int, ...]]:
    """First voxels of windows that cover `shape`, evenly spread, each neighbour overlapping by at least `overlap`."""
    axes = []
    for length, side in zip(shape, window):
        step = max(1, int(side * (1 - overlap)))
        count = 1 + -(-(length - side) // step)
        axes.append([round(i * (length - side) / max(1, count - 1)) for i in range(count)])
    return list(product(*axes))


def _box(corner: Sequence[int], window: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(corner, window))


def _groups(corners: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    for start in range(0, len(corners), WINDOWS):
        yield corners[start : start + WINDOWS]


def _gaussian(window: Sequence[int]) -> NDArray[np.float32]:
    """Weights that fall off towards the window's faces, where the network sees less (σ = window / 4)."""
    weight = np.ones((), dtype=np.float64)
    for side in window:
        x = (np.arange(side) - (side - 1) / 2) / (side / 4)
        weight = np.multiply.outer(weight, np.exp(-(x**2) / 2))
    return weight.astype(np.float32)

"""Networks, losses and metrics as a study may name them, and what is known of them without torch.

A name is a key of a table here or ``package.module:function``; the function's further arguments are its options, set under
``learning.network_options`` and ``learning.loss_options`` and checked against its signature.

- A network: ``function(*, channels, dims, widths, options...)`` -> torch module from (batch, channel, *spatial) to logits
  (batch, 1, *spatial), or to a mapping that has them under ``logits``; further named heads are left alone unless the module
  says by ``detects = True`` that they are those of detection. ``sizes`` of the module (`Sizes`) are the lengths that fit. A
  parameter ``modalities`` is given what each channel measured (`darklung.core.channel.modality`).
- A loss: ``function(logits, target, distance, region, *, options...)`` -> tensor of one number; all (batch, 1, *spatial). It
  counts the voxels of ``region`` alone: lung of which something is known. Elsewhere target and distance mean nothing.
- A metric that chooses among a training's states: ``function(*, logits, targets, regions, spacing_m)`` -> number, larger is
  better, or None where it is not defined. Targets are 0, LESION and UNKNOWN; what is unknown is in no region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darklung.core.checks import require
from darklung.core.seams import check_options, named_parameters, resolve

NETWORKS = {
    "residual_attention_unet": "darklung.learn.unet:residual_attention_unet",
    "swin_unet": "darklung.learn.swin:swin_unet",
    "monai": "darklung.learn.monai_network:monai_network",
}
LOSSES = {
    "dice_focal_boundary": "darklung.learn.losses:dice_focal_boundary",
    "dice_focal": "darklung.learn.losses:dice_focal",
}
METRICS = {"tile_auroc": "darklung.learn.selection:tile_auroc", "dice": "darklung.learn.selection:dice"}

MODALITIES = "modalities"  # a network that has this parameter is given what each channel measured

# Table, what the seam gives by name, and how many arguments it gives by position.
_SEAMS: dict[str, tuple[Mapping[str, str], tuple[str, ...], int]] = {
    "network": (NETWORKS, ("channels", "dims", "widths"), 0),
    "loss": (LOSSES, (), 4),
    "metric": (METRICS, ("logits", "targets", "regions", "spacing_m"), 0),
}
WIDTH_MULTIPLE = 16  # fewer channels a block of the convolution kernels leave vector lanes idle
LEAST_PATCH, MOST_PATCH = 4, 1024


def find(seam: str, name: str, options: Mapping[str, Any] | None = None) -> Callable[..., Any]:
    """The function that `name` stands for at a seam ("network", "loss" or "metric").

    Raises
    ------
    DarklungError
        Not known or not importable, options that it does not take, or arguments of the seam that it does not take.
    """
    known, passed, positional = _SEAMS[seam]
    function = resolve(seam, name, known)
    if seam == "network" and MODALITIES in named_parameters(function):
        passed = (*passed, MODALITIES)
    check_options(f"{seam} {name}", function, options or {}, passed=passed, positional=positional)
    return function


def check_name(seam: str, name: str, options: Mapping[str, Any]) -> None:
    """What `find` checks; a function of darklung's own that gets no options is not imported (torch takes seconds)."""
    if options or name not in _SEAMS[seam][0]:
        find(seam, name, options)


def check_widths(widths: Sequence[int]) -> None:
    """Raise unless these are widths of darklung's own networks."""
    fits = len(widths) >= 1 and all(isinstance(w, int) and w > 0 and w % WIDTH_MULTIPLE == 0 for w in widths)
    require(fits, f"widths: wanted multiples of {WIDTH_MULTIPLE}, got {tuple(widths)}")


@dataclass(frozen=True)
class Sizes:
    """Lengths of an image that a network takes, along every axis: multiples of `multiple`, of at least `least` voxels."""

    multiple: int
    least: int

    def fit(self, length: int) -> int:
        """The least length that fits and is not below `length`."""
        return -(-max(length, self.least) // self.multiple) * self.multiple


def halving(widths: Sequence[int]) -> Sizes:
    """Of a network that halves the resolution at each level but the first.

    The coarsest level has two voxels at least: normalised by itself, a single one is always zero.
    """
    multiple = 2 ** (len(widths) - 1)
    return Sizes(multiple, 2 * multiple if multiple > 1 else 1)


def known_sizes(name: str, widths: Sequence[int]) -> Sizes | None:
    """The sizes of darklung's own networks; None for one that has to be built and asked (`network.sizes_of`)."""
    return halving(widths) if name in ("residual_attention_unet", "swin_unet") else None

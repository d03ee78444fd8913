"""Any network of MONAI as a network of darklung."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from darklung.core.checks import DarklungError, check_range, require
from darklung.core.seams import check_options
from darklung.learn.blocks import Detector, output_layer
from darklung.learn.seams import Sizes

NETS = "monai.networks.nets"
MULTIPLES = (1, 2, 4, 8, 16, 32, 64)  # that lengths are tried to be divisible by
WIDTHS = ("channels", "features", "filters")  # names by which MONAI's networks take their levels' channels
FIRST_WIDTH = ("feature_size", "init_filters")


def monai_network(
    *,
    channels: int,
    dims: int,
    widths: Sequence[int] = (16, 32, 48),
    name: str,
    detection: bool = False,
    **arguments: Any,
) -> nn.Module:
    """A class of ``monai.networks.nets`` whose last map of features gets darklung's output layer and heads.

    Parameters
    ----------
    channels, dims, widths, detection
        As of `darklung.learn.unet.residual_attention_unet`. `widths` go to the argument of the class that takes the channels
        of its levels (``channels``, ``features`` or ``filters``), their first to ``feature_size`` or ``init_filters``,
        unless `arguments` say otherwise; and the first is the number of features that the class is asked for.
    name : str
        Such as ``SwinUNETR``, ``AttentionUnet``, ``SegResNet``.
    **arguments
        Of the class, by name; lists are given as tuples.

    Returns
    -------
    nn.Module
        As of `darklung.learn.unet.residual_attention_unet`, with the sizes that fit, found by trying it.

    Raises
    ------
    DarklungError
        MONAI is not installed, a class or an argument that it does not have, or a network that takes no size.
    """
    check_range("channels", channels, 1, 1024)
    require(dims in (2, 3), f"dims: wanted 2 or 3, got {dims!r}")
    make = _maker(name, channels, dims, tuple(widths), arguments)
    body = make()
    sizes = _sizes(name, copy.deepcopy(body), channels, dims, widths[0])
    return MonaiNetwork(body, dims, widths[0], sizes, detection=detection)


class MonaiNetwork(nn.Module):
    """Features of a network of MONAI, and darklung's heads on them."""

    def __init__(self, body: nn.Module, dims: int, width: int, sizes: Sizes, *, detection: bool) -> None:
        super().__init__()
        self.body, self.sizes, self.detects = body, sizes, detection
        self.float32_on_cpu = "Swin" in type(body).__name__
        self.head = output_layer(dims, width, "instance")
        self.detector = Detector(dims, width, "instance") if detection else None

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(batch, channel, *spatial) -> (batch, 1, *spatial) logits, or a mapping with them under ``logits``."""
        features = _first(self.body(x))
        logits: Tensor = self.head(features)
        return logits if self.detector is None else {"logits": logits, **self.detector(features)}


def _first(found: Any) -> Any:
    """The finest map where a network returns several."""
    return found[0] if isinstance(found, list | tuple) else found


def _maker(
    name: str, channels: int, dims: int, widths: tuple[int, ...], arguments: dict[str, Any]
) -> Callable[[], nn.Module]:
    """What builds the class with all its arguments."""
    try:
        nets = importlib.import_module(NETS)
    except ImportError as error:
        raise DarklungError(f"network monai: MONAI cannot be imported ({error}); pip install 'darklung[monai]'") from error
    kind = getattr(nets, name, None)
    found = inspect.isclass(kind) and issubclass(kind, nn.Module)
    if not found or kind is None:
        raise DarklungError(f"network monai: name: wanted a class of {NETS}, got {name!r}")
    takes = inspect.signature(kind).parameters
    given: dict[str, Any] = {"spatial_dims": dims, "in_channels": channels, "out_channels": widths[0]}
    given |= {k: widths for k in WIDTHS if k in takes} | {k: widths[0] for k in FIRST_WIDTH if k in takes}
    if "strides" in takes:
        given["strides"] = (2,) * (len(widths) - 1)
    given |= {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    missing = [k for k in ("spatial_dims", "in_channels", "out_channels") if k not in takes]
    require(not missing, f"network monai: {name} does not take {', '.join(missing)}; it makes no map from an image")
    check_options(f"network monai {name}", kind, arguments, passed=[k for k in given if k not in arguments])
    return lambda: _built(name, kind, given)


def _built(name: str, kind: Callable[..., nn.Module], given: dict[str, Any]) -> nn.Module:
    try:
        return kind(**given)
    except Exception as error:  # the class may raise anything about its arguments
        told = " ".join(str(error).split())[:200]
        raise DarklungError(f"network monai: {name}: {type(error).__name__}: {told}") from error


def _sizes(name: str, body: nn.Module, channels: int, dims: int, width: int) -> Sizes:
    """The smallest lengths that it takes in training, found without computing (torch's meta device)."""
    body.train().to("meta")
    for multiple in MULTIPLES:
        for times in (1, 2):
            least = times * multiple
            if all(_takes(body, channels, dims, width, n) for n in (least, least + multiple)):
                return Sizes(multiple, least)
    raise DarklungError(f"network monai: {name} takes no length that is a multiple of {MULTIPLES[-1]} or less")


def _takes(body: nn.Module, channels: int, dims: int, width: int, length: int) -> bool:
    data = torch.zeros(2, channels, *(length,) * dims, device="meta")
    try:
        with torch.no_grad():
            found = _first(body(data))
    except Exception:  # noqa: BLE001  what does not fit raises anything
        return False
    return isinstance(found, Tensor) and tuple(found.shape) == (2, width, *data.shape[2:])

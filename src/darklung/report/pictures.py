"""Pictures as PNG data addresses: slices and maps with a palette, target outlines, no library beyond zlib."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import check_shape, require
from darklung.core.types import Image
from darklung.report.blocks import Block, Figure, Row, Section, Slider, Text, anchor, number

OUTLINE, VOID, LEVELS = 255, 254, 254
HEAT_STOPS = np.array(
    [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]]
)


def _palette(heat: bool) -> NDArray[np.uint8]:
    """256 colours: grey (or black-red-yellow) for the values, a void colour, an outline colour."""
    place = np.linspace(0, 1, LEVELS)
    grey = np.repeat(np.linspace(0, 255, LEVELS)[:, None], 3, axis=1)
    stops = np.linspace(0, 1, len(HEAT_STOPS))
    colours = np.stack([np.interp(place, stops, HEAT_STOPS[:, c]) for c in range(3)], axis=1) if heat else grey
    ends = np.array([[52, 60, 66], [64, 224, 208]])  # void: slate; outline: turquoise
    return np.asarray(np.rint(np.concatenate([colours, ends])), dtype=np.uint8)


def png(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """An indexed PNG, (row, col) into a palette of (256, 3)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows, cols = indices.shape
    raw = np.concatenate([np.zeros((rows, 1), np.uint8), indices], axis=1).tobytes()
    head = struct.pack(">IIBBBBB", cols, rows, 8, 3, 0, 0, 0)
    parts = [
        chunk(b"IHDR", head),
        chunk(b"PLTE", palette.tobytes()),
        chunk(b"IDAT", zlib.compress(raw, 9)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def picture(
    values: NDArray,
    *,
    window: tuple[float, float],
    outline: NDArray[np.bool_] | None = None,
    heat: bool = False,
    zoom: int = 1,
    alt: str = "",
) -> str:
    """``<img>`` of a 2-D map; NaN is slate, the border of `outline` turquoise. Beyond the window the screen saturates."""
    low, high = window
    scaled = (np.asarray(values, dtype=np.float64) - low) / ((high - low) or 1.0)
    void = ~np.isfinite(scaled)
    indices = np.clip(np.where(void, 0, scaled) * (LEVELS - 1), 0, LEVELS - 1).astype(np.uint8)
    indices[void] = VOID
    indices = np.kron(indices, np.ones((zoom, zoom), np.uint8))
    if outline is not None and outline.any():
        large = np.kron(outline, np.ones((zoom, zoom), bool))
        indices[ndimage.binary_dilation(large, iterations=2 if zoom > 2 else 1) & ~large] = OUTLINE
    data = base64.b64encode(png(indices, _palette(heat))).decode()
    rows, cols = indices.shape
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}" width="{cols}" height="{rows}">'


def window_of(values: NDArray, region: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """1st and 99th percentile of the finite values (inside `region` if given), for display."""
    chosen = values if region is None or not region.any() else values[region]
    chosen = chosen[np.isfinite(chosen)]
    if chosen.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(chosen, [1, 99])
    return float(low), float(high if high > low else low + 1.0)


@dataclass(frozen=True)
class Example:
    """One subject to look at.

    Parameters
    ----------
    name : str
    image : Image
        What the networks saw, two or three spatial axes.
    target : (*spatial) bool array
        True lesions.
    probability : mapping
        Arm -> (*spatial) array of probabilities; may be empty.
    region : (*spatial) bool array, optional
        Where predictions are judged: display windows are taken there, and probabilities shown there only.
    note : str
        Said above the pictures, such as the subject's lesions.
    """

    name: str
    image: Image
    target: NDArray[np.bool_]
    probability: Mapping[str, NDArray]
    region: NDArray[np.bool_] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        check_shape("target", self.target, "spatial", self.image.shape)
        for arm, values in self.probability.items():
            check_shape(f"probability of {arm}", values, "spatial", self.image.shape)


def slices_section(
    examples: Sequence[Example],
    *,
    title: str = "Examples",
    channels: Sequence[str] | None = None,
    most_slices: int = 24,
    lead: str = "Every channel and, where it is judged, every arm's probability; the true lesions are outlined.",
    viewers: Sequence[Block | None] = (),
) -> Section:
    """Pictures of each example: a slider through z, or one picture of a radiograph.

    Parameters
    ----------
    examples : sequence of Example
    channels : sequence of str, optional
        Which to show; all by default.
    most_slices : int
        At most so many slices a subject, spread evenly over the region, the one with most lesion always among them.
    viewers : sequence of Block, optional
        Put under the first examples, one each.
    """
    blocks: list[Block] = []
    for index, example in enumerate(examples):
        blocks.append(Text(f"{example.name}. {example.note}".strip()))
        blocks.append(_slider(example, f"{anchor(title)}-{index + 1}", channels or example.image.names, most_slices))
        blocks += [viewer for viewer in viewers[index : index + 1] if viewer is not None]
    return Section(title, tuple(blocks), lead if examples else "No examples were kept.")


def _slider(example: Example, identity: str, channels: Sequence[str], most: int) -> Slider:
    image = example.image
    flat = len(image.shape) == 2
    target = np.asarray(example.target, dtype=bool)
    chosen, start = ([0], 0) if flat else _chosen(target, example.region, most)
    panels = [_panel(image.channel(n), _title(image, n, example.region), example.region, False) for n in channels]
    judged = True if example.region is None else example.region
    panels += [
        (np.where(judged, p, np.nan), f"{arm.replace('_', ' ')}: probability", (0.0, 1.0), True)
        for arm, p in example.probability.items()
    ]
    rows, cols = image.shape[-2:]
    zoom = max(1, round(260 / max(rows, cols)))
    frames = []
    for z in chosen:
        outline = target if flat else target[z]
        frames.append(
            tuple(
                picture(v if flat else v[z], window=w, outline=outline, heat=h, zoom=zoom, alt=f"{t}, {example.name}")
                for v, t, w, h in panels
            )
        )
    labels = ("",) if flat else tuple(f"slice {z + 1} of {image.shape[0]}" for z in chosen)
    return Slider(
        identity, tuple(frames), tuple(t for _, t, _, _ in panels), labels, start=start, alt=f"slice of {example.name}"
    )


def _panel(values: NDArray, title: str, region: NDArray[np.bool_] | None, heat: bool) -> tuple:
    return np.asarray(values), title, window_of(np.asarray(values), region), heat


def _title(image: Image, name: str, region: NDArray[np.bool_] | None) -> str:
    low, high = window_of(np.asarray(image.channel(name)), region)
    unit = image.units[image.names.index(name)]
    return f"{name.replace('_', ' ')}, {number(low, 2)} to {number(high, 2)}{'' if unit == '1' else ' ' + unit}"


def _chosen(target: NDArray[np.bool_], region: NDArray[np.bool_] | None, most: int) -> tuple[list[int], int]:
    """Slices to show, and the place among them of the one with most lesion."""
    require(most >= 1, f"most_slices: wanted >= 1, got {most}")
    lesion = target.sum(axis=(1, 2))
    inside = np.flatnonzero((region if region is not None and region.any() else np.ones_like(target)).any(axis=(1, 2)))
    best = int(np.argmax(lesion)) if lesion.any() else int(inside[len(inside) // 2])
    spread = np.linspace(inside[0], inside[-1], min(most, len(inside))).round().astype(int)
    spread[np.argmin(np.abs(spread - best))] = best
    chosen = sorted({int(z) for z in spread})
    return chosen, chosen.index(best)


def projections_section(
    maps: Mapping[str, NDArray], *, units: Mapping[str, str] | None = None, title: str = "Projections", lead: str = ""
) -> Section:
    """One view, as measured and retrieved: 2-D maps such as transmission, dark field, phase and a raw frame."""
    figures = []
    for name, values in maps.items():
        check_shape(name, np.asarray(values), "row, col", (None, None))
        low, high = window_of(np.asarray(values))
        unit = (units or {}).get(name, "1")
        zoom = max(1, round(300 / max(values.shape)))
        caption = f"{name}, {number(low, 3)} to {number(high, 3)}{'' if unit == '1' else ' ' + unit}"
        figures.append(Figure(picture(values, window=(low, high), zoom=zoom, alt=name), caption, name))
    return Section(title, (Row(tuple(figures)),), lead)

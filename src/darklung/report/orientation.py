"""A picture of the scattering tensor: where things point, how strongly, and how much of that the data know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import Channel, tensor
from darklung.core.files import write_figure
from darklung.report.slices import MiddleSlices, open_slices
from darklung.tomo.tensor import orientation_rgb

Floats = NDArray[np.float32]


def orientation_png(volume: Path, path: Path, *, title: str = "") -> None:
    """Draw the middle slices of a volume that the tensor method made, in colours, with a wheel to read them by.

    Hue is the direction of least scattering within the slice (where fibres point), saturation the anisotropy within it
    (difference over sum of the two eigenvalues, up to the number beside the wheel), brightness their mean. If the volume has
    ``known_...`` channels, a second row tells how much the data know of the slice's three components, where 1 is what they
    know of the axial component (which one axis determines in full): the rest is the prior's.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    slices = open_slices(volume)
    rows, cols = (2 if tensor("zz").known().name in slices.units else 1), len(slices.axes)
    figure = Figure(figsize=(4 * cols + 4, 4.6 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, cols + 1, squeeze=False, width_ratios=(*(1,) * cols, 0.75))
    _draw_directions(slices, grid[0])
    if rows == 2:
        for axis, axes in zip(grid[1], slices.axes):
            shown = slices.draw(axis, _known(slices, *axes), axes, "known from the data", cmap="gray", vmin=0, vmax=1)
        grid[1][-1].set_axis_off()
        label = "of the slice's three components; axial: 1"
        figure.colorbar(shown, ax=grid[1][-1], location="left", shrink=0.7, label=label)
    figure.suptitle(title, parse_math=False)
    write_figure(path, figure, dpi=80)


def _draw_directions(slices: MiddleSlices, row: Any) -> None:
    parts = [_within(slices, *axes) for axes in slices.axes]
    full = max(float(np.percentile(strength, 99.5)) for _, _, strength in parts) or 1.0
    bright = np.concatenate([anisotropy[strength > 0.5 * full] for _, anisotropy, strength in parts])
    most = min(max(0.05, float(np.percentile(bright, 95)) if bright.size else 0.0), 1.0)
    for axis, (angle, anisotropy, strength), axes in zip(row, parts, slices.axes):
        colours = orientation_rgb(angle, np.clip(anisotropy / most, 0, 1), np.clip(strength / full, 0, 1))
        slices.draw(axis, colours, axes, "direction of least scattering")
    _draw_wheel(row[-1], most, full)


def _within(slices: MiddleSlices, across: str, right: str, up: str) -> tuple[Floats, Floats, Floats]:
    """Angle of least scattering from `right` towards `up`, anisotropy, and mean, of the tensor within a slice."""
    rr, uu, ru = (slices.read(_component(a, b).name, across) for a, b in ((right, right), (up, up), (right, up)))
    angle = np.mod(0.5 * np.arctan2(2 * ru, rr - uu) + np.pi / 2, np.pi)
    total = np.abs(rr + uu)
    anisotropy = np.divide(np.hypot(rr - uu, 2 * ru), total, out=np.zeros_like(rr), where=total > 0)
    return angle, anisotropy, np.maximum(rr + uu, 0) / 2


def _known(slices: MiddleSlices, across: str, right: str, up: str) -> Floats:
    from scipy.ndimage import uniform_filter

    def known(a: str, b: str) -> Floats:  # single voxels are estimates with a spread
        return np.asarray(uniform_filter(slices.read(_component(a, b).known().name, across), 5))

    total, axial = known(right, right) + known(up, up) + known(right, up), known("z", "z")
    share = np.divide(total / 3, axial, out=np.zeros_like(total), where=axial > 0.02)
    return np.asarray(np.clip(share, 0, 1))


def _component(a: str, b: str) -> Channel:
    return tensor("".join(sorted((a, b), key="zyx".index)))


def _draw_wheel(axis: Any, most: float, full: float) -> None:
    """Hue against angle and saturation against radius, at full brightness; below it the brightness."""
    y, x = np.mgrid[1:-1:201j, -1:1:201j]
    radius = np.hypot(y, x)
    colours = orientation_rgb(np.mod(np.arctan2(y, x), np.pi), np.clip(radius, 0, 1), np.ones_like(radius))
    axis.imshow(np.where(radius[..., None] <= 1, colours, 1.0), extent=(-1, 1, -1, 1))
    axis.set_xticks([-1, 0, 1], [f"{most:.2g}", "0", f"{most:.2g}"])
    axis.set_yticks([])
    for side in ("left", "right", "top"):
        axis.spines[side].set_visible(False)
    axis.set_xlabel(
        f"anisotropy within the slice (to the rim)\nbrightness: mean within the slice,\nblack 0, full {full:.3g} /m"
    )
    axis.set_title("direction in the picture")

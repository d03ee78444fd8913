"""A picture of a volume on disk: its three middle slices, one row a channel."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import Channel
from darklung.core.files import write_figure
from darklung.io.images import open_array

# Across which axis a slice lies, and what runs to the right and up in its picture.
AXES = (("z", "x", "y"), ("y", "x", "z"), ("x", "y", "z"))


@dataclass(frozen=True)
class MiddleSlices:
    """The middle slices of an OME-Zarr volume, read one by one.

    Parameters
    ----------
    units : mapping
        Unit of each channel, by its name, in order.
    edges_mm : mapping
        First and last edge of the volume along z, y, x.
    rows : int
        Slices of the volume.
    read : callable
        ``read(name, across)`` gives the middle slice of a channel across an axis; rows run up, columns to the right.
    """

    units: dict[str, str]
    edges_mm: dict[str, list[float]]
    rows: int
    read: Callable[[str, str], NDArray[np.float32]]

    @property
    def axes(self) -> tuple[tuple[str, str, str], ...]:
        """Those of `AXES` along which there is more than a line to see: a single detector row has one slice."""
        return AXES if self.rows > 1 else AXES[:1]

    def draw(self, axis: Any, image: NDArray, axes: tuple[str, str, str], title: str, **style: Any) -> Any:
        """Show a slice with millimetres along its sides."""
        across, right, up = axes
        bounds = [*self.edges_mm[right], *self.edges_mm[up]]
        shown = axis.imshow(image, origin="lower", extent=bounds, interpolation="nearest", **style)
        axis.set_title(f"{title}, middle {across}", parse_math=False)
        axis.set_xlabel(f"{right} [mm]")
        axis.set_ylabel(f"{up} [mm]")
        return shown


def open_slices(volume: Path) -> MiddleSlices:
    """Look at a volume that darklung wrote."""
    array = open_array(volume)
    exact: Any = json.loads((volume / "zarr.json").read_text(encoding="utf-8"))["attributes"]["darklung"]
    shape, grid = array.shape[1:], zip("zyx", array.shape[1:], exact["origin_m"], exact["spacing_m"])
    edges = {name: [(o - d / 2) * 1e3, (o + (n - 0.5) * d) * 1e3] for name, n, o, d in grid}

    def read(name: str, across: str) -> NDArray[np.float32]:
        place = [n // 2 if axis == across else slice(None) for axis, n in zip("zyx", shape)]
        return np.asarray(array[(exact["names"].index(name), *place)], np.float32)

    return MiddleSlices(dict(zip(exact["names"], exact["units"])), edges, shape[0], read)


def slices_png(
    volume: Path, path: Path, *, title: str = "", drawn: Callable[[Channel], bool] = lambda channel: True
) -> None:
    """Draw the middle slices across z, y and x of every channel; grey levels are those of the slice across z, 0.5 to 99.5 %.

    Only the slices are read. z points up. `drawn` says of a channel whether it is.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    slices = open_slices(volume)
    names = [name for name in slices.units if drawn(Channel.parse(name))]
    figure = Figure(figsize=(2 + 4 * len(slices.axes), 4.4 * len(names) + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(names), len(slices.axes), squeeze=False)
    for row, name in zip(grid, names):
        parts = [slices.read(name, axes[0]) for axes in slices.axes]
        low, high = (float(v) for v in np.percentile(parts[0], (0.5, 99.5)))
        for axis, part, axes in zip(row, parts, slices.axes):
            shown = slices.draw(axis, part, axes, name, cmap="gray", vmin=low, vmax=high)
        figure.colorbar(shown, ax=list(row), shrink=0.8, label=slices.units[name].replace("$", r"\$"))
    figure.suptitle(title, parse_math=False)
    write_figure(path, figure, dpi=80)

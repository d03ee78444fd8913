"""A picture of a volume on disk: its three middle slices, one row a channel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from darklung.io.images import open_array

AXES = (("z", "x", "y"), ("y", "x", "z"), ("x", "y", "z"))


def slices_png(volume: Path, path: Path, *, title: str = "") -> None:
    """Draw the middle slices across z, y and x of every channel; grey levels are those of the slice across z, 0.5 to 99.5 %.

    Only the slices are read. z points up.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    array = open_array(volume)
    exact: Any = json.loads((volume / "zarr.json").read_text())["attributes"]["darklung"]
    count, *shape = array.shape
    middle = [n // 2 for n in shape]
    edges = [[(o - d / 2) * 1e3, (o + (n - 0.5) * d) * 1e3] for n, o, d in zip(shape, exact["origin_m"], exact["spacing_m"])]
    figure = Figure(figsize=(14, 4.4 * count + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(count, 3, squeeze=False)
    for channel, (name, unit) in enumerate(zip(exact["names"], exact["units"])):
        parts = [
            np.asarray(array[channel, middle[0]]),
            np.asarray(array[channel, :, middle[1]]),
            np.asarray(array[channel, :, :, middle[2]]),
        ]
        low, high = (float(v) for v in np.percentile(parts[0], (0.5, 99.5)))
        for axis, part, (across, right, up) in zip(grid[channel], parts, AXES):
            if part.shape[0] == 1:  # a single detector line has one slice to show
                axis.set_axis_off()
                continue
            bounds = [*edges["zyx".index(right)], *edges["zyx".index(up)]]
            shown = axis.imshow(
                part, cmap="gray", vmin=low, vmax=high, origin="lower", extent=bounds, interpolation="nearest"
            )
            axis.set_title(f"{name}, middle {across}")
            axis.set_xlabel(f"{right} [mm]")
            axis.set_ylabel(f"{up} [mm]")
        figure.colorbar(shown, ax=list(grid[channel]), shrink=0.8, label=unit)
    figure.suptitle(title)
    figure.savefig(path, dpi=80)

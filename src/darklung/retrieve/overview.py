"""A page to look at after retrieval, and its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_range
from darklung.core.files import write_figure
from darklung.core.types import Projections

# A detector with fewer rows is drawn as curves over its columns.
LINE_ROWS = 4


def summarise(projections: Projections) -> dict[str, float | int]:
    """Medians over the valid pixels of all views and directions (NaN if none is valid), as plain numbers.

    Keys: ``directions``, ``views``, ``rows``, ``cols``, ``valid_fraction``, ``flat_visibility``, ``visibility``,
    ``transmission``, ``attenuation``, ``dark_field``, ``phase_spread_rad``, and the median standard errors
    ``attenuation_error``, ``dark_field_error``, ``phase_error_rad``.
    """
    valid = projections.valid
    directions, views, rows, cols = valid.shape

    def median(values: NDArray[Any]) -> float:
        return float(np.median(values[valid])) if valid.any() else float("nan")

    attenuation = median(projections.attenuation)
    return {
        "directions": directions,
        "views": views,
        "rows": rows,
        "cols": cols,
        "valid_fraction": float(valid.mean()),
        "flat_visibility": median(projections.flat_visibility),
        "visibility": median(projections.visibility),
        "transmission": float(np.exp(-attenuation)),
        "attenuation": attenuation,
        "dark_field": median(projections.dark_field),
        "phase_spread_rad": float(np.std(projections.phase[valid])) if valid.any() else float("nan"),
        "attenuation_error": float(np.sqrt(median(projections.attenuation_variance))),
        "dark_field_error": float(np.sqrt(median(projections.dark_field_variance))),
        "phase_error_rad": float(np.sqrt(median(projections.phase_variance))),
    }


def overview_png(projections: Projections, path: Path | str, *, direction: int = 0, view: int = 0, title: str = "") -> None:
    """Draw one view: transmission, dark field, phase, visibilities and validity, above histograms of the valid pixels.

    A detector of a few rows is drawn as curves of all views over its columns; where all views are repeats at one angle, also
    the mean of the valid ones with its standard error.

    Parameters
    ----------
    path : path of the PNG
    direction, view : int
        Which to show.
    """
    check_range("direction", direction, 0, len(projections.directions_rad) - 1)
    check_range("view", view, 0, projections.geometry.views - 1)
    # The object-oriented interface needs no display and no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 5)
    panels, g = _panels(projections, direction), projections.geometry
    if g.rows < LINE_ROWS:
        repeats = g.views > 1 and bool(np.ptp(g.angles_rad) == 0)
        _draw_lines(axes[0], panels, projections.valid[direction], None if repeats else view)
    else:
        _draw_maps(figure, axes[0], panels, projections.valid[direction], view)
    for axis, (name, values) in zip(axes[1], panels):
        _histogram(axis, values[projections.valid[direction]], name)
    _errors(axes[1, 4], projections, direction)
    numbers = summarise(projections)
    figure.suptitle(
        f"{title}  direction {np.degrees(projections.directions_rad[direction]):g}°, view {view} · valid "
        f"{100 * numbers['valid_fraction']:.1f} % · V0 {numbers['flat_visibility']:.4f} · T {numbers['transmission']:.4f} · "
        f"−ln D {numbers['dark_field']:.4f} (medians of valid pixels)",
        parse_math=False,
    )
    write_figure(path, figure, dpi=90)


def _panels(projections: Projections, direction: int) -> list[tuple[str, NDArray[Any]]]:
    return [
        ("transmission T", np.exp(-projections.attenuation[direction])),
        ("dark field −ln D", projections.dark_field[direction]),
        ("phase [rad]", projections.phase[direction]),
        ("flat visibility V0", projections.flat_visibility[direction]),
    ]


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    """Range of the display: 1st to 99th percentile, never empty."""
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(x) for x in np.percentile(values, (1, 99)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _draw_maps(figure: Any, axes: Any, panels: list[tuple[str, NDArray[Any]]], valid: NDArray[np.bool_], view: int) -> None:
    for axis, (name, values) in zip(axes, panels):
        low, high = (-np.pi, np.pi) if name.startswith("phase") else _limits(values[view][valid[view]])
        colours = "twilight" if name.startswith("phase") else "gray"
        image = axis.imshow(values[view], vmin=low, vmax=high, cmap=colours, interpolation="nearest")
        axis.set_title(name)
        figure.colorbar(image, ax=axis, shrink=0.7)
    axes[4].imshow(valid[view], vmin=0, vmax=1, cmap="gray", interpolation="nearest")
    axes[4].set_title(f"valid (white), {100 * valid[view].mean():.1f} %")


def _draw_lines(axes: Any, panels: list[tuple[str, NDArray[Any]]], valid: NDArray[np.bool_], view: int | None) -> None:
    """Curves over the columns, all grey, and one view in colour; `view` None: the mean of repeats with its error."""
    for axis, (name, values) in zip(axes, panels):
        axis.plot(values.mean(axis=1).T, color="0.8", linewidth=0.5)
        if view is None:
            mean, error = mean_of_repeats(values, valid)
            axis.plot(mean, color="C0", linewidth=0.8)
            axis.fill_between(np.arange(len(mean)), mean - error, mean + error, color="C0", alpha=0.3, linewidth=0)
            axis.set_title(f"{name}, {len(values)} repeats and their mean ± error")
        else:
            axis.plot(values[view].mean(axis=0), color="C0", linewidth=0.8)
            axis.set_title(f"{name}, all views and view {view}")
        low, high = _limits(values[valid])
        axis.set(xlabel="column", ylim=(low - 0.1 * (high - low), high + 0.1 * (high - low)))
    axes[4].plot(valid.mean(axis=(0, 1)))
    axes[4].set_title("share of valid repeats" if view is None else "share of valid views")
    axes[4].set_ylim(-0.02, 1.02)


def mean_of_repeats(values: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over valid repeats and rows, (col,), and its standard error from their scatter; NaN below two valid ones.

    Parameters
    ----------
    values, valid : (repeat, row, col)
    """
    count = valid.sum(axis=(0, 1))
    known = count > 1
    mean = np.where(valid, values, 0.0).sum(axis=(0, 1), dtype=np.float64) / np.maximum(count, 1)
    square = np.where(valid, (values - mean) ** 2, 0.0).sum(axis=(0, 1)) / np.maximum(count - 1, 1)
    return np.where(known, mean, np.nan), np.where(known, np.sqrt(square / np.maximum(count, 1)), np.nan)


def _histogram(axis: Any, values: NDArray[Any], name: str) -> None:
    if values.size == 0:
        axis.text(0.5, 0.5, "no valid pixel", ha="center")
        return
    axis.hist(values.ravel(), bins=120, range=_limits(values), color="0.4")
    axis.axvline(float(np.median(values)), color="C3", linewidth=1)
    axis.set_xlabel(name)
    axis.set_yticks([])


def _errors(axis: Any, projections: Projections, direction: int) -> None:
    """Histogram of the standard errors of the three signals."""
    valid = projections.valid[direction]
    for name in ("attenuation", "dark_field", "phase"):
        error = np.sqrt(getattr(projections, f"{name}_variance")[direction][valid])
        if error.size:
            axis.hist(np.log10(error), bins=100, histtype="step", label=name)
    axis.set_xlabel("log10 standard error")
    axis.set_yticks([])
    if valid.any():
        axis.legend(frameon=False)

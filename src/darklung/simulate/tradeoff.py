"""A picture of a sweep: what is won and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from darklung.core.checks import require
from darklung.core.files import write_figure
from darklung.simulate.plan import VALIDITY_LIMIT, ScanPlan

_COLOURS = ("#1b6ca8", "#3a923a", "#c44e52", "#8172b2")


def draw_tradeoff(results: Sequence[tuple[float, ScanPlan]], *, key: str, path: str | Path) -> None:
    """Draw contrast of 1 mm lesions, dose, time and N V² against the swept number.

    Parameters
    ----------
    results : sequence of (value, ScanPlan)
        From `darklung.study.protocols.sweep`.
    key : str
        Name of the swept number, for the axis.
    path : str or Path
        Image file; the suffix sets the format.
    """
    from matplotlib.figure import Figure  # slow to load

    require(len(results) > 0, "results: wanted at least one, got none")
    values = [value for value, _ in results]
    plans = [plan for _, plan in results]
    figure = Figure(figsize=(9, 4), layout="constrained")
    contrast, cost = figure.subplots(1, 2)
    for number, colour in zip(range(len(plans[0].lesions)), _COLOURS):
        lesions = [plan.lesions[number] for plan in plans]
        pairs = [one.ratios for one in lesions]
        contrast.plot(values, [pair[0] for pair in pairs], "-o", color=colour, ms=3, label=lesions[0].name)
        contrast.plot(values, [pair[1] for pair in pairs], "--o", color=colour, ms=3)
    where = "CT" if lesions[0].has_ct else "one radiograph"
    contrast.set(xlabel=key, ylabel=f"CNR of a 1 mm lesion in {where}", ylim=(0, None))
    contrast.set_title("attenuation solid, dark field dashed", fontsize=9)
    figure.legend(*contrast.get_legend_handles_labels(), loc="outside lower left", ncols=4, fontsize=8)
    quantities = (
        ("mean dose / 100 mGy", [plan.dose_gy / 0.1 for plan in plans]),
        ("time / limit", [plan.total_time_s / plan.time_limit_s for plan in plans]),
        (f"least N V² / {VALIDITY_LIMIT:g}", [plan.least_strength / VALIDITY_LIMIT for plan in plans]),
    )
    for (label, numbers), colour in zip(quantities, _COLOURS):
        cost.plot(values, numbers, "-o", color=colour, ms=3, label=label)
    cost.axhline(1, color="0.6", lw=0.8)
    cost.set(xlabel=key, yscale="log")
    figure.legend(*cost.get_legend_handles_labels(), loc="outside lower right", ncols=3, fontsize=8)
    for axes in (contrast, cost):
        axes.locator_params(axis="x", nbins=5)
    write_figure(path, figure, dpi=120)


def draw_map(results: Sequence[tuple[Sequence[float], ScanPlan]], *, keys: Sequence[str], path: str | Path) -> None:
    """Maps of a sweep over two numbers: contrast of the first lesion in both signals, dose, and rays that can be retrieved.

    Parameters
    ----------
    results : sequence of ((first, second), ScanPlan)
        Places without a plan are left out and stay white.
    keys : (first, second)
        Names of the numbers, for the axes.
    path : str or Path
    """
    from matplotlib.figure import Figure

    require(len(results) > 0, "results: wanted at least one, got none")
    axes_of = [sorted({values[n] for values, _ in results}) for n in (0, 1)]
    lesion = results[0][1].lesions[0].name
    maps = {
        f"CNR of {lesion}, 1 mm: attenuation": lambda plan: plan.lesions[0].ratios[0],
        f"CNR of {lesion}, 1 mm: dark field": lambda plan: plan.lesions[0].ratios[1],
        "mean dose [mGy]": lambda plan: 1e3 * plan.dose_gy,
        "rays with N V² > 10 [%]": lambda plan: 100 * plan.valid,
    }
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    for axis, (title, number) in zip(figure.subplots(2, 2).ravel(), maps.items()):
        values = np.full([len(a) for a in axes_of], np.nan)
        for (first, second), plan in results:
            values[axes_of[0].index(first), axes_of[1].index(second)] = number(plan)
        shown = axis.pcolormesh(axes_of[1], axes_of[0], values, shading="nearest", cmap="viridis")
        figure.colorbar(shown, ax=axis)
        axis.set(xlabel=keys[1], ylabel=keys[0])
        axis.set_title(title, fontsize=9)
    write_figure(path, figure, dpi=120)

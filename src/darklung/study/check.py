"""``darklung check``: what a protocol can be expected to give, before anyone builds or runs it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.checks import DarklungError, check_one_of, require
from darklung.study.config import CTStudy, read_study


def check_protocol(target: str, *, sweep: str | None = None, out: Path | None = None) -> str:
    """Plan a scan and return the text to print.

    Parameters
    ----------
    target : str
        A study file of kind ct, or the name of a ready set-up (`darklung.simulate.setups.SETUPS`).
    sweep : str, optional
        ``key=first:last:count``: plan once for each value, evenly spaced, and draw the trade-off.
    out : Path, optional
        Folder for ``plan.json`` and, of a sweep, ``sweep.png`` and ``sweep.csv``.

    Raises
    ------
    DarklungError
        Neither a file nor a known name, a wrong sweep, or a protocol that makes no sense.
    """
    from darklung.simulate.plan import table

    setup = _setup(target)
    plan = setup.plan()
    parts = [setup.title, *_said("published", setup.published), *_said("assumed", setup.assumed), "", table(plan)]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "plan.json").write_text(json.dumps({"setup": _plain(asdict(setup)), "plan": _plain(asdict(plan))}, indent=1))
        parts.append(f"saved       {out / 'plan.json'}")
    if sweep is not None:
        parts += ["", *_swept(setup, sweep, out)]
    return "\n".join(parts)


def _setup(target: str) -> Any:
    """A ready set-up by name, or what a study file says."""
    from darklung.simulate.setups import SETUPS, Setup
    from darklung.study.ct import make_protocol

    path = Path(target)
    if path.suffix not in (".yaml", ".yml"):
        check_one_of("protocol", target, SETUPS)
        return SETUPS[target]
    study = read_study(path)
    if not isinstance(study, CTStudy):
        raise DarklungError(f"{path}: wanted a study of kind ct, got {study.kind}; only simulated scans can be planned")
    part = study.instrument
    return Setup(
        title=f"Study {study.name}",
        protocol=make_protocol(study.scan),
        spectrum=part.spectrum,
        low_kev=part.low,
        high_kev=part.high,
        bins=part.bins,
        design_energy_kev=part.design_energy,
        flat_visibility=part.visibility,
        correlation_length_m=part.correlation_length,
        reference_energy_kev=part.reference_energy,
        pixel_m=study.body.voxel * study.scan.supersampling,
    )


def _said(word: str, lines: Sequence[str]) -> list[str]:
    return [f"{word:<12}{line}" for line in lines]


def _swept(setup: Any, text: str, out: Path | None) -> list[str]:
    """A table over the values of a sweep; the figure goes to `out`."""
    from darklung.simulate.setups import sweep

    key, values = parse_sweep(text)
    plans = sweep(setup, key=key, values=values)
    header = f"{key:>24}{'time s':>9}{'dose mGy':>10}{'CNR att':>9}{'CNR dark':>10}{'valid %':>9}"
    rows = []
    for value, plan in plans:
        solid = plan.lesions[0]
        best = (solid.ct_attenuation, solid.ct_dark_field)
        if not np.isfinite(best[0]):
            best = (solid.radiograph_attenuation, solid.radiograph_dark_field)
        rows.append((value, plan.total_time_s, 1e3 * plan.dose_gy, *best, 100 * plan.valid))
    lines = [f"{r[0]:24.6g}{r[1]:9.0f}{r[2]:10.1f}{r[3]:9.2f}{r[4]:10.2f}{r[5]:9.1f}" for r in rows]
    if out is not None:
        np.savetxt(
            out / "sweep.csv", rows, delimiter=",", header=f"{key},time_s,dose_mgy,cnr_attenuation,cnr_dark_field,valid"
        )
        _draw(out / "sweep.png", key, np.array(rows), plans[0][1].lesions[0].name)
        lines.append(f"saved       {out / 'sweep.png'}")
    return [header, *lines, f"CNR of a 1 mm lesion: {plans[0][1].lesions[0].name}"]


def parse_sweep(text: str) -> tuple[str, list[float]]:
    """``"flat_visibility=0.05:0.3:6"`` -> the key and the evenly spaced values; whole numbers stay whole."""
    key, _, span = text.partition("=")
    try:
        first, last, count = span.split(":")
        low, high, number = float(first), float(last), int(count)
    except ValueError:
        raise DarklungError(
            f"sweep: wanted key=first:last:count, such as flat_visibility=0.05:0.3:6, got {text!r}"
        ) from None
    require(2 <= number <= 50, f"sweep: wanted 2 to 50 values, got {number}")
    values = np.linspace(low, high, number)
    whole = float(low).is_integer() and float(high).is_integer() and abs(high - low) >= number - 1
    return key, [float(v) for v in (np.round(values) if whole else values)]


def _draw(path: Path, key: str, rows: np.ndarray, lesion: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.plot(rows[:, 0], rows[:, 3], "o-", label="attenuation")
    axis.plot(rows[:, 0], rows[:, 4], "s-", label="dark field")
    axis.set_xlabel(key)
    axis.set_ylabel(f"CNR of a 1 mm lesion ({lesion})")
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _plain(value: Any) -> Any:
    """JSON types; NaN becomes None."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value

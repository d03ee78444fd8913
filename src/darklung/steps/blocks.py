"""Projections changed block by block of views, so that a scan larger than memory can be corrected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from darklung.core.checks import require
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.io.hdf5 import save_projections
from darklung.io.projections import open_projections

BLOCK_BYTES = 2**26
# Values of a block that go into the medians.
SAMPLE = 200_000
TOLD = {"attenuation": "-ln T", "dark_field": "-ln D"}


def change_projections(
    source: Path, target: Path, change: Callable[[Projections], Projections], *, whole: bool = False
) -> list[str]:
    """Write `change` of the projections in `source` to `target`, and return how medians and validity changed.

    Parameters
    ----------
    change : callable
        Projections of some views -> the same views changed; it must not look at other views unless `whole`.
    whole : bool
        Hand all views over at once, for methods that reconstruct.

    Raises
    ------
    DarklungError
        No projections with attenuation, or what `change` raises.
    """
    opened = open_projections(source)
    g, maps = opened.geometry, opened.written
    # Both signals are corrected by how much was attenuated.
    require("attenuation" in maps, f"{source}: a correction needs attenuation, the file has {', '.join(opened.present)}")
    told = {name: sign for name, sign in TOLD.items() if name in maps}
    size = len(opened.directions_rad) * g.rows * g.cols * 4 * len(PROJECTION_MAPS)
    step = g.views if whole else max(1, BLOCK_BYTES // size)
    samples: dict[str, list[np.ndarray]] = {f"{name} {when}": [] for name in told for when in ("before", "after")}
    valid = {"before": 0, "after": 0}

    def note(part: Projections, when: str) -> None:
        valid[when] += int(part.valid.sum())
        for name in told:
            values = getattr(part, name)[part.valid]
            samples[f"{name} {when}"].append(values[:: max(1, len(values) // SAMPLE)])

    def blocks() -> Iterator[tuple[slice, Projections]]:
        for start in range(0, g.views, step):
            views = slice(start, min(start + step, g.views))
            before = opened.read(slice(0, g.rows), PROJECTION_MAPS, views=views)
            after = change(before)
            note(before, "before")
            note(after, "after")
            yield views, after

    save_projections(target, blocks(), geometry=g, maps=maps)
    total = len(opened.directions_rad) * g.views * g.rows * g.cols
    lines = [f"{'median of valid pixels':<26}{'before':>10}{'after':>10}"]
    for name, sign in told.items():
        values = [np.concatenate(samples[f"{name} {when}"]) for when in valid]
        numbers = [f"{np.median(v):10.4f}" if len(v) else f"{'-':>10}" for v in values]
        lines.append(f"{sign:<26}{''.join(numbers)}")
    shares = "".join(f"{100 * count / total:9.1f}%" for count in valid.values())
    return [*lines, f"{'valid pixels':<26}{shares}"]

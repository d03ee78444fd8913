"""Sweeps of ``darklung check``: a protocol planned for each value of one of its numbers, or of two."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darklung.core.checks import DarklungError, require
from darklung.core.files import whole
from darklung.core.units import KINDS, parse_number, parse_quantity
from darklung.pipeline.bar import Bar

if TYPE_CHECKING:
    from darklung.study.protocols import ProtocolFile, Swept

MOST_VALUES, MOST_KEYS = 50, 2
COLUMNS = ("time_s", "dose_mgy", "cnr_attenuation", "cnr_dark_field", "valid_percent")


def parse_sweeps(texts: Sequence[str], protocol: ProtocolFile) -> dict[str, list[float]]:
    """Each ``"visibility=0.05:0.3:6"`` -> the key and the evenly spaced values; those of a count are whole.

    First and last may have units where the key has: ``"exposure=0.1 s:0.4 s:4"``. They may be values that the protocol
    cannot have: those are told in the sweep, and the others planned.
    """
    require(len(texts) <= MOST_KEYS, f"sweep: wanted one key or two, got {len(texts)}")
    found = dict(_parsed(text, protocol) for text in texts)
    require(len(found) == len(texts), "sweep: wanted two keys that differ")
    return found


def _parsed(text: str, protocol: ProtocolFile) -> tuple[str, list[float]]:
    from darklung.study.protocols import is_whole

    key, _, span = text.partition("=")
    try:
        first, last, count = span.split(":")
        number = int(count) if count.isascii() and count.isdigit() else 0
    except ValueError:
        raise DarklungError(f"sweep: wanted key=first:last:count, such as visibility=0.05:0.3:6, got {text!r}") from None
    require(2 <= number <= MOST_VALUES, f"sweep: wanted 2 to {MOST_VALUES} values, got {number}")
    low, high = (_end(protocol, key, end.strip()) for end in (first, last))
    values = np.linspace(low, high, number)
    steps = is_whole(protocol, key) and abs(high - low) >= number - 1
    return key, [float(v) for v in (np.round(values) if steps else values)]


def _end(protocol: ProtocolFile, key: str, text: str) -> float:
    """The number of an end of a sweep in inner units, also where the protocol cannot have it."""
    from darklung.study.protocols import changed, has_unit, number_of

    try:
        return number_of(changed(protocol, key, text), key)
    except DarklungError:
        for number in _numbers(text, has_unit(protocol, key)):
            return number
        raise


def _numbers(text: str, with_unit: bool) -> Iterator[float]:
    for kind in KINDS if with_unit else ():
        try:
            yield parse_quantity(text, kind)
        except DarklungError:
            continue
    if not with_unit:
        yield parse_number(text)


def swept(protocol: ProtocolFile, wanted: Mapping[str, Sequence[float]], out: Path | None) -> list[str]:
    """A table over the values of a sweep; `out` gets it as a file, and the figure."""
    from darklung.simulate.tradeoff import draw_map, draw_tradeoff
    from darklung.study.protocols import sweep

    with Bar("sweep") as bar:
        found = sweep(protocol, wanted, progress=bar)
    header = (
        "".join(f"{key:>24}" for key in wanted)
        + f"{'time s':>9}{'dose mGy':>10}{'CNR att':>9}{'CNR dark':>10}{'valid %':>9}"
    )
    lines = [header, *(_line(one) for one in found)]
    planned = [(one.values, one.plan) for one in found if one.plan is not None]
    require(bool(planned), "sweep: none of these values makes a protocol")
    if out is not None:
        with whole(out / "sweep.csv") as partial, partial.open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow([*wanted, *COLUMNS])
            table.writerows([*one.values, *_row(one)] for one in found)
        if len(wanted) == 1:
            draw_tradeoff([(values[0], plan) for values, plan in planned], key=next(iter(wanted)), path=out / "sweep.png")
        else:
            draw_map(planned, keys=(*wanted,), path=out / "sweep.png")
        lines.append(f"saved       {out / 'sweep.csv'}, {out / 'sweep.png'}")
    return [*lines, f"CNR of a 1 mm lesion: {planned[0][1].lesions[0].name}"]


def _row(one: Swept) -> list[float]:
    if one.plan is None:
        return [np.nan] * len(COLUMNS)
    return [one.plan.total_time_s, 1e3 * one.plan.dose_gy, *one.plan.lesions[0].ratios, 100 * one.plan.valid]


def _line(one: Swept) -> str:
    start = "".join(f"{value:24.6g}" for value in one.values)
    if one.plan is None:
        return f"{start}  {one.problem}"
    time, dose, solid, dark, valid = _row(one)
    return f"{start}{time:9.0f}{dose:10.3g}{solid:9.2f}{dark:10.2f}{valid:9.1f}"

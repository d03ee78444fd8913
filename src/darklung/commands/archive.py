"""``darklung import``: described raw scans as one standard file each, for archiving and for speed; and ``describe``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from darklung.core.checks import require
from darklung.io.archive import import_scans
from darklung.io.description import read_raw
from darklung.io.draft import draft_description
from darklung.io.frames import load_scan
from darklung.steps.retrieve import raw_files


def import_described(description: Path, out: Path, *, form: str = "hdf5") -> str:
    """Copy every scan of a description, view by view, and return lines to print.

    Parameters
    ----------
    description : Path
    out : Path
        A file (``.h5``, ``.hdf5``, ``.nx``, ``.nxs``) for one scan, or a folder that gets ``NAME.h5``. A description of the
        copy is written beside it, ending in ``.yaml``; it keeps the retrieval options.
    form : {"hdf5", "nxtomo"}

    Raises
    ------
    DarklungError
        One line for each mistake in the description or in the data.
    """
    scans = [raw for raw, _ in read_raw(description)]
    names = [raw.name for raw in scans]
    require(len(set(names)) == len(names), f"{description}: two scans have the same name, wanted each once")
    keep = [description, *(path for raw in scans for path in raw_files(raw, description))]
    done = import_scans([(raw, partial(load_scan, raw, description)) for raw in scans], out, form=form, keep=keep)
    lines = []
    for name, path, scan in done:
        shape = " × ".join(map(str, scan.frames.shape))
        size = path.stat().st_size / 2**20
        lines.append(f"{name}: frames {shape} (direction, view, step, row, col), {size:.1f} MiB -> {path}")
    return "\n".join([*lines, "each with a description beside it (.yaml): give that to retrieve, qc or reconstruct"])


def draft(source: Path, out: Path | None) -> str:
    """The draft of a description of what is in `source`, or what to do next if it is written to `out`.

    Raises
    ------
    DarklungError
        Nothing there that could be frames, or a file at `out` already.
    """
    if out is None:
        return draft_description(source)
    require(not out.exists(), f"{out}: is there already; wanted another name")
    text = draft_description(source, beside=out.parent)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    return f"{out}: {text.count('TODO')} places say TODO; then: darklung retrieve {out} --out maps"

"""``darklung insert``: synthetic lesions, mimics and shams in measured scans, with labels, tables and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darklung.commands.words import pairs
from darklung.core.checks import require
from darklung.core.files import write_bytes
from darklung.io.documents import validate
from darklung.io.tables import load_table
from darklung.io.volumes import VolumeOptions
from darklung.pipeline import Task, note_files, run_tasks
from darklung.steps import cases
from darklung.steps.insertion import collect
from darklung.steps.insertion.sources import STAGE, Found, find_sources, insertion_task
from darklung.study.insertion import InsertOptions
from darklung.study.processing import ChannelsPart


def insert_files(
    source: Path,
    out: Path,
    *,
    options: dict[str, Any],
    region: Path | None = None,
    volume: Path | None = None,
    scale: str = "own",
    reading: Mapping[str, Any] | None = None,
    workers: int | None = None,
    dry_run: bool = False,
) -> str:
    """Put synthetic lesions into copies of measured scans and return a table to print.

    Writes ``out/insert/NAME-000/``: the changed scan in the format it came in, its labels, a picture and a record; of
    images also ``out/cases/NAME-000/``, the labelled case that learning takes; and for
    all ``insertions`` as CSV and Parquet with a data dictionary, and contact sheets by class. What is done stays done.

    Parameters
    ----------
    source : Path
        A folder of lobes with ``index.csv`` or one lobe (.npz); a radiograph (OME-Zarr); a volume of any format; projections
        (HDF5); raw frames: a description (YAML) or a darklung scan (HDF5).
    out : Path
    options : mapping
        Of `InsertOptions`; None leaves a default.
    region : Path, optional
        Where lung is: OME-Zarr with channel ``region`` (or ``lung_path`` [m], the path through lung), or .npy. A radiograph
        other than a lobe needs one; in a volume the lungs are found if it is not given.
    volume : Path, optional
        The reconstruction (OME-Zarr) of projections or frames of a CT: lesions get their places and their host in it.
    reading : mapping, optional
        Of `VolumeOptions`: what the files of another program's volume do not say.
    scale : str
        ``own``: from the lung's own local ε and μ; or an instrument that tells energy and ξ: a protocol or study file, a
        ready protocol, or ``calibration.json`` (ξ only).
    workers : int, optional
    dry_run : bool

    Raises
    ------
    DarklungError
        A mistake in the options, files that cannot be used, or lesions that do not fit.
    """
    chosen: InsertOptions = validate({k: v for k, v in options.items() if v is not None}, InsertOptions, "options")
    known: VolumeOptions = validate(dict(reading or {}), VolumeOptions, "--read")
    sources = find_sources(source, region=region, volume=volume, pixel_m=chosen.pixel, reading=known)
    tasks = _tasks(source, sources, chosen, region, scale)
    copies = [t.name for t in tasks if t.stage == STAGE]
    if dry_run:
        return "\n".join([*copies, f"{len(copies)} copies in {out}"])
    about = {"source": str(source), "scale": scale, "options": chosen.model_dump(mode="json")}
    run_tasks(tasks, folder=out, targets=[t.name for t in tasks], workers=workers, about=about)
    before = {old.name for old in out.glob("contact_*")}
    for name in before:
        (out / name).unlink()
    names = [p.name for p in sorted((out / collect.TABLE).iterdir()) if p.name.startswith(("insertions.", "contact_"))]
    for name in names:
        write_bytes(out / name, (out / collect.TABLE / name).read_bytes())
    note_files(out, names, gone=before)
    return _told(out, copies)


def parse_options(given: Sequence[str], **named: str | bool | None) -> dict[str, Any]:
    """``name=value`` texts as values of `InsertOptions`; `named` are values of their own, lists with commas."""
    lists = {k: [part.strip() for part in v.split(",")] if isinstance(v, str) else v for k, v in named.items()}
    options: dict[str, Any] = {k: v for k, v in lists.items() if v is not None}
    options |= pairs(given)
    return options


def _tasks(source: Path, sources: Sequence[Found], options: InsertOptions, region: Path | None, scale: str) -> list[Task]:
    copies, made = [], []
    for index, found in enumerate(sources):
        for copy in range(options.copies):
            number = index * options.copies + copy
            copies.append(insertion_task(found, copy, number, options=options, scale=scale))
            if found.route in ("lobe", "radiograph", "volume"):
                made.append(_case(found, copies[-1], region, options.seed))
    require(len({t.name for t in copies}) == len(copies), f"{source}: two scans have the same name, wanted each once")
    before = [found.before for found in sources if found.before]
    return [*before, *copies, *made, collect.task(tuple(t.name for t in copies))]


def _case(found: Found, copy: Task, region: Path | None, seed: int) -> Task:
    """The labelled case of one copy."""
    about = {"subject": copy.item, "animal": found.animal, "source": found.name, "synthetic": True}
    where = str(region.resolve()) if region else ""
    return cases.task(copy.item, cases.Parameters(channels=ChannelsPart(), about=about, seed=seed, region=where), copy.name)


def _told(out: Path, copies: Sequence[str]) -> str:
    rows = load_table(out / "insertions")
    lines = [f"{'kind':<8}{'class':<14}{'number':>7}{'mm':>12}{'at edge':>9}{'mu ratio':>10}{'eps ratio':>11}"]
    for kind, tissue in sorted({(r["kind"], r["tissue"]) for r in rows}, key=lambda k: (k[0] != "lesion", k)):
        own = [r for r in rows if (r["kind"], r["tissue"]) == (kind, tissue)]
        sizes = [r["diameter_mm"] for r in own]
        ratios = [_mean([r[k] for r in own]) for k in ("mu_ratio", "epsilon_ratio")]
        edge = sum(r["place"] != "inside" for r in own)
        spread = f"{min(sizes):.2f}-{max(sizes):.2f}"
        lines.append(f"{kind:<8}{tissue:<14}{len(own):7d}{spread:>12}{edge:9d}{ratios[0]:10.2f}{ratios[1]:11.2f}")
    notes = [json.loads((out / name / "notes.json").read_text(encoding="utf-8")) for name in copies]
    skipped = [s for one in notes for s in one.get("skipped", ())]
    if skipped:
        lines.append(f"{len(skipped)} more found no room in their lobe, see notes.json of each copy")
    lines.append(f"{len(copies)} copies; scans, labels and records: {out / STAGE}; tables and contact sheets: {out}")
    return "\n".join(lines)


def _mean(values: Sequence[float | None]) -> float:
    known = [v for v in values if v is not None and v == v]
    return sum(known) / len(known) if known else float("nan")

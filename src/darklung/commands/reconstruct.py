"""``darklung reconstruct``: retrieved projections to volumes on disk, with a table of what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from darklung.commands.retrieve import retrieve_described
from darklung.core.checks import require
from darklung.io.documents import validate
from darklung.io.names import PROJECTIONS, SUMMARY, item_name
from darklung.io.projections import open_projections
from darklung.pipeline import run_tasks
from darklung.pipeline.record import read_json
from darklung.steps.reconstruct import STAGE, planned, resolved
from darklung.steps.reconstruct import tasks as tasks_of
from darklung.study.processing import ReconstructionPart
from darklung.tomo.methods import check_device

SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs")


def reconstruct_files(source: Path, out: Path, *, given: Mapping[str, Any], tell: Callable[[str], None]) -> str:
    """Reconstruct every scan of `source` and return a table to print.

    Writes ``out/reconstruct/NAME/{volume.ome.zarr, slices.png, summary.json, record.json}``. What is done is not done again;
    a killed command goes on with the slab that it was at.

    Parameters
    ----------
    source : Path
        An HDF5 file of projections, the output folder of ``darklung retrieve``, or a description of raw scans, which are
        then retrieved first.
    given : mapping
        Of `ReconstructionPart`, as a study file writes it.
    tell : callable
        Gets the lines to be shown before the start.

    Raises
    ------
    DarklungError
        Unknown method or option, files that cannot be used, too little memory for one slab.
    """
    part: ReconstructionPart = validate(dict(given), ReconstructionPart, "reconstruct")
    check_device(part.method, part.options, cone=part.source_axis is not None)
    files, made = _files(source, out), tasks_of(part, pictures=True)
    tasks = []
    for name, path in files.items():
        tell(f"{name}: {planned(*resolved(open_projections(path), part))}")
        tasks.append(made(name, path))
    names = [t.name for t in tasks]
    about = {"source": str(source), "reconstruction": part.model_dump(mode="json")}
    run_tasks(tasks, folder=out, targets=names, workers=1, about=about)
    return _told({t.item: read_json(out / t.name / SUMMARY) for t in tasks}, out)


def _files(source: Path, out: Path) -> dict[str, Path]:
    """Name -> file of projections."""
    require(source.exists(), f"{source}: no such file or folder")
    if source.is_dir():
        found = sorted(source.glob("retrieve/*/projections.h5")) or sorted(source.glob("*/projections.h5"))
        found = found or sorted(source.glob("projections.h5"))
        require(bool(found), f"{source}: wanted retrieve/NAME/projections.h5 in it, as darklung retrieve writes; found none")
        return {_name(p): p for p in found}
    if source.suffix in (".yaml", ".yml"):
        retrieve_described(source, out)
        return _files(out, out)
    require(
        source.suffix in SUFFIXES, f"{source}: wanted {', '.join(SUFFIXES)}, .yaml or a folder; darklung show tells more"
    )
    return {_name(source): source}


def _name(path: Path) -> str:
    return item_name(path.resolve().parent.name if path.name == PROJECTIONS else path.stem)


def _told(summaries: dict[str, Any], out: Path) -> str:
    lines = [f"{'scan':<22}{'voxels (z, y, x)':>20}{'axis':>9}  channels of the middle slice, 1 % to 99 % of the voxels"]
    for name, s in summaries.items():
        shape = " x ".join(str(n) for n in s["shape"])
        ranges = ", ".join(f"{n} {v['low']:.3g} to {v['high']:.3g}" for n, v in s["middle_slice"].items())
        lines.append(f"{name:<22}{shape:>20}{s['axis_col']:9.2f}  {ranges}")
    lines += [f"{name}: {line}" for name, s in summaries.items() for line in s["cautions"]]
    lines.append(f"volumes (OME-Zarr), slices.png, summary and record: {out / STAGE}; NIfTI: darklung export")
    return "\n".join(lines)

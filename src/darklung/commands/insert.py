"""``darklung insert``: synthetic lesions, mimics and shams in measured scans, with labels, tables and pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darklung.core.checks import require
from darklung.io.documents import read_yaml_text, validate
from darklung.io.tables import load_table, save_table
from darklung.pipeline import Context, Task, run_tasks
from darklung.steps.insertion.scale import scale_files
from darklung.steps.insertion.sources import find_sources
from darklung.study.insertion import InsertOptions

STAGE = "insert"
TABLE = "tables/insertions"
COLUMNS = {
    "subject": "name of the copy with its insertions",
    "source": "measured scan that the copy was made from",
    "animal": "animal; unknown where the scan does not tell",
    "copy": "number of the copy of that scan, from 0",
    "number": "number in the label image; a sham has none there",
    "kind": "lesion, mimic or sham",
    "tissue": "class; of a sham the class whose outline it has",
    "diameter_mm": "of the sphere of the same volume",
    "measured_diameter_mm": "the same from the labels: partial voxels or, in a radiograph, the path summed over pixels",
    "z_mm": "centre along the rotation axis (rows of a radiograph), in the scan's coordinates",
    "y_mm": "centre along y; 0 in a radiograph of one view, where it is not known",
    "x_mm": "centre along x (columns of a radiograph)",
    "place": "across edge: cut by the lung region's surface; near edge: within 0.3 mm of it; else inside",
    "mu_ratio": "attenuation of its core over that of the lung it replaced",
    "epsilon_ratio": "scattering of its core over that of the lung it replaced, mean over grating directions",
    "synthetic_flag": "true: what was put in is synthetic, the scan is as it was given",
}
CODE = (
    "phantom",
    "physics",
    "tomo",
    "retrieve",
    "correct",
    "features",
    "io",
    "commands.insert",
    "steps.insertion",
    "io.case",
    "study.protocols",
    "study.scanner",
)


def insert_files(
    source: Path,
    out: Path,
    *,
    options: dict[str, Any],
    region: Path | None = None,
    volume: Path | None = None,
    scale: str = "own",
    workers: int | None = None,
    dry_run: bool = False,
) -> str:
    """Put synthetic lesions into copies of measured scans and return a table to print.

    Writes ``out/insert/NAME-000/``: the changed scan in the format it came in, its labels, a picture and a record; and for
    all ``insertions`` as CSV and Parquet with a data dictionary, and contact sheets by class. What is done stays done.

    Parameters
    ----------
    source : Path
        A folder of lobes with ``index.csv`` or one lobe (.npz); an image (OME-Zarr) of a radiograph or a volume; projections
        (HDF5); raw frames: a description (YAML) or a darklung scan (HDF5).
    out : Path
    options : mapping
        Of `InsertOptions`; None leaves a default.
    region : Path, optional
        Where lung is: OME-Zarr with channel ``region`` (or ``lung_path`` [m], the path through lung), or .npy. A radiograph
        other than a lobe needs one; in a volume the lungs are found if it is not given.
    volume : Path, optional
        The reconstruction (OME-Zarr) of projections or frames of a CT: lesions get their places and their host in it.
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
    tasks = _tasks(source, chosen, region, volume, scale)
    if dry_run:
        return "\n".join([t.name for t in tasks[:-1]] + [f"{len(tasks) - 1} copies in {out}"])
    about = {"source": str(source), "scale": scale, "options": chosen.model_dump(mode="json")}
    run_tasks(tasks, folder=out, targets=[t.name for t in tasks], workers=workers, about=about)
    for old in out.glob("contact_*"):
        old.unlink()
    for found in sorted((out / TABLE).iterdir()):
        if found.name.startswith(("insertions.", "contact_")):
            (out / found.name).write_bytes(found.read_bytes())
    return _told(out, [t.name for t in tasks[:-1]])


def parse_options(given: Sequence[str], **named: str | bool | None) -> dict[str, Any]:
    """``name=value`` texts as values of `InsertOptions`; `named` are values of their own, lists with commas."""
    lists = {k: [part.strip() for part in v.split(",")] if isinstance(v, str) else v for k, v in named.items()}
    options: dict[str, Any] = {k: v for k, v in lists.items() if v is not None}
    for text in given:
        name, equals, value = text.partition("=")
        require(bool(name and equals and value), f"--set: wanted name=value, such as lesions=2, got {text!r}")
        options[name.strip()] = read_yaml_text(value)
    return options


def _tasks(source: Path, options: InsertOptions, region: Path | None, volume: Path | None, scale: str) -> list[Task]:
    sources = find_sources(source, region=region, volume=volume, pixel_m=options.pixel)
    tasks = []
    for index, found in enumerate(sources):
        for copy in range(options.copies):
            number = index * options.copies + copy
            parameters = {
                **found.parameters,
                "source": found.name,
                "animal": found.animal,
                "copy": copy,
                "wanted": options.wanted(number),
                "options": options.model_dump(mode="json", exclude={"copies", "classes", "mimic_classes"}),
                "scale": scale,
            }
            name = re.sub(r"[^A-Za-z0-9._-]+", "_", found.name).strip(".") or "scan"
            files = {**found.files, **scale_files(scale)}
            tasks.append(Task(STAGE, f"{name}-{copy:03d}", found.function, parameters, {}, CODE, files))
    require(len({t.name for t in tasks}) == len(tasks), f"{source}: two scans have the same name, wanted each once")
    inputs = {"copies": tuple(t.name for t in tasks)}
    stage, item = TABLE.split("/")
    return [
        *tasks,
        Task(
            stage, item, "darklung.commands.insert:collect", {}, inputs, ("io.tables", "commands.insert", "steps.insertion")
        ),
    ]


def collect(context: Context) -> None:
    """``insertions`` of all copies, and a contact sheet of each class."""
    from darklung.steps.insertion.contact import contact_sheets

    rows = [row for place in context.inputs["copies"] for row in json.loads((place / "insertions.json").read_text())]
    require(bool(rows), "insertions: none found room in any lobe")
    save_table(context.out / "insertions", rows, COLUMNS)
    contact_sheets(context.inputs["copies"], context.out)


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
    notes = [json.loads((out / name / "notes.json").read_text()) for name in copies]
    skipped = [s for one in notes for s in one.get("skipped", ())]
    if skipped:
        lines.append(f"{len(skipped)} more found no room in their lobe, see notes.json of each copy")
    lines.append(f"{len(copies)} copies; scans, labels and records: {out / STAGE}; tables and contact sheets: {out}")
    return "\n".join(lines)


def _mean(values: Sequence[float | None]) -> float:
    known = [v for v in values if v is not None and v == v]
    return sum(known) / len(known) if known else float("nan")

"""``darklung qc``: pages that tell whether maps can be trusted, for darklung's projections and for measured maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darklung.commands.retrieve import retrieve_described
from darklung.core.checks import require
from darklung.core.files import make_folder
from darklung.core.types import Projections
from darklung.io.documents import read_yaml
from darklung.io.hdf5 import load, load_checks
from darklung.io.names import PROJECTIONS, item_name
from darklung.io.tables import save_table
from darklung.report.quality import MEANINGS
from darklung.steps.quality import lobe_page, quality_page


def check_quality(source: Path, out: Path) -> str:
    """Write a page for each map of `source` and return a table to print.

    Parameters
    ----------
    source : Path
        A projections file (HDF5) or a folder of ``darklung retrieve``; a measured map (``.npz``) or a folder of them with
        ``index.csv``; or a description of raw scans, which are retrieved first.
    out : Path
        Gets ``NAME.html``, ``maps.csv`` and ``maps.parquet``; for measured maps also ``NAME.h5`` with −ln T, −ln D, `valid`
        (streaked columns are not) and `streaked`.

    Raises
    ------
    DarklungError
        One line that names what is missing or cannot be read.
    """
    require(source.exists(), f"{source}: no such file or folder")
    make_folder(out)
    if source.suffix in (".yaml", ".yml"):
        return _described(source, out)
    if source.suffix == ".npz" or (source / "index.csv").is_file():
        rows = [lobe_page(name, maps, out) for name, maps in _lobes(source)]
    else:
        rows = [_projections_page(path, name, out) for path, name in _projections(source)]
    save_table(out / "maps", rows, MEANINGS)
    return _told(rows, out)


def _described(source: Path, out: Path) -> str:
    require(isinstance(read_yaml(source), dict), f"{source}: wanted a description of raw scans")
    return f"{retrieve_described(source, out)}\npages: {out / 'retrieve'}/NAME/quality.html"


def _lobes(source: Path) -> list[tuple[str, Any]]:
    from darklung.io.lobes import read_lobe, read_lobes

    if source.is_dir():
        return [(f.name, f.maps) for f in read_lobes(source)]
    return [(source.stem, read_lobe(source))]


def _projections(source: Path) -> list[tuple[Path, str]]:
    source = source.resolve()
    if source.is_file():
        return [(source, source.parent.name if source.name == PROJECTIONS else source.stem)]
    found = sorted(source.glob(f"**/{PROJECTIONS}"))
    require(bool(found), f"{source}: wanted a projections.h5, .npz maps with index.csv, or a description; found none")
    names = [path.parent.name for path in found]
    if len(set(names)) < len(names):  # the same name in two folders: tell them apart by the whole way
        names = ["_".join(path.parent.relative_to(source).parts) for path in found]
    return list(zip(found, names))


def _projections_page(path: Path, name: str, out: Path) -> dict[str, Any]:
    return quality_page(load(path, Projections), out / f"{item_name(name)}.html", title=name, checks=load_checks(path))


def _told(rows: list[dict[str, Any]], out: Path) -> str:
    lines = [f"{'map':<22}{'valid':>8}{'V0':>8}{'-ln T':>9}{'-ln D':>9}{'streaks':>9}  findings"]
    for row in rows:
        index = "" if row["streak_index"] is None else f"{row['streak_index']:.2f}"
        lines.append(
            f"{row['name']:<22}{100 * row['valid_share']:7.1f}%{row['flat_visibility']:8.4f}{row['attenuation']:9.4f}"
            f"{row['dark_field']:9.4f}{index:>9}  {row['findings'] or '-'}"
        )
    return "\n".join([*lines, f"pages: {out}/NAME.html; table: {out / 'maps.csv'}"])

"""Pages that tell whether maps can be trusted, for darklung's projections and for measured maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darklung.core.types import Image, Projections, Scan
from darklung.io.hdf5 import whole_file
from darklung.report.quality import BETWEEN, MEANINGS, NAMES, QualityPage, quality_facts, quality_table, write_quality
from darklung.retrieve.quality import Quality, is_line, lobe_maps_quality, projections_quality


def lobe_page(name: str, image: Image, out: Path) -> dict[str, Any]:
    """Page and validity of measured maps, which have no stated errors and no frames."""
    found = lobe_maps_quality(image)
    with whole_file(out / f"{name}.h5") as file:
        for key in ("attenuation", "dark_field"):
            file[key] = found.maps[key]
        file["valid"], file["streaked"] = found.valid, found.flagged
        file.attrs["pixel_m"] = image.spacing_m[0]
    return _written(out / f"{name}.html", name, "measured maps; pixels outside the mask are left out", found)


def quality_page(
    projections: Projections,
    path: Path,
    *,
    title: str,
    scan: Scan | None = None,
    options: Mapping[str, Any] | None = None,
    checks: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the page of a scan and return its numbers; with `scan`, residuals are shown too.

    Parameters
    ----------
    scan, options, checks
        See `darklung.retrieve.quality.projections_quality`.
    """
    line = is_line(projections)
    subtitle = "all views of a line detector" if line else "maps of the first direction and view; numbers of all"
    return _written(path, title, subtitle, projections_quality(projections, scan, options, checks))


def _written(path: Path, title: str, subtitle: str, found: Quality) -> dict[str, Any]:
    page = QualityPage(
        title=title,
        subtitle=subtitle,
        facts=quality_facts(found.numbers),
        findings=found.findings,
        maps={NAMES.get(key, key): values for key, values in found.maps.items()},
        valid=found.valid,
        flagged=found.flagged,
        errors=found.errors,
        profiles=found.profiles,
        misfit=found.misfit,
        table=quality_table({key: value for key, value in found.numbers.items() if value not in (None, "")}),
    )
    write_quality(path, page)
    numbers = {**found.numbers, "name": title, "page": path.name, "findings": BETWEEN.join(found.findings)}
    return {key: numbers.get(key) for key in MEANINGS}

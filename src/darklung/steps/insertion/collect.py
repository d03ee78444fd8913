"""What all copies got, as one table with contact sheets."""

from __future__ import annotations

import json

from darklung.core.checks import require
from darklung.io.tables import save_table
from darklung.pipeline import Context, Task
from darklung.report.contact import contact_sheets

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


def task(copies: tuple[str, ...]) -> Task:
    """The table of other tasks' insertions."""
    stage, item = TABLE.split("/")
    return Task(stage, item, "darklung.steps.insertion.collect:collect", {}, {"copies": copies})


def collect(context: Context) -> None:
    """``insertions`` of all copies, and a contact sheet of each class."""
    told = ((place / "insertions.json").read_text(encoding="utf-8") for place in context.inputs["copies"])
    rows = [row for text in told for row in json.loads(text)]
    require(bool(rows), "insertions: none found room in any lobe")
    save_table(context.out / "insertions", rows, COLUMNS)
    contact_sheets(context.inputs["copies"], context.out)

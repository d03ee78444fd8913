"""A synthetic section of a phantom: an OME-TIFF pyramid marked as synthetic, and what is true at each place of it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.types import Image, Phantom
from darklung.histology.plane import Points, Pose, draw_handling, make_pose
from darklung.histology.synthetic import Cut, Stain, lesions_at, lung_at, picture_size, render, truth_at
from darklung.io.documents import Document
from darklung.io.hdf5 import load
from darklung.io.images import save_image
from darklung.io.tables import save_json
from darklung.pipeline import Context, Task
from darklung.slides.slide import Box, Rgb, origin_m
from darklung.slides.write import write_pyramid
from darklung.study.histology import CutPart

STAGE = "section"
PICTURE, TRUTH, FACTS = "section.ome.tif", "truth.ome.zarr", "section.json"
MARGIN_M, TRUTH_M, BAR_M = 0.4e-3, 20e-6, 500e-6
SEARCH_M, SEARCH_STEP_M = 16e-3, 0.1e-3
GREY = 90
"""Of the mark: without colour, so that it is no stain."""
TRUE = ("lung", "tissue_fraction", "interface_density_per_m", "lesion", "z_m", "y_m", "x_m")
UNITS = ("1", "1", "1/m", "1", "m", "m", "m")


class Parameters(Document):
    """One section."""

    name: str
    cut: CutPart


def task(name: str, phantom: Path, part: CutPart) -> Task:
    """A section of the phantom in a file."""
    parameters = Parameters(name=name, cut=part).model_dump(mode="json")
    return Task(STAGE, name, "darklung.steps.section:section", parameters, files={"phantom": phantom})


def section(context: Context) -> None:
    """``section.ome.tif``, ``truth.ome.zarr`` (the phantom's φ, S_V, lesions and places) and ``section.json``."""
    p = Parameters.model_validate(context.parameters)
    cut, field_m = make_cut(load(context.files["phantom"], Phantom), p.cut)
    told = {
        "synthetic": True,
        "made_by": "darklung section",
        "seed": p.cut.seed,
        "pose": asdict(cut.pose),
        "handling": asdict(cut.handling),
    }
    write_pyramid(
        context.out / PICTURE,
        Marked(cut, field_m),
        shape=(cut.rows, cut.cols),
        pixel_m=cut.pixel_m,
        told=told,
        progress=lambda done, total: context.progress(0.95 * done / total, "drawn"),
    )
    save_image(context.out / TRUTH, truth_image(cut, field_m))
    save_json(context.out / FACTS, {**told, "field_m": field_m, "pixel_m": cut.pixel_m, "stain": asdict(cut.stain)})


def make_cut(phantom: Phantom, part: CutPart) -> tuple[Cut, tuple[float, float]]:
    """The section that a description asks for, and the extent of the plane that is shown.

    Raises
    ------
    DarklungError
        No lung in the plane.
    """
    pose = make_pose(part.plane, at_m=part.at, tilt_rad=(part.tilt, part.roll), turn_rad=part.turn)
    middle, extent = _lung_in(phantom, pose)
    z, y, x = (float(v) for v in pose.position_m(middle))
    pose = replace(pose, centre_m=(z, y, x))
    field_m = part.field or (extent[0], extent[1])
    handling = draw_handling(
        seed=part.seed,
        extent_m=field_m,
        shrinkage=part.shrinkage,
        compression=part.compression,
        tears=part.tears,
        folds=part.folds,
    )
    rows, cols = picture_size((field_m[0] + 2 * MARGIN_M, field_m[1] + 2 * MARGIN_M), part.pixel, handling)
    stain = Stain().drawn(part.seed, part.stain)
    return Cut(phantom, pose, part.pixel, rows, cols, part.seed, handling, stain), field_m


def _lung_in(phantom: Phantom, pose: Pose) -> tuple[Points, NDArray[np.float64]]:
    """Middle and extent of the lung in the plane [m]."""
    line = np.arange(-SEARCH_M, SEARCH_M, SEARCH_STEP_M)
    points = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)
    inside = points[lung_at(phantom, pose.position_m(points)) > 0.5]
    require(len(inside) > 10, "section: no lung in this plane: change at, tilt or plane")
    low, high = inside.min(axis=0), inside.max(axis=0)
    return (low + high) / 2, high - low + 2 * SEARCH_STEP_M


class Marked:
    """Boxes of a section with what every picture of it shows: a blank margin, the word SYNTHETIC and a scale bar."""

    def __init__(self, cut: Cut, field_m: tuple[float, float]) -> None:
        self.cut, self.field_m = cut, field_m
        self.mark = _mark(cut.pixel_m)

    def __call__(self, box: Box) -> Rgb:
        """Colours of a box."""
        row, col, rows, cols = box
        rgb = render(self.cut, box)
        rgb[~shown(self.cut, self.field_m, np.arange(row, row + rows), np.arange(col, col + cols))] = 255
        top, left = self.cut.rows - self.mark.shape[0] - 4, 4
        y0, y1 = max(row, top), min(row + rows, top + self.mark.shape[0])
        x0, x1 = max(col, left), min(col + cols, left + self.mark.shape[1])
        if y1 > y0 and x1 > x0:
            part = self.mark[y0 - top : y1 - top, x0 - left : x1 - left]
            rgb[y0 - row : y1 - row, x0 - col : x1 - col][part] = GREY
        return rgb


def shown(cut: Cut, field_m: tuple[float, float], rows: NDArray[Any], cols: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels inside the field, which shrinks with the tissue."""
    half = np.asarray(field_m) * cut.handling.scale() / 2 / cut.pixel_m
    inside = [np.abs(n - (size - 1) / 2) <= h for n, size, h in zip((rows, cols), (cut.rows, cut.cols), half)]
    return np.asarray(inside[0][:, None] & inside[1][None, :])


def _mark(pixel_m: float) -> NDArray[np.bool_]:
    """SYNTHETIC above a bar of `BAR_M`."""
    from PIL import Image, ImageDraw, ImageFont

    high, wide = int(0.7 * MARGIN_M / pixel_m), int(BAR_M / pixel_m)
    picture = Image.new("1", (max(wide, int(3 * wide)), high))
    draw = ImageDraw.Draw(picture)
    draw.text((0, 0), "SYNTHETIC", fill=1, font=ImageFont.load_default(size=max(8.0, 0.55 * high)))
    bar = max(2, high // 10)
    draw.rectangle((0, high - bar, wide - 1, high - 1), fill=1)
    return np.asarray(picture, dtype=bool)


def truth_image(cut: Cut, field_m: tuple[float, float]) -> Image:
    """What is true at each place of the picture, every `TRUTH_M`: `TRUE`; NaN where there is no lung.

    Fractions and densities are the animal's, before shrinkage; places are those of the phantom's frame.
    """
    k = max(1, round(TRUTH_M / cut.pixel_m))
    rows, cols = ((np.arange(-(-n // k)) + 0.5) * k - 0.5 for n in (cut.rows, cut.cols))
    points = cut.places(*np.meshgrid(rows, cols, indexing="ij"))
    lung, fraction, surface, torn = truth_at(cut, points)
    places = np.moveaxis(cut.pose.position_m(cut.handling.source(points)[0]), -1, 0)
    seen = (lung > 0.5) & ~torn & shown(cut, field_m, rows, cols)
    values = np.stack([lung, fraction, surface, lesions_at(cut, points).astype(np.float32), *places])
    values = np.where(seen, values, np.nan).astype(np.float32)
    values[0] = seen
    origin = origin_m((cut.rows, cut.cols), k, cut.pixel_m)
    return Image(values, TRUE, UNITS, (k * cut.pixel_m,) * 2, origin, "section")


def output(folder: Path, name: str) -> Path:
    """Where the output of one section lies."""
    return folder / STAGE / name

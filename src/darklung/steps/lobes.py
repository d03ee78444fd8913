"""Stages of a study on measured radiographs of mouse lung lobes with synthetic tumours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from darklung.core.random import derive_seed
from darklung.core.types import Image
from darklung.io.case import StoredCase, hard_negatives, save_case
from darklung.io.description import resolve_path
from darklung.pipeline import Context
from darklung.study.config import InsertionPart, RadiographStudy

SOURCE = "measured, Talbot-Lau at 100 kVp, critical-point-dried lobes (github Enucatl/dried_lung_samples)"


def plan_copies(study: RadiographStudy, study_file: Path) -> tuple[Path, list[dict[str, Any]], list[dict[str, Any]]]:
    """The data folder, one dict for each synthetic copy of a usable lobe, and one row for each measured lobe.

    Which lobes are usable is decided by `darklung.insert.lobes.split_usable`, before anything is trained.
    """
    from darklung.insert.lobes import RadiographLobe, lobe_quality, split_usable
    from darklung.io.lobes import read_lobes

    folder = resolve_path(study.data, study_file)
    files = read_lobes(folder, pixel_m=study.insertion.pixel)
    lobes = {f.name: RadiographLobe(f.name, f.mouse, f.maps) for f in files}
    usable, refused = split_usable(list(lobes.values()))
    names = {lobe.name for lobe in usable}
    copies = [
        {
            "name": f"{f.name}-{version:03d}",
            "file": f"{f.name}.npz",
            "lobe": f.name,
            "animal": f.mouse,
            "version": version,
            "seed": derive_seed(study.seed, "insertion"),
        }
        for f in files
        if f.name in names
        for version in range(study.insertion.versions)
    ]
    sources = []
    for f in files:
        quality = lobe_quality(lobes[f.name])
        sources.append(
            {
                "lobe": f.name,
                "animal": f.mouse,
                "exposure": f.exposure,
                "used": "no: " + refused[f.name] if f.name in refused else "yes",
                "flat visibility": round(quality.flat_visibility, 3),
                "streak index": round(quality.streak_index, 2),
                "source": SOURCE,
            }
        )
    return folder, copies, sources


def make_case(context: Context) -> None:
    """One copy of one lobe with its own synthetic tumours."""
    from darklung.insert.lobes import RadiographLobe
    from darklung.insert.radiograph import InsertionSettings, make_case, padded
    from darklung.io.lobes import read_lobe

    copy = context.parameters["copy"]
    part = InsertionPart.model_validate(context.parameters["insertion"])
    settings = InsertionSettings(
        classes=part.tissues,
        diameter_m=part.diameter,
        lesions=part.lesions,
        shams=part.shams,
        greatest_thickness_m=part.thickness,
        blur_m=part.blur,
        edge_m=part.edge,
    )
    lobe = RadiographLobe(copy["lobe"], copy["animal"], read_lobe(context.files["lobe"], pixel_m=part.pixel))
    made = padded(make_case(lobe, settings=settings, seed=copy["seed"], version=copy["version"]), smallest_px=32)
    insertions = tuple(i.insertion for i in made.insertions)
    case = StoredCase(
        channels=_with_noise(made.image, copy),
        target=made.target,
        region=made.region,
        instances=made.instances,
        hard=hard_negatives(insertions, made.instances, made.image),
        insertions=insertions,
    )
    save_case(context.out, case)
    (context.out / "skipped.json").write_text(json.dumps(made.skipped))


def _with_noise(image: Image, copy: dict[str, Any]) -> Image:
    """The channels with the control channel ``noise``, made as in CT."""
    from darklung.features.channels import stack_channels

    def one(name: str) -> Image:
        return Image(image.channel(name)[None], (name,), ("1",), image.spacing_m, image.origin_m, image.frame)

    return stack_channels(
        attenuation=one("attenuation"),
        dark_field=[one("dark_field")],
        directions_rad=[0.0],
        extras=("noise",),
        seed=derive_seed(copy["seed"], "noise", copy["name"]),
    )

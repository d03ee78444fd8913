"""Names of scans, and of the files in a run folder, each written once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

PHANTOM = "phantom.h5"
SCAN = "scan.h5"
PROJECTIONS = "projections.h5"
VOLUME = "volume.ome.zarr"
PREVIEW = "preview.ome.zarr"
CHANNELS = "channels.ome.zarr"
LABELS = "labels.ome.zarr"
CASE = "case.json"
EXTENT = "extent.ome.zarr"
SUMMARY = "summary.json"
LOGITS = ".logits.ome.zarr"
MEMBER = "logit_model_"  # channels of a prediction by several models: each one's own
MAPS = "probability.ome.zarr"  # of findings
CENTRE, DIAMETER = "centre", "diameter"  # channels of a prediction beside its logits
OWN_CENTRE = "centre_model_"  # as `MEMBER`, of `CENTRE`
COMPARISON = "comparison.json"
REPORT = "report.html"


def item_name(text: str) -> str:
    """A scan's name as part of a path: other characters than letters, digits, ``. _ -`` become ``_``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip(".") or "scan"


def own_channels(names: Sequence[str]) -> list[str]:
    """Of a prediction's channels each model's own map that candidates come from; empty where only the mean was kept."""
    return [n for n in names if n.startswith(OWN_CENTRE if CENTRE in names else MEMBER)]


def stem(path: Path) -> str:
    """A scan's name from its file: of a common name that of its folder."""
    name = path.name.split(".")[0]
    common = {"projections", "scan", "image", "volume", "radiograph", "channels", "section"}
    return path.resolve().parent.name if name in common else name

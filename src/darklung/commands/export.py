"""``darklung export``: an image of a run as NIfTI."""

from __future__ import annotations

from pathlib import Path

from darklung.io.images import export_nifti, load_image


def export_image(image: Path, out: Path) -> str:
    """Write each channel as a NIfTI file; returns their paths, a line each."""
    return "\n".join(map(str, export_nifti(load_image(image), out, stem=image.name.split(".")[0])))

"""Which reader opens a picture of a section."""

from __future__ import annotations

from pathlib import Path

from darklung.core.checks import require
from darklung.slides.plain import open_plain
from darklung.slides.scanner import open_scanner
from darklung.slides.slide import Slide
from darklung.slides.tiff import open_pyramid

PLAIN, TIFF = (".jpg", ".jpeg", ".png"), (".tif", ".tiff")
SCANNERS = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide")


def open_slide(path: Path) -> Slide:
    """Check a picture of a section: TIFF and OME-TIFF pyramids, PNG, JPEG, and with OpenSlide what scanners write.

    Raises
    ------
    DarklungError
        One line: missing, another format, broken, too large to be read in one piece, or an extra that is not installed.
    """
    require(path.is_file(), f"{path}: no such file")
    ending = path.suffix.lower()
    if ending in PLAIN:
        return open_plain(path)
    if ending in TIFF:
        return open_pyramid(path)
    known = ", ".join((*PLAIN, *TIFF, *SCANNERS))
    require(ending in SCANNERS, f"{path}: wanted a picture of a section ({known}), got {ending or 'no ending'!r}")
    return open_scanner(path)

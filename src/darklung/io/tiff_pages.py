"""The list of pages of a TIFF file, walked before anything else reads it: a damaged one has no end."""

from __future__ import annotations

import struct
from pathlib import Path

from darklung.core.checks import require

# TIFF 6.0, section 2, and BigTIFF: version -> where the first page is told, its number's form and size, the count of tags'
# form and size, and the size of a tag.
_FORMS = {42: (4, "I", 4, "H", 2, 12), 43: (8, "Q", 8, "Q", 8, 20)}
_MOST_TAGS = 4096


def check_pages(path: Path, name: str = "") -> None:
    """Raise where a page of a TIFF file is named twice, goes beyond the file, or has more tags than any has.

    What does not begin as a TIFF file is left to those who read it. The error begins with `name`, or with the path.

    Raises
    ------
    DarklungError
    """
    told = f"{name or path}: cannot be read as TIFF"
    with path.open("rb") as file:
        size, start = path.stat().st_size, file.read(4)
        order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
        version = struct.unpack(f"{order}H", start[2:])[0] if order and len(start) == 4 else 0
        if version not in _FORMS:
            return
        first, place, width, tags, tags_width, tag_bytes = _FORMS[version]

        def number(at: int, form: str, count: int) -> int:
            require(at + count <= size, f"{told} (page {len(seen)} goes beyond the file's {size} bytes)")
            file.seek(at)
            return int(struct.unpack(order + form, file.read(count))[0])

        seen: set[int] = set()
        page = number(first, place, width)
        while page:
            require(page not in seen, f"{told} (page {len(seen)} is named twice, the list of pages has no end)")
            many = number(page, tags, tags_width)
            require(many <= _MOST_TAGS, f"{told} (page {len(seen)} has {many} tags)")
            seen.add(page)
            page = number(page + tags_width + many * tag_bytes, place, width)

"""Records without the places of the machine that wrote them, which are nobody's business."""

from __future__ import annotations

import re
from typing import Any

# /home/name/file, C:\\Users\\name: at least two folders deep, so that units (/cm) stay.
_PLACE = re.compile(r"(?:/|[A-Za-z]:[\\/])[^\n]*[\\/]([^\\/\n]+)[\\/]?")


def without_places(value: Any) -> Any:
    """JSON in which an absolute path, as a value or as a key, is its last part alone.

    Examples
    --------
    >>> without_places({"/home/anna/data/mouse.h5": ["/cm", "cases/m1"]})
    {'mouse.h5': ['/cm', 'cases/m1']}
    """
    if isinstance(value, str):
        found = _PLACE.fullmatch(value)
        return found[1] if found else value
    if isinstance(value, list):
        return [without_places(v) for v in value]
    return {without_places(k): without_places(v) for k, v in value.items()} if isinstance(value, dict) else value

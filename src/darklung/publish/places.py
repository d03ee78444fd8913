"""Records without the places of the machine that wrote them, which are nobody's business."""

from __future__ import annotations

import re
from typing import Any

# /home/name/file, C:\\Users\\name: at least two folders deep, so that units (/cm) stay.
_PLACE = re.compile(r"(?:/|[A-Za-z]:[\\/])[^\n]*[\\/]([^\\/\n]+)[\\/]?")


def without_places(value: Any) -> Any:
    """JSON in which an absolute path, as a value or as a key, is its last part alone; keys that then are one are numbered.

    Examples
    --------
    >>> without_places({"/home/anna/data/mouse.h5": ["/cm", "cases/m1"]})
    {'mouse.h5': ['/cm', 'cases/m1']}
    >>> without_places({"/data/flat/001.tif": 1, "/data/mouse/001.tif": 2})
    {'001.tif': 1, '001.tif (2)': 2}
    """
    if isinstance(value, str):
        found = _PLACE.fullmatch(value)
        return found[1] if found else value
    if isinstance(value, list):
        return [without_places(v) for v in value]
    return _without_in_keys(value) if isinstance(value, dict) else value


def _without_in_keys(value: dict[Any, Any]) -> dict[Any, Any]:
    """Nothing is lost where files of several folders have one name."""
    found: dict[Any, Any] = {}
    for key, inner in value.items():
        bare = free = without_places(key)
        number = 1
        while free in found or (free != key and free in value):
            number += 1
            free = f"{bare} ({number})"
        found[free] = without_places(inner)
    return found

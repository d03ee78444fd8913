"""Where numba keeps compiled kernels: beside the code or in the user's cache, or else for one process alone."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

PLACE = "NUMBA_CACHE_DIR"


def find_place() -> None:
    """Name a new folder, removed at the end, where numba could write none of its own and would end in a traceback.

    Such as a container without a home, or with the folder of another user. The new one is this process's and its children's:
    what lies in a cache is executed, so nothing that others could have written is taken.
    """
    asked = os.environ.get(PLACE)
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    if any(_writable(Path(place)) for place in ([asked] if asked else [Path(__file__).parent, home])):
        return
    folder = tempfile.mkdtemp(prefix="darklung-kernels-")
    os.environ[PLACE] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _writable(place: Path) -> bool:
    """Whether a folder may be written, or made where it is not there yet."""
    there = next((p for p in (place, *place.parents) if p.exists()), place)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)

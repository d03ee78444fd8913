"""Who torchrun says that this process is. Nothing here needs torch."""

from __future__ import annotations

import os


def launched() -> tuple[int, int]:
    """Rank and number of processes, if torchrun started this one; else 0 and 1."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))

"""Where a file comes from, told inside it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darklung.pipeline.contents import content_hash, file_hash
from darklung.pipeline.record import environment


def provenance(command: str, inputs: Sequence[Path]) -> dict[str, Any]:
    """Where a calibration comes from: command, time, inputs with their SHA-256, versions and machine."""
    return {
        "command": command,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "inputs": {str(path): file_hash(path) if path.is_file() else content_hash(path) for path in inputs},
        "environment": environment(),
    }

"""Random streams: one seed a study, one independent stream for each named purpose."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator that depends on `seed` and on `names` alone.

    Subject ``("phantom", "mouse-03")`` draws the same numbers whatever else is drawn, in whatever order and process.
    """
    return np.random.default_rng(derive_seed(seed, *names))


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed from `seed` and `names` (SHA-256, so the same on every machine and Python version)."""
    text = "\x1f".join([str(int(seed)), *(str(n) for n in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1

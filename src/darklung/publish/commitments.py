"""Truth that is fixed before anybody predicts: hashes are published, what they are of is opened later.

A commitment is SHA-256 over a random salt of 32 bytes and the content, each part with its length before it. It tells nothing
of the content as long as the salt is kept (even where there are few possibilities), and nobody can open it to another
content without a collision of SHA-256. Halevi and Micali 1996, 10.1007/3-540-68697-5_16.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.types import Image, Insertion

SALT_BYTES = 32
# Types of the layers of a truth in the bytes that are hashed, whatever machine they are on.
LAYERS = {"labels": "u1", "instances": "<u2", "hard": "u1"}
MASK_VALUES = 2  # what a mask holds at most; that of a whole image is the same in many animals
DIGITS = 9  # of places and sizes [m], by which a truth is recognised


@dataclass(frozen=True)
class CaseTruth:
    """What is hidden of a case; arrays as in `darklung.io.case.LabelledCase`."""

    labels: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    hard: NDArray[np.bool_]
    insertions: tuple[Insertion, ...]

    def parts(self) -> Iterator[bytes]:
        """The bytes that a commitment is of: shape and insertions as JSON, then the layers in C order, little endian."""
        head = {"shape": list(self.labels.shape), "insertions": [asdict(i) for i in self.insertions]}
        yield canonical(head)
        for name, kind in LAYERS.items():
            yield np.ascontiguousarray(getattr(self, name)).astype(kind).tobytes()


def canonical(value: Any) -> bytes:
    """JSON of one form: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def commitment(salt: bytes, parts: Iterable[bytes]) -> str:
    """SHA-256 of salt and parts, in hexadecimal."""
    digest = hashlib.sha256(salt)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def truth_commitment(salt: bytes, name: str, content: str, truth: CaseTruth) -> str:
    """That of a case's truth, bound to the case's name and content so that truths cannot change places."""
    return commitment(salt, (name.encode(), content.encode(), *truth.parts()))


def content_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files below a folder.

    Raises
    ------
    DarklungError
        A link below the folder: readers follow it to what was never hashed.
    """
    digest = hashlib.sha256()
    below = [] if path.is_file() else sorted(path.rglob("*"))
    link = next((p for p in below if p.is_symlink()), None)
    require(link is None, f"{link}: is a link; wanted the files themselves")
    for file in [path] if path.is_file() else [p for p in below if p.is_file()]:
        name = "" if path.is_file() else file.relative_to(path).as_posix()
        with file.open("rb") as stream:
            own = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{name}\0{own}\0".encode())
    return digest.hexdigest()


def of_seed(seed: int | str) -> str:
    """By which the seed of an animal is recognised without being told."""
    return commitment(b"seed", (str(seed).encode(),))


def of_images(image: Image) -> list[str]:
    """By which the channels of an image are recognised, whatever they are called; masks and constants tell no image."""
    shape = canonical(list(image.shape))
    telling = [np.asarray(values, dtype="<f4") for values in image.data if len(np.unique(values)) > MASK_VALUES]
    return [commitment(b"image", (shape, values.tobytes())) for values in telling]


def of_truth(insertions: Sequence[Insertion]) -> str:
    """By which an animal's lesions, mimics and shams are recognised; empty where there are none."""
    places = sorted([round(float(v), DIGITS) for v in (*i.center_m, i.diameter_m)] for i in insertions)
    return commitment(b"truth", (canonical(places),)) if places else ""

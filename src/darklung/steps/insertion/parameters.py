"""What every route of insertion gets."""

from __future__ import annotations

from pathlib import Path

from darklung.core.random import derive_seed
from darklung.io.documents import Document
from darklung.io.names import VOLUME
from darklung.pipeline import Context
from darklung.study.insertion import InsertOptions


class Paths(Document):
    """Files; the source is empty where another task's output is changed."""

    source: str = ""
    region: str = ""
    volume: str = ""


class Parameters(Document):
    """One copy of one scan: what is put in, and what is known of the scan.

    `scan` names the one of a description of several; `many`: the scan is one of a folder's, and insertions that find no room
    in it are told and left out.
    """

    source: str
    animal: str
    copy_number: int
    wanted: tuple[tuple[str, str], ...]
    options: InsertOptions
    scale: str = "own"
    paths: Paths = Paths()
    scan: str = ""
    many: bool = False
    pixel: float = 7.5e-5

    @classmethod
    def of(cls, context: Context) -> Parameters:
        """Those of a task."""
        return cls.model_validate(context.parameters)

    @property
    def seed(self) -> int:
        """Seed of a copy: of its own scan and number alone."""
        return derive_seed(self.options.seed, "insert", self.source, self.copy_number)

    @property
    def blur_m(self) -> float:
        """Standard deviation of the scan's blur [m]."""
        return float(self.options.blur or 0.0)

    def place(self, context: Context) -> Path:
        """The image that is changed: a file, or another task's volume."""
        return Path(self.paths.source) if self.paths.source else context.input("image") / VOLUME

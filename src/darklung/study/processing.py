"""What is done to data on their way to channels: the same for simulated and measured ones, in study files and commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from darklung.core.checks import DarklungError, check_range
from darklung.core.geometry import MOST_TILT_RAD
from darklung.core.seams import is_plugin
from darklung.core.units import parse_number, parse_quantity
from darklung.io.documents import Angle, Document, Length
from darklung.io.retrieval import Retrieval
from darklung.retrieve.methods import find_retrieval
from darklung.study.correction import CorrectionPart
from darklung.tomo.methods import find_method

# The dose of each simulated view is as unknown to retrieval as that of a real one: air beside the animal tells it.
SIMULATED = Retrieval(normalise="air")
_BYTES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 1e3, "MB": 1e6, "GB": 1e9}
_LEAST_BYTES, _MOST_BYTES = 2**20, 2**50


def _check_tilt(tilt_rad: float | None) -> None:
    if tilt_rad is not None:
        check_range("tilt", tilt_rad, -MOST_TILT_RAD, MOST_TILT_RAD)


class AlignmentPart(Document):
    """How projections are turned and shifted into those of an aligned detector; each is found or given."""

    tilt: str = Field("estimate", description="the detector's turn in its plane: estimate, or an angle")
    axis: str = Field("estimate", description="column of the rotation axis: estimate, or a number")
    shifts: bool = Field(False, description="also find by how much the sample moved in each view")
    magnification: float = Field(1.0, ge=0.5, le=2.0, description="relative to the pixel that the file states")

    @model_validator(mode="after")
    def _check(self) -> AlignmentPart:
        _check_tilt(self.tilt_rad())
        self.axis_col()
        return self

    def tilt_rad(self) -> float | None:
        """The angle [rad]; None where it is to be found."""
        try:
            return None if self.tilt == "estimate" else parse_quantity(self.tilt, "angle")
        except DarklungError as error:
            raise ValueError(f"tilt: wanted estimate or an angle ({error})") from None

    def axis_col(self) -> float | None:
        """The column; None where it is to be found."""
        return None if self.axis == "estimate" else _column(self.axis, "estimate")


class ReconstructionPart(Document):
    """From projections to volumes, slab by slab."""

    method: str = Field("fbp", description="fbp, cgls, pwls_tv, tensor, or package.module:function")
    options: dict[str, bool | int | float | str] = Field({}, description="keyword arguments of the method, such as cutoff")
    axis: str = Field("file", description="column of the rotation axis: file, estimate, or a number")
    rings: int = Field(0, ge=0, le=9999, description="columns over which rings are suppressed, odd, such as 9; 0: no")
    memory: str = Field("4 GiB", description="most memory; slabs are made to fit")
    tilt: Angle | None = Field(None, description="the detector's turn in its own plane; else the file's")
    source_axis: Length | None = Field(None, gt=0, description="cone beam: from the source to the axis; else the file's")

    @model_validator(mode="after")
    def _check(self) -> ReconstructionPart:
        if not is_plugin(self.method):  # the user's code is imported where it is to run, darklung.flow.plugins
            find_method(self.method, self.options)
        self.axis_col()
        self.memory_bytes()
        _check_tilt(self.tilt)
        if self.rings and (self.rings < 5 or self.rings % 2 == 0):
            raise ValueError(f"rings: wanted 0 or an odd number of columns from 5 on, got {self.rings}")
        return self

    def axis_col(self) -> float | None:
        """The column if one is given, None if the file's or the data's is wanted."""
        return None if self.axis in ("file", "estimate") else _column(self.axis, "file, estimate")

    def memory_bytes(self) -> float:
        """Most memory [bytes]."""
        found = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*", self.memory)
        if not found or found[2] not in _BYTES:
            raise ValueError(f"memory: wanted a size such as '4 GiB', got {self.memory!r}")
        size = float(found[1]) * _BYTES[found[2]]
        if not _LEAST_BYTES <= size <= _MOST_BYTES:
            raise ValueError(f"memory: wanted 1 MiB to 1 PiB, got {self.memory!r}")
        return size


class ChannelsPart(Document):
    """What a network may see and where it looks."""

    margin: Length = Field(1e-3, ge=0, description="kept around the search region when an image is cropped")
    lung: str = Field("find", description="find: in the image itself; all: everywhere (excised, cropped images)")

    @model_validator(mode="after")
    def _check(self) -> ChannelsPart:
        if self.lung not in ("find", "all"):
            raise ValueError(f"lung: wanted find or all, got {self.lung!r}")
        return self


class ProcessingPart(Document):
    """The steps between frames and channels."""

    retrieval: Retrieval | None = Field(None, description="changes what each source says of its retrieval")
    alignment: AlignmentPart | None = Field(None, description="none if not given")
    correction: CorrectionPart = CorrectionPart()
    reconstruction: ReconstructionPart = ReconstructionPart()
    voxel: Length | None = Field(None, gt=0, description="volumes are resampled to it; none if not given")
    channels: ChannelsPart = ChannelsPart()

    @model_validator(mode="after")
    def _check(self) -> ProcessingPart:
        if self.retrieval is not None and not self.retrieval.own:
            find_retrieval(self.retrieval)
        return self

    def retrieval_of(self, own: Retrieval) -> Retrieval:
        """A source's own retrieval with what the study changes of it."""
        if self.retrieval is None:
            return own
        changes: dict[str, Any] = {name: getattr(self.retrieval, name) for name in self.retrieval.model_fields_set}
        return own.model_copy(update=changes)


def _column(text: str, others: str) -> float:
    try:
        return parse_number(text)
    except DarklungError as error:
        raise ValueError(f"axis: wanted {others} or a column ({error})") from None


def located(path: str, folder: Path) -> str:
    """A path that starts from `folder` made absolute; an empty one stays empty."""
    return str((folder / path).resolve()) if path else ""

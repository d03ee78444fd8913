"""Names of lesion classes and mimics as a file or command may say them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from darklung.physics.lung import INSERTABLE_MIMICS, LESIONS, Classes, find_class


def _among(known: Classes) -> AfterValidator:
    def check(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(find_class("class", name, known).name for name in names)

    return AfterValidator(check)


LesionNames = Annotated[tuple[str, ...], _among(LESIONS)]
MimicNames = Annotated[tuple[str, ...], _among(INSERTABLE_MIMICS)]

"""Licences of data that a deposit may have: their identifiers in SPDX, on the hub and on Zenodo, and the notice of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from darklung.core.checks import check_one_of


@dataclass(frozen=True)
class Licence:
    """One licence.

    Parameters
    ----------
    spdx : str
        Identifier, https://spdx.org/licenses.
    title : str
    url : str
        Where its text is.
    """

    spdx: str
    title: str
    url: str

    @property
    def plain(self) -> str:
        """The identifier of Zenodo."""
        return self.spdx.lower()

    @property
    def hub(self) -> str:
        """The identifier of Hugging Face's hub."""
        return {"ODbL-1.0": "odbl", "PDDL-1.0": "pddl", "ODC-By-1.0": "odc-by"}.get(self.spdx, self.plain)


_CC, _ODC = "https://creativecommons.org", "https://opendatacommons.org/licenses"
_NAME = "Creative Commons Attribution"
LICENCES: Mapping[str, Licence] = {
    one.spdx: one
    for one in (
        Licence("CC0-1.0", "Creative Commons Zero v1.0 Universal", f"{_CC}/publicdomain/zero/1.0/legalcode"),
        Licence("CC-BY-4.0", f"{_NAME} 4.0 International", f"{_CC}/licenses/by/4.0/legalcode"),
        Licence("CC-BY-SA-4.0", f"{_NAME} Share Alike 4.0 International", f"{_CC}/licenses/by-sa/4.0/legalcode"),
        Licence("CC-BY-NC-4.0", f"{_NAME} Non Commercial 4.0 International", f"{_CC}/licenses/by-nc/4.0/legalcode"),
        Licence("ODbL-1.0", "Open Data Commons Open Database License v1.0", f"{_ODC}/odbl/1-0/"),
        Licence("ODC-By-1.0", "Open Data Commons Attribution License v1.0", f"{_ODC}/by/1-0/"),
        Licence("PDDL-1.0", "Open Data Commons Public Domain Dedication & License 1.0", f"{_ODC}/pddl/1-0/"),
    )
}  # fmt: skip


def licence_of(spdx: str, place: str = "license") -> Licence:
    """The licence of an SPDX identifier.

    Raises
    ------
    DarklungError
        One that is not known, with those that are.
    """
    return LICENCES[check_one_of(place, spdx, LICENCES)]


def notice(licence: Licence, *, title: str, holders: str, year: int) -> str:
    """The file ``LICENSE``: whose, under what, and where its text is."""
    return (
        f"{title}\n\nCopyright {year} {holders}\n\n"
        f"This data set (tables, images, models and documents in this folder) is made available under the\n"
        f"{licence.title}.\n\nSPDX-License-Identifier: {licence.spdx}\nText of the licence: {licence.url}\n"
    )

"""What the people of a data set say of it: title, creators, licence, funding, and of each source whose data it is."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, model_validator

from darklung.core.checks import require
from darklung.io.documents import Document, read_document
from darklung.publish.ethics import EthicsFile
from darklung.publish.licences import licence_of

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_ORCID = re.compile(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]")
ORCID_PAGE = "https://orcid.org/"
_NONE = "none"


def check_orcid(text: str) -> str:
    """An ORCID whose last character is the check digit of the others (ISO 7064, mod 11-2); or ``none``.

    Raises
    ------
    DarklungError
        Another form, or another check digit.

    Examples
    --------
    >>> check_orcid("0000-0002-1825-0097")
    '0000-0002-1825-0097'
    """
    text = text.removeprefix(ORCID_PAGE)
    if text == _NONE:
        return ""
    require(_ORCID.fullmatch(text) is not None, f"wanted an ORCID such as 0000-0002-1825-0097, or none, got {text!r}")
    total = 0
    for digit in text.replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    wanted = (12 - total % 11) % 11
    require(
        text[-1] == ("X" if wanted == 10 else str(wanted)), f"{text}: is no ORCID: its last digit does not fit the others"
    )
    return text


Orcid = Annotated[str, AfterValidator(check_orcid), PlainSerializer(lambda text: text or _NONE)]  # empty inside
License = Annotated[str, AfterValidator(lambda text: licence_of(text).spdx)]


def check_day(text: str) -> str:
    """A day of the calendar, YYYY-MM-DD.

    Raises
    ------
    DarklungError
    """
    try:
        found = date.fromisoformat(text).isoformat()
    except ValueError:
        found = ""
    require(found == text, f"wanted a day such as 2026-02-28, got {text!r}")
    return text


def check_line(text: str) -> str:
    """Words in one line.

    Raises
    ------
    DarklungError
    """
    require(bool(text.strip()), f"wanted words, got {text!r}")
    require(not _CONTROL.search(text), f"wanted one line without control characters, got {text!r}")
    return text


Line = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(check_line)]


class Creator(Document):
    """A person."""

    name: Line = Field(description="family name, given names")
    orcid: Orcid = Field(description="ORCID, or none")
    affiliation: Line | None = Field(None, description="institution")


class Funding(Document):
    """A grant."""

    funder: Line = Field(description="who gave it")
    award: Line | None = Field(None, description="number of the grant")
    title: Line | None = Field(None, description="title of the grant")


class AboutSource(Document):
    """A source of the study."""

    license: License | None = Field(None, description="of its data; that of the deposit if not given")
    animals: Literal["simulated", "measured"] | None = Field(None, description="of labelled cases, which do not tell")


class About(Document):
    """``--about FILE.yaml``."""

    title: Line = Field(description="of the data set")
    description: Annotated[str, Field(min_length=1, max_length=20_000)] = Field(description="what it is, in sentences")
    creators: tuple[Creator, ...] = Field(min_length=1, description="in order")
    license: License = Field(description="SPDX identifier")
    funding: tuple[Funding, ...] = Field((), description="grants")
    keywords: tuple[Line, ...] = Field(("x-ray", "dark-field", "lung", "mouse"), description="keywords")
    version: Line = Field("1.0.0", description="of the data set")
    publisher: Line = Field("Zenodo", description="repository")
    date: Annotated[str, AfterValidator(check_day)] | None = Field(
        None, description="of issue, YYYY-MM-DD; the day of the run if not given"
    )
    doi: Annotated[str, Field(pattern=r"^10\.\d{4,9}/\S+$")] | None = Field(None, description="reserved DOI")
    related: tuple[Annotated[str, Field(pattern=r"^10\.\d{4,9}/\S+$")], ...] = Field((), description="DOIs of papers")
    sources: dict[str, AboutSource] = Field({}, description="name of a source of the study -> what is to be known of it")
    ethics: EthicsFile | None = Field(None, description="of measured animals; approval is wanted")

    @model_validator(mode="after")
    def _one_licence(self) -> About:
        other = {n: s.license for n, s in self.sources.items() if s.license not in (None, self.license)}
        told = ", ".join(f"{name} {licence}" for name, licence in other.items())
        require(not other, f"sources: licences are mixed: the deposit is {self.license}, {told}; wanted one for all")
        return self


def read_about(path: Path) -> About:
    """The file of ``--about``.

    Raises
    ------
    DarklungError
        One line for each mistake, with the key's name; all that is missing at once.
    """
    found: About = read_document(path, About)
    return found

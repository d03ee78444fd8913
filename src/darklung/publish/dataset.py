"""A data set as its documents tell it: all of them are functions of this one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darklung.publish.about import ORCID_PAGE, About
from darklung.publish.fields import Field
from darklung.publish.licences import Licence, licence_of

README, LICENSE, SUMS, ABOUT = "README.md", "LICENSE", "checksums.sha256", "about.yaml"
TABLES, IMAGES, MODELS, RUN = "tables", "images", "models", "run"
DATACITE, ZENODO, CRATE, CROISSANT = "datacite.json", "zenodo.json", "ro-crate-metadata.json", "croissant.json"
DOCUMENTS = (README, LICENSE, DATACITE, ZENODO, CRATE, CROISSANT)


@dataclass(frozen=True)
class Listed:
    """A file: its path in the deposit, size [bytes] and SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class DataSet:
    """What is in a deposit.

    Parameters
    ----------
    about : About
    date : str
        YYYY-MM-DD, of issue.
    run, version : str
        Name of the run, and of darklung that computed it.
    environment : mapping
        Versions and hardware, as the run's record tells them.
    flags : mapping
        ``synthetic_flag`` -> how many subjects.
    statement : tuple of str
        What is to be said of animals.
    fields : tuple of Field
        The data dictionary.
    rows : mapping
        Table -> number of rows.
    files : tuple of Listed
        All but the documents themselves.
    """

    about: About
    date: str
    run: str
    version: str
    environment: Mapping[str, Any]
    flags: Mapping[str, int]
    statement: tuple[str, ...]
    fields: tuple[Field, ...]
    rows: Mapping[str, int]
    files: tuple[Listed, ...]

    @property
    def licence(self) -> Licence:
        """Of all of it."""
        return licence_of(self.about.license)

    @property
    def size(self) -> int:
        """Of all files [bytes]."""
        return sum(f.size for f in self.files)

    def columns(self, table: str) -> tuple[Field, ...]:
        """The columns of a table, in order."""
        return tuple(f for f in self.fields if f.table == table and f.kind == "column")

    def file(self, path: str) -> Listed:
        """The file of that path."""
        return next(f for f in self.files if f.path == path)


def json_text(value: Any) -> str:
    """As documents are written: in order, in UTF-8, no number that is none."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def present(**values: Any) -> dict[str, Any]:
    """Those that are told."""
    return {name: value for name, value in values.items() if value not in (None, "", (), [])}


def sums_text(files: Sequence[Listed]) -> str:
    """As ``sha256sum -c`` reads it."""
    return "".join(f"{f.sha256}  {f.path}\n" for f in sorted(files, key=lambda f: f.path))


def datacite(data: DataSet) -> dict[str, Any]:
    """DataCite 4.5, https://schema.datacite.org/meta/kernel-4.5/."""
    about, licence = data.about, data.licence
    rights = {"rights": licence.title, "rightsUri": licence.url, "rightsIdentifier": licence.spdx}
    grants = [present(funderName=f.funder, awardNumber=f.award, awardTitle=f.title) for f in about.funding]
    related = [
        {"relatedIdentifier": d, "relatedIdentifierType": "DOI", "relationType": "IsSupplementTo"} for d in about.related
    ]
    return {
        "schemaVersion": "http://datacite.org/schema/kernel-4",
        **present(doi=about.doi),
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "Images, tables and models"},
        "creators": _creators(about),
        "titles": [{"title": about.title}],
        "publisher": {"name": about.publisher},
        "publicationYear": data.date[:4],
        "subjects": [{"subject": word} for word in dict.fromkeys(about.keywords)],
        "dates": [{"date": data.date, "dateType": "Issued"}],
        "language": "en",
        "version": about.version,
        "sizes": [f"{data.size} bytes", f"{len(data.files)} files"],
        "rightsList": [{**rights, "rightsIdentifierScheme": "SPDX", "schemeUri": "https://spdx.org/licenses/"}],
        "descriptions": [{"description": about.description, "descriptionType": "Abstract"}],
        **present(fundingReferences=grants, relatedIdentifiers=related),
    }


def _creators(about: About) -> list[dict[str, Any]]:
    found = []
    for c in about.creators:
        orcid = {"nameIdentifier": f"{ORCID_PAGE}{c.orcid}", "nameIdentifierScheme": "ORCID", "schemeUri": ORCID_PAGE}
        own = present(nameIdentifiers=[orcid] if c.orcid else None, affiliation=_named(c.affiliation))
        found.append({"name": c.name, "nameType": "Personal", **own})
    return found


def _named(name: str | None) -> list[dict[str, str]] | None:
    return [{"name": name}] if name else None


def zenodo(data: DataSet) -> dict[str, Any]:
    """Metadata of a deposition, https://developers.zenodo.org/#representation."""
    from html import escape

    about = data.about
    creators = [present(name=c.name, orcid=c.orcid, affiliation=c.affiliation) for c in about.creators]
    grants = ", ".join(" ".join(filter(None, (f.funder, f.award, f.title))) for f in about.funding)
    notes = " ".join([*data.statement, f"Funding: {grants}." if grants else ""]).strip()
    related = [{"identifier": doi, "relation": "isSupplementTo", "scheme": "doi"} for doi in about.related]
    return {
        "title": about.title,
        "upload_type": "dataset",
        "description": "".join(f"<p>{escape(part)}</p>" for part in about.description.split("\n\n") if part.strip()),
        "creators": creators,
        "access_right": "open",
        "license": data.licence.plain,
        "publication_date": data.date,
        "keywords": list(dict.fromkeys(about.keywords)),
        "version": about.version,
        "language": "eng",
        "notes": escape(notes),
        **present(doi=about.doi, related_identifiers=related),
    }

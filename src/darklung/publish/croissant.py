"""The tables of a deposit as Croissant 1.0 describes them, http://mlcommons.org/croissant/1.0."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from darklung.publish.about import ORCID_PAGE
from darklung.publish.dataset import DataSet, present
from darklung.publish.fields import Field
from darklung.publish.tables import CSV

# The context that the standard gives, https://docs.mlcommons.org/croissant/docs/croissant-spec.html#context.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# A whole number that may not be known is a float to readers of CSV.
TYPES = {"integer": "sc:Integer", "number": "sc:Float", "boolean": "sc:Boolean", "text": "sc:Text"}


def croissant(data: DataSet) -> dict[str, Any]:
    """The content of ``croissant.json``: a file and a record set for each table."""
    about, tables = data.about, list(data.rows)
    people = [
        {"@type": "sc:Person", "name": c.name, **present(url=f"{ORCID_PAGE}{c.orcid}" if c.orcid else None)}
        for c in about.creators
    ]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name_of(about.title),
        "alternateName": about.title,
        "description": about.description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": data.licence.url,
        "creator": people,
        "publisher": {"@type": "sc:Organization", "name": about.publisher},
        "datePublished": data.date,
        "version": about.version,
        "keywords": list(dict.fromkeys(about.keywords)),
        "citeAs": cited(data),
        **present(url=f"https://doi.org/{about.doi}" if about.doi else None),
        "distribution": [_file(data, table) for table in tables],
        "recordSet": [_records(data, table) for table in tables],
    }


def cited(data: DataSet) -> str:
    """How the data set is cited."""
    about = data.about
    names = "; ".join(c.name for c in about.creators)
    doi = f" https://doi.org/{about.doi}" if about.doi else ""
    return f"{names} ({data.date[:4]}): {about.title}, version {about.version}. {about.publisher}.{doi}"


def name_of(text: str) -> str:
    """As names may be: letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "data"


def _file(data: DataSet, table: str) -> dict[str, Any]:
    file = data.file(f"{table}{CSV}")
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": f"{file.size} B",
        "encodingFormat": "text/csv",
        "sha256": file.sha256,
    }


def _records(data: DataSet, table: str) -> dict[str, Any]:
    name = table.rpartition("/")[2]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"{data.rows[table]} rows",
        "field": list(_fields(data.columns(table), name, f"{table}{CSV}")),
    }


def _fields(columns: tuple[Field, ...], name: str, file: str) -> Iterator[dict[str, Any]]:
    for f in columns:
        unit = f" [{f.unit}]" if f.unit else ""
        yield {
            "@type": "cr:Field",
            "@id": f"{name}/{f.name}",
            "name": f"{name}/{f.name}",
            "description": f"{f.description}{unit}",
            "dataType": "sc:Float" if f.type == "integer" and f.empty else TYPES[f.type],
            "source": {"fileObject": {"@id": file}, "extract": {"column": f.name}},
        }

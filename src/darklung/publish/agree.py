"""Whether the documents of a deposit say the same as ``about.yaml`` and the data dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError
from darklung.core.files import read_object, read_text, reading
from darklung.io.strict_yaml import load_yaml
from darklung.publish.about import ORCID_PAGE, About
from darklung.publish.dataset import CRATE, CROISSANT, DATACITE, LICENSE, README, ZENODO
from darklung.publish.fields import Field
from darklung.publish.head import head_of_text
from darklung.publish.licences import licence_of

Facts = dict[str, Any]


def disagreements(folder: Path, about: About, fields: Sequence[Field]) -> Iterator[tuple[Path, str]]:
    """Each document that says another title, licence, creator or column; or that cannot be read."""
    licence = licence_of(about.license)
    people = [(c.name, c.orcid) for c in about.creators]
    both = {"title": about.title, "creators": people}
    wanted: dict[str, Facts] = {
        DATACITE: {**both, "license": licence.spdx},
        ZENODO: {**both, "license": licence.plain},
        CRATE: {**both, "license": licence.url},
        CROISSANT: {**both, "license": licence.url, "columns": _columns(fields)},
        README: {"title": about.title, "license": licence.hub},
        LICENSE: {"license": licence.spdx},
    }
    for name, facts in wanted.items():
        path = folder / name
        try:
            with reading(path, "a document of a deposit"):
                said = READERS[name](path)
        except DarklungError as error:
            yield path, str(error).removeprefix(f"{path}: ")
            continue
        yield from (
            (path, f"{key}: wanted {value!r}, got {said[key]!r}") for key, value in facts.items() if said[key] != value
        )


def _columns(fields: Sequence[Field]) -> list[str]:
    return [f"{f.table.rpartition('/')[2]}/{f.name}" for f in fields if f.kind == "column"]


def _bare(orcid: str) -> str:
    return orcid.removeprefix(ORCID_PAGE)


def _of_datacite(path: Path) -> Facts:
    content = read_object(path)
    people = [
        (c["name"], next((_bare(i["nameIdentifier"]) for i in c.get("nameIdentifiers", ())), ""))
        for c in content["creators"]
    ]
    return {
        "title": content["titles"][0]["title"],
        "creators": people,
        "license": content["rightsList"][0]["rightsIdentifier"],
    }


def _of_zenodo(path: Path) -> Facts:
    content = read_object(path)
    people = [(c["name"], c.get("orcid", "")) for c in content["creators"]]
    return {"title": content["title"], "creators": people, "license": content["license"]}


def _of_crate(path: Path) -> Facts:
    graph: Mapping[str, Any] = {entity["@id"]: entity for entity in read_object(path)["@graph"]}
    root = graph["./"]
    people = [(graph[c["@id"]]["name"], _bare(c["@id"]) if c["@id"].startswith(ORCID_PAGE) else "") for c in root["creator"]]
    return {"title": root["name"], "creators": people, "license": root["license"]["@id"]}


def _of_croissant(path: Path) -> Facts:
    content = read_object(path)
    people = [(c["name"], _bare(c.get("url", ""))) for c in content["creator"]]
    columns = [f["@id"] for records in content["recordSet"] for f in records["field"]]
    return {"title": content["alternateName"], "creators": people, "license": content["license"], "columns": columns}


def _of_readme(path: Path) -> Facts:
    content = load_yaml(head_of_text(read_text(path), str(path)))
    return {"title": content["pretty_name"], "license": content["license"]}


def _of_license(path: Path) -> Facts:
    begin = "SPDX-License-Identifier: "
    return {"license": next(line.removeprefix(begin) for line in read_text(path).splitlines() if line.startswith(begin))}


READERS = {
    DATACITE: _of_datacite,
    ZENODO: _of_zenodo,
    CRATE: _of_crate,
    CROISSANT: _of_croissant,
    README: _of_readme,
    LICENSE: _of_license,
}

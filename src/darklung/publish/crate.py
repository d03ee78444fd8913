"""A deposit as a research object: RO-Crate 1.1, https://w3id.org/ro/crate/1.1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from darklung.publish.about import ORCID_PAGE
from darklung.publish.dataset import CRATE, DOCUMENTS, SUMS, DataSet, Listed, present

FORMATS = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".yaml": "application/yaml",
    ".md": "text/markdown",
    ".safetensors": "application/octet-stream",
    ".gz": "application/gzip",
    ".h5": "application/x-hdf5",
    ".sha256": "text/plain",
}
IMAGE = ".zarr"
_DARKLUNG, _ACTION = "#darklung", "#run"


def crate(data: DataSet) -> dict[str, Any]:
    """The content of ``ro-crate-metadata.json``; an image is one part, whatever the number of its files."""
    parts = [*_files(data.files), *(_document(name) for name in (*DOCUMENTS, SUMS) if name != CRATE)]
    graph = [
        {
            "@id": CRATE,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        },
        _root(data, parts),
        *parts,
        *_context(data),
    ]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}


def _root(data: DataSet, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    about = data.about
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": about.title,
        "description": about.description,
        "datePublished": data.date,
        "version": about.version,
        "license": {"@id": data.licence.url},
        "creator": [{"@id": _person(n, c.orcid)} for n, c in enumerate(about.creators, 1)],
        "publisher": {"@id": "#publisher"},
        "keywords": ", ".join(dict.fromkeys(about.keywords)),
        "hasPart": [{"@id": part["@id"]} for part in parts],
        "mentions": {"@id": _ACTION},
        **present(
            identifier=f"https://doi.org/{about.doi}" if about.doi else None,
            funder=[{"@id": f"#funder-{n}"} for n, _ in enumerate(about.funding, 1)],
        ),
    }


def _person(number: int, orcid: str) -> str:
    return f"{ORCID_PAGE}{orcid}" if orcid else f"#creator-{number}"


def _files(files: Sequence[Listed]) -> Iterator[dict[str, Any]]:
    """Files, and one `Dataset` for each folder that is an image."""
    images: dict[str, list[Listed]] = {}
    for file in sorted(files, key=lambda f: f.path):
        path = PurePosixPath(file.path)
        image = next((p for p in path.parents if p.suffix == IMAGE), None)
        if image is not None:
            images.setdefault(image.as_posix(), []).append(file)
            continue
        told = {"name": path.name, "contentSize": str(file.size), "sha256": file.sha256}
        yield {"@id": _id(file.path), "@type": "File", "encodingFormat": _format(path), **told}
    for name, own in images.items():
        size = str(sum(f.size for f in own))
        yield {"@id": f"{_id(name)}/", "@type": "Dataset", "name": name, "description": "OME-Zarr 0.5", "contentSize": size}


def _id(path: str) -> str:
    return quote(path, safe="/._-~")


def _format(path: PurePosixPath) -> str:
    return FORMATS.get(path.suffix, "text/plain")


def _document(name: str) -> dict[str, Any]:
    return {"@id": name, "@type": "File", "name": name, "encodingFormat": _format(PurePosixPath(name))}


def _context(data: DataSet) -> Iterator[dict[str, Any]]:
    """Whom and what the root names."""
    about, licence = data.about, data.licence
    for number, c in enumerate(about.creators, 1):
        yield {"@id": _person(number, c.orcid), "@type": "Person", "name": c.name, **present(affiliation=c.affiliation)}
    for number, f in enumerate(about.funding, 1):
        grant = " ".join(filter(None, (f.award, f.title)))
        yield {"@id": f"#funder-{number}", "@type": "Organization", "name": f.funder, **present(description=grant)}
    yield {"@id": "#publisher", "@type": "Organization", "name": about.publisher}
    yield {"@id": licence.url, "@type": "CreativeWork", "name": licence.title, "identifier": licence.spdx}
    yield {"@id": _DARKLUNG, "@type": "SoftwareApplication", "name": "darklung", "version": data.version}
    study = [{"@id": f.path} for f in data.files if f.path.endswith("/study.yaml")]
    done = {"name": f"darklung run of {data.run}", "instrument": {"@id": _DARKLUNG}, "result": {"@id": "./"}}
    yield {"@id": _ACTION, "@type": "CreateAction", **done, **present(object=study)}

"""The files of a sealed benchmark: what is published, what stays with its maker, and what those who take part hand in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from darklung.core.checks import DarklungError, require
from darklung.core.files import read_object, reading
from darklung.core.types import Insertion
from darklung.io.documents import Document, validate
from darklung.io.hdf5 import whole_file
from darklung.io.heaps import check_heaps, walk
from darklung.io.names import CASE
from darklung.io.references import check_alone
from darklung.io.volume_file import DEFLATE_RATIO
from darklung.publish.commitments import LAYERS, CaseTruth, canonical, commitment, content_of, truth_commitment

MANIFEST, CASES = "manifest.json", "cases"
SUBMISSION, MAPS = "submission.json", "maps"
SCORE, REPLICATES = "score.json", "replicates"
FORMAT = 1
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MOST_ABOUT = 1000  # characters
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Name = Annotated[str, Field(pattern=NAME)]


def check_name(name: str, option: str) -> None:
    """Refuse a name of a benchmark or an entry before anything is computed.

    Raises
    ------
    DarklungError
    """
    require(re.fullmatch(NAME, name) is not None, f"{option}: wanted letters, digits, . _ - (100 at most), got {name!r}")


def check_apart(out: Path, benchmark: Path) -> None:
    """Refuse to write into a benchmark, whose files are hashed.

    Raises
    ------
    DarklungError
    """
    inside = out.resolve().is_relative_to(benchmark.resolve())
    require(not inside, f"{out}: lies in the benchmark {benchmark}, whose files are published with their hashes")


class SealedCase(Document):
    """A case of a benchmark: whose it is, the SHA-256 of its files, and the commitment to its truth."""

    animal: Name
    content: Digest
    truth: Digest


class Manifest(Document):
    """``manifest.json`` of a benchmark."""

    darklung_benchmark: Literal[1]
    name: Name
    version: str = Field(description="of darklung, that made it")
    cases: dict[Name, SealedCase] = Field(min_length=1)
    channels: dict[str, str] = Field(description="channel -> unit")
    lung: str = Field(description="where lung and search region come from")
    origin: Digest = Field(description="commitment to the seeds and the study")
    tile_m: float = Field(gt=0)
    specificity: float = Field(gt=0, lt=1)
    replicates: int = Field(ge=100, le=100_000)
    bootstrap_seed: int = Field(ge=0)


class Training(Document):
    """What a submission says it was trained on: SHA-256 of seeds, images and truths (`darklung.publish.commitments`)."""

    sources: tuple[str, ...] = Field((), description="in words, or the names of runs; nothing is known without any")
    seeds: tuple[Digest, ...] = ()
    images: tuple[Digest, ...] = ()
    truths: tuple[Digest, ...] = ()


class Submission(Document):
    """``submission.json``: one entry of a benchmark, as ``darklung benchmark pack`` writes it."""

    darklung_submission: Literal[1]
    name: Name
    about: str = Field("", max_length=MOST_ABOUT)
    benchmark: Digest
    kind: Literal["", "probability", "logit"] = ""
    candidates: bool
    files: dict[str, Digest] = Field(min_length=1, description="case, or table of candidates -> SHA-256 of its map")
    training: Training


class Measured(Document):
    """A metric of a score; None where it is not defined."""

    title: str
    value: float | None
    low: float | None
    high: float | None
    higher_is_better: bool


class Score(Document):
    """``score.json``: what came of a submission. Nothing of the truth of a single case is in it."""

    darklung_score: Literal[1]
    benchmark: Digest
    submission: Digest
    name: Name
    about: str
    trained_on: tuple[str, ...]
    scored: str
    version: str
    animals: int = Field(ge=1)
    metrics: dict[str, Measured]
    replicates: Digest


@dataclass(frozen=True)
class Secret:
    """What is hidden of one case: its truth, the salt of its commitment, its name before, and the seed of its animal."""

    truth: CaseTruth
    salt: bytes
    was: str
    seed: str


@dataclass(frozen=True)
class Seal:
    """What stays with the maker.

    Parameters
    ----------
    cases : mapping name -> Secret
    salt : bytes
        Of the commitment to `origin`.
    origin : mapping
        Plain JSON: the seed and the study that the cases were made from.
    """

    cases: Mapping[str, Secret]
    salt: bytes
    origin: Mapping[str, Any]

    def origin_commitment(self) -> str:
        """That of the seeds and the study."""
        seeds = {name: secret.seed for name, secret in self.cases.items()}
        return commitment(self.salt, (canonical({"origin": dict(self.origin), "seeds": seeds}),))


def read_json_as(path: Path, model: Any) -> Any:
    """A JSON file as one of the documents above."""
    return validate(read_object(path), model, str(path))


def open_benchmark(folder: Path) -> tuple[Manifest, str]:
    """A benchmark whose cases are what was published, and its identity, the SHA-256 of the manifest.

    Raises
    ------
    DarklungError
        No benchmark, or cases that are missing, more, or changed: one line that names the first.
    """
    path = folder / MANIFEST
    require(path.is_file(), f"{folder}: wanted a benchmark (a folder with {MANIFEST})")
    manifest: Manifest = read_json_as(path, Manifest)
    found = {p.parent.name for p in (folder / CASES).glob(f"*/{CASE}")}
    for name in sorted({*found, *manifest.cases}):
        place = folder / CASES / name
        require(name in found, f"{place}: is missing; wanted all {len(manifest.cases)} cases of {path}")
        require(name in manifest.cases, f"{place}: is no case of {path}")
        same = content_of(place) == manifest.cases[name].content
        require(same, f"{place}: is not the case that was published (its SHA-256 is another than in {path})")
    return manifest, content_of(path)


def write_seal(path: Path, seal: Seal) -> None:
    """Write the seal as HDF5: one group a case with the layers of its truth."""
    with whole_file(path) as file:
        file.attrs["darklung_seal"] = FORMAT
        file.attrs["salt"] = seal.salt.hex()
        file["origin"] = _as_bytes(dict(seal.origin))
        for name, secret in seal.cases.items():
            group = file.create_group(f"cases/{name}")
            group.attrs.update({"salt": secret.salt.hex(), "was": secret.was, "seed": secret.seed})
            group["insertions"] = _as_bytes([asdict(i) for i in secret.truth.insertions])
            for layer in LAYERS:
                values = getattr(secret.truth, layer).astype(LAYERS[layer])
                group.create_dataset(layer, data=values, compression="gzip", fletcher32=True)


def read_seal(path: Path) -> Seal:
    """Read a seal.

    Raises
    ------
    DarklungError
        No seal, of another version, or damaged.
    """
    import h5py

    require(path.is_file(), f"{path}: no such file; wanted the seal of a benchmark")
    with reading(path, "the seal of a benchmark"):
        check_heaps(path)
        with h5py.File(path, "r") as file:
            check_alone(file)
            version = file.attrs.get("darklung_seal")
            require(version == FORMAT, f"{path}: wanted a seal of darklung, format {FORMAT}, got {version!r}")
            _check_stored(file)
            origin = _from_bytes(file["origin"])
            cases = {str(name): _secret(group) for name, group in file["cases"].items()}
            return Seal(cases, bytes.fromhex(file.attrs["salt"]), origin)


def _check_stored(file: Any) -> None:
    """Refuse data sets that say to be larger than what is stored of them can hold, before memory is taken for them."""

    for name, item in walk(file):
        size = getattr(item, "nbytes", 0)
        stored = item.id.get_storage_size() if size else 0
        held = size <= 2 * DEFLATE_RATIO * stored
        require(held, f"{file.filename}: {name}: says to hold {size} bytes, {stored} are stored")


def _as_bytes(value: Any) -> Any:
    """JSON as bytes of a dataset, which lie in no heap."""
    return np.frombuffer(canonical(value), dtype=np.uint8)


def _from_bytes(stored: Any) -> Any:
    return json.loads(stored[()].astype(np.uint8).tobytes())


def _secret(group: Any) -> Secret:
    rows = _from_bytes(group["insertions"])
    things = tuple(Insertion(**{**row, "center_m": tuple(row["center_m"])}) for row in rows)
    labels, instances, hard = (group[layer][()] for layer in LAYERS)
    truth = CaseTruth(labels.astype(np.uint8), instances.astype(np.uint16), hard.astype(bool), things)
    return Secret(truth, bytes.fromhex(group.attrs["salt"]), str(group.attrs["was"]), str(group.attrs["seed"]))


def check_opening(manifest: Manifest, seal: Seal, *, where: str) -> None:
    """Hold a seal to the published commitments, so that the truth is the one that was there before anybody predicted.

    Raises
    ------
    DarklungError
        Other cases, or a truth or an origin that a commitment is not of.
    """
    same = set(seal.cases) == set(manifest.cases)
    require(same, f"{where}: is the seal of other cases ({len(seal.cases)}; the benchmark has {len(manifest.cases)})")
    for name, secret in seal.cases.items():
        known = manifest.cases[name]
        found = truth_commitment(secret.salt, name, known.content, secret.truth)
        require(found == known.truth, f"{where}: the truth of {name} is not the one that was committed to")
    opened = seal.origin_commitment() == manifest.origin
    require(opened, f"{where}: seeds and study are not those that were committed to")


def open_submission(folder: Path, manifest: Manifest, benchmark: str) -> tuple[Submission, dict[str, Path]]:
    """A submission whose files are those that were packed, and the map of each case (or ``""`` -> table of candidates).

    Raises
    ------
    DarklungError
        Of another benchmark; files that are missing, more, or changed; or cases that are missing or unknown.
    """
    path = folder / SUBMISSION
    require(path.is_file(), f"{folder}: wanted a submission (darklung benchmark pack makes one, with {SUBMISSION} in it)")
    found: Submission = read_json_as(path, Submission)
    require(found.benchmark == benchmark, f"{path}: was packed for another benchmark")
    files: dict[str, Path] = {}
    there = {p.name: p for p in (folder / MAPS).iterdir()} if (folder / MAPS).is_dir() else {}
    for name, digest in found.files.items():
        place = there.pop(name, None)
        if place is None:
            raise DarklungError(f"{folder / MAPS}: {name} is missing")
        require(content_of(place) == digest, f"{place}: was changed after it was packed")
        case = "" if found.candidates else name.partition(".")[0]
        require(case not in files, f"{path}: two maps of {case or 'all cases'}")
        files[case] = place
    require(not there, f"{folder / MAPS}: {', '.join(sorted(there)[:5])} is not in {path}")
    if not found.candidates:
        check_subjects(set(files), manifest, where=str(path))
    return found, files


def check_subjects(found: set[str], manifest: Manifest, *, where: str) -> None:
    """Refuse predictions that are not of exactly the benchmark's cases."""
    unknown, missing = sorted(found - set(manifest.cases)), sorted(set(manifest.cases) - found)
    require(not unknown, f"{where}: {', '.join(unknown[:5])} is no case of the benchmark")
    require(not missing, f"{where}: {', '.join(missing[:5])} is missing; wanted a map of every case")

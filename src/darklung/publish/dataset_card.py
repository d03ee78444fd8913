"""``README.md`` of a deposit: a data-set card, with a YAML head as Hugging Face's hub reads it.

Keys: https://huggingface.co/docs/hub/datasets-cards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from darklung.publish.columns import FLAGS
from darklung.publish.croissant import cited
from darklung.publish.dataset import SUMS, DataSet
from darklung.publish.head import yaml_head
from darklung.publish.markdown import escaped, table
from darklung.publish.tables import CSV, DICTIONARY

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGER = "n>1M"
TASKS = ("image-segmentation",)
FOLDERS = {
    "tables": "tables, each as CSV and as Parquet",
    "images": "a folder a subject: OME-Zarr (and NIfTI where it was asked for), and what is known of the case",
    "models": "trained networks (safetensors) with their cards",
    "run": "the study, its record and one of each task (versions, machine, SHA-256), and the comparison",
}


def dataset_card(data: DataSet) -> str:
    """The card; text of other people's files cannot become markup."""
    about = data.about
    people = ((c.name, c.orcid or "none", c.affiliation or "") for c in about.creators)
    parts = [
        f"# {escaped(about.title)}",
        "\n\n".join(escaped(part) for part in about.description.split("\n\n")),
        f"## Who\n\n{table(('name', 'ORCID', 'affiliation'), people)}",
        f"Cite as: {escaped(cited(data))}",
        f"Licence: {escaped(data.licence.title)} ({escaped(data.licence.spdx)}), {escaped(data.licence.url)}.",
        *_funding(data),
        f"## What is simulated\n\n{table(('synthetic_flag', 'meaning', 'subjects'), _flags(data))}",
        "\n".join(f"- {escaped(line)}" for line in data.statement),
        f"## What is where\n\n{table(('folder', 'holds', 'files', 'MB'), _folders(data))}",
        f"`{DICTIONARY}` has a line for every column of every table, every quantity and every channel of the images.",
        f"## Tables\n\n{table(('table', 'rows', 'columns'), _tables(data))}",
        f"## Channels\n\n{table(('images', 'channel', 'unit', 'what it is'), _channels(data))}",
        "## Checking and repeating",
        f"`sha256sum -c {SUMS}` reads every file; `darklung verify FOLDER` holds the tables to the dictionary too; "
        "`darklung reproduce FOLDER` runs the study again and compares its results.",
        f"Computed by darklung {escaped(data.version)}.",
    ]
    return head(data) + "\n" + "\n\n".join(parts) + "\n"


def head(data: DataSet) -> str:
    """The YAML head."""
    rows = max(data.rows.values(), default=0)
    configs = [
        {"config_name": name.rpartition("/")[2], "data_files": f"{name}{CSV}", **({"default": True} if i == 0 else {})}
        for i, name in enumerate(data.rows)
    ]
    content: dict[str, Any] = {
        "pretty_name": data.about.title,
        "license": data.licence.hub,
        "task_categories": list(TASKS),
        "tags": list(dict.fromkeys(data.about.keywords)),
        "size_categories": [next((name for most, name in SIZES if rows < most), LARGER)],
        "configs": configs,
    }
    return yaml_head(content)


def _funding(data: DataSet) -> Iterator[str]:
    if data.about.funding:
        rows = ((f.funder, f.award or "", f.title or "") for f in data.about.funding)
        yield f"## Funding\n\n{table(('funder', 'grant', 'title'), rows)}"


def _flags(data: DataSet) -> Iterator[tuple[Any, ...]]:
    yield from ((name, told, data.flags.get(name, 0)) for name, told in FLAGS.items())


def _folders(data: DataSet) -> Iterator[tuple[Any, ...]]:
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for file in data.files:
        top = file.path.partition("/")[0]
        sizes[top] += file.size
        counts[top] += 1
    yield from ((name, told, counts[name], sizes[name] / 1e6) for name, told in FOLDERS.items() if counts[name])


def _tables(data: DataSet) -> Iterator[tuple[Any, ...]]:
    yield from ((name, count, [f.name for f in data.columns(name)]) for name, count in data.rows.items())


def _channels(data: DataSet) -> Iterator[tuple[Any, ...]]:
    yield from ((f.table, f.name, f.unit, f.description) for f in data.fields if f.kind == "channel")

"""One self-contained HTML file: opens from a folder, asks the network for nothing, reads without JavaScript."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path

from darklung.core.checks import require
from darklung.core.files import write_text
from darklung.report.blocks import Block, Details, Row, Section, Viewer, anchor, number, render_section

ASSET = "niivue.js"  # fetched by `make viewer` and by the wheel's build, never in the repository


def _asset(name: str) -> str:
    return resources.files("darklung.report").joinpath(name).read_text(encoding="utf-8")


def write_report(
    path: Path,
    *,
    title: str,
    summary: Mapping[str, str | int | float | None],
    sections: Sequence[Section],
    subtitle: str = "",
    footer: str = "",
) -> Path:
    """Write the report to `path` in one piece (a reader sees the old file or the whole new one).

    Parameters
    ----------
    path : Path
        The ``.html`` file; its folder must exist.
    title, subtitle : str
    summary : mapping
        Short facts under the title, such as ``{"Subjects": 40, "Scan time": "24.8 min"}``.
    sections : sequence of Section
        In reading order; titles differ.
    footer : str

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    DarklungError
        Two sections share a title, or the folder is missing.
    """
    require(path.parent.is_dir(), f"report: no folder {path.parent}")
    text = page(title=title, summary=summary, sections=sections, subtitle=subtitle, footer=footer)
    write_text(path, text)
    return path


def page(
    *,
    title: str,
    summary: Mapping[str, str | int | float | None],
    sections: Sequence[Section],
    subtitle: str = "",
    footer: str = "",
) -> str:
    """The report's HTML text; see `write_report`."""
    anchors = [anchor(s.title) for s in sections]
    require(len(set(anchors)) == len(anchors), f"report: section titles must differ, got {[s.title for s in sections]}")
    facts = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(_fact(v))}</dd></div>" for k, v in summary.items())
    links = "".join(f'<a href="#{a}">{escape(s.title)}</a>' for a, s in zip(anchors, sections))
    body = "\n".join(render_section(s) for s in sections)
    style, names = _asset("style.css"), ["slider.js"]
    licence = ""
    if any(_holds_viewer(s.blocks) for s in sections):
        names += [ASSET, "viewer.js"]
        licence = f"<!--\n{_asset('niivue_licence.txt')}-->"
    scripts = [_asset(name) for name in names]
    # These scripts may run by their hashes, everything else that would load or run is refused.
    allowed = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"
    loaded = "\n".join(f"<script>{script}</script>" for script in scripts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header><div><h1>{escape(title)}</h1><p class="subtitle">{escape(subtitle)}</p><dl class="facts">{facts}</dl></div></header>
<nav aria-label="Sections"><div>{links}</div></nav>
<main>
{body}
</main>
<footer>{escape(footer)}</footer>
{licence}
{loaded}
</body>
</html>
"""


def _holds_viewer(blocks: Sequence[Block]) -> bool:
    return any(isinstance(b, Viewer) or (isinstance(b, (Row, Details)) and _holds_viewer(b.blocks)) for b in blocks)


def _fact(value: str | int | float | None) -> str:
    return value if isinstance(value, str) else number(value)

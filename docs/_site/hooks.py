"""What the site needs beyond mkdocs: pages that are made, files beside docs/ that pages link to, Markdown as on GitHub."""

from __future__ import annotations

import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
from reference import api_page, commands_page

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(\]\()([^)\s]+)")
INCLUDED = re.compile(r"<!-- from README.md: (.+?) -->.*?<!-- end -->", re.DOTALL)
OPTION = re.compile(r"<code>(--?\w[^<]{0,20})</code>")
FENCE = re.compile(r"^\s*```")
ITEM = re.compile(r"^(?:[-*]|\d+\.) ")
MADE = {"reference/commands.md": commands_page, "reference/api.md": api_page}
BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
START = "index.md"  # has the README's sections, and is linked to in its place


def anchor(text: str, separator: str) -> str:
    """A heading's anchor as GitHub makes it, so that links hold in both."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", separator)


def on_config(config: Any) -> Any:
    """Anchors as on GitHub."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = anchor
    return config


def section(title: str) -> str:
    """A section of the README without its heading, its links as from docs/."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", (ROOT / "README.md").read_text(), re.M | re.S)
    if found is None:
        raise ValueError(f"README.md has no section '{title}'")
    return LINK.sub(lambda m: m[0] if ":" in m[2] or m[2].startswith("#") else f"{m[1]}../{m[2]}", found[1]).strip()


def with_included(text: str) -> str:
    """A page with the sections of the README that it asks for."""
    return INCLUDED.sub(lambda m: section(m[1]), text)


def targets(text: str, place: str) -> list[str]:
    """Paths from the repository's root that a page at `place` (from the root) links to."""
    links = [target.partition("#")[0] for _, target in LINK.findall(with_included(text)) if ":" not in target]
    paths = [posixpath.normpath(posixpath.join(posixpath.dirname(place), link)) for link in links if link]
    return [path for path in paths if path != "README.md"]


def listing(folder: Path) -> str:
    """A page of a folder's files, each in full."""
    parts = [f"# {folder.relative_to(ROOT)}\n"]
    for file in sorted(folder.glob("*.yaml")):
        parts.append(f"## {file.name}\n\n```yaml\n{file.read_text()}```\n")
    return "\n".join(parts)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and what lies beside docs/ and is linked to."""
    for name, make in MADE.items():
        files.append(File.generated(config, name, content=make()))
    docs = Path(config.docs_dir)
    waiting = [f"docs/{f.src_uri}" for f in files.documentation_pages() if (docs / f.src_uri).is_file()]
    waiting += BESIDE
    seen = set(waiting)
    while waiting:
        place = waiting.pop()
        if not place.startswith("docs/"):
            files.append(beside(place, config))
        if place.endswith(".md") and (ROOT / place).is_file():
            linked = [
                t for t in targets((ROOT / place).read_text(), place) if not t.startswith((".", "docs/")) and t not in seen
            ]
            waiting += (new := list(dict.fromkeys(linked)))
            seen |= set(new)
    return files


def beside(place: str, config: Any) -> File:
    """A file or a folder beside docs/ as a file of the site."""
    path = ROOT / place
    if path.is_dir() and not (path / "README.md").is_file():
        return File.generated(config, f"{place}/README.md", content=listing(path))
    name = f"{place}/README.md" if path.is_dir() else place
    return File.generated(config, name, abs_src_path=str(ROOT / name))


def moved(target: str, source: str, files: Files) -> str:
    """A link as the site has it: out of docs/ to what was put beside its pages."""
    place, mark, rest = target.partition("#")
    if not place or ":" in target:
        return target
    at_root = source if files.get_file_from_path(source) and not (ROOT / "docs" / source).exists() else f"docs/{source}"
    found = posixpath.normpath(posixpath.join(posixpath.dirname(at_root), place)).removeprefix("docs/")
    found = START if found == "README.md" else found
    if (ROOT / found).is_dir() and files.get_file_from_path(f"{found}/README.md"):
        found += "/README.md"
    return posixpath.relpath(found, posixpath.dirname(source) or ".") + mark + rest


def as_on_github(text: str) -> str:
    """Lists and tables may follow a line of text at once, and what belongs to an item need not stand four blanks in."""
    lines: list[str] = []
    fenced, inset = False, 0
    for line in text.splitlines():
        before = lines[-1] if lines else ""
        item = ITEM.match(line)
        begins = (item and not inset) or (line.startswith("|") and not before.startswith("|"))
        if begins and not fenced and before.strip() and not before.startswith((" ", "#")):
            lines.append("")
        if not fenced and line.strip() and not line.startswith(" "):
            inset = len(item[0]) if item else 0
        fenced ^= bool(FENCE.match(line))
        belongs = inset and line.startswith(" " * inset)
        lines.append(f"{' ' * (4 - inset)}{line}" if belongs else line)
    return "\n".join(lines)


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """A page as the site has it."""
    if page.file.src_uri in MADE:
        return markdown
    text = with_included(markdown)
    return as_on_github(LINK.sub(lambda m: m[1] + moved(m[2], page.file.src_uri, files), text))


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Options in text get a class, so that none is broken behind its dashes (stylesheets/site.css)."""
    return OPTION.sub(r'<code class="option">\1</code>', html)


def on_post_build(config: Any) -> None:
    """Refuse a site that would ask another machine for anything: scripts, styles, fonts and pictures are its own."""
    source = r"<(?:script|img|iframe|source)[^>]*\ssrc|<link(?![^>]*canonical)[^>]*\shref"
    foreign = re.compile(rf'(?:{source})="?(?:https?:)?//[^">]+', re.I)
    for page in Path(config.site_dir).rglob("*.html"):
        if found := foreign.search(page.read_text(encoding="utf-8")):
            raise SystemExit(f"{os.path.relpath(page, config.site_dir)}: asks another machine: {found[0]}")

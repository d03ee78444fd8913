"""Tags a release, after checking that everything says its version.

    python tools/release.py 0.2.0            tell what is missing, or what would be tagged
    python tools/release.py 0.2.0 --tag      make the annotated tag v0.2.0, with the changelog's section as its text

Nothing is pushed, built or uploaded. All that is missing is told at once, a line each.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

# Where the version stands, as the text before and after it.
PLACES = {
    "src/darklung/__init__.py": r'^__version__ = "(.*)"$',
    "CITATION.cff": r"^version: (.*)$",
    "recipe/recipe.yaml": r"^  version: (\d.*)$",
}
FORM = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


def main() -> None:
    """One line a mistake and exit 1; or the tag, or what it would be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="X.Y.Z, without v.")
    parser.add_argument("--tag", action="store_true", help="Make the tag; without, only look.")
    given = parser.parse_args()
    root = Path(git(Path.cwd(), "rev-parse", "--show-toplevel").strip())
    if mistakes := missing(root, given.version):
        sys.exit("\n".join(mistakes))
    name, text = f"v{given.version}", section((root / "CHANGELOG.md").read_text(), given.version)[1]
    if given.tag:
        # Headings of the changelog begin with #, which git would drop as comments.
        git(root, "tag", "--annotate", "--cleanup=verbatim", "--message", f"darklung {given.version}\n\n{text}\n", name)
        print(f"{name} is on {git(root, 'rev-parse', '--short', 'HEAD').strip()}; git push origin {name} publishes it")
    else:
        print(f"{name} would be on {git(root, 'rev-parse', '--short', 'HEAD').strip()}; --tag makes it")


def missing(root: Path, version: str) -> list[str]:
    """What keeps this commit from being that release."""
    if not FORM.fullmatch(version):
        return [f"version: wanted X.Y.Z, got {version!r}"]
    found = [*written(root, version), *logged((root / "CHANGELOG.md").read_text(), version)]
    if changed := git(root, "status", "--porcelain").splitlines():
        found.append(f"{changed[0][3:]}: wanted a clean tree, got {len(changed)} changed or new files")
    tags = [tuple(map(int, t[1:].split("."))) for t in git(root, "tag").split() if t[0] == "v" and FORM.fullmatch(t[1:])]
    if tags and tuple(map(int, version.split("."))) <= max(tags):
        found.append(f"version: wanted one after v{'.'.join(map(str, max(tags)))}, got {version}")
    return found


def written(root: Path, version: str) -> list[str]:
    """Files that say another version."""
    found = {place: re.findall(form, (root / place).read_text(), flags=re.M) for place, form in PLACES.items()}
    return [
        f"{place}: wanted version {version}, got {', '.join(got) or 'none'}"
        for place, got in found.items()
        if got != [version]
    ]


def logged(text: str, version: str) -> list[str]:
    """What the changelog lacks: a dated section with something in it, and nothing left under Unreleased."""
    day, told = section(text, version)
    found = []
    if not told:
        found.append(f"CHANGELOG.md: wanted a section '## {version} - YYYY-MM-DD' with what changed")
    elif not is_day(day):
        found.append(f"CHANGELOG.md: wanted '## {version} - YYYY-MM-DD', got {day!r} for the day")
    if section(text, "Unreleased")[1]:
        found.append(f"CHANGELOG.md: wanted nothing under Unreleased, which belongs to {version} now")
    return found


def section(text: str, name: str) -> tuple[str, str]:
    """Day and text of a section of the changelog; empty if there is none."""
    found = re.search(rf"^## {re.escape(name)}(?: - ([^\n]*))?$\n(.*?)(?=^## |\Z)", text, flags=re.M | re.S)
    return (found[1] or "", found[2].strip()) if found else ("", "")


def is_day(text: str) -> bool:
    """Whether it is a day as 2026-11-29."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def git(root: Path, *words: str) -> str:
    """What git says; its own words where it refuses."""
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip())
    return done.stdout


if __name__ == "__main__":
    main()

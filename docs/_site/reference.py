"""Pages made of the package itself when the site is built: every command with its options, every public name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

import darklung
from darklung.commands.cli import app

PLAIN = re.compile(r"([\\`*_{}\[\]<>|#])")


def plain(text: str) -> str:
    """Text in one line that is no markup."""
    return PLAIN.sub(r"\\\1", " ".join(text.split()))


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that runs, with its full name, in the order of the help."""
    for sub, found in getattr(command, "commands", {}).items():
        yield from leaves(found, f"{name} {sub}")
    if not getattr(command, "commands", {}):
        yield name, command


def rows(command: Any) -> list[str]:
    """Rows of a command's arguments and options."""
    told = []
    for part in command.params:
        is_argument = part.param_type_name == "argument"
        names = part.name.upper() if is_argument else ", ".join([*part.opts, *part.secondary_opts])
        default = "" if part.default is None or part.required or callable(part.default) else str(part.default)
        needed = "needed" if part.required else "" if default in ("False", "[]", "") else f"`{default}`"
        kind = (
            "flag" if getattr(part, "is_flag", False) else "again for more" if getattr(part, "multiple", False) else "value"
        )
        told.append(f"| `{names}` | {kind} | {needed} | {plain(part.help or '')} |")
    return told


def commands_page() -> str:
    """All commands of ``darklung``, one section each."""
    lines = ["# Commands", "", "Made of the program's own help (`darklung COMMAND --help`) when this site was built.", ""]
    for name, command in leaves(get_command(app), "darklung"):
        lines += [f"## {name}", "", plain(command.help or ""), ""]
        lines += ["| argument | kind | default | |", "|---|---|---|---|", *rows(command), ""]
    return "\n".join(lines)


def api_page() -> str:
    """The functions and types of ``import darklung``, by their docstrings."""
    lines = ["# Python", "", "What `import darklung` gives, made of the docstrings when this site was built.", ""]
    names = [n for n in darklung.__all__ if n != "__version__"]
    for title, some in (("Functions", [n for n in names if n.islower()]), ("Types", [n for n in names if not n.islower()])):
        lines += [f"## {title}", ""]
        for name in some:
            found = getattr(darklung, name)
            lines += [f"::: {found.__module__}.{found.__qualname__}", "    options:", f"      heading: darklung.{name}", ""]
    return "\n".join(lines)

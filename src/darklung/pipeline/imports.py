"""What a module really imports, found by reading its source; nothing is executed.

The grain is the module: ``from package.module import name`` makes the whole of ``package.module`` count. Imports inside
functions count, those under ``if TYPE_CHECKING`` do not. A quoted text that names a module or a function
(``"darklung.learn.losses:dice"``, as in the tables of short names) counts as an import, one that names a file beside the
module as a part of it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import site
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import darklung
from darklung.core.checks import DarklungError
from darklung.pipeline.contents import file_hash, remembered

PACKAGE = Path(darklung.__file__).parent
# Runs the steps and computes nothing of theirs; a change of it that matters to outputs raises folder.FORMAT.
MACHINERY = "pipeline"
# A quoted module, module:function or file name: it has a dot or a colon.
_QUOTED = re.compile(r"""["']([\w-]+(?:\.[\w-]+)*)(:[\w{}]*)?["']""")


@dataclass(frozen=True)
class Source:
    """One file as the scan sees it: hash, (level, module, names) of its imports, and quoted texts that may be names."""

    digest: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]
    quoted: tuple[str, ...]


def scan(path: Path) -> Source:
    """The imports of one file, remembered until it changes.

    Raises
    ------
    DarklungError
        It cannot be read, or is no Python.
    """
    return remembered(path, _scan)


def _scan(path: Path) -> Source:
    try:
        content = path.read_bytes()
        tree = ast.parse(content)
    except SyntaxError as error:
        raise DarklungError(f"{path}, line {error.lineno}: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise DarklungError(f"{path}: cannot be read as Python ({error})") from error
    found = _QUOTED.findall(content.decode(errors="replace"))
    quoted = dict.fromkeys(name for name, colon in found if colon or "." in name)
    return Source(hashlib.sha256(content).hexdigest(), tuple(_imports(tree.body)), tuple(quoted))


def _imports(statements: Sequence[ast.AST]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Of these statements and all inside them; expressions hold no imports and are not looked at."""
    for node in statements:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.If) and _for_types(node.test):
            yield from _imports(node.orelse)
        else:
            for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                inside = getattr(node, part, None)
                if isinstance(inside, list):
                    yield from _imports(inside)


def _for_types(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


class Sources:
    """Versions of modules by the source of all that they reach.

    What counts: the package (apart from its `MACHINERY`), and modules of the user, which are those that lie neither in the
    standard library nor in a folder of installed packages. A module of an installed distribution counts by the hashes that
    were noted when it was installed, if a plug-in itself, and not at all if imported. Python runs the ``__init__`` of every
    package that an import passes through; of the user's packages they count, of ours not, since they only hold names.

    Parameters
    ----------
    package : Path
        Folder of darklung's source.
    folders : sequence of str, optional
        Where modules are looked for; ``sys.path`` by default.
    """

    def __init__(self, package: Path = PACKAGE, folders: Sequence[str] | None = None) -> None:
        self.package = package
        self.folders = [Path(f or ".").absolute() for f in (sys.path if folders is None else folders)]
        self._installed = _installed_folders()
        self._places: dict[str, list[Path]] = {}
        self._files: dict[str, Path | None] = {}
        self._edges: dict[str, tuple[str, ...]] = {}
        self._versions: dict[str, str | None] = {}

    def version(self, module: str) -> str | None:
        """SHA-256 over the source that a module reaches; None if there is no such module."""
        if module not in self._versions:
            self._versions[module] = self._version(module)
        return self._versions[module]

    def _version(self, module: str) -> str | None:
        top = module.split(".")[0]
        if top in sys.stdlib_module_names:
            return f"python:{top}"
        if self.file(module) is None:
            return None
        if not self._counts(module):
            return _installed_version(top)
        digest = hashlib.sha256()
        for name, file in sorted(self.reached(module).items()):
            digest.update(f"{name} {scan(file).digest if file.suffix == '.py' else file_hash(file)}\n".encode())
        return digest.hexdigest()

    def reached(self, module: str) -> dict[str, Path]:
        """The module and all that counts of what it imports, transitively: name -> file (``name/file`` of data files)."""
        found: dict[str, Path] = {}
        pending = [module, *self._parents(module)]
        while pending:
            name = pending.pop()
            file = None if name in found or not self._counts(name) else self.file(name)
            if file is not None:
                found[name] = file
                for word in scan(file).quoted:
                    if not word.endswith(".py") and "." in word and (data := file.with_name(word)).is_file():
                        found[f"{name}/{word}"] = data
                pending += self.imported(name)
        return found

    def imported(self, module: str) -> tuple[str, ...]:
        """Modules that count among those that one module imports itself."""
        if module not in self._edges:
            names = [n for found in self._named(module) if self._counts(found) for n in (found, *self._parents(found))]
            self._edges[module] = tuple(dict.fromkeys(names))
        return self._edges[module]

    def _named(self, module: str) -> Iterator[str]:
        file = self.file(module)
        if file is None:
            return
        source = scan(file)
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        for level, base, names in source.imports:
            if level:
                above = package.split(".")[: len(package.split(".")) - level + 1]
                base = ".".join([*above, base] if base else above)
            if not names:
                yield base
            elif self._counts(base):
                for name in names:
                    inner = f"{base}.{name}"
                    yield inner if self.file(inner) else base
        yield from (w for w in source.quoted if self._counts(w) and self.file(w))

    def file(self, module: str) -> Path | None:
        """The file of a module, found by its path; None where there is none (a namespace package, a compiled module)."""
        if module not in self._files:
            top, *rest = module.split(".")
            stems = [place.joinpath(*rest) for place in self._find(top)]
            candidates = [c for s in stems for c in (s / "__init__.py", s.parent / f"{s.name}.py")]
            self._files[module] = next((c for c in candidates if c.is_file()), None)
        return self._files[module]

    def _find(self, top: str) -> list[Path]:
        """Where a top-level module or package lies (without its suffix); a namespace package in several places."""
        if top not in self._places:
            self._places[top] = [self.package] if top == self.package.name else self._look_for(top)
        return self._places[top]

    def _look_for(self, top: str) -> list[Path]:
        if top in sys.stdlib_module_names or not top.isidentifier():
            return []
        spread = []
        for folder in self.folders:
            place = folder / top
            if (place / "__init__.py").is_file() or place.with_suffix(".py").is_file():
                return [place]
            if place.is_dir():
                spread.append(place)
        return spread or _by_finders(top)

    def _counts(self, module: str) -> bool:
        top, _, rest = module.partition(".")
        if top == self.package.name:
            return rest.split(".")[0] != MACHINERY
        places = self._find(top)
        return bool(places) and places[0].parent not in self._installed

    def _parents(self, module: str) -> list[str]:
        parts = module.split(".")
        if parts[0] == self.package.name:
            return []
        return [".".join(parts[:n]) for n in range(1, len(parts))]


def _by_finders(top: str) -> list[Path]:
    """A top-level module that no folder of the path holds, such as a package installed for editing."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return [Path(p) for p in spec.submodule_search_locations]
    return [Path(spec.origin).with_suffix("")] if spec.has_location and spec.origin else []


def _installed_folders() -> set[Path]:
    """Where the standard library and installed distributions lie, also what ``pip install --target`` filled."""
    paths = sysconfig.get_paths()
    names = [paths[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")]
    return {Path(n) for n in (*names, *site.getsitepackages(), site.getusersitepackages(), *_filled(tuple(sys.path)))}


@cache
def _filled(path: tuple[str, ...]) -> tuple[str, ...]:
    """Folders of the path in which an installer left what it installed."""
    return tuple(folder for folder in path if folder and any(Path(folder).glob("*.dist-info/RECORD")))


def _installed_version(top: str) -> str:
    """Hash of the lists of file hashes that the installer of a distribution wrote."""
    digest = hashlib.sha256()
    for name in sorted(set(metadata.packages_distributions().get(top, ()))):
        found = metadata.distribution(name)
        digest.update(f"{name} {found.version} {found.read_text('RECORD') or ''}\n".encode())
    return digest.hexdigest()

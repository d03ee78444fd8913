"""Plug-ins: a function named in the study file, by its short name or as ``package.module:function``."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, require

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_PASSED_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def is_plugin(name: str) -> bool:
    """Whether a name stands for a function of the user's, which is code that is imported."""
    return ":" in name


def resolve(seam: str, name: str, known: Mapping[str, str]) -> Callable[..., Any]:
    """Import the function that `name` stands for.

    Parameters
    ----------
    seam : str
        What it is for ("network", "loss", ...), for the error line.
    name : str
        A key of `known`, or ``package.module:function``.
    known : mapping
        Short name -> ``package.module:function``.

    Raises
    ------
    DarklungError
        Neither known nor importable, whatever the module raises, or not a function.
    """
    target = known.get(name, name)
    module_name, _, attribute = target.partition(":")
    if not attribute:
        raise DarklungError(f"{seam}: {name!r} is not known; known: {', '.join(sorted(known))}, or package.module:function")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # a user's module may raise anything when it is imported
        raise DarklungError(f"{seam}: {name!r} cannot be imported ({_one_line(error)})") from error
    if not callable(found):
        raise DarklungError(f"{seam}: {name!r} is no function but of type {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {text}"


def named_parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Parameters of a function that can be given by name; none of one that does not tell."""
    try:
        return tuple(p.name for p in inspect.signature(function).parameters.values() if p.kind in _PASSED_BY_NAME)
    except (ValueError, TypeError):  # compiled functions may not tell
        return ()


def check_options(
    seam: str,
    function: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    passed: Collection[str] = (),
    positional: int = 0,
) -> None:
    """Raise unless `function` takes every one of `options`, and needs no other.

    Parameters
    ----------
    seam : str
        What the function is and its name, such as ``"network my_unet"``, for the error line.
    function : callable
        Its parameters apart from those below are its options. With ``**options`` it takes any.
    options : mapping
        What the study file sets.
    passed : collection of str
        Parameters that the seam always gives by name, which are therefore no options.
    positional : int
        How many parameters the seam gives by position.

    Raises
    ------
    DarklungError
        One line: an unknown option with the known ones, one that is missing, a value that is not of the default's type, or
        a function that does not take what the seam passes.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError):  # compiled functions may not tell
        return
    places = sum(p.kind in _BY_PLACE for p in parameters.values())
    takes = places >= positional or any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    require(takes, f"{seam}: wanted a function of {positional} arguments, it takes {places}")
    named = [p for p in list(parameters.values())[positional:] if p.kind in _PASSED_BY_NAME]
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in passed:
        require(anything or any(p.name == name for p in named), f"{seam}: wanted a function that takes {name!r}")
    known = {p.name: p.default for p in named if p.name not in passed}
    for name, value in options.items():
        if name not in known:
            told = ", ".join(sorted(known)) or "none"
            require(anything and name not in passed, f"option of {seam}: {name!r} is not known; known: {told}")
            continue
        require(_fits(value, known[name]), f"option {name} of {seam}: wanted a value such as {known[name]!r}, got {value!r}")
    missing = [n for n, default in known.items() if default is inspect.Parameter.empty and n not in options]
    require(not missing, f"option of {seam}: {', '.join(missing)} missing, wanted a value for each")


def _fits(value: Any, default: Any) -> bool:
    """Whether a value from YAML can stand for a default: lists for tuples, whole numbers for numbers."""
    if default is None or default is inspect.Parameter.empty:
        return True
    also: dict[type, tuple[type, ...]] = {float: (float, int), tuple: (tuple, list)}
    return type(value) in also.get(type(default), (type(default),))


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Modules in `folder` (that of the study file) can be imported, after those that are installed.

    They come last, so that no file beside somebody's study takes the place of a library. Processes started meanwhile find
    them too. Afterwards the folder's own modules are forgotten, so that another study's
    module of the same name, or an edited one, is read anew.

    Parameters
    ----------
    folder : Path
    """
    entry = str(folder.resolve())
    before = set(sys.modules)
    sys.path.append(entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(entry)
        for name in set(sys.modules) - before:
            if _lies_in(name, Path(entry)):
                del sys.modules[name]


def _lies_in(name: str, folder: Path) -> bool:
    """Whether a module's top-level package or file lies directly in the folder (not in an environment somewhere below)."""
    top = name.partition(".")[0]
    module = sys.modules[name]
    # A module is any object; torch has some whose __path__ is no list of folders.
    spec = getattr(module, "__spec__", None)
    places = [getattr(module, "__file__", None), *(getattr(spec, "submodule_search_locations", None) or ())]
    own = (folder / top, folder / f"{top}.py")
    return top != "darklung" and any(Path(p).is_relative_to(o) for p in places if isinstance(p, str) for o in own)

"""Plug-ins: a function named in the study file, by its short name or as ``package.module:function``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from darklung.core.checks import DarklungError


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
    """
    target = known.get(name, name)
    module_name, _, attribute = target.partition(":")
    if not attribute:
        raise DarklungError(f"{seam}: {name!r} is not known; known: {', '.join(sorted(known))}, or package.module:function")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise DarklungError(f"{seam}: {name!r} cannot be imported ({error})") from error

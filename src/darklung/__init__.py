"""darklung: dark-field X-ray imaging of lungs, from phantom or raw frames to a report.

The types that travel (`Phantom`, `Scan`, `Projections`, `Image`, `LabelledCase`) and one function for each step between
them; docs/architecture.md tells how the folders behind them fit together. Importing this package loads nothing heavy: each
name is looked up when it is first used.

Examples
--------
>>> import darklung
>>> mouse = darklung.make_mouse(voxel_m=600e-6)
>>> scan = darklung.simulate(mouse, scan={"views": 40, "supersampling": 1})
>>> projections = darklung.correct(darklung.retrieve(scan, normalise="air"), instrument={})
>>> image = darklung.reconstruct(projections)
>>> dark = image.channel("dark_field_0")
>>> bool(dark[mouse.lobes > 0].mean() > 20 * dark[mouse.lobes == 0].mean())
True

Notes
-----
Five functions have the names of the folders behind them (`simulate`, `retrieve`, `correct`, `insert`, `evaluate`). What is
in those folders is imported from them: ``from darklung.retrieve.stepping import ...``.
"""

from importlib import import_module
from typing import Any

from darklung.core.compiled import find_place

__version__ = "0.1.0"

find_place()
del find_place

_TYPES = {
    "Channel": "core.channel",
    "DarklungError": "core.checks",
    "Image": "core.types",
    "Insertion": "core.types",
    "LabelledCase": "io.case",
    "Phantom": "core.types",
    "Projections": "core.types",
    "Scan": "core.types",
}
_FUNCTIONS = {
    "correct": "api.images",
    "evaluate": "api.learning",
    "insert": "api.cases",
    "make_case": "api.cases",
    "make_mouse": "api.images",
    "predict": "api.learning",
    "read_image": "api.images",
    "reconstruct": "api.images",
    "retrieve": "api.images",
    "simulate": "api.images",
    "train": "api.learning",
}
_PLACES = {**_TYPES, **_FUNCTIONS}

__all__ = ["__version__", *sorted(_PLACES)]

# A package that is loaded later would take the place of the function of its name; loaded now (they are empty), it cannot.
for _name in ("correct", "evaluate", "insert", "retrieve", "simulate"):
    import_module(f"{__name__}.{_name}")
    del globals()[_name]
del _name


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""What a small install leaves out: packages that only some of darklung's work wants, and the line that says which to add."""

from __future__ import annotations

import importlib.util

from darklung.core.checks import DarklungError

# Package as it is imported -> (its name in words, the extra of pyproject.toml that brings it).
EXTRAS = {
    "torch": ("torch", "learn"),
    "sklearn": ("scikit-learn", "learn"),
    "tensorboard": ("tensorboard", "tracking"),
    "mlflow": ("mlflow", "tracking"),
    "spekpy": ("spekpy", "tubes"),
}


def installed(package: str) -> bool:
    """Whether a package can be imported, without importing it (torch takes seconds)."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def require_extra(what: str, *packages: str) -> None:
    """Raise unless `packages`, keys of `EXTRAS`, are installed.

    Parameters
    ----------
    what : str
        That wants them: a field of a file, a command, a device.

    Raises
    ------
    DarklungError
        One line with the packages and the command that brings them.
    """
    if missing := [p for p in packages if not installed(p)]:
        raise DarklungError(f"{what}: {wanting(*missing)}")


def wanting(*packages: str) -> str:
    """``wants torch, which is not installed: pip install 'darklung[learn]'``, of packages of `EXTRAS`."""
    names = " and ".join(EXTRAS[p][0] for p in packages)
    extras = ",".join(dict.fromkeys(EXTRAS[p][1] for p in packages))
    return f"wants {names}, which {'is' if len(packages) == 1 else 'are'} not installed: pip install 'darklung[{extras}]'"

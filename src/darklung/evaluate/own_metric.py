"""A metric of the user: a function of an arm's tables, called anew on the animals that each replicate drew."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from darklung.core.checks import DarklungError, require
from darklung.core.contracts import check_number
from darklung.core.seams import check_options, resolve
from darklung.evaluate.metrics import METRICS
from darklung.evaluate.scored import Metric, Scored, Spread
from darklung.evaluate.tables import OF_SUBJECTS, ArmTables

OWN_REPLICATES = 200  # which are computed anew


def own_metric(
    name: str, target: str, *, options: Mapping[str, Any], title: str = "", replicates: int = OWN_REPLICATES
) -> Metric:
    """A metric of the user, ``function(tables, **options)``, and ``threshold`` by name if it takes that.

    It gets an `ArmTables` of its own with pandas tables and gives a number, or None where it is not defined. Its interval
    comes from the first `replicates` of the bootstrap's: the animals drawn are put into new tables (an animal drawn again
    has another name), and the function is called on them; a replicate that it cannot compute is not defined.

    Raises
    ------
    DarklungError
        At once: no such function, a name that is taken, or options that it does not have. When it is computed: what it
        gives is no number, or it fails; each in one line that names the metric.
    """
    require(name not in METRICS, f"metric {name}: is the name of darklung's own; give it another")
    function = resolve(f"metric {name}", target, {})
    takes_threshold = "threshold" in _parameters(function)
    require("threshold" not in options, f"option of metric {name}: 'threshold' is fixed on validation, it cannot be set")
    passed = ("threshold",) if takes_threshold else ()
    check_options(f"metric {name}", function, options, passed=passed, positional=1)

    def compute(view: Scored) -> Spread:
        given = {**options, **({"threshold": view.threshold} if takes_threshold else {})}
        try:
            value = _number(name, function(_copied(view.tables), **given))
        except DarklungError:
            raise
        except Exception as error:  # a user's function may raise anything
            told = " ".join(str(error).split()) or "no message"
            raise DarklungError(f"metric {name}: failed with {type(error).__name__}: {told}") from error
        found = np.full(len(view.weights), np.nan)
        for i, tables in enumerate(_resampled(view, min(replicates, len(found)))):
            try:
                found[i] = _number(name, function(tables, **given))
            except DarklungError:
                raise
            except Exception:  # noqa: BLE001 - such as a replicate without a lesion
                continue
        return Spread(value, found[:replicates] if replicates else found)

    return Metric(title or name.replace("_", " ").capitalize(), compute)


def _parameters(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return inspect.signature(function).parameters
    except (ValueError, TypeError):  # compiled functions may not tell
        return {}


def _number(name: str, found: Any) -> float:
    """What a metric gave as a float, None as NaN."""
    value = check_number(f"metric {name}", found)
    require(value is None or not math.isinf(value), f"metric {name}: wanted a finite number or None, got {value}")
    return math.nan if value is None else value


def _copied(tables: ArmTables) -> ArmTables:
    """A user's function may change its tables; those of the comparison stay."""
    copies: dict[str, Any] = {n: t.copy() for n, t in _present(tables).items()}
    return replace(tables, **copies)


def _present(tables: ArmTables) -> dict[str, pd.DataFrame]:
    return {n: getattr(tables, n) for n in OF_SUBJECTS if getattr(tables, n) is not None}


def _resampled(view: Scored, count: int) -> Iterator[ArmTables]:
    """The tables of the animals that each of the first replicates drew; one drawn again has another name."""
    present = _present(view.tables)
    rows = {n: table.groupby("subject").indices for n, table in present.items()}
    columns = {n: {str(c): table[c].to_numpy() for c in table} for n, table in present.items()}
    for weights in view.weights[:count]:
        drawn = [(s, k) for s, times in zip(view.subjects, weights) for k in range(int(times))]
        names = np.array([s if k == 0 else f"{s} ({k + 1})" for s, k in drawn], dtype=object)
        chosen: dict[str, Any] = {}
        for n, own in columns.items():
            parts = [rows[n].get(s, np.zeros(0, np.int64)) for s, _ in drawn]
            index = np.concatenate(parts)
            taken = {c: values[index] for c, values in own.items()}
            # From arrays, since pandas' own ways to take rows cost far more than most metrics.
            chosen[n] = pd.DataFrame(taken | {"subject": np.repeat(names, [len(p) for p in parts])}, copy=False)
        yield replace(view.tables, **chosen)

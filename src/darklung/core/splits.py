"""Folds by group: what comes from one animal never stands on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from darklung.core.checks import require
from darklung.core.random import stream


def folds_by_group(groups: Mapping[str, str], *, folds: int, seed: int) -> list[tuple[str, ...]]:
    """Divide subjects into folds so that all subjects of one group share a fold.

    Parameters
    ----------
    groups : mapping
        Subject -> group (the animal).
    folds : int
        At least 2 and at most the number of groups.
    seed : int

    Returns
    -------
    list of tuple
        Subjects of each fold. Groups are shuffled, then dealt, the largest first, to the fold with the fewest subjects.
    """
    names = sorted(set(groups.values()))
    require(2 <= folds <= len(names), f"folds: wanted 2 to {len(names)} (the number of animals), got {folds}")
    order = [names[i] for i in stream(seed, "folds").permutation(len(names))]
    members: dict[str, list[str]] = {group: [] for group in order}
    for subject in sorted(groups):
        members[groups[subject]].append(subject)
    dealt: list[list[str]] = [[] for _ in range(folds)]
    for group in sorted(order, key=lambda g: -len(members[g])):
        min(dealt, key=len).extend(members[group])
    return [tuple(sorted(fold)) for fold in dealt]


def rotate(folds: Sequence[tuple[str, ...]]) -> list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
    """(training, validation, test) of each round: fold k is tested, the next one validates, the others train."""
    require(len(folds) >= 3, f"folds: wanted at least 3 for separate validation and test folds, got {len(folds)}")
    rounds = []
    for k, test in enumerate(folds):
        following = (k + 1) % len(folds)
        training = tuple(s for i, fold in enumerate(folds) if i not in (k, following) for s in fold)
        rounds.append((training, folds[following], test))
    return rounds

"""In which order tasks run, and when an output is no longer needed; every task and every input is looked at once."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence

from darklung.pipeline.task import Task


def reachable(by_name: Mapping[str, Task], targets: Sequence[str]) -> set[str]:
    """The targets and everything that they are made from."""
    found: set[str] = set()
    pending = list(targets)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += by_name[name].needs()
    return found


def spent(by_name: Mapping[str, Task], wanted: Collection[str], needed: Collection[str]) -> list[str]:
    """Transient outputs whose readers among the `wanted` tasks are all done: none of them is still `needed`."""
    unread: dict[str, bool] = {}
    for name in wanted:
        for one in by_name[name].needs():
            unread[one] = unread.get(one, False) or name in needed
    return [name for name, due in unread.items() if by_name[name].transient and not due]


class Schedule:
    """The bookkeeping of one run.

    Parameters
    ----------
    by_name : mapping
        All tasks, inputs first.
    needed : set of str
        Those to be computed.
    """

    def __init__(self, by_name: Mapping[str, Task], needed: set[str]) -> None:
        self._by_name = by_name
        self._missing: dict[str, int] = {}  # task -> inputs that are not there yet
        self._readers: dict[str, list[str]] = {}  # input -> tasks to be computed that read it
        self._unread: dict[str, int] = {}  # input -> how many of those are not done yet
        self._ready: list[tuple[int, str]] = []
        # Later tasks first: an animal's chain is finished before the next one starts, which frees its raw frames.
        self._rank = {name: -i for i, name in enumerate(by_name)}
        for name in by_name:
            if name in needed:
                self._add(name, needed)

    def _add(self, name: str, needed: set[str]) -> None:
        needs = self._by_name[name].needs()
        for one in needs:
            self._readers.setdefault(one, []).append(name)
            self._unread[one] = self._unread.get(one, 0) + 1
        self._missing[name] = len(needs & needed)
        if not self._missing[name]:
            heapq.heappush(self._ready, (self._rank[name], name))

    def next_ready(self) -> str | None:
        """Take the next task whose inputs are all there; of several, the one deepest in the flow."""
        return heapq.heappop(self._ready)[1] if self._ready else None

    def finished(self, name: str) -> list[str]:
        """Note a task as done; returns transient outputs that nothing left to do will read."""
        for reader in self._readers.get(name, ()):
            self._missing[reader] -= 1
            if not self._missing[reader]:
                heapq.heappush(self._ready, (self._rank[reader], reader))
        unneeded = []
        for one in self._by_name[name].needs():
            self._unread[one] -= 1
            if not self._unread[one] and self._by_name[one].transient:
                unneeded.append(one)
        return unneeded

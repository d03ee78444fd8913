"""A process that computes its share of the steps of trainings in another one, until that one ends."""

from __future__ import annotations

import sys

from torch import distributed

from darklung.core.checks import DarklungError
from darklung.learn.launch import launched
from darklung.learn.ranks import RENDEZVOUS, Ranks, join
from darklung.learn.train import WORK, share_training


def follow(ranks: Ranks) -> None:
    """Take part in trainings as rank 0 begins them.

    Raises
    ------
    DarklungError
        Rank 0 is gone, or a training failed, which rank 0 tells.
    """
    while (work := ranks.told(WORK, lambda: None)) is not None:
        share_training(work, ranks)


def follow_torchrun() -> None:
    """What the processes of torchrun but rank 0 do."""
    try:
        follow(join(*launched(), None))
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def main(rank: int, size: int, port: int) -> int:
    """What a process that `darklung.learn.ranks.processes` started does; returns its exit status."""
    try:
        store = distributed.TCPStore("127.0.0.1", port, size, is_master=False, timeout=RENDEZVOUS)
        follow(join(rank, size, store))
    except (DarklungError, distributed.DistError):
        return 1  # rank 0 says why
    distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))

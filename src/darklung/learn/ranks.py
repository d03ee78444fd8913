"""Several processes that share each step of one training: who is who, what they exchange, how they begin and end.

Rank 0 is the process that trains: it reads cases, validates, writes and is told of mistakes. The others follow it
(`darklung.learn.follower`) and compute their share of every batch.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from darklung.core.checks import DarklungError, check_range, require
from darklung.learn.launch import launched

MOST = 4096
PATIENCE = timedelta(days=30)  # followers wait while rank 0 makes cases or validates; its end closes the line at once
RENDEZVOUS = timedelta(minutes=5)
END = "end"  # the message after which followers leave


@dataclass(frozen=True)
class Ranks:
    """This process among those of one training.

    Parameters
    ----------
    rank, size : int
        Of a batch, this process computes the patches rank, rank + size, ...
    control : object, optional
        The group that messages go through, on the CPU; gradients and logits go through the default group.
    """

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def first(self) -> bool:
        """Whether this process validates, writes and tells."""
        return self.rank == 0

    @property
    def name(self) -> tuple[int, ...]:
        """What tells this process's random streams from those of one alone; nothing of rank 0."""
        return (self.rank,) if self.rank else ()

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch."""
        return batch if self.size == 1 else batch[self.rank :: self.size].contiguous()

    def whole(self, heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What all processes made of their shares, as of the whole batch; its gradient reaches this process's share alone.

        Losses that pool over a batch are no mean of the shares' losses, so each process computes that of the whole.
        """
        if self.size == 1:
            return dict(heads)
        found = {}
        for name in sorted(heads):
            own = heads[name].contiguous()
            parts = [torch.empty_like(own, requires_grad=False) for _ in range(self.size)]
            with _connected(self.size):
                distributed.all_gather(parts, own.detach())
            parts[self.rank] = own
            found[name] = torch.stack(parts, dim=1).flatten(0, 1)
        return found

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over the processes, in one message: with `whole`, that is the gradient of the whole batch."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        with _connected(self.size):
            distributed.all_reduce(flat)
        for gradient, values in zip(gradients, flat.split([g.numel() for g in gradients])):
            gradient.copy_(values.view(gradient.shape))

    def told(self, kind: str, make: Callable[[], Any]) -> Any:
        """What `make` gives on rank 0, where alone it is called; `None` if rank 0 says that all is over.

        Raises
        ------
        DarklungError
            A process is gone.
        """
        if self.size == 1:
            return make()
        message = [(kind, make()) if self.first else None]
        with _connected(self.size):
            distributed.broadcast_object_list(message, src=0, group=self.control)
        found, content = message[0] or (None, None)
        require(found in (kind, END), f"training: process {self.rank} expected {kind}, process 0 said {found}")
        return content


ALONE = Ranks()
_here = ALONE
_broken = False


@contextmanager
def _connected(size: int) -> Iterator[None]:
    """Say in one line that another process is gone."""
    try:
        yield
    except RuntimeError as error:
        line = f"training: one of its {size} processes ended (out of memory?); run again to go on from the last checkpoint"
        raise DarklungError(line) from error


@contextmanager
def together() -> Iterator[Ranks]:
    """The processes that a training in this one has; after a failure on the way they are of no use any more.

    Raises
    ------
    DarklungError
        An earlier training failed while others waited for it.
    """
    global _broken
    require(not _broken, "training: its processes ended with an earlier training that failed; run again to go on")
    try:
        yield _here
    except BaseException:
        _broken = _here.size > 1
        raise


def size_here() -> int:
    """How many processes a training in this one has."""
    return _here.size


def check_shared(network: nn.Module, batch: int, size: int) -> None:
    """Raise unless `size` processes learn what one does, within rounding.

    Raises
    ------
    DarklungError
        A batch that is no multiple of `size`, statistics over the batch, or layers that draw.
    """
    if size == 1:
        return
    require(batch % size == 0, f"learning.batch: wanted a multiple of the {size} processes, got {batch}")
    pooled = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
    require(not pooled, f"network: wanted norm: instance, got batch norm, whose statistics {size} processes do not share")
    draws = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in network.modules())
    require(not draws, f"network: wanted no dropout in {size} processes, which would draw otherwise than one")


@contextmanager
def processes(count: int = 1) -> Iterator[None]:
    """Let trainings within share their steps among `count` processes on this machine, or those that torchrun started.

    Raises
    ------
    DarklungError
        Both, with different numbers, or processes that do not find each other.
    """
    global _here, _broken
    check_range("processes", count, 1, MOST)
    size = launched()[1]
    require(size == 1 or count in (1, size), f"processes: torchrun started {size}; wanted as many or none, got {count}")
    if max(size, count) == 1:
        yield
        return
    store = None if size > 1 else distributed.TCPStore("127.0.0.1", 0, count, is_master=True, wait_for_workers=False)
    followers = [] if store is None else [_follower(rank, count, store.port) for rank in range(1, count)]
    try:
        _here, _broken = join(0, max(size, count), store), False
        yield
        if not (followers or _broken):
            _here.told(END, lambda: None)
    finally:
        _here = ALONE
        for process in followers:
            process.kill()
            process.wait()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def join(rank: int, size: int, store: Any) -> Ranks:
    """Meet the other processes at `store`, or where torchrun says.

    Raises
    ------
    DarklungError
        They do not come.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)) % gpus)
    backend = "nccl" if gpus >= local and distributed.is_nccl_available() else "gloo"  # NCCL wants a GPU for each
    try:
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
        return Ranks(rank, size, distributed.new_group(backend="gloo", timeout=PATIENCE))
    except RuntimeError as error:
        line = str(error).splitlines()[0]
        raise DarklungError(f"training: process {rank} of {size} did not find the others ({line})") from error


def _follower(rank: int, size: int, port: int) -> subprocess.Popen[bytes]:
    """Start one; Ctrl-C reaches rank 0 alone, which ends it."""
    command = [sys.executable, "-m", "darklung.learn.follower", str(rank), str(size), str(port)]
    path = os.pathsep.join(place or os.curdir for place in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)

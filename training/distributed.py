"""Several processes that train one model: `torchrun -m training train …` starts them, torch.distributed joins them.

Each process has a whole copy of the model and reads the whole prepared folder; a batch is divided among them by rows.
Tensors on a GPU travel by NCCL, all else by gloo.
"""

from __future__ import annotations

import datetime
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from training.hardware import choose_device

# The first process prepares the corpus, and writes and measures alone at times, while the others wait for it.
_PATIENCE = datetime.timedelta(hours=12)

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class World:
    """This process among those that train together; a process alone is a world of one."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def alone(cls) -> World:
        """A process that trains by itself, on the first GPU where there is one."""
        return cls(0, 1, choose_device())

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    @property
    def restarted(self) -> bool:
        """Whether torchrun has started the processes again after one of them had failed."""
        return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0

    def share(self, rows: int) -> slice:
        """Which of `rows` rows are this process's; the shares differ by one row at most and may be empty."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process."""
        if self.size == 1:
            return flag
        flags = torch.tensor(int(flag))
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over the processes, in each of them."""
        if self.size > 1:
            tensor = tensor.clone()
            distributed.all_reduce(tensor)
        return tensor

    def gather(self, value: _Value) -> list[_Value]:
        """The values of all processes by rank, in each of them; they have to be picklable."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def first(self, work: Callable[[], _Value]) -> _Value:
        """What `work` returns in the first process, which alone does it; an exception there is raised everywhere."""
        if self.size == 1:
            return work()
        outcome: list[Any] = [None, None]
        if self.is_first:
            try:
                outcome[0] = work()
            except Exception as error:
                outcome[1] = error
        distributed.broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        value: _Value = outcome[0]
        return value


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun has started; a process that it has not started is alone."""
    if "RANK" not in os.environ:
        yield World.alone()
        return
    device = choose_device(int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backends = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    # The processes find each other by what they write into torchrun's store. After a restart it still holds the
    # addresses of those that have ended, so that each start writes under a name of its own.
    store, rank, size = next(rendezvous("env://", timeout=_PATIENCE))
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    distributed.init_process_group(
        backends,
        store=PrefixStore(f"start-{start}", store),
        rank=rank,
        world_size=size,
        timeout=_PATIENCE,
    )
    try:
        yield World(rank, size, device)
    finally:
        # Whatever still holds the group keeps its threads alive into the end of the interpreter, which they abort.
        gc.collect()
        distributed.destroy_process_group()

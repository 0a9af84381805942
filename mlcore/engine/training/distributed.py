"""Distributed training: what its processes tell each other over torch.distributed.

`torchrun` starts the processes and sets their environment; PyTorch's own
DistributedDataParallel averages the gradients. The batch of the configuration is the
batch of all processes together, so that a run means the same on one GPU and on eight.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from inspect import signature
from typing import Any, NoReturn, TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from mlcore.engine.model.networks import find_device
from mlcore.errors import UsageError

# While the first process writes or scores, the others wait; the default of 10 minutes
# for NCCL would end a long training.
TIMEOUT = timedelta(hours=6)
GRACE_SECONDS = 10.0

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class World:
    """The processes of this training; by default this one alone.

    Attributes:
        rank: this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that reads, writes and reports."""
        return self.rank == 0

    def share_of(self, batch: Tensor) -> Tensor:
        """This process's part of `batch`; parts differ in length by at most 1."""
        return batch.tensor_split(self.size)[self.rank]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each float32 tensor by its sum over the processes, in one message."""
        if self.size > 1:
            joined = torch.cat([tensor.flatten() for tensor in tensors])
            distributed.all_reduce(joined)
            parts = torch.split(joined, [tensor.numel() for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def gather(self, tensor: Tensor) -> Tensor:
        """The processes' CPU tensors behind each other, in the order of the ranks."""
        if self.size == 1:
            return tensor
        parts: list[Tensor] = [tensor] * self.size
        distributed.all_gather_object(parts, tensor)
        return torch.cat(parts)

    def from_main(self, ask: Callable[[], Answer]) -> Answer:
        """What `ask` returns in the first process, or raises there, told to all."""
        if self.size == 1:
            return ask()
        told: list[Any] = [None, None]
        if self.main:
            try:
                told[0] = ask()
            except Exception as error:  # noqa: BLE001
                told[1] = error  # the others would wait for it in vain
        distributed.broadcast_object_list(told)
        answer, problem = told
        if problem is not None:
            raise problem
        return cast(Answer, answer)

    def wrap(self, model: nn.Module) -> nn.Module:
        """`model`, its gradients averaged over the processes, its weights the first's.

        Running statistics are the training's business: to send them along with every
        forward would overwrite what the other processes saw.
        """
        if self.size == 1:
            return model
        # Newer releases of PyTorch warn of the old name of this option.
        known = signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers"
        option = name if name in known else "broadcast_buffers"
        return DistributedDataParallel(model, **{option: False})  # type: ignore[arg-type]


ALONE = World()


@contextmanager
def joined(device_name: str | None) -> Iterator[tuple[World, torch.device]]:
    """The processes that `torchrun` started, or this one alone, and its device.

    What fails in all of them, or in one and therefore in the others, is raised in one;
    `torchrun` ends the others when that one has ended.

    Raises:
        UsageError: no such device here, or a GPU number where each process takes its
            own.
        SystemExit: another process failed first, and tells why.
    """
    if not _started_together():
        yield ALONE, find_device(device_name)
        return
    store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    try:
        device = _own_device(device_name)
        # Objects and logits travel from the CPU, gradients from where they are.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(
            backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT
        )
        yield World(rank, size), device
    except BaseException:
        # The group stays: with NCCL, to destroy it waits for what the others still
        # compute. They notice the end of this process, and fail as well.
        if not _fails_first(store):
            leave_telling_to_another(1)
        raise
    distributed.destroy_process_group()


def leave_telling_to_another(status: int) -> NoReturn:
    """End this process without a word, once another has said what is wrong.

    `torchrun` ends all processes as soon as one has ended, so this one stays behind.
    """
    time.sleep(GRACE_SECONDS)
    sys.exit(status)


def _started_together() -> bool:
    """Whether `torchrun` started this process along with others.

    Batch schedulers set WORLD_SIZE alone, which names no process to talk to.
    """
    told = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return (
        all(os.environ.get(name) for name in told) and os.environ["WORLD_SIZE"] != "1"
    )


def _own_device(name: str | None) -> torch.device:
    device = find_device(name)
    if device.type == "cuda":
        if device.index is not None:
            raise UsageError("Under torchrun each process takes a GPU of its own.")
        device = find_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(device)
    return device


def _fails_first(store: Any) -> bool:
    try:
        return bool(store.add("failures", 1) == 1)
    except RuntimeError:  # it went with the process that kept it
        return False

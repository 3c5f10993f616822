"""Data-parallel training under ``torchrun``: who am I, and averages over all processes.

Every process draws the same global batch from the same generator and trains on its own rows, so
the averaged gradients are those of one process. Gradients are averaged by hand after the backward
pass (our choice over DistributedDataParallel, whose hooks do not agree with an attack that freezes
the parameters between two steps).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from posebench.errors import InputError


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) without ``torchrun``."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Join the group that ``torchrun`` announces; gives the device this process works on.

    Raises:
        InputError: if a process has no accelerator of its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.startswith("cuda"):
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise InputError(f"process {local} has no GPU: {torch.cuda.device_count()} found")
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def average_over_ranks(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the processes, in one exchange."""
    world = rank_and_world()[1]
    wanted = list(tensors)
    if world == 1 or not wanted:
        return
    flat = torch.cat([tensor.reshape(-1).float() for tensor in wanted])
    dist.all_reduce(flat)
    flat /= world
    for tensor, part in zip(wanted, flat.split([t.numel() for t in wanted]), strict=True):
        tensor.copy_(part.view_as(tensor))


def average_gradients(network: nn.Module) -> None:
    """Mean of the gradients over the processes; parameters without gradient stay without."""
    average_over_ranks(p.grad for p in network.parameters() if p.grad is not None)


def wait_for_all() -> None:
    """Return when every process has come here."""
    if rank_and_world()[1] > 1:
        dist.barrier()

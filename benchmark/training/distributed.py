"""Data-parallel training under ``torchrun``: who am I, and averages over all processes.

Every process draws the same global batch from the same generator and trains on its own rows, so
the averaged gradients are those of one process; but random starts, caps and few points of attacked
rows are drawn from one state by every process, so rows of the same place share them. Gradients are
averaged by hand after the backward pass (our choice over DistributedDataParallel, whose hooks do
not agree with an attack that freezes the parameters between two steps). All that is exchanged lives
on the process's own device: NCCL takes nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from posebench.benchmark.evaluation.devices import resolve_device
from posebench.errors import InputError


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) without ``torchrun``."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@contextmanager
def process_group(name: str) -> Iterator[str]:
    """Join the group that ``torchrun`` announces; gives the device this process works on.

    ``name`` is a device as users name it. A GPU is taken for this process's own before anything
    is put on one, so that no process leaves its context on another's.

    Raises:
        InputError: unknown device, a process without an accelerator of its own, or an environment
            that announces processes but not which one this is.
    """
    world = _announced("WORLD_SIZE", 1)
    if world == 1:
        yield resolve_device(name)
        return
    if not 0 <= _announced("RANK", -1) < world:
        raise InputError(f"RANK must be 0..{world - 1} with WORLD_SIZE {world}: use torchrun")
    device = own_device(name, _announced("LOCAL_RANK", -1))
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=torch.device(device))
    else:
        dist.init_process_group("gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def own_device(name: str, local: int) -> str:
    """The device of this machine's process number ``local``; touches no GPU.

    Raises:
        InputError: if there are fewer GPUs than processes, or one GPU is named for all of them.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if name not in ("auto", "cuda"):
        raise InputError(f"device {name!r} cannot be shared by processes: name 'cuda' or 'cpu'")
    count = torch.cuda.device_count()
    if not 0 <= local < count:
        raise InputError(f"process {local} has no GPU of its own: {count} found")
    return f"cuda:{local}"


def _announced(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{variable} must be a whole number, got {text!r}") from error


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


def agreed(values: Sequence[float], device: str) -> list[float]:
    """The values' means over the processes, the same in each of them; waits for the others."""
    if rank_and_world()[1] == 1:
        return list(values)
    means = torch.tensor(values, dtype=torch.float32, device=device)
    average_over_ranks([means])
    return [float(value) for value in means.tolist()]


def average_gradients(network: nn.Module) -> None:
    """Mean of the gradients over the processes; parameters without gradient stay without."""
    average_over_ranks(p.grad for p in network.parameters() if p.grad is not None)


def wait_for_all() -> None:
    """Return when every process has come here."""
    if rank_and_world()[1] > 1:
        dist.barrier()

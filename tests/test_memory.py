"""Memory that runs out, in the words of every allocator, and what is done about it."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch

from posebench.benchmark.evaluation import harness
from posebench.benchmark.evaluation.memory import halving, peak_memory, start_peak
from posebench.errors import InputError, out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling cublasCreate(handle)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("HIPBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("std::bad_alloc"),
    ],
    ids=str,
)
def test_want_of_memory_is_recognised_in_all_spellings(error: BaseException) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unsupported memory format option"),
        RuntimeError("CUDA error: CUBLAS_STATUS_INVALID_VALUE"),
        InputError("out of memory even with one pair at a time"),  # has been dealt with
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=str,
)
def test_other_errors_are_not_called_that(error: BaseException) -> None:
    assert not out_of_memory(error)


def test_the_allocator_of_this_machine() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**58)
    assert out_of_memory(error.value)


def test_batches_shrink_until_memory_suffices() -> None:
    tried = []

    def run(batch_size: int) -> int:
        tried.append(batch_size)
        if batch_size > 2:
            torch.empty(2**60)  # refused by the allocator itself
        return batch_size

    assert halving(run, 19) == 2
    assert tried == [19, 9, 4, 2]

    def never(batch_size: int) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(InputError, match="out of memory even with one pair at a time"):
        halving(never, 8)

    def other(batch_size: int) -> int:
        raise RuntimeError("sizes must match")

    with pytest.raises(RuntimeError, match="sizes must match"):
        halving(other, 8)


def test_run_finishes_in_smaller_batches_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from posebench.benchmark.cli.app import main

    words = ["posebench", "run", "--victim", "npt", "--attack", "none", "--samples", "4"]
    words += ["--json", "--out"]
    monkeypatch.setattr("sys.argv", [*words, str(tmp_path / "whole")])
    with pytest.raises(SystemExit, match="0"):
        main()
    whole = json.loads(capsys.readouterr().out)
    real, sizes = harness.measure, []

    def measure(system: object, batch: object, seed: int) -> object:
        sizes.append(len(batch))  # type: ignore[arg-type]
        if sizes[-1] > 2:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")
        return real(system, batch, seed)  # type: ignore[arg-type]

    monkeypatch.setattr(harness, "measure", measure)
    monkeypatch.setattr("sys.argv", [*words, str(tmp_path / "halved")])
    with pytest.raises(SystemExit, match="0"):
        main()
    halved = json.loads(capsys.readouterr().out)
    assert (sizes[0], max(sizes[1:])) == (4, 4)  # the second network begins with 4 again
    assert 2 in sizes
    for one, other in zip(whole, halved, strict=True):
        assert other["metrics"]["pmd"]["per_sample"] == pytest.approx(
            one["metrics"]["pmd"]["per_sample"], rel=1e-5
        )


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux counts anew")
def test_peak_memory_is_of_the_run_and_not_of_the_process() -> None:
    large = torch.ones(2**27)  # 512 MiB
    del large
    before = peak_memory("cpu")
    start_peak("cpu")
    assert peak_memory("cpu") < before - 2**28
    large = torch.ones(2**27)
    assert peak_memory("cpu") > before - 2**26
    del large

"""Jobs of a sweep on several processes of this machine.

The parent hands out jobs in order, one to each worker, and notices when a worker dies: its pipe
ends. The job is given to a fresh worker, ``ATTEMPTS`` times in all, from the second loss on with
half the batch, because on Linux a process that takes too much memory is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess

import torch

from posebench.benchmark.runs.sweep import Job, Outcome, Outcomes, evaluate_job

ATTEMPTS = 4


@dataclass
class Worker:
    """A process, the parent's end of its pipe, and the number of its job."""

    process: SpawnProcess
    pipe: Connection
    job: int | None = None


def run_processes(jobs: Sequence[Job], count: int) -> Outcomes:
    """Evaluate jobs on ``count`` processes that share this one's threads; yields them as they end.

    Dropping the generator ends the workers; they also end when this process dies.
    """
    context = multiprocessing.get_context("spawn")  # forks after torch's threads hang
    threads = max(1, torch.get_num_threads() // count)
    waiting = deque(range(len(jobs)))
    lost = [0] * len(jobs)
    workers = [start_worker(context, threads) for _ in range(min(count, len(jobs)))]
    try:
        while True:
            for worker in workers:
                if worker.job is None and waiting:
                    worker.job = waiting.popleft()
                    _send(worker, _smaller(jobs[worker.job], lost[worker.job]))
            busy = {worker.pipe: worker for worker in workers if worker.job is not None}
            if not busy:
                return
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]  # these are connections alone
                number, outcome = worker.job, _receive(worker)
                assert number is not None
                worker.job = None
                if outcome is None:
                    worker.process.join(timeout=1)  # so that its exit code is its own
                    _end(worker)
                    workers[workers.index(worker)] = start_worker(context, threads)
                    lost[number] += 1
                    if lost[number] < ATTEMPTS:
                        waiting.appendleft(number)
                        continue
                    code = worker.process.exitcode
                    outcome = Outcome(error=f"its process died {ATTEMPTS} times, exit code {code}")
                yield jobs[number], outcome
    finally:
        for worker in workers:
            _end(worker)


def _smaller(job: Job, lost: int) -> Job:
    batch = max(
        1, min(job.settings.batch_size, job.settings.evaluation.samples) >> max(0, lost - 1)
    )
    if lost < 2:
        return job
    return replace(job, settings=replace(job.settings, batch_size=batch))


def start_worker(context: SpawnContext, threads: int) -> Worker:
    """A worker process that waits for jobs."""
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, threads), daemon=True)
    process.start()
    theirs.close()  # or its end would not be noticed
    return Worker(process, ours)


def work(pipe: Connection, threads: int) -> None:
    """What a worker process does: a job in, its outcome out, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(evaluate_job(job))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _send(worker: Worker, job: Job) -> None:
    try:
        worker.pipe.send(job)
    except OSError:
        return  # it died while idle: its pipe tells


def _receive(worker: Worker) -> Outcome | None:
    """A worker's outcome, None if it died."""
    try:
        outcome: Outcome = worker.pipe.recv()
    except (EOFError, OSError):
        return None
    return outcome


def _end(worker: Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()

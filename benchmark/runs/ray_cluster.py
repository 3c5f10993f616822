"""Jobs of a sweep on many machines, through Ray.

Workers share no disk with the driver: each job carries the bytes of its weights file, and its
records come back to the driver, which writes them. What a worker must have is posebench in the
same version (its shipped weights serve as surrogates) and, for other tasks than anny's, the data.
A job whose worker or machine dies runs again elsewhere.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from posebench.benchmark.runs.sweep import Job, Outcome, Outcomes, evaluate_job
from posebench.errors import InputError

RETRIES = 3


def run_ray(jobs: Sequence[Job], address: str) -> Outcomes:
    """Evaluate jobs on a Ray cluster; yields them as they end.

    Args:
        jobs: submitted in this order.
        address: HOST:PORT, "auto" for the cluster this machine is part of, "local" for a new one
            on this machine.

    Raises:
        InputError: no cluster there.
    """
    check_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a library must not report home unasked
    import ray

    try:
        ray.init(address, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"no Ray cluster at {address!r}: {reason}") from error
    try:
        files = {job.settings.evaluation.weights for job in jobs}
        stored: dict[Path | None, Any] = {
            path: ray.put(path.read_bytes()) for path in files if path is not None
        }
        # One GPU a job where there are any: a device of its own for each process.
        resources: dict[str, float] = ray.cluster_resources()
        gpus = int(jobs[0].settings.device != "cpu" and resources.get("GPU", 0) > 0)
        task = ray.remote(max_retries=RETRIES, num_cpus=1, num_gpus=gpus)(evaluate_sent)
        running = {task.remote(job, stored[job.settings.evaluation.weights]): job for job in jobs}
        while running:
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(done)
            try:
                outcome = ray.get(done)
            except ray.exceptions.RayError as error:
                reason = " ".join(str(error).split())[:200]
                outcome = Outcome(error=f"lost by Ray after {RETRIES} retries: {reason}")
            yield job, outcome
    finally:
        ray.shutdown()


def check_reachable(address: str) -> None:
    """Raise InputError if nothing answers at HOST:PORT: Ray itself would try for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster at {address!r}: give HOST:PORT, 'auto' or 'local' ({error})"
        ) from error


def evaluate_sent(job: Job, weights: bytes) -> Outcome:
    """``evaluate_job`` where the driver's files may not exist."""
    asked = job.settings.evaluation
    path = asked.weights
    assert path is not None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(weights)
        settings = replace(job.settings, evaluation=replace(asked, weights=copy))
        return evaluate_job(replace(job, settings=settings))

"""What attacks of other libraries share: the box that they work in, and what is around a call.

The libraries see ``posebench.attacks.classifier``: a classifier whose cross entropy grows with the
objective. Its box is the cloud's range widened by the budget's radius, so that their clamping to
[0, 1] never cuts into the ball; eps is the radius over the box's length. What they return is
projected and evaluated by the library, as with any attack.

They know balls in L2 and Linf over the whole cloud. Of a cap a vertex they are shown the Linf ball
of its radius, which holds all that the cap allows, and a victim that meets every vertex at the cap
at most: their gradients know the cap, and nothing is lost where their result is projected.

Samples are attacked one by one. Some attacks call the model with a part of the batch (torchattacks'
DeepFool, ART's AutoPGD), which would meet another sample's identity and target; each sample also
has its own radius and its own random numbers.
"""

from __future__ import annotations

import inspect
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Generator, Tensor

from posebench.attacks.classifier import PoseClassifier, as_classifier
from posebench.attacks.gradient import pose_values
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import OBJECTIVES
from posebench.registry import unknown
from posebench.rng import sample_generators

Ball = Literal["l2", "linf"]

FROM_BUDGET = ("eps", "max_epsilon", "norm")
"""Arguments of the libraries' classes that the budget decides."""


@dataclass(frozen=True)
class ForeignAttack(ABC):
    """An attack of another library; use one of the subclasses.

    Attributes:
        budget: how far the pose may move, in l2, linf or l2_vertex; handed over in the box's units.
        name: of the attack's class in its library.
        settings: arguments of that class. Left out are what the adapter gives: the model, eps,
            the norm where it is an argument, and a seed where the library has one.
        tau: objective in square metres above which the attack has succeeded; some stop there.
        tau_rel: the same as a multiple of each clean pose's objective, in the place of ``tau``.
        objective: "pmd" or "aligned", which the cross entropy grows with.

    Minimum-norm attacks take no eps: what they find is projected by ``run_attack``; called
    directly, they return it as found.
    """

    budget: Budget
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    tau: float = 1e-3
    tau_rel: float | None = None
    objective: str = "pmd"

    package: ClassVar[str]
    count: ClassVar[str]
    """What the library calls the number of gradient steps."""
    length: ClassVar[str]
    """What it calls the length of one; ours is in radii."""

    def __post_init__(self) -> None:
        if self.budget.norm not in ("l2", "linf", "l2_vertex"):
            raise InputError(
                f"{self.package} knows the norms l2, linf and l2_vertex, not {self.budget.norm!r}"
            )
        if self.objective not in ("pmd", "aligned"):
            raise InputError(f"{self.package} maximises pmd or aligned, not {self.objective!r}")
        for name in FROM_BUDGET:
            if name in self.settings:
                raise InputError(f"{name} comes from the budget: leave it out of the settings")
        if "summary_writer" in self.settings:  # of ART; a record's settings are a stranger's
            raise InputError("summary_writer writes files: leave it out of the settings")

    @property
    def label(self) -> str:
        """The attack's name in records, tables and options."""
        return f"{self.package}:{self.name}"

    @property
    def norm(self) -> Ball:
        """Of the ball that the library is shown."""
        return "l2" if self.budget.norm == "l2" else "linf"

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        clean = batch.pose.detach()
        radii = self.budget.radius(clean.mask).tolist()
        own = sample_generators(generator, batch.sample_ids)
        moved = clean.points.clone()
        for row, (radius, seeds) in enumerate(zip(radii, own, strict=True)):
            if not radius:  # the libraries would divide by it
                continue
            real = clean.mask[row]
            points = clean.points[row, real]
            low, high = float(points.min()) - radius, float(points.max()) + radius
            sample = batch.select(slice(row, row + 1))
            model = as_classifier(
                victim,
                sample,
                low=low,
                high=high,
                tau=self._threshold(victim, sample, generator),
                objective=self.objective,
                cap=radius if self.budget.norm == "l2_vertex" else None,
                generator=generator,
            )
            start = model.scaled(points)
            eps, seed = radius / (high - low), seeds.initial_seed()
            with torch.enable_grad(), global_randomness(seed, start.device):
                found = self._attack(model, start, eps, seed)
            moved[row, real] += model.metres(found.detach() - start).to(points.dtype)
        return AttackResult(clean.replace(moved))

    def _threshold(self, victim: Victim, sample: Batch, generator: Generator | None) -> float:
        """The objective above which one sample counts as broken."""
        if self.tau_rel is None:
            return self.tau
        judge, clean = OBJECTIVES[self.objective], sample.pose.detach()
        found = pose_values(victim, sample, clean, objective=judge, generator=generator)
        return self.tau_rel * float(found)

    @abstractmethod
    def _attack(self, model: PoseClassifier, start: Tensor, eps: float, seed: int) -> Tensor:
        """The attacked (1, 3, n, 1) pose in the box, from the clean one."""

    @classmethod
    @abstractmethod
    def module(cls) -> Any:
        """The library's module that holds the classes; InputError if it is not installed."""

    def known_class(self) -> tuple[Callable[..., Any], Mapping[str, inspect.Parameter]]:
        """The attack's class and its arguments.

        Raises:
            InputError: a library that is not installed, or a name or setting that it has not.
        """
        module = self.module()
        classes = {name: each for name, each in vars(module).items() if inspect.isclass(each)}
        if self.name not in classes:
            raise unknown(f"attack of {module.__name__}", self.name, classes)
        known = inspect.signature(classes[self.name]).parameters
        for setting in self.settings:
            if setting not in known:
                raise unknown(f"setting of {self.name}", setting, known)
        return classes[self.name], known


def library(module: str, install: str) -> Any:
    """A module of an optional package.

    Raises:
        InputError: if it is not installed, with the command that mends it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"this needs {error.name}: pip install {install}") from error


def refuse_other_norm(attack: ForeignAttack, order: object) -> None:
    """Raise InputError where the order of the attack's norm is known and not the ball's.

    Its eps would be a radius in the wrong norm: the result stays in the budget, but may be far too
    weak, and the victim would look robust.
    """
    if order is None or f"l{order}" == attack.norm:
        return
    shown = " and shown in linf" if attack.budget.norm == "l2_vertex" else ""
    raise InputError(
        f"{attack.package}'s {attack.name} works in l{order}, the budget is in "
        f"{attack.budget.norm}{shown}: choose another attack or budget"
    )


@contextmanager
def global_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """The global generators of torch, numpy and Python seeded inside, as before afterwards.

    These libraries draw from nothing else.
    """
    kept_numpy, kept_python = np.random.get_state(), random.getstate()  # noqa: NPY002 as above
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.default_generators[device.index].manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002, TID251 as above
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(kept_numpy)  # noqa: NPY002 as above
            random.setstate(kept_python)

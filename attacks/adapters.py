"""Attacks of torchattacks, Foolbox and ART as attacks of ours.

The libraries see ``posebench.attacks.classifier``: a classifier whose cross entropy grows with PMD.
Its box is the cloud's range widened by the budget's radius, so that their clamping to [0, 1] never
cuts into the ball; eps is the radius over the box's length. What they return is projected and
evaluated by the library, as with any attack.

Samples are attacked one by one. Some attacks call the model with a part of the batch (torchattacks'
DeepFool, ART's AutoPGD), which would meet another sample's identity and target; each sample also
has its own radius and its own random numbers.
"""

from __future__ import annotations

import inspect
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor, nn

from posebench.attacks.classifier import PoseClassifier, as_classifier
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.registry import unknown
from posebench.rng import sample_generators

TRAVEL = 2.5
"""Radii that the steps add up to where a step is not given, as in our own PGD."""


@dataclass(frozen=True)
class ForeignAttack(ABC):
    """An attack of another library; use one of the subclasses.

    Attributes:
        budget: how far the pose may move, in l2 or linf; handed over in the box's units.
        name: of the attack's class in its library.
        settings: arguments of that class. Left out are what the adapter gives: the model, eps,
            the norm where it is an argument, and a seed where the library has one.
        tau: PMD in square metres above which the attack has succeeded; some stop there.

    Minimum-norm attacks take no eps: what they find is projected by ``run_attack``; called
    directly, they return it as found.
    """

    budget: Budget
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    tau: float = 1e-3

    package: ClassVar[str]

    def __post_init__(self) -> None:
        if self.budget.norm not in ("l2", "linf"):
            raise InputError(
                f"{self.package} knows the norms l2 and linf, not {self.budget.norm!r}"
            )
        for name in ("eps", "max_epsilon", "norm"):
            if name in self.settings:
                raise InputError(f"{name} comes from the budget: leave it out of the settings")

    @property
    def label(self) -> str:
        """The attack's name in records and tables."""
        return f"{self.package}-{self.name.lower()}"

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
            model = as_classifier(
                victim,
                batch.select(slice(row, row + 1)),
                low=low,
                high=high,
                tau=self.tau,
                generator=generator,
            )
            start = model.scaled(points)
            eps, seed = radius / (high - low), seeds.initial_seed()
            with torch.enable_grad(), global_randomness(seed, start.device):
                found = self._attack(model, start, eps, seed)
            moved[row, real] += model.metres(found.detach() - start).to(points.dtype)
        return AttackResult(clean.replace(moved))

    @abstractmethod
    def _attack(self, model: PoseClassifier, start: Tensor, eps: float, seed: int) -> Tensor:
        """The attacked (1, 3, n, 1) pose in the box, from the clean one."""

    def _class(self, module: Any) -> tuple[Callable[..., Any], Mapping[str, inspect.Parameter]]:
        """The attack's class and its arguments; InputError for a name or setting it has not."""
        classes = {name: each for name, each in vars(module).items() if inspect.isclass(each)}
        if self.name not in classes:
            raise unknown(f"attack of {module.__name__}", self.name, classes)
        known = inspect.signature(classes[self.name]).parameters
        for setting in self.settings:
            if setting not in known:
                raise unknown(f"setting of {self.name}", setting, known)
        return classes[self.name], known


@dataclass(frozen=True)
class FoolboxAttack(ForeignAttack):
    """``FoolboxAttack(budget, "L2PGD", {"steps": 20})``: a class of ``foolbox.attacks``.

    Steps are relative to eps there (``rel_stepsize``).
    """

    package = "foolbox"

    def _attack(self, model: PoseClassifier, start: Tensor, eps: float, seed: int) -> Tensor:
        foolbox = library("foolbox", "foolbox")
        make, _ = self._class(foolbox.attacks)
        attack = make(**self.settings)
        free = isinstance(attack, foolbox.attacks.base.MinimizationAttack)
        if not free:
            refuse_other_norm(self, getattr(getattr(attack, "distance", None), "p", None))
        shown = foolbox.PyTorchModel(model, bounds=(0, 1), device=start.device)
        label = foolbox.Misclassification(torch.zeros(1, dtype=torch.int64, device=start.device))
        found: Tensor = attack.run(shown, start, label, **({} if free else {"epsilon": eps}))
        return found


@dataclass(frozen=True)
class TorchattacksAttack(ForeignAttack):
    """``TorchattacksAttack(budget, "PGDL2", {"steps": 20})``: a class of ``torchattacks``.

    The step ``alpha`` is given in radii; where it is left out, steps add up to 2.5 radii.
    """

    package = "torchattacks"

    def _attack(self, model: PoseClassifier, start: Tensor, eps: float, seed: int) -> Tensor:
        make, known = self._class(library("torchattacks", "--no-deps torchattacks"))
        if "eps" in known and "norm" not in known:
            # Written nowhere else; an attack that says nothing is taken as it is.
            said = re.search(r"Distance Measure : L(\w+)", make.__doc__ or "")
            refuse_other_norm(self, said[1] if said else None)
        norm = {"l2": "L2", "linf": "Linf"}[self.budget.norm]
        given = {"eps": eps, "max_epsilon": eps, "norm": norm, "seed": seed % 2**31, "n_classes": 2}
        attack = make(model, **arguments(self.settings, known, given, step="alpha"))
        found: Tensor = attack(start, torch.zeros(1, dtype=torch.int64, device=start.device))
        return found


@dataclass(frozen=True)
class ARTAttack(ForeignAttack):
    """``ARTAttack(budget, "ProjectedGradientDescent", {"max_iter": 20})``: of ``art.attacks``.

    A class of ``art.attacks.evasion``. The step ``eps_step`` is given in radii; where it is left
    out, steps add up to 2.5 radii. ART computes in float32 on numpy arrays.
    """

    package = "art"

    def _attack(self, model: PoseClassifier, start: Tensor, eps: float, seed: int) -> Tensor:
        install = "adversarial-robustness-toolbox packaging"
        make, known = self._class(library("art.attacks.evasion", install))
        norm = {"l2": 2, "linf": np.inf}[self.budget.norm]
        given = {"eps": eps, "norm": norm, "verbose": False}
        estimator = library("art.estimators.classification", install).PyTorchClassifier(
            model,
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(start.shape[1:]),
            nb_classes=2,
            clip_values=(0.0, 1.0),
            device_type="cpu" if start.device.type == "cpu" else "gpu",
        )
        attack = make(estimator, **arguments(self.settings, known, given, step="eps_step"))
        if "eps" in known:
            refuse_other_norm(self, getattr(attack, "norm", None))
        image = start.float().cpu().numpy()
        found = attack.generate(image, y=np.array([[1.0, 0.0]]))
        return start + torch.from_numpy(found - image).to(start)


def library(module: str, install: str) -> Any:
    """A module of an optional package.

    Raises:
        InputError: if it is not installed, with the command that mends it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"this needs {error.name}: pip install {install}") from error


def arguments(
    settings: Mapping[str, Any],
    known: Mapping[str, inspect.Parameter],
    given: dict[str, Any],
    *,
    step: str,
) -> dict[str, Any]:
    """Settings over what is given of what is known; ``step`` from radii to the box's units.

    Where no step is set, steps add up to 2.5 radii, or are one radius long if nothing is iterated.
    """
    found = {name: value for name, value in given.items() if name in known} | dict(settings)
    if step in known:
        count = next((name for name in ("steps", "max_iter") if name in known), None)
        radii = TRAVEL / found.get(count, known[count].default) if count else 1.0
        found[step] = found.get(step, radii) * given["eps"]
    return found


def refuse_other_norm(attack: ForeignAttack, order: object) -> None:
    """Raise InputError where the order of the attack's norm is known and not the budget's.

    Its eps would be a radius in the wrong norm: the result stays in the budget, but may be far too
    weak, and the victim would look robust.
    """
    if order is not None and f"l{order}" != attack.budget.norm:
        raise InputError(
            f"{attack.package}'s {attack.name} works in l{order}, the budget is in "
            f"{attack.budget.norm}: choose another attack or budget"
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


__all__ = ["ARTAttack", "FoolboxAttack", "TorchattacksAttack", "as_classifier"]

"""Attacks of torchattacks, Foolbox and ART as attacks of ours; ``foreign`` has what they share."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from posebench.attacks.classifier import PoseClassifier, as_classifier
from posebench.attacks.foreign import ForeignAttack, library, refuse_other_norm
from posebench.interfaces import Budget
from posebench.registry import unknown

TRAVEL = 2.5
"""Radii that the steps add up to where a step is not given, as in our own PGD."""


@dataclass(frozen=True)
class FoolboxAttack(ForeignAttack):
    """``FoolboxAttack(budget, "L2PGD", {"steps": 20})``: a class of ``foolbox.attacks``.

    Steps are relative to eps there (``rel_stepsize``), and so is ``init_epsilon`` here.
    """

    package = "foolbox"
    count, length = "steps", "rel_stepsize"

    @classmethod
    def module(cls) -> Any:
        return library("foolbox", "foolbox").attacks

    def _attack(self, model: PoseClassifier, start: Tensor, eps: float, seed: int) -> Tensor:
        make, known = self.known_class()
        foolbox = library("foolbox", "foolbox")
        given = dict(self.settings)
        if "init_epsilon" in known:
            given["init_epsilon"] = given.get("init_epsilon", 1.0) * eps
        attack = make(**given)
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
    count, length = "steps", "alpha"

    @classmethod
    def module(cls) -> Any:
        return library("torchattacks", "--no-deps torchattacks")

    def _attack(self, model: PoseClassifier, start: Tensor, eps: float, seed: int) -> Tensor:
        make, known = self.known_class()
        if "eps" in known and "norm" not in known:
            # Written nowhere else; an attack that says nothing is taken as it is.
            said = re.search(r"Distance Measure : L(\w+)", make.__doc__ or "")
            refuse_other_norm(self, said[1] if said else None)
        norm = {"l2": "L2", "linf": "Linf"}[self.norm]
        given = {"eps": eps, "max_epsilon": eps, "norm": norm, "seed": seed % 2**31, "n_classes": 2}
        attack = make(model, **in_radii(self.settings, known, given, step=self.length))
        found: Tensor = attack(start, torch.zeros(1, dtype=torch.int64, device=start.device))
        return found


@dataclass(frozen=True)
class ARTAttack(ForeignAttack):
    """``ARTAttack(budget, "ProjectedGradientDescent", {"max_iter": 20})``: of ``art.attacks``.

    A class of ``art.attacks.evasion``. The step ``eps_step`` is given in radii; where it is left
    out, steps add up to 2.5 radii. ART computes in float32 on numpy arrays.
    """

    package = "art"
    count, length = "max_iter", "eps_step"

    INSTALL = "adversarial-robustness-toolbox packaging"

    @classmethod
    def module(cls) -> Any:
        return library("art.attacks.evasion", cls.INSTALL)

    def _attack(self, model: PoseClassifier, start: Tensor, eps: float, seed: int) -> Tensor:
        make, known = self.known_class()
        norm = {"l2": 2, "linf": np.inf}[self.norm]
        given = {"eps": eps, "norm": norm, "verbose": False}
        estimator = library("art.estimators.classification", self.INSTALL).PyTorchClassifier(
            model,
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(start.shape[1:]),
            nb_classes=2,
            clip_values=(0.0, 1.0),
            device_type="cpu" if start.device.type == "cpu" else "gpu",
        )
        attack = make(estimator, **in_radii(self.settings, known, given, step=self.length))
        if "eps" in known:
            refuse_other_norm(self, getattr(attack, "norm", None))
        image = start.float().cpu().numpy()
        found = attack.generate(image, y=np.array([[1.0, 0.0]]))
        return start + torch.from_numpy(found - image).to(start)


def in_radii(
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


LIBRARIES: dict[str, type[ForeignAttack]] = {
    each.package: each for each in (ARTAttack, FoolboxAttack, TorchattacksAttack)
}
"""A library's name -> its attacks."""


@dataclass(frozen=True)
class Named:
    """What makes the attack called ``LIBRARY:CLASS``, as a registry's entry does.

    Attributes:
        made: the library's attacks.
        name: of the class.
    """

    made: type[ForeignAttack]
    name: str

    def __call__(
        self,
        budget: Budget,
        iterations: int | None = None,
        step: float | None = None,
        objective: str = "pmd",
        **settings: Any,
    ) -> ForeignAttack:
        """The attack, its class and settings looked up in the library.

        ``iterations`` and ``step`` (in radii) go under the names that the library has for them;
        ``settings`` are of ``ForeignAttack`` or else arguments of the library's class.

        Raises:
            InputError: a library that is not installed, or what it does not know.
        """
        of_ours = {each.name for each in fields(ForeignAttack)}
        ours = {name: value for name, value in settings.items() if name in of_ours}
        theirs = {name: value for name, value in settings.items() if name not in of_ours}
        for argument, value in ((self.made.count, iterations), (self.made.length, step)):
            if value is not None:
                theirs[argument] = value
        attack = self.made(budget, self.name, theirs, objective=objective, **ours)
        attack.known_class()
        return attack


def named(name: str) -> Callable[..., ForeignAttack]:
    """What makes the attack called ``LIBRARY:CLASS``, such as ``foolbox:L2PGD``.

    Raises:
        InputError: an unknown library.
    """
    package, _, attack = name.partition(":")
    if package not in LIBRARIES:
        raise unknown("library of attacks", package, LIBRARIES)
    return Named(LIBRARIES[package], attack)


__all__ = [
    "LIBRARIES",
    "ARTAttack",
    "FoolboxAttack",
    "ForeignAttack",
    "TorchattacksAttack",
    "as_classifier",
    "named",
]

"""Sample meshes of the leaderboard page: the form of their files, and what must agree in them.

One JSON file per test pair with the vertices of every shipped victim's results, clean and
attacked. Vertices are int16 times a scale per cloud: for a body of 2 m that is 0.03 mm, far below
what an attack moves, and a fifth of the size of decimal text.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.records.json_files import Problem
from posebench.benchmark.records.types import Environment
from posebench.fields import STRICT, Count, Least, Name, Positive, Sha256

SCHEMA = "posebench-samples/1"


@dataclass(frozen=True)
class PackedCloud:
    """Points in few characters; :func:`unpacked` gives them back."""

    __pydantic_config__ = STRICT

    scale: Positive
    """Metres of one step."""
    points: Name
    """Little-endian int16 steps (V, 3) in base64."""


@dataclass(frozen=True)
class View:
    """A victim's result on some pose."""

    __pydantic_config__ = STRICT

    pmd: Positive
    """Square metres."""
    output: PackedCloud
    """Centred by its bounding box."""


@dataclass(frozen=True)
class AttackedView:
    """An attack's pose and the victim's result on it."""

    __pydantic_config__ = STRICT

    attack: Name
    """Registry name."""
    attack_settings: Name
    """repr of the attack."""
    eps: Positive
    """Budget."""
    rms: Positive
    """Size of the perturbation, metres."""
    pose: PackedCloud
    """Attacked pose source."""
    pmd: Positive
    """Square metres."""
    output: PackedCloud
    """Centred by its bounding box."""


@dataclass(frozen=True)
class VictimViews:
    """What one victim made of the pair."""

    __pydantic_config__ = STRICT

    victim: Name
    """Registry name."""
    title: Name
    """The name printed in tables."""
    training: Name
    """clean, adversarial, noise, imported or given."""
    weights_sha256: Sha256 | None
    """Of the weights file."""
    clean: View
    """Unattacked."""
    attacked: tuple[AttackedView, ...]
    """One an attack."""


@dataclass(frozen=True)
class Sample:
    """One test pair seen through every shipped victim."""

    __pydantic_config__ = STRICT

    schema: Literal["posebench-samples/1"]
    """The file's form."""
    task: Name
    """Data set and split."""
    sample: Annotated[int, Least(0)]
    """Number of the pair in its task."""
    fingerprint: Sha256 | None
    """sha256 of what the pairs are."""
    vertices: Count
    """Of each mesh."""
    seed: int
    """Of the attacks."""
    environment: Environment
    """Where it was made."""
    pose: PackedCloud
    """Pose source."""
    pose_faces: Name
    """Triangles (F, 3) of the pose source, little-endian uint16 in base64."""
    identity: PackedCloud
    """Identity mesh."""
    truth: PackedCloud
    """Centred by its bounding box."""
    faces: Name
    """Triangles of identity, truth and results, likewise."""
    victims: tuple[VictimViews, ...]
    """Every shipped one."""


def unpacked(cloud: PackedCloud) -> NDArray[np.float64]:
    """Points (V, 3) in metres, up to half a step.

    Raises:
        ValueError: text that is no base64, or no whole number of points.
    """
    steps = np.frombuffer(base64.b64decode(cloud.points, validate=True), "<i2")
    return steps.reshape(-1, 3) * float(cloud.scale)


def sample_problems(sample: Sample) -> Iterator[Problem]:
    """Clouds of another number of points than the sample's, and faces that name none of them."""
    for field, cloud in clouds_of(sample).items():
        try:
            shape = unpacked(cloud).shape
        except (ValueError, binascii.Error) as error:
            yield Problem(f"{field}.points", f"cannot be unpacked: {error}")
            continue
        if shape != (sample.vertices, 3):
            yield Problem(
                f"{field}.points", f"holds {shape[0]} points, vertices is {sample.vertices}"
            )
    for field, text in (("pose_faces", sample.pose_faces), ("faces", sample.faces)):
        try:
            corners = np.frombuffer(base64.b64decode(text, validate=True), "<u2").reshape(-1, 3)
        except (ValueError, binascii.Error) as error:
            yield Problem(field, f"cannot be unpacked: {error}")
            continue
        if corners.max(initial=0) >= sample.vertices:
            yield Problem(field, f"points beyond vertex {sample.vertices - 1}")


def clouds_of(sample: Sample) -> dict[str, PackedCloud]:
    """Every cloud of a sample by the field that it stands in."""
    found = {"pose": sample.pose, "identity": sample.identity, "truth": sample.truth}
    for i, views in enumerate(sample.victims):
        found[f"victims[{i}].clean.output"] = views.clean.output
        for j, view in enumerate(views.attacked):
            found[f"victims[{i}].attacked[{j}].pose"] = view.pose
            found[f"victims[{i}].attacked[{j}].output"] = view.output
    return found

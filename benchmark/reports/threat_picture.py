"""The picture of threat models: ``python -m posebench.benchmark.reports.threat_picture FILE.png``.

Above, one pose source inside each threat model, at random; in the middle, as the worst attack on
NPT-MP's shipped weights found it; below, what NPT-MP makes of that, coloured by its error.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from posebench.attacks import Noise, PTEnsemble, run_attack
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.measure import predict
from posebench.benchmark.reports.pictures import Panel, draw_rows
from posebench.interfaces import Attack
from posebench.rng import generator_for
from posebench.threats import THREATS
from posebench.victims import load_network

EFFORT = 200
"""Gradients of each attack: enough for a picture."""


def threat_panels(victim: str = "npt-mp", sample: int = 1) -> list[tuple[str, list[Panel]]]:
    """Three rows with a column for each threat model."""
    network, _ = load_network(victim)
    pairs = load_task("anny/seen", samples=sample + 1, vertices=1700)
    ids = torch.tensor([sample])
    batch = pairs.batch(ids)
    faces = pairs.pose_faces(ids)
    assert faces is not None
    above: list[Panel] = []
    middle: list[Panel] = []
    below: list[Panel] = []
    for threat in THREATS.values():
        attacks: list[Attack] = [
            Noise(threat.budget),
            PTEnsemble(threat.budget, objective=threat.objective, most=EFFORT),
        ]
        found = []
        for attack in attacks:
            pose = run_attack(attack, network, batch, generator=generator_for(0, "attack")).pose
            moved = (pose.points - batch.pose.points).norm(dim=2)[0]
            found.append((pose, moved))
        for row, (pose, moved), title in zip(
            (above, middle), found, (threat.name, ""), strict=True
        ):
            row.append(Panel(pose.points[0].numpy(), faces[0].numpy(), moved.numpy(), title))
        output = predict(network, batch.with_pose(found[1][0]), 0).points[0]
        error = output - batch.target.points[0]
        error = (error - error.mean(dim=0)).norm(dim=1)
        body = batch.faces[0].numpy()
        below.append(Panel(output.numpy(), body, error.numpy(), ""))
    return [("at random", above), ("worst found", middle), ("result", below)]


if __name__ == "__main__":
    draw_rows(threat_panels(), Path(sys.argv[1]), dpi=60)

"""A gate on a network of a few numbers, shared by the tests of ``posebench regress``."""

from __future__ import annotations

from pathlib import Path

NETWORK = '''
"""Adds the pose to the identity, as much as GAIN says: useless, but steep."""
import os

import torch
import posebench

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(float(os.environ.get("GAIN", "1"))))

    def forward(self, pose, identity):
        return identity + self.gain * pose

def make_victim():
    return posebench.from_module(Network(), name="small")
'''

GATE = """
baseline = "kept/baselines.json"
baseline_seeds = 4

[defaults]
victim = "MODULE:make_victim"
size = "tiny"
pairs = 4
eps = 0.1

[[cell]]
attack = "fgm"

[[cell]]
attack = "noise"

[[cell]]
attack = "fgm"
defense = "sor"
"""


def write_gate(folder: Path, module: str) -> Path:
    """A repository with a network of its own and a gate on it; the gate's path."""
    (folder / f"{module}.py").write_text(NETWORK)
    path = folder / "gate.toml"
    path.write_text(GATE.replace("MODULE", module))
    return path

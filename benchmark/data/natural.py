"""Natural poses: what people do, drawn without limit on any device.

A draw takes a family (``pose_families.toml``), draws its angles, mixes some poses with another one
(straight lines between angles, so ranges hold), mirrors half of them, shakes every joint a little,
lets clavicles follow the arms, and keeps to the anatomical ranges (``joint_angles``) and to a few
rules that keep limbs out of the body. The rules are cheap bounds, no collision test: hands may
still touch or enter a trunk or each other, as in most retargeted motion capture.

The heading stays within 20 degrees: the protocol's bodies face +z (its root turns by 2 degrees),
and other motion is to be turned there first. Lean and roll of the pelvis are kept.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Generator, Tensor

from posebench.benchmark.data.joint_angles import (
    ANGLES,
    INDEX,
    MIDDLE,
    RANGES,
    SIDE,
    L,
    mirrored,
    poses_of_angles,
)
from posebench.benchmark.data.pose_families import GAIT_ANGLES, HARMONICS, Families, load_families
from posebench.registry import unknown
from posebench.shapes import Float, Int

MIXED = 0.15
"""Share of poses that lie between two draws."""

SHAKE = 5.0
"""Most degrees of standard deviation by which single joints leave their family; each pose draws
its own from 0 on."""

ARM_COLUMNS = 9
"""The first angles of a limb are the arm's."""


def natural_poses(
    count: int,
    generator: Generator,
    *,
    family: str | None = None,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "n 24 3"]:
    """Axis-angle vectors of natural poses, all families or one.

    Raises:
        InputError: unknown family.
    """
    return poses_of_angles(natural_angles(count, generator, family=family, device=device))


def natural_angles(
    count: int,
    generator: Generator,
    *,
    family: str | None = None,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "n 48"]:
    """The same in degrees, as ``joint_angles`` names them."""
    families = load_families(str(device))
    if family is None:
        draw = torch.rand((2, count), generator=generator, device=device)
        kinds = torch.searchsorted(families.weights, draw.clamp(max=1 - 1e-6))
    elif family in families.names:
        kinds = torch.full((2, count), families.names.index(family), device=device)
    else:
        raise unknown("family", family, families.names)
    angles = family_angles(families, kinds.flatten(), generator).unflatten(0, (2, count))
    shares = torch.rand((3, count, 1), generator=generator, device=device)
    between = torch.where(shares[0] < MIXED, shares[1], 1.0)
    mixed = angles[0] * between + angles[1] * (1 - between)
    mixed = torch.where(shares[2] < 0.5, mixed, mirrored(mixed))
    return in_range(clear_of_the_body(follow(shaken(mixed, generator))))


def family_angles(
    families: Families, kind: Int[Tensor, "n"], generator: Generator
) -> Float[Tensor, "n 48"]:
    """One draw of the family of each row, before anything that all families share."""
    count, device = len(kind), kind.device
    own = torch.rand((count, len(ANGLES)), generator=generator, device=device)
    shared = torch.rand((count, 2), generator=generator, device=device)
    same = torch.rand((2, count, 1), generator=generator, device=device)
    left, right, middle = own.split((L, L, own.shape[1] - 2 * L), dim=1)
    arm = torch.arange(L, device=device) < ARM_COLUMNS
    alike = torch.where(arm, same[0] < families.arms[kind], same[1] < families.legs[kind])
    own = torch.cat([left, torch.where(alike, left, right), middle], dim=1)
    drive = families.drive[kind]
    place = torch.where(drive == 0, own, shared.gather(1, (drive - 1).clamp(min=0)))
    low = families.low[kind]
    angles = low + (families.high[kind] - low) * place
    angles = planted(angles, families.planted[kind])
    return walked(angles, families, families.gait[kind], generator)


def planted(angles: Float[Tensor, "n 48"], share: Float[Tensor, "n 1"]) -> Float[Tensor, "n 48"]:
    """Legs turned back by a share of the pelvis's lean, so that feet stay on the floor."""
    change = torch.zeros_like(angles)
    tilt, roll = (angles[:, [INDEX[name]]] * share for name in ("pelvis_tilt", "pelvis_roll"))
    for side, sign in (("left", 1), ("right", -1)):
        change[:, [INDEX[f"{side}_hip_flexion"]]] = tilt
        change[:, [INDEX[f"{side}_hip_abduction"]]] = sign * roll
    return angles + change


def walked(
    angles: Float[Tensor, "n 48"], families: Families, gait: Int[Tensor, "n"], generator: Generator
) -> Float[Tensor, "n 48"]:
    """Legs and arms at a random phase of the stride, in rows that have a gait."""
    count, device = len(angles), angles.device
    draw = torch.rand((4, count, 1), generator=generator, device=device)
    return torch.where(
        (gait >= 0)[:, None], stride(angles, families, gait.clamp(min=0), draw), angles
    )


def stride(
    angles: Float[Tensor, "n 48"],
    families: Families,
    gait: Int[Tensor, "n"],
    draw: Float[Tensor, "4 n 1"],
) -> Float[Tensor, "n 48"]:
    """Angles with a gait's curves; ``draw`` in 0..1 is phase, vigour, arm swing and turn."""
    order = torch.arange(1, HARMONICS + 1, device=angles.device)
    angles = angles.clone()
    vigour = 0.6 + 0.6 * draw[1]
    low, high = families.swing[gait].split(1, dim=1)
    swing = low + (high - low) * draw[2]
    for side, start in (("left", 0.0), ("right", 0.5)):
        wave = 2 * torch.pi * (draw[0] + start) * order
        basis = torch.cat([torch.ones_like(draw[0]), wave.cos() * vigour, wave.sin() * vigour], 1)
        legs = (families.curves[gait] * basis[:, None]).sum(dim=2)
        for column, name in enumerate(GAIT_ANGLES):
            angles[:, INDEX[f"{side}_{name}"]] = legs[:, column]
        # Opposite to the leg of the same side, which is forward at contact.
        forward = -wave[:, 0].cos()[:, None]
        angles[:, [INDEX[f"{side}_shoulder_flexion"]]] += swing * forward
        angles[:, [INDEX[f"{side}_elbow_flexion"]]] += 0.4 * swing * forward
        if side == "left":  # the left arm forward turns the chest to the right
            angles[:, [INDEX["trunk_turn"]]] -= 10 * draw[3] * forward
    return angles


def shaken(angles: Float[Tensor, "n 48"], generator: Generator) -> Float[Tensor, "n 48"]:
    """Each joint a little out of its family's way; narrow ranges less."""
    device = angles.device
    size = torch.rand((len(angles), 1), generator=generator, device=device)
    noise = torch.randn(angles.shape, generator=generator, device=device).clamp(-2.5, 2.5)
    low, high = limits(device)
    return angles + SHAKE * size * noise * ((high - low) / 60).clamp(max=1)


def follow(angles: Float[Tensor, "n 48"]) -> Float[Tensor, "n 48"]:
    """Clavicles rise with the arms and go forward with them.

    A fifth of the elevation beyond 30 degrees, up to 30 degrees overhead (Inman, Saunders and
    Abbott, 1944); an eighth forward is our choice.
    """
    angles = angles.clone()
    for side in ("left", "right"):
        flexion, abduction = (
            angles[:, INDEX[f"{side}_shoulder_{name}"]] for name in ("flexion", "abduction")
        )
        raised = (torch.hypot(flexion, abduction) - 30).clamp(0, 150)
        angles[:, INDEX[f"{side}_clavicle_elevation"]] += raised / 5
        angles[:, INDEX[f"{side}_clavicle_protraction"]] += flexion.clamp(-60, 120) / 8
    return angles


def clear_of_the_body(angles: Float[Tensor, "n 48"]) -> Float[Tensor, "n 48"]:
    """Bounds that keep arms out of the trunk and legs out of each other (our choice).

    A hanging arm stays 8 degrees off the side, and the more it is raised forward, the further it
    may cross; a bent forearm turns inward only as far as the upper arm is clear of the belly; an
    arm is raised by no more than 175 degrees in all; thighs cross only when one is forward of the
    other; a thigh stops at the belly that bends towards it; a straight leg goes aside and turns
    outward by 45 degrees.
    """
    angles = angles.clone()
    hips = []
    trunk = angles[:, 2 * L + MIDDLE["trunk_flexion"]]
    for first in (0, L):
        limb = angles[:, first : first + L]

        def of(name: str, limb: Tensor = limb) -> Tensor:
            return limb[:, SIDE[name]]

        flexion = of("shoulder_flexion")
        least = (8 - 0.9 * (flexion - 20).clamp(min=0) - 0.15 * flexion.clamp(max=0)).clamp(min=-60)
        abduction = torch.maximum(of("shoulder_abduction"), least)
        raised = torch.hypot(flexion, abduction).clamp(min=1e-6)
        shrink = (175 / raised).clamp(max=1)
        flexion, abduction = flexion * shrink, abduction * shrink
        inward = -15 - 1.0 * flexion.clamp(min=0) - 0.7 * abduction.clamp(min=0)
        straight = 60 * (1 - of("elbow_flexion") / 40).clamp(min=0)
        limb[:, SIDE["shoulder_rotation"]] = torch.maximum(
            of("shoulder_rotation"), inward - straight
        )
        limb[:, SIDE["shoulder_flexion"]], limb[:, SIDE["shoulder_abduction"]] = flexion, abduction
        hip = torch.minimum(of("hip_flexion"), 140 - 0.6 * trunk.clamp(min=0))
        limb[:, SIDE["hip_flexion"]] = hip
        limb[:, SIDE["hip_abduction"]] = torch.minimum(
            of("hip_abduction"), 45 + 0.3 * hip.clamp(min=0)
        )
        aside = of("hip_abduction").clamp(min=0) * (hip / 90).clamp(0, 1)
        limb[:, SIDE["hip_rotation"]] = torch.minimum(of("hip_rotation"), 45 + 0.7 * aside)
        hips.append(hip)
    thighs = [INDEX["left_hip_abduction"], INDEX["right_hip_abduction"]]
    apart = angles[:, thighs].sum(dim=1)
    least = -4 - 0.5 * (hips[0] - hips[1]).abs().clamp(max=40)
    angles[:, thighs] += ((least - apart).clamp(min=0) / 2)[:, None]
    return angles


def in_range(angles: Float[Tensor, "n 48"]) -> Float[Tensor, "n 48"]:
    """Angles within the anatomical ranges."""
    low, high = limits(angles.device)
    return torch.minimum(torch.maximum(angles, low), high)


@lru_cache
def limits(device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Ends of the anatomical ranges, (A,) each, degrees."""
    low, high = torch.tensor(list(RANGES.values()), dtype=torch.float32, device=device).unbind(1)
    return low, high

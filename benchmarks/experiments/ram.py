"""Do a world's samples cover what a ram does? The disc hits the T at full speed.

    python -m benchmarks.experiments.ram --world pusht_video --out runs/ram

What a ram does hangs on less than a world knows of where things lie. So from each ram's start a
world predicts many times, each time from states a little other (`WorldModel.doubt_`), by seed; the
simulator's pose should be one of those that it predicts. Medians over rams, by step: how far the T
has moved, how far the prediction without doubt is from the simulator's pose, the samples' median
and the nearest of them, how far they spread (deviation); and which share of the simulator's
coordinates (x, y, angle) lies between the samples' least and greatest, and within their middle nine
tenths (0.9 if samples are as likely as what happens).

Dimensions: R rams, K samples, T steps.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import tyro

from benchmarks import report
from policies.pusht.geometry import Pose, pose_of_label, rotation
from world_model import StreamingState, StreamingWorld, WorldModel

BEFORE = 4
"""Frames that the world is given, at rest."""
AT = (2, 4, 8, 16)
"""Steps of which figures are reported."""
LEAST_MOVED = 5.0
"""px of 512 that a T moves at least, or the disc has missed it."""
FAR, WIDE, OVERSHOOT = (110.0, 170.0), 25.0, 150.0
"""How far away the disc begins, by what deviation its aim is beside the T's middle, and how far
beyond that the target lies, px of 512."""


@dataclass(frozen=True, kw_only=True)
class RamConfig:
    """What to measure."""

    world: str = "pusht_video"
    """A Push-T world that predicts the T's pose: a shipped name or a directory."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/ram")
    """Directory for ram.json."""
    rams: int = 40
    """Rams that hit the T."""
    samples: int = 32
    """Seeds of the world, each ram."""
    scales: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)
    """How many times less sure of states than in training; a table each."""
    seed: int = 0
    """Of where rams begin and aim."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ram:
    """One ram in the simulator."""

    frames: np.ndarray
    """uint8 (BEFORE, 96, 96, 3)"""
    places: np.ndarray
    """float32 (BEFORE, 2), of the disc."""
    actions: np.ndarray
    """float32 (BEFORE - 1 + T, 2)"""
    poses: np.ndarray
    """(T, 3): x, y and angle of the T after each step."""


def main(config: RamConfig) -> dict[str, Any]:
    """Measure, print a table, write the report, and return it."""
    world = WorldModel.from_pretrained(config.world)
    if not isinstance(world, StreamingWorld) or not world.rolls_out_states:
        raise SystemExit(f"world {config.world} predicts no poses; take pusht or pusht_video")
    rams = ram_until(config.rams, config.seed)
    true = np.stack([ram.poses for ram in rams])
    alone = np.stack([sampled_poses(world, ram, 1, scale=0.0)[0] for ram in rams])
    figures = {}
    for scale in config.scales:
        sampled = np.stack([sampled_poses(world, ram, config.samples, scale=scale) for ram in rams])
        figures[scale] = compared(sampled, alone, true)
    results = {
        **report.heading("benchmarks.experiments.ram", config, str(world.device), world),
        "about": __doc__,
        "by_scale": figures,
    }
    text = "\n\n".join(f"doubt x {scale:g}\n{table(at)}" for scale, at in figures.items())
    return report.publish(results, text, config.out, "ram")


def ram_until(count: int, seed: int) -> list[Ram]:
    """So many rams that move the T."""
    env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type="pixels_agent_pos")
    rng, found = np.random.default_rng([seed, 7]), []
    while len(found) < count:
        ram = one_ram(env, rng)
        first = ram.poses[0]
        if np.linalg.norm(ram.poses[-1, :2] - first[:2]) >= LEAST_MOVED:
            found.append(ram)
    env.close()
    return found


def one_ram(env: gym.Env, rng: np.random.Generator) -> Ram:
    """The disc waits beside the T, then goes for a target beyond it."""
    x, y = rng.uniform(200, 312, 2).tolist()
    block = Pose(x=x, y=y, angle=float(rng.uniform(-np.pi, np.pi)))
    middle = block.to_world(np.array([(0.0, 45.0)]))[0]
    towards = rotation(rng.uniform(-np.pi, np.pi)) @ np.array([1.0, 0.0])
    begin = middle - rng.uniform(*FAR) * towards
    aim = middle + rng.normal(0, WIDE, 2)
    target = aim + OVERSHOOT * (aim - begin) / np.linalg.norm(aim - begin)
    reset_to = [*begin, block.x, block.y, block.angle]
    observation, _ = env.reset(seed=0, options={"reset_to_state": reset_to})
    actions = [begin] * (BEFORE - 1) + [target] * max(AT)
    frames, places, poses = [observation["pixels"]], [observation["agent_pos"]], []
    for action in actions:
        observation, _, _, _, info = env.step(np.clip(action, 0, 512).astype(np.float32))
        frames.append(observation["pixels"])
        places.append(observation["agent_pos"])
        poses.append(info["block_pose"])
    return Ram(
        frames=np.stack(frames[:BEFORE]),
        places=np.stack(places[:BEFORE]).astype(np.float32),
        actions=np.clip(np.stack(actions), 0, 512).astype(np.float32),
        poses=np.stack(poses[BEFORE - 1 :]),
    )


def sampled_poses(world: StreamingWorld, ram: Ram, samples: int, *, scale: float) -> np.ndarray:
    """x, y and angle of the T as the world has it, by the simulator's conventions, (K, T, 3)."""

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.repeat(values[None], samples, axis=0)

    state = world.start(
        repeated(ram.frames),
        repeated(ram.actions[: BEFORE - 1]),
        list(range(samples)),
        {"agent_pos": repeated(ram.places)},
    )
    assert isinstance(state, StreamingState)
    world.doubt_(state, scale)
    name = next(iter(world.config.required_states.hidden))
    actions = repeated(ram.actions[BEFORE - 1 :])[:, None]
    pose = world.rollout_states(state, actions).states[name][:, 0].double().numpy()
    # x, y, cosine and sine.
    found = np.dstack((pose[..., :2], np.arctan2(pose[..., 3], pose[..., 2])))
    if name == "block":  # as `irasim label` has it
        for each in found.reshape(-1, 3):
            pose = pose_of_label(*each)
            each[:] = pose.x, pose.y, pose.angle
    return found


def compared(sampled: np.ndarray, alone: np.ndarray, true: np.ndarray) -> dict[int, Any]:
    """Figures at each of `AT`, of samples (R, K, T, 3), of the prediction from states as they are
    estimated (R, T, 3) and of the simulator (R, T, 3)."""
    figures = {}
    for step in AT:
        # Seen from the true pose, so that an angle has no seam.
        wanted, begun = true[:, step - 1], true[:, 0]
        off = _away(sampled[:, :, step - 1], wanted[:, None])  # (R, K, 3)
        spread = off.std(axis=1)
        low, high = off.min(axis=1), off.max(axis=1)
        inner, outer = np.quantile(off, (0.05, 0.95), axis=1)
        figures[step] = {
            "moved, px": _median_length(wanted - begun),
            "alone, px": _median_length(_away(alone[:, step - 1], wanted)),
            "median, px": _median_length(np.median(off, axis=1)),
            "nearest, px": float(np.median(np.linalg.norm(off[..., :2], axis=2).min(axis=1))),
            "spread, px": _median_length(spread),
            "spread, degrees": float(np.degrees(np.median(spread[:, 2]))),
            "covered": float(((low <= 0) & (high >= 0)).mean()),
            "in nine tenths": float(((inner <= 0) & (outer >= 0)).mean()),
        }
    return figures


def _median_length(poses: np.ndarray) -> float:
    """Median length of x and y, of (R, 3)."""
    return float(np.median(np.linalg.norm(poses[:, :2], axis=1)))


def _away(poses: np.ndarray, true: np.ndarray) -> np.ndarray:
    off = poses - true
    off[..., 2] = np.angle(np.exp(1j * off[..., 2]))
    return off


def table(figures: dict[int, Any]) -> str:
    """One row a step."""
    head = ["step", *next(iter(figures.values()))]
    rows = [[str(step), *map(report.number, row.values())] for step, row in figures.items()]
    return report.table(head, rows)


if __name__ == "__main__":
    main(tyro.cli(RamConfig))

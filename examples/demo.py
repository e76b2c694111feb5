"""The shipped Push-T world beside the real simulator, under the same actions: `make demo`.

An expert pushes the T in the real simulator; its actions are replayed in the learned world, which
sees nothing of the real one but the start. Writes demo.mp4 and strip.png, and prints how far apart
the two are.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import gymnasium as gym
import numpy as np
import tyro

import irasim_env  # noqa: F401  registers the ids
from benchmarks import psnr
from benchmarks.report import hardware
from irasim_env.ground_truth import GroundTruth
from policies.pusht import expert
from world_model import WorldModel
from world_model.video import write_video

HORIZONS = (1, 16, 64)  # steps after the start at which PSNR is printed
COLUMNS = (0, 4, 8, 16, 32, 48, 64, 96, 128)  # steps that the strip shows
PSNR_CAP = 60.0  # dB: identical frames would be infinitely good
BAND = 28  # pixels above a picture, for its label


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """What to roll out."""

    world: str = "pusht"
    """A shipped name, a directory, or a Hub id."""
    out: Path = Path("out/demo")
    """Where demo.mp4 and strip.png go."""
    steps: int = 200
    """Steps in all; where an episode ends, the next start goes on."""
    start: int = 0
    """The world's start to begin from."""
    seed: int = 0
    """Of the expert and of the world's noise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rollout:
    """One episode, real and learned; T steps, so T + 1 frames. Both begin with the same frame."""

    start: int
    real: np.ndarray
    """uint8 (T + 1, H, W, 3)"""
    learned: np.ndarray
    """uint8 (T + 1, H, W, 3)"""
    seconds: list[float]
    """What each step of the learned world took."""
    ends: tuple[bool, bool]
    """Whether the real and the learned episode terminated, at the last step."""


def main(config: DemoConfig) -> None:
    """Roll out, write the video and the strip, print the figures."""
    print(f"{config.steps} steps in the world and in the simulator: a minute at most", flush=True)
    world = WorldModel.from_pretrained(config.world)
    env = gym.make("IRASim/PushT-v0", world=world)
    truth = GroundTruth(world.config)
    rollouts: list[Rollout] = []
    steps = 0
    while steps < config.steps:
        start = (config.start + len(rollouts)) % len(world.starts)
        rollout = roll_out(env, truth, world, start, config.steps - steps, config.seed)
        rollouts.append(rollout)
        steps += len(rollout.seconds)
        real, learned = ("has ended" if end else "goes on" for end in rollout.ends)
        print(
            f"start {start}: {len(rollout.seconds)} steps; then the episode of the simulator "
            f"{real}, that of the world {learned}",
            flush=True,
        )
    env.close()
    truth.close()

    config.out.mkdir(parents=True, exist_ok=True)
    frames = [film_frame(rollout, t) for rollout in rollouts for t in range(len(rollout.real))]
    write_video(config.out / "demo.mp4", np.stack(frames), world.config.fps, lossless=False)
    longest = max(rollouts, key=lambda rollout: len(rollout.real))
    cv2.imwrite(str(config.out / "strip.png"), strip(longest)[..., ::-1])

    rate = 1 / np.median(np.concatenate([rollout.seconds for rollout in rollouts]))
    print(f"""
{psnr_table(rollouts)}

{rate:.1f} steps a second: batch 1, median of {steps} steps, \
{world.config.evaluations_per_step} network evaluations a step, decode included;
on {hardware(str(world.device))}

Written: {config.out / "demo.mp4"} and {config.out / "strip.png"}, real beside learned.
Next:
  make play                                        drive the world yourself
  .venv/bin/python examples/demo.py --start 7      another start (--help lists all options)
  .venv/bin/irasim train --help                    learn a world from your own simulator
  README.md                                        the environment in ten lines""")


def roll_out(
    env: gym.Env, truth: GroundTruth, world: WorldModel, start: int, max_steps: int, seed: int
) -> Rollout:
    """Let the expert act in the real simulator and replay its actions in the learned one.

    The learned one begins with the start's recorded clip, the real one with the actions that led
    to it. Ends after `max_steps`, or when either says that the episode is over.
    """
    observation = truth.reset_to(world.starts[start])
    frame, _ = env.reset(seed=seed, options={"start": start})
    policy = expert(truth.env, seed)
    real, learned, seconds = [truth.frame], [frame], []
    ends = (False, False)
    while len(seconds) < max_steps and not any(ends):
        action = policy(observation)
        observation, _, real_end, _, _ = truth.step(action)
        begin = time.perf_counter()
        frame, _, learned_end, _, _ = env.step(action)
        seconds.append(time.perf_counter() - begin)
        real.append(truth.frame)
        learned.append(frame)
        ends = real_end, learned_end
    return Rollout(
        start=start, real=np.stack(real), learned=np.stack(learned), seconds=seconds, ends=ends
    )


def psnr_table(rollouts: list[Rollout]) -> str:
    """PSNR of the learned frames, and of the start's last frame kept ("nothing moves"), in dB."""
    learned = [psnr(r.learned[1:], r.real[1:], cap=PSNR_CAP) for r in rollouts]
    still = [
        psnr(np.broadcast_to(r.real[0], r.real[1:].shape), r.real[1:], cap=PSNR_CAP)
        for r in rollouts
    ]
    lines = [f"{'PSNR, dB':<16}{'learned':>9}{'nothing moves':>16}{'frames':>9}"]
    for h in HORIZONS:
        at = [(a[h - 1], b[h - 1]) for a, b in zip(learned, still, strict=True) if len(a) >= h]
        if at:
            a, b = np.mean(at, axis=0)
            lines.append(f"{f'step {h}':<16}{a:>9.2f}{b:>16.2f}{len(at):>9}")
    a, b = np.concatenate(learned), np.concatenate(still)
    lines.append(f"{'all steps':<16}{a.mean():>9.2f}{b.mean():>16.2f}{len(a):>9}")
    return "\n".join(lines)


def film_frame(rollout: Rollout, t: int) -> np.ndarray:
    """Real and learned side by side, four times enlarged, with labels."""
    real = labelled(rollout.real[t], "real", 4)
    learned = labelled(rollout.learned[t], f"learned, start {rollout.start}, step {t}", 4)
    gap = np.full((len(real), 16, 3), 255, np.uint8)
    return np.concatenate([real, gap, learned], axis=1)


def strip(rollout: Rollout) -> np.ndarray:
    """Pictures at growing steps, the real ones above the learned ones."""
    sides = []
    for name, frames in (("real", rollout.real), ("learned", rollout.learned)):
        row = []
        for t in COLUMNS:
            if t < len(frames):
                gap = np.full((2 * frames.shape[1] + BAND, 4, 3), 255, np.uint8)
                row += [labelled(frames[t], f"{name}, step {t}", 2), gap]
        sides.append(np.concatenate(row, axis=1))
    return np.concatenate(sides)


def labelled(frame: np.ndarray, label: str, factor: int) -> np.ndarray:
    """A frame enlarged by whole pixels, with its label in a white band above."""
    picture = frame.repeat(factor, axis=0).repeat(factor, axis=1)
    band = np.full((BAND, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(band, label, (4, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([band, picture])


if __name__ == "__main__":
    main(tyro.cli(DemoConfig))

"""Whether a change left every bit as it was: hashes of what worlds do, before and after.

    python -m benchmarks.experiments.same_bits record before.json     # in the tree before
    python -m benchmarks.experiments.same_bits compare before.json    # in the tree after

Rollouts of the shipped world in float32 (batch 1 and 8, 64 steps, both kinds of observation, a
snapshot in the middle), planners' decisions, 20 steps of training, and an imported chunk world.
Only public names and the command line are used, so that the file runs in older trees too.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

STEPS = 64
PUSHT = ("--env-id", "gym_pusht:gym_pusht/PushT-v0")
KINDS = ("--env-kwargs", '{"obs_type": "pixels_agent_pos"}')
COLLECT = ("collect", *PUSHT, *KINDS, "--policy", "policies.pusht:mixture", "--max-steps", "40")
SHORT = ("--max-steps", "20", "--validate-every", "1h", "--save-every", "1h", "--cpu")


def digest(*parts: Any) -> str:
    """One hash of arrays, dictionaries of them, and numbers."""
    found = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, dict):
            for key in sorted(part):
                found.update(str(key).encode())
                add(part[key])
        elif isinstance(part, list | tuple):
            for one in part:
                add(one)
        else:
            array = np.ascontiguousarray(part)
            found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())

    add(parts)
    return found.hexdigest()[:16]


def rollouts() -> Iterator[tuple[str, str]]:
    """Of the shipped world, through Gymnasium."""
    import irasim_env  # noqa: F401  registers the ids

    for kind in ("pixels", "pixels_agent_pos"):
        env = gym.make("IRASim/PushT-v0", obs_type=kind)
        env.action_space.seed(0)
        seen: list[Any] = [env.reset(seed=3)[0]]
        snapshot: Any = None
        for step in range(STEPS):
            if step == STEPS // 2:
                snapshot = env.unwrapped.snapshot()  # pyright: ignore[reportAttributeAccessIssue]
            seen.append(env.step(env.action_space.sample())[:3])
        yield f"one environment, {kind}", digest(seen)
        env.unwrapped.restore(snapshot)  # pyright: ignore[reportAttributeAccessIssue]
        again = [env.step([40 * step, 300])[:3] for step in range(8)]
        yield f"after a snapshot, {kind}", digest(again)
        env.close()
        envs = gym.make_vec("IRASim/PushT-v0", num_envs=8, obs_type=kind)
        envs.action_space.seed(0)
        many: list[Any] = [envs.reset(seed=3)[0]]
        many += [envs.step(envs.action_space.sample())[:3] for _ in range(STEPS)]
        yield f"eight environments, {kind}", digest(many)
        envs.close()


def candidates() -> Iterator[tuple[str, str]]:
    """What a planner's decision rests on, by frames and by states alone, and other precisions."""
    from world_model import WorldModel

    world: Any = WorldModel.from_pretrained("pusht")
    actions = np.random.default_rng(0).uniform(0, 512, (2, 8, 6, 2))
    state = world.begin([0, 5], [1, 2])
    out = world.rollout(state, actions, return_frames=True)
    yield "rollout", digest(out.reward, out.terminated, out.frames, out.states)
    named = "rollout_states" if hasattr(world, "rollout_states") else "foresee"  # its older name
    out = getattr(world, named)(state, actions)
    yield "rollout in states", digest(out.reward, out.terminated, out.states)
    world.precision = "bf16"
    out = world.rollout(state, actions[:, :2])
    yield "rollout, bf16", digest(out.reward, out.states)


def irasim(*words: str | Path) -> None:
    """Run `irasim ...`."""
    command = [sys.executable, "-m", "irasim_env.console", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")


def weights(world: Path) -> str:
    """Of a world's directory, through a rollout of it and its parameters' sums.

    Names of parameters may change, what they compute may not.
    """
    from world_model import WorldModel

    loaded: Any = WorldModel.from_pretrained(world)
    sums = sorted(float(p.detach().double().sum()) for p in loaded.parameters())
    state = loaded.begin([0], [0])
    frames = []
    for step in range(8):
        state, out = loaded.step(state, np.full((1, loaded.config.action_dim), 40.0 * step))
        frames.append(out.frame)
    return digest(sums, frames)


def trainings(folder: Path) -> Iterator[tuple[str, str]]:
    """Twenty steps, on from the shipped world, with everything that its recipe uses."""
    data = folder / "data"
    for split, episodes in (("train", "4"), ("val", "2")):
        hidden = ("--hidden", "block_pose")
        irasim(*COLLECT, *hidden, "--out", data, "--split", split, "--episodes", episodes)
    run = folder / "run"
    states = ("--hidden", "block_pose", "--poses", "block_pose", "--points", "agent_pos")
    own = ("--self-rollout-from", "0.5", "--rollout-from", "0.3", "--batch-clips", "4")
    irasim("train", "--init", "pusht", "--data", data, "--out", run, *states, *own, *SHORT)
    yield "training on from the shipped world", weights(run / "world")


def imported(folder: Path, golden: Path) -> Iterator[tuple[str, str]]:
    """A chunk world of a reference checkpoint's form (tests/golden figures of the reference)."""
    from world_model import load_reference_checkpoint, sample_chunk

    name = "rt1_frame_ada"
    if not (golden / f"{name}.pt").is_file():
        return
    shape = json.loads((golden / f"{name}.json").read_text())
    denoiser = load_reference_checkpoint(golden / f"{name}.pt", num_heads=shape.get("num_heads"))
    from safetensors.torch import load_file

    x = load_file(golden / f"{name}.safetensors")
    with torch.no_grad():
        latents = sample_chunk(
            denoiser, x["x"][:, :1], x["actions"], noise=x["pndm10_noise"], num_steps=10
        )
        yield "imported denoiser", digest(denoiser(x["x"], x["t"], x["actions"]))
    yield "imported denoiser, sampled", digest(latents)


def measure(golden: Path) -> dict[str, str]:
    """All hashes by name."""
    torch.set_num_threads(1)
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in (rollouts(), candidates(), imported(folder, golden), trainings(folder)):
            for what, value in part:
                print(f"{value}  {what}", flush=True)
                found[what] = value
    return found


def main() -> None:
    """Record or compare."""
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("record", "compare"):
        sys.exit("usage: python -m benchmarks.experiments.same_bits record|compare FILE [GOLDEN]")
    file, golden = Path(sys.argv[2]), Path(sys.argv[3] if len(sys.argv) == 4 else "golden")
    found = measure(golden)
    if sys.argv[1] == "record":
        file.write_text(json.dumps(found, indent=2) + "\n")
        return
    before = json.loads(file.read_text())
    different = [name for name in before if found.get(name) != before[name]]
    missing = sorted(set(before) - set(found))
    print(f"{len(before) - len(different)} of {len(before)} the same")
    sys.exit(f"different: {', '.join(different)}; missing: {missing}" if different else 0)


if __name__ == "__main__":
    main()

"""`python -m benchmarks.pusht.cloning`: trains the behaviour-cloned Push-T policies.

One training gives several policies: the network is saved on the way, so that they range from a
beginner to what the data allow. They imitate the expert's episodes of the training split, whose
seeds no evaluation uses.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro

from benchmarks import report
from policies.pusht.cloning import SIZE, CloneConfig, CloneNetwork, Demonstration, fit, save_clone
from training.data.episodes import list_episodes, read_annotation, read_episode
from world_model.config_fields import check_least
from world_model.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class CloningConfig:
    """Train the behaviour-cloned policies of the Push-T family."""

    data: Path = Path("data/pusht")
    """Directory of recorded Push-T episodes, as `irasim collect --policy policies.pusht:mixture`
    writes them."""
    out: Path
    """Directory for the weights, clone_STEP.safetensors, and cloning.json."""
    kinds: tuple[str, ...] = ("expert",)
    """Kinds of recorded policy to imitate."""
    episodes: int | None = None
    """Imitate so many episodes at most (default: all)."""
    stages: tuple[int, ...] = (200, 1000, 4000)
    """Steps after which the network is saved; the last one ends the training."""
    batch: int = 64
    """Moments in a step."""
    rate: float = 1e-3
    """Highest learning rate."""
    seed: int = 0
    """Of the weights and of the moments drawn."""
    network: CloneConfig = field(default_factory=CloneConfig)
    """The network."""

    def __post_init__(self):
        if not self.stages or min(self.stages) < 1 or list(self.stages) != sorted(self.stages):
            raise ValueError(f"stages is {self.stages}, expected growing numbers of at least 1")
        check_least(self, batch=1)


def main(config: CloningConfig) -> list[Path]:
    """Train, save each stage, and return the files."""
    demonstrations = read_demonstrations(config)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = CloneNetwork(config.network)
    paths, losses, recent = [], {}, []
    steps = fit(
        network,
        demonstrations,
        steps=config.stages[-1],
        batch=config.batch,
        rate=config.rate,
        seed=config.seed,
    )
    for step, loss in progress_bar(steps, total=config.stages[-1], desc="cloning", unit="steps"):
        recent.append(loss)
        if step in config.stages:
            paths.append(config.out / f"clone_{step}.safetensors")
            save_clone(network, paths[-1])
            losses[step] = sum(recent[-100:]) / len(recent[-100:])
    written = {
        "command": "python -m benchmarks.pusht.cloning",
        "config": asdict(config),
        "episodes": len(demonstrations),
        "moments": sum(len(one.actions) for one in demonstrations),
        "loss_of_last_100_steps": losses,
        "versions": report.versions(),
    }
    report.write_report(config.out / "cloning.json", written)
    print(f"{written['episodes']} episodes, {written['moments']} moments, loss {losses}")
    return paths


def read_demonstrations(config: CloningConfig) -> list[Demonstration]:
    """The training split's episodes of the kinds asked for."""
    found = []
    for episode_id in progress_bar(
        list_episodes(config.data, "train"), desc="reading", unit="episodes"
    ):
        if config.episodes is not None and len(found) >= config.episodes:
            break
        if read_annotation(config.data, "train", episode_id)["policy"] not in config.kinds:
            continue
        episode = read_episode(config.data, "train", episode_id)
        if "agent_pos" not in episode.states or episode.frames.shape[1:] != (SIZE, SIZE, 3):
            raise ValueError(
                f"{config.data}: episode {episode_id} has frames {episode.frames.shape} and states "
                f"{sorted(episode.states)}, expected (T, {SIZE}, {SIZE}, 3) and agent_pos: collect "
                'it with --env-kwargs \'{"obs_type": "pixels_agent_pos"}\''
            )
        found.append(
            Demonstration(
                frames=episode.frames[:-1],
                discs=episode.states["agent_pos"][:-1].astype(np.float32),
                actions=episode.actions.astype(np.float32),
            )
        )
    if not found:
        raise ValueError(
            f"{config.data}: no training episode of {' or '.join(config.kinds)}; collect some with "
            "irasim collect --policy policies.pusht:mixture"
        )
    return found


if __name__ == "__main__":
    main(tyro.cli(CloningConfig, prog="python -m benchmarks.pusht.cloning"))

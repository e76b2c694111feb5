"""`irasim collect`: records episodes of any Gymnasium environment, with any policy.

Episode i of a split has a seed of its own, so a run that stopped goes on where it was, and more
workers give the same episodes. An episode is on disk whole or not at all.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from training.data.episodes import (
    SPLITS,
    Episode,
    annotation_path,
    list_episodes,
    place_episode,
    read_json,
    read_record,
    video_path,
    write_episode,
    write_json,
)
from training.data.record import load_policy, make_env, record_episode
from training.data.size import Resized
from training.data.view import View, choose_view
from training.jobs.cluster import Cluster
from training.jobs.config import OnCluster
from training.jobs.run import run_here
from world_model.config_fields import check_least
from world_model.directories import check_directory
from world_model.io.whole_files import clear_leftovers
from world_model.versions import versions

if TYPE_CHECKING:
    import gymnasium as gym

# Each split draws its seeds from a range of its own, as long as the distance between them.
FIRST_SEED = {"train": 0, "val": 1_000_000, "test": 2_000_000}
SEEDS_PER_SPLIT = 1_000_000
# What an exact replay may depend on, where it is installed, besides the environment's own package.
VERSIONS_NOTED = ("gymnasium", "numpy", "av", "opencv-python", "pygame", "pymunk", "mujoco")
# What all episodes of a directory have in common, beside their environment.
RECORDED_WITH = ("hidden", "camera", "states", "height", "width")


@dataclass(frozen=True, kw_only=True)
class CollectConfig(Resized, OnCluster):
    """Record episodes of any Gymnasium environment: lossless videos, and annotations with actions
    (discrete ones as one-hot vectors), rewards, ends, low-dimensional observations and hidden
    states. Reports which observations were left out."""

    env_id: str
    """Environment id for gymnasium.make; in the form module:Name-v0, the module that registers the
    environment is imported first."""
    env_kwargs: str = "{}"
    """Keyword arguments of the environment as JSON, as in '{"obs_type": "pixels_agent_pos"}'."""
    policy: str = "training.data.record:RandomActions"
    """Import path "module:factory", where factory(env, seed) returns policy(observation) -> action.
    The default acts at random; tasks bring policies that suit them."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write to; episodes that are already there are kept."""
    split: Literal["train", "val", "test"] = "train"
    """Split to record; no two splits share a seed."""
    episodes: int = 100
    """Number of episodes that the split is to have."""
    max_steps: int | None = None
    """Stop an episode after this many steps (default: when the environment or the policy does)."""
    camera: str | None = None
    """Image observation to record, by name ("front", "robot.wrist"), or render for what the
    environment renders (default: pixels, else the only one, else render)."""
    states: tuple[str, ...] | None = None
    """Low-dimensional observations to record, by name, nested ones as in robot.joints (default:
    all; --states without names: none)."""
    height: int | None = None
    """Height to resize frames to, in pixels, together with --width (default: as observed)."""
    width: int | None = None
    """Width to resize frames to, in pixels."""
    hidden: tuple[str, ...] = ()
    """Entries of the environment's info to record too, such as the pose of a body: a world can be
    trained to predict them although no observation contains them."""
    workers: int = os.cpu_count() or 1
    """Number of worker processes on this machine; 0 records in the main process."""
    ray: str | None = None
    """Address of a Ray cluster to record on instead (auto, HOST:PORT or ray://HOST:PORT); episodes
    come back to this machine."""
    ray_workers: int | None = None
    """Number of workers in the cluster (default: one per core)."""

    def __post_init__(self):
        if not 1 <= self.episodes <= SEEDS_PER_SPLIT:
            raise ValueError(
                f"episodes is {self.episodes}, expected 1 to {SEEDS_PER_SPLIT:,}: more would take "
                "seeds of the next split"
            )
        check_least(self, max_steps=1, workers=0)
        self.check_size()
        self.check_cluster()
        if not isinstance(self.make_kwargs, dict):
            raise ValueError(f"env_kwargs is {self.env_kwargs!r}, expected a JSON object")

    @property
    def make_kwargs(self) -> dict[str, Any]:
        """`env_kwargs` read."""
        try:
            return json.loads(self.env_kwargs)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"env_kwargs is {self.env_kwargs!r}, expected JSON ({error})"
            ) from error

    def view(self, env: "gym.Env") -> View:
        """What of an environment's observations is recorded.

        Raises:
            ValueError: No such camera or states in it, or several cameras and none is named.
        """
        try:
            return choose_view(
                env.observation_space, camera=self.camera, states=self.states, size=self.size
            )
        except ValueError as error:
            raise ValueError(f"{self.env_id}: {error}") from error


def collect_episode(config: CollectConfig, index: int) -> str:
    """Record episode `index` of the split, write it, and return its id.

    Raises:
        ValueError: The environment or the policy failed, or they do not go together.
    """
    seed = FIRST_SEED[config.split] + index
    episode_id = f"{index:06d}"
    env = make_env(config.env_id, config.make_kwargs, config.camera)
    try:
        view = config.view(env)
        policy = load_policy(config.policy)(env, seed)
        limits = [config.max_steps, getattr(policy, "max_steps", None)]
        max_steps = min((limit for limit in limits if limit is not None), default=None)
        arrays = record_episode(
            env, policy, seed=seed, max_steps=max_steps, hidden=config.hidden, view=view
        )
        fps = float(env.metadata.get("render_fps", 10))
    except Exception as error:  # of what the user has named
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(
            f"episode {episode_id} of {config.split} (seed {seed}) failed: {kind}{error} "
            f"(policy {config.policy}: a factory(env, seed) of policy(observation) -> action)"
        ) from error
    finally:
        env.close()
    episode = Episode(
        episode_id=episode_id,
        seed=seed,
        env_id=config.env_id,
        env_kwargs=config.make_kwargs,
        policy=getattr(policy, "kind", config.policy),
        fps=fps,
        **arrays,
    )
    write_episode(config.out, config.split, episode)
    return episode_id


def main(config: CollectConfig) -> None:
    """Record what is missing of the split, then say what it holds."""
    from world_model.progress import progress_bar

    check_directory(config.out)
    load_policy(config.policy)  # A wrong path is reported here, once, and not by every worker.
    env = make_env(config.env_id, config.make_kwargs, config.camera)
    view = config.view(env)
    env.close()
    present = set(list_episodes(config.out, config.split))
    missing = [i for i in range(config.episodes) if f"{i:06d}" not in present]
    cluster = Cluster(config) if config.ray is not None and missing else None
    clear_leftovers(config.out)
    config.out.mkdir(parents=True, exist_ok=True)
    _note_run(config, len(missing))
    label = f"{config.split}: {config.env_id}, {config.policy}"
    with progress_bar(
        total=config.episodes,
        initial=config.episodes - len(missing),
        desc=label,
        unit="episodes",
    ) as progress:
        for _ in _collected(config, missing, cluster):
            progress.update()
    print(summary(config.out, config.split))
    print(described(view))


def described(view: View) -> str:
    """What was recorded in addition to actions and rewards, and what was left out, for printing."""
    camera = "render()" if view.picture is None else view.picture.name
    line = f"recorded: picture {camera}; states {', '.join(view.states) or 'none'}"
    if view.left_out:
        line += f"\nleft out: {'; '.join(view.left_out)} (--camera and --states choose)"
    return line


def _collected(config: CollectConfig, indices: list[int], cluster: Cluster | None) -> Iterator[str]:
    """Ids of the episodes as they are finished: by this process, by workers, or on a cluster."""
    if cluster is None:
        done = run_here(partial(_collector, config), indices, config.workers)
        yield from (episode_id for _, episode_id in done)
    else:
        for _, (episode_id, files) in cluster.run(partial(_sender, config), indices):
            place_episode(config.out, config.split, episode_id, *files)
            yield episode_id


def _collector(config: CollectConfig) -> Callable[[int], str]:
    """What records an episode by its index, in a worker."""
    return partial(collect_episode, config)


def _sender(config: CollectConfig) -> Callable[[int], tuple[str, tuple[bytes, bytes]]]:
    """The same for a machine that does not see `out`: gives the id, and the episode's files."""

    def send(index: int) -> tuple[str, tuple[bytes, bytes]]:
        with TemporaryDirectory() as folder:
            episode_id = collect_episode(replace(config, out=Path(folder)), index)
            paths = (
                path(folder, config.split, episode_id) for path in (annotation_path, video_path)
            )
            annotation, video = (path.read_bytes() for path in paths)
        return episode_id, (annotation, video)

    return send


def _note_run(config: CollectConfig, num_missing: int) -> None:
    """Add this run to collect.json: its config, its seeds, and the versions of what it used."""
    path = config.out / "collect.json"
    runs = _earlier_runs(path)
    if not any(list_episodes(config.out, split) for split in SPLITS):
        runs = []  # they failed before their first episode
    for earlier in (run["config"] for run in runs):
        for name in RECORDED_WITH:
            before, now = _words(earlier.get(name)), _words(getattr(config, name))
            if before != now:
                raise ValueError(
                    f"{config.out} holds episodes recorded with {name} {before}, asked for is "
                    f"{now}: choose another directory"
                )
        if (earlier["env_id"], json.loads(earlier["env_kwargs"])) != (
            config.env_id,
            config.make_kwargs,
        ):
            raise ValueError(
                f"{config.out} holds episodes of {earlier['env_id']} {earlier['env_kwargs']}, "
                f"asked for is {config.env_id} {config.env_kwargs}: choose another directory"
            )
    module = config.env_id.partition(":")[0].replace("_", "-")
    first = FIRST_SEED[config.split]
    run = {
        "config": {**asdict(config), "out": str(config.out)},
        "seeds": [first, first + config.episodes - 1],
        "new_episodes": num_missing,
        "versions": versions(*VERSIONS_NOTED, module),
    }
    run = json.loads(json.dumps(run))  # as it will be read
    if runs and all(runs[-1].get(key) == run[key] for key in ("config", "seeds", "versions")):
        return  # which goes on where it was stopped
    write_json(path, {"runs": [*runs, run]})


def _words(setting: Any) -> str:
    """A setting as JSON or the command line gave it, in words."""
    if isinstance(setting, list | tuple):
        return ", ".join(map(str, setting)) or "nothing"
    return "nothing" if setting is None else str(setting)


def _earlier_runs(path: Path) -> list[dict[str, Any]]:
    """What collect.json says of the runs before this one."""
    if not path.exists():
        return []
    runs: Any = read_json(path).get("runs")
    try:
        for run in runs:
            earlier = run["config"]
            _ = earlier["env_id"], json.loads(earlier["env_kwargs"])
            _ = ", ".join(earlier.get("hidden", []))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: is not as irasim collect writes it ({type(error).__name__}: {error}); "
            "restore it, or delete it"
        ) from error
    return runs


def summary(root: Path, split: str) -> str:
    """A table of a split: episodes, frames, mean length and ends of each kind of policy."""
    kinds: dict[str, list[tuple[int, bool]]] = {}
    for episode_id in list_episodes(root, split):
        arrays, labels = read_record(root, split, episode_id)
        ends = (len(arrays["actions"]), bool(arrays["terminated"].any()))
        kinds.setdefault(labels["policy"], []).append(ends)
    lines = [f"{'policy':<16}{'episodes':>9}{'frames':>9}{'mean steps':>12}{'terminated':>12}"]
    for kind, ends in sorted(kinds.items()):
        steps = sum(length for length, _ in ends)
        count, share = len(ends), sum(ended for _, ended in ends) / len(ends)
        lines.append(f"{kind:<16}{count:>9}{steps + count:>9}{steps / count:>12.1f}{share:>12.1%}")
    return "\n".join(lines)

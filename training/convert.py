"""`irasim convert`: LeRobot v3 datasets into our episodes, and our episodes into LeRobot v3.

What SOURCE is tells the direction. Frames are brought in exactly as their video decodes; where
that video is yuv420p (LeRobot's own always is), it had lost colour before it came here.
"""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from training.episodes import (
    SPLITS,
    Episode,
    list_episodes,
    read_episode,
    read_json,
    write_episode,
    write_json,
)
from training.run_directory import as_written
from world_model.directories import check_directory
from world_model.versions import versions

if TYPE_CHECKING:
    from training.lerobot_read import LeRobotReader

NOTE = "convert.json"
# What a conversion may depend on.
VERSIONS_NOTED = ("irasim-env", "numpy", "av", "pyarrow", "opencv-python")


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """What to convert, and how."""

    source: Annotated[str, tyro.conf.Positional]
    """A LeRobot v3 dataset (directory, or Hub id as lerobot/pusht), which is brought in; or a
    directory of our episodes, which are written as one."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write. Bringing in goes on with what is missing there."""
    camera: str | None = None
    """Bringing in: the feature with the frames; needed where there are several cameras."""
    action: str = "action"
    """Bringing in: the feature with the actions."""
    reward: str = "next.reward"
    """Bringing in: the feature with the rewards; zeros if there is none."""
    done: str = "next.done"
    """Bringing in: the feature that says whether an action ended the task; no if there is none."""
    height: int | None = None
    """Bringing in: resize frames to this height."""
    width: int | None = None
    """Bringing in: resize frames to this width."""
    val: int = 0
    """Bringing in: this many of the last training episodes become the val split."""
    env_id: str | None = None
    """Bringing in: the Gymnasium id of the environment it was recorded in, if there is one."""
    lossless: bool = False
    """Writing: keep every pixel (H.264 in RGB, which browsers do not play); else yuv420p, which
    is not exact."""
    task: str | None = None
    """Writing: what is to be done, in words (default: the environment's id)."""
    episodes_per_file: int = 100
    """Writing: episodes that share a parquet file and a video."""

    def __post_init__(self):
        if (self.height is None) != (self.width is None):
            raise ValueError(f"height {self.height} and width {self.width}: give both or none")
        if self.val < 0 or self.episodes_per_file < 1:
            raise ValueError(
                f"val is {self.val} and episodes_per_file {self.episodes_per_file}, expected at "
                "least 0 and 1"
            )


def main(config: ConvertConfig) -> None:
    """Convert in the direction that the source calls for."""
    check_directory(config.out)
    source = _locate(config.source)
    if source.resolve() == config.out.resolve():
        raise ValueError(f"{config.out}: source and out are the same directory")
    if (source / "meta" / "info.json").is_file():
        bring_in(config, source)
    elif (source / "annotation").is_dir():
        write_out(config, source)
    else:
        raise ValueError(
            f"{source}: neither a LeRobot dataset (meta/info.json) nor our episodes (annotation/)"
        )


def bring_in(config: ConvertConfig, source: Path) -> None:
    """A LeRobot dataset into our layout, episode by episode; those that are there are kept."""
    from tqdm import tqdm

    from training.lerobot_read import LeRobotReader

    reader = LeRobotReader(
        source, camera=config.camera, action=config.action, reward=config.reward, done=config.done
    )
    notes = _notes(config, reader)
    _check_out(config)
    tasks = {
        note["id"]: list(row.get("tasks") or [])
        for note, row in zip(notes, reader.episodes, strict=True)
    }
    settings = {**asdict(config), "out": str(config.out)}
    content = {"config": settings, "versions": versions(*VERSIONS_NOTED), "tasks": tasks}
    write_json(config.out / NOTE, content)
    present = {(split, name) for split in SPLITS for name in list_episodes(config.out, split)}
    for index, note in enumerate(tqdm(notes, "bringing in", unit="episode", disable=None)):
        if (note["split"], note["id"]) not in present:
            episode = _episode(config, reader, index, note)
            write_episode(config.out, note["split"], episode)
    counts = ", ".join(f"{len(list_episodes(config.out, split))} {split}" for split in SPLITS)
    print(f"{config.out}: {counts} episodes of {reader.camera}, {reader.fps:g} frames a second")
    for line in _shortcomings(reader):
        print(f"  {line}")


def write_out(config: ConvertConfig, source: Path) -> None:
    """Our episodes as a LeRobot dataset: all of it or none."""
    from tqdm import tqdm

    from training.lerobot_read import LeRobotReader
    from training.lerobot_write import LeRobotWriteConfig, LeRobotWriter

    if config.out.exists() and any(config.out.iterdir()):
        raise ValueError(f"{config.out} is not empty: choose another directory or delete it")
    names = [(split, name) for split in SPLITS for name in list_episodes(source, split)]
    if not names:
        raise ValueError(f"{source}: holds no episodes (annotation/SPLIT/ID.json)")

    def episodes() -> Iterator[tuple[str, Episode]]:
        for split, name in tqdm(names, "writing", unit="episode", disable=None):
            yield split, read_episode(source, split, name)

    part = config.out.with_name(f".{config.out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    how = LeRobotWriteConfig(
        lossless=config.lossless, task=config.task, episodes_per_file=config.episodes_per_file
    )
    about = {"config": as_written(config), "versions": versions(*VERSIONS_NOTED)}
    LeRobotWriter(part, how, about).write(episodes())
    reader = LeRobotReader(part)
    truth = read_episode(source, *names[0]).frames
    height, width = truth.shape[1:3]
    error = reader.read(0).frames[:, :height, :width].astype(np.float64) - truth
    if config.out.exists():
        config.out.rmdir()
    part.rename(config.out)
    print(f"{config.out}: {len(names)} episodes, {reader.info['total_frames']} rows")
    if config.lossless:
        assert not error.any(), f"{config.out}: lossless video is not exact"
        print("  video is exact (H.264 in RGB, which browsers do not play)")
    else:
        psnr = 10 * np.log10(255**2 / max((error**2).mean(), 1e-12))
        print(
            f"  video is yuv420p, so not exact: {psnr:.1f} dB in the first episode, off by up to "
            f"{np.abs(error).max():.0f} of 255 (--lossless keeps every pixel)"
        )


def _locate(source: str) -> Path:
    """The directory of a dataset, downloaded if it is one of the Hub's."""
    if Path(source).is_dir():
        return Path(source)
    if source.count("/") != 1 or source.startswith((".", "/")):
        raise ValueError(f"{source}: no such directory, and no Hub id (owner/name) either")
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source, repo_type="dataset"))


def _notes(config: ConvertConfig, reader: "LeRobotReader") -> list[dict[str, Any]]:
    """Id, split, seed, environment and policy of each episode."""
    if "episodes" in reader.note:
        return reader.note["episodes"]
    splits = _splits(config, reader)
    return [
        {
            "id": f"{index:06d}",
            "split": split,
            "seed": index,
            "env_id": config.env_id or f"lerobot/{Path(config.source).name}",
            "env_kwargs": {},
            "policy": "recorded",
        }
        for index, split in enumerate(splits)
    ]


def _splits(config: ConvertConfig, reader: "LeRobotReader") -> list[str]:
    """The split of each episode, as meta/info.json gives them ("begin:end"), then `val`."""
    named = reader.info.get("splits") or {"train": f"0:{len(reader)}"}
    splits = [""] * len(reader)
    for name, span in named.items():
        if name not in SPLITS:
            raise ValueError(
                f"{reader.root}: has a split {name!r}, expected some of {', '.join(SPLITS)}"
            )
        begin, end = (int(number) for number in span.split(":"))
        splits[begin:end] = [name] * (end - begin)
    if "" in splits or len(splits) != len(reader):
        raise ValueError(f"{reader.root}: splits {named} do not cover its {len(reader)} episodes")
    train = [index for index, name in enumerate(splits) if name == "train"]
    if config.val and config.val >= len(train):
        raise ValueError(f"val is {config.val}, there are {len(train)} training episodes")
    for index in train[len(train) - config.val :]:
        splits[index] = "val"
    return splits


def _check_out(config: ConvertConfig) -> None:
    """Refuse to mix two datasets, or two ways of bringing one in."""
    path = config.out / NOTE
    if any(list_episodes(config.out, split) for split in SPLITS):
        if not path.is_file():
            raise ValueError(f"{config.out} holds other episodes: choose another directory")
        before, now = read_json(path).get("config"), asdict(config)
        if not isinstance(before, dict):
            raise ValueError(f"{path}: lacks the key 'config'; restore it")
        keys = ("source", "camera", "action", "reward", "done", "height", "width", "val")
        changed = [key for key in keys if before.get(key) != now[key]]
        if changed:
            raise ValueError(
                f"{config.out} was made with another {', '.join(changed)}: choose another directory"
            )
    config.out.mkdir(parents=True, exist_ok=True)


def _episode(
    config: ConvertConfig, reader: "LeRobotReader", index: int, note: dict[str, Any]
) -> Episode:
    """Episode `index` as ours."""
    recorded = reader.read(index)
    frames = recorded.frames
    if config.height is not None and config.width is not None:
        import torch

        from training.published_content import resize_frames

        frames = resize_frames(torch.from_numpy(frames), (config.height, config.width)).numpy()
    return Episode(
        episode_id=note["id"],
        frames=frames,
        actions=recorded.actions,
        rewards=recorded.rewards,
        terminated=recorded.terminated,
        states=recorded.states,
        seed=note["seed"],
        env_id=note["env_id"],
        env_kwargs=note["env_kwargs"],
        policy=note["policy"],
        fps=reader.fps,
    )


def _shortcomings(reader: "LeRobotReader") -> Iterator[str]:
    """What this dataset did not have, in words."""
    details = reader.features[reader.camera].get("info") or {}
    pixels = details.get("video.pix_fmt", "of unknown form")
    if reader.features[reader.camera]["dtype"] == "video" and pixels not in ("gbrp", "rgb24"):
        yield f"its video is {pixels}: not what the camera gave, colour least of all"
    if reader.reward not in reader.features:
        yield f"it has no {reader.reward!r}: rewards are 0, worlds learn none"
    if reader.done not in reader.features:
        yield f"it has no {reader.done!r}: no episode terminates"


def cli(arguments: list[str]) -> None:
    """Run `irasim convert` with command-line arguments."""
    main(
        tyro.cli(
            ConvertConfig,
            args=arguments,
            prog="irasim convert",
            description="Bring a LeRobot v3 dataset into our episodes, or write our episodes as "
            "one: the source tells the direction.",
        )
    )

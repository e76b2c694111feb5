"""Our episodes as a LeRobot dataset: the half of `irasim convert` that writes one."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from training.data.episodes import SPLITS, Episode, list_episodes, read_episode, read_json
from training.data.lerobot.config import VERSIONS_NOTED, ConvertConfig
from training.data.lerobot.note import read_note
from training.data.missing_split import CONVERTED
from training.run.directory import as_written
from world_model.versions import versions


def _tasks(source: Path) -> dict[str, str]:
    """Descriptions of the task by episode, if these were imported with them."""
    path = source / CONVERTED
    tasks: Any = read_json(path).get("tasks") if path.is_file() else None
    if not isinstance(tasks, dict):
        return {}
    return {name: ", ".join(map(str, words)) for name, words in tasks.items() if words}


def write_out(config: ConvertConfig, source: Path) -> None:
    """Our episodes as a LeRobot dataset: all of it or none."""
    from training.data.lerobot.read import LeRobotReader
    from training.data.lerobot.write import LeRobotWriteConfig, LeRobotWriter
    from world_model.progress import progress_bar

    names = [(split, name) for split in SPLITS for name in list_episodes(source, split)]
    if not names:
        raise ValueError(f"{source}: holds no episodes (annotation/SPLIT/ID.json)")
    if config.out.exists() and any(config.out.iterdir()):
        note = read_note(config.out)
        there = [(episode["split"], episode["id"]) for episode in note.get("episodes", [])]
        if note.get("config") == as_written(config) and there == names:
            print(f"{config.out}: already complete, {len(names)} episodes")
            return
        raise ValueError(f"{config.out} is not empty: choose another directory or delete it")

    def episodes() -> Iterator[tuple[str, Episode]]:
        for split, name in progress_bar(names, "exporting", unit="episodes"):
            yield split, read_episode(source, split, name)

    part = config.out.with_name(f".{config.out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    how = LeRobotWriteConfig(
        lossless=config.lossless, task=config.task, episodes_per_file=config.episodes_per_file
    )
    about = {"config": as_written(config), "versions": versions(*VERSIONS_NOTED)}
    LeRobotWriter(part, how, about, _tasks(source)).write(episodes())
    reader = LeRobotReader(part)
    truth = read_episode(source, *names[0]).frames
    height, width = truth.shape[1:3]
    error = np.stack(list(reader.frames(0)))[:, :height, :width].astype(np.float64) - truth
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
            f"  video is yuv420p, which is lossy: {psnr:.1f} dB in the first episode, off by up to "
            f"{np.abs(error).max():.0f} of 255 (--lossless keeps every pixel)"
        )

"""Our episodes as a dataset in LeRobot's format v3 (see training.data.lerobot.read).

An episode of N actions and N + 1 frames becomes N + 1 rows, so that no frame is lost. Its last row
has no action of its own: it repeats the one before, with reward 0 and "next.done" true. Numbers
are float32, as LeRobot's policies expect them. What LeRobot has no place for (seeds, environments,
names of states) is kept in meta/irasim.json and found again when the dataset is read here.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from training.data.episodes import Episode
from training.data.lerobot.features import PREFIX
from training.data.lerobot.index import parquet
from training.data.lerobot.meta import (
    CAMERA,
    CARD,
    DATA_PATH,
    EPISODES_PATH,
    EXACT,
    FILES_PER_CHUNK,
    INEXACT,
    VIDEO_PATH,
    features,
    tasks_table,
)
from training.data.lerobot.note import NOTE
from training.data.lerobot.stats import Stats, combine, number_stats, picture_stats
from world_model.config_fields import check_least
from world_model.video import video_writer


@dataclass(frozen=True, kw_only=True)
class LeRobotWriteConfig:
    """How to write."""

    lossless: bool = False
    """Every pixel as recorded (H.264 in RGB, which browsers do not play), not yuv420p."""
    task: str | None = None
    """What is to be done, in words (default: what is known of each, or the environment's id)."""
    episodes_per_file: int = 100
    """Episodes that share a parquet file and a video."""

    def __post_init__(self):
        check_least(self, episodes_per_file=1)


class LeRobotWriter:
    """Writes one dataset into an empty directory.

    Args:
        root: Where to; made if absent.
        config: How.
        about: What meta/irasim.json says besides, such as what it was written with.
        tasks: What was to be done in an episode, in words, by its id, where that is known.
    """

    def __init__(
        self,
        root: Path,
        config: LeRobotWriteConfig,
        about: dict[str, Any] | None = None,
        tasks: Mapping[str, str] | None = None,
    ):
        self.root, self.config, self.about = root, config, about or {}
        self.known_tasks = tasks or {}
        self.tasks: dict[str, int] = {}
        self.rows: list[dict[str, Any]] = []  # of meta/episodes
        self.stats: list[dict[str, Stats]] = []  # of each episode
        self.notes: list[dict[str, Any]] = []
        self.first: Episode | None = None

    def write(self, episodes: Iterator[tuple[str, Episode]]) -> None:
        """Write everything.

        Args:
            episodes: (split, episode), one split after another; read as they are needed.

        Raises:
            ValueError: Episodes that do not go together (sizes, rates, actions, states), a rate
                that is no whole number of frames a second, or none at all.
        """
        number = 0
        while group := list(islice(episodes, self.config.episodes_per_file)):
            self.first = self.first or group[0][1]
            for _, episode in group:
                _check_alike(self.first, episode)
            chunk, file = divmod(number, FILES_PER_CHUNK)
            self._write_files({"chunk_index": chunk, "file_index": file}, group, self.first)
            number += 1
        if self.first is None:
            raise ValueError("there are no episodes to write")
        self._write_meta(self.first)

    def _write_files(
        self, where: dict[str, int], group: list[tuple[str, Episode]], first: Episode
    ) -> None:
        """One parquet file and one video."""
        data = self.root / DATA_PATH.format(**where)
        video = self.root / VIDEO_PATH.format(video_key=CAMERA, **where)
        data.parent.mkdir(parents=True, exist_ok=True)
        video.parent.mkdir(parents=True, exist_ok=True)
        begins = np.cumsum([0, *(len(episode.frames) for _, episode in group)])
        order = [
            name
            for name, feature in features(first, self.config.lossless).items()
            if feature["dtype"] != "video"
        ]
        tables = [
            _table(self._register(where, split, episode, int(begin)), order)
            for (split, episode), begin in zip(group, begins[:-1], strict=True)
        ]
        with parquet().ParquetWriter(data, tables[0].schema) as rows:
            for table in tables:
                rows.write_table(table)  # a row group an episode
        with video_writer(video, first.fps, lossless=self.config.lossless) as write:
            for _, episode in group:
                write(episode.frames)

    def _register(
        self, where: dict[str, int], split: str, episode: Episode, begin: int
    ) -> dict[str, np.ndarray]:
        """Describe an episode whose video begins at frame `begin` of its file; its columns."""
        index, length = len(self.rows), len(episode.frames)
        row = self.rows[-1]["dataset_to_index"] if self.rows else 0
        known = self.known_tasks.get(episode.episode_id)
        task = self.config.task or known or episode.env_id or episode.policy
        columns = _columns(episode)
        frame = np.arange(length)
        columns |= {
            "timestamp": (frame / episode.fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(length, index),
            "index": row + frame,
            "task_index": np.full(length, self.tasks.setdefault(task, len(self.tasks))),
        }
        described = {
            "episode_index": index,
            "tasks": [task],
            "length": length,
            "dataset_from_index": row,
            "dataset_to_index": row + length,
            **{f"data/{name}": number for name, number in where.items()},
            **{f"videos/{CAMERA}/{name}": number for name, number in where.items()},
            f"videos/{CAMERA}/from_timestamp": begin / episode.fps,
            f"videos/{CAMERA}/to_timestamp": (begin + length) / episode.fps,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        stats = {name: number_stats(values) for name, values in columns.items()}
        stats[CAMERA] = picture_stats(episode.frames)
        for feature, measured in stats.items():
            described |= {f"stats/{feature}/{k}": v.tolist() for k, v in measured.items()}
        self.rows.append(described)
        self.stats.append(stats)
        self.notes.append(
            {
                "id": episode.episode_id,
                "split": split,
                "seed": episode.seed,
                "env_id": episode.env_id,
                "env_kwargs": episode.env_kwargs,
                "policy": episode.policy,
            }
        )
        return columns

    def _write_meta(self, first: Episode) -> None:
        import pyarrow as pa

        pq = parquet()
        path = self.root / EPISODES_PATH
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self.rows), path)
        pq.write_table(tasks_table(self.tasks), self.root / "meta" / "tasks.parquet")
        total = {name: combine([one[name] for one in self.stats]) for name in self.stats[0]}
        stats = {name: {k: v.tolist() for k, v in one.items()} for name, one in total.items()}
        note = {
            **self.about,
            "states": {name: values.shape[1] for name, values in sorted(first.states.items())},
            "episodes": self.notes,
        }
        for name, content in (
            ("info.json", self._info(first)),
            ("stats.json", stats),
            (NOTE.name, note),
        ):
            (self.root / "meta" / name).write_text(json.dumps(content, indent=1) + "\n")
        video = EXACT if self.config.lossless else INEXACT
        card = CARD.format(episodes=len(self.rows), video=video)
        (self.root / "README.md").write_text(card)

    def _info(self, first: Episode) -> dict[str, Any]:
        splits: dict[str, str] = {}
        for index, note in enumerate(self.notes):
            begin = splits.get(note["split"], f"{index}:").partition(":")[0]
            splits[note["split"]] = f"{begin}:{index + 1}"
        return {
            "codebase_version": "v3.0",
            "robot_type": None,
            "total_episodes": len(self.rows),
            "total_frames": self.rows[-1]["dataset_to_index"],
            "total_tasks": len(self.tasks),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": round(first.fps),
            "splits": splits,
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH,
            "features": features(first, self.config.lossless),
        }


def _check_alike(first: Episode, episode: Episode) -> None:
    """What must be one and the same in a LeRobot dataset."""

    def kind(one: Episode) -> dict[str, Any]:
        states = {name: values.shape[1] for name, values in sorted(one.states.items())}
        return {
            "frame size": one.frames.shape[1:],
            "fps": one.fps,
            "number of action components": one.actions.shape[1],
            "states": states,
        }

    if first.fps != round(first.fps):
        raise ValueError(f"episodes have {first.fps} frames a second, LeRobot wants a whole number")
    for name, value in kind(episode).items():
        if value != kind(first)[name]:
            raise ValueError(
                f"episode {episode.episode_id}: {name} is {value}, that of episode "
                f"{first.episode_id} is {kind(first)[name]}; a LeRobot dataset has one"
            )


def _columns(episode: Episode) -> dict[str, np.ndarray]:
    """What was recorded, a row a frame."""
    columns = {
        "action": np.concatenate([episode.actions, episode.actions[-1:]]).astype(np.float32),
        "next.reward": np.append(episode.rewards, 0.0).astype(np.float32),
        "next.done": np.append(episode.terminated, True),
    }
    if episode.states:
        states = [values for _, values in sorted(episode.states.items())]
        columns[f"{PREFIX}state"] = np.concatenate(states, axis=1).astype(np.float32)
    return columns


def _table(columns: dict[str, np.ndarray], order: list[str]) -> Any:
    """The columns as an Arrow table: numbers, or lists of fixed length where there are several.

    They are in the order of meta/info.json's features: LeRobot casts tables to these by position.
    """
    import pyarrow as pa

    def arrow(values: np.ndarray) -> Any:
        flat, size = pa.array(values.reshape(-1)), values.size // len(values)
        return flat if size == 1 else pa.FixedSizeListArray.from_arrays(flat, size)

    assert sorted(order) == sorted(columns), "each column is a feature"
    return pa.table({name: arrow(columns[name]) for name in order})

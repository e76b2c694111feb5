"""What meta/ of a LeRobot v3 dataset says of our episodes: features, tasks, layout, card."""

import json
from typing import Any

from training.data.episodes import Episode
from training.data.lerobot.features import PREFIX

CAMERA = "observation.image"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
FILES_PER_CHUNK = 1000
COUNTERS = ("frame_index", "episode_index", "index", "task_index")
CARD = """---
tags: [LeRobot]
configs:
- config_name: default
  data_files: data/*/*.parquet
---
LeRobot v3 dataset of {episodes} episodes, written by irasim. {video}

The last row of each episode repeats the action before it, with reward 0: nothing was done there.
meta/irasim.json has splits, seeds and environments.
"""
EXACT = "Its video is H.264 in RGB without loss: every pixel as recorded; browsers do not play it."
INEXACT = "Its video is H.264 yuv420p: colour at half the resolution and compressed, not exact."


def features(first: Episode, lossless: bool) -> dict[str, dict[str, Any]]:
    """meta/info.json's description of each column and of the video."""
    _, height, width, _ = first.frames.shape
    if not lossless:
        height, width = height + height % 2, width + width % 2  # yuv420p has even sides
    names = [f"{name}.{i}" for name, v in sorted(first.states.items()) for i in range(v.shape[1])]
    actions = first.actions.shape[1]
    found: dict[str, dict[str, Any]] = {
        CAMERA: {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height,
                "video.width": width,
                "video.channels": 3,
                "video.codec": "h264",
                "video.pix_fmt": "gbrp" if lossless else "yuv420p",
                "video.is_depth_map": False,
                "video.fps": round(first.fps),
                "has_audio": False,
            },
        },
        "action": _feature("float32", actions, [f"action.{i}" for i in range(actions)]),
        "next.reward": _feature("float32"),
        "next.done": _feature("bool"),
        "timestamp": _feature("float32"),
        **{name: _feature("int64") for name in COUNTERS},
    }
    if names:
        found[f"{PREFIX}state"] = _feature("float32", len(names), names)
    return found


def _feature(dtype: str, size: int = 1, names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [size], "names": names}


def tasks_table(tasks: dict[str, int]) -> Any:
    """The tasks as pandas would write a frame of them with the index "task"."""
    import pyarrow as pa

    table = pa.table({"task_index": pa.array(list(tasks.values())), "task": pa.array(list(tasks))})
    described = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {
                "name": name,
                "field_name": name,
                "pandas_type": pandas_type,
                "numpy_type": numpy_type,
                "metadata": None,
            }
            for name, pandas_type, numpy_type in (
                ("task_index", "int64", "int64"),
                ("task", "unicode", "object"),
            )
        ],
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(described)})

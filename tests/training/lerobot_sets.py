"""Small LeRobot datasets of versions 2.0, 2.1 and 3.0, in which every frame says which it is.

Frame k of episode e shows 5 k in the red of its left half and 20 e in the blue, and the inverse of
the red in the green of its right half. Its action is six numbers of episode e's own, its state
twice these.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

H, W = 48, 64
CAMERA = "observation.images.front"
LENGTHS = (20, 25, 15)
COUNTERS = ("frame_index", "episode_index", "index", "task_index")
V3_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
V3_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
V2_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
V2_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"

Features = dict[str, dict[str, Any]]


def frame(episode: int, k: int, height: int = H, width: int = W) -> np.ndarray:
    """Frame k of an episode, uint8 (H, W, 3)."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, :, 2] = 20 * episode
    picture[:, : width // 2, 0] = (k * 5) % 256
    picture[:, width // 2 :, 1] = 255 - (k * 5) % 256
    return picture


def told(frames: np.ndarray) -> list[tuple[int, int]]:
    """Episode and number (modulo 51) of each frame (T, H, W, 3)."""
    half = frames.shape[2] // 2
    blue = frames[..., 2].mean((1, 2)) / 20
    red = frames[:, :, : half - 2, 0].mean((1, 2)) / 5
    return list(
        zip(np.rint(blue).astype(int).tolist(), np.rint(red).astype(int).tolist(), strict=True)
    )


def actions(episode: int, length: int) -> np.ndarray:
    """Of each row, float32 (L, 6)."""
    return np.random.default_rng(episode).normal(size=(length, 6)).astype("f4")


def feature(dtype: str, *shape: int, names: Any = None) -> dict[str, Any]:
    """As meta/info.json describes one."""
    return {"dtype": dtype, "shape": list(shape), "names": names}


def png(picture: np.ndarray) -> dict[str, Any]:
    """A cell of a column of pictures."""
    return {"bytes": cv2.imencode(".png", picture[..., ::-1])[1].tobytes(), "path": None}


def make(
    out: Path,
    version: str = "v3.0",
    *,
    lengths: Sequence[int] = LENGTHS,
    fps: float = 30,
    columns: Callable[[int, int, np.ndarray], dict[str, Any]] | None = None,
    features: Callable[[Features], Features] | None = None,
    info: dict[str, Any] | None = None,
    rows: Callable[[list[dict[str, Any]]], None] | None = None,
    cameras: Sequence[str] = (CAMERA,),
    split_files: bool = False,
    pts: Sequence[int] | None = None,
    video_fps: Fraction | None = None,
    codec: str = "libx264",
    size: tuple[int, int] = (H, W),
) -> Path:
    """Write one dataset.

    Args:
        out: Directory that is made.
        version: Of the format.
        lengths: Rows of each episode.
        fps: Frames a second, as meta/info.json says.
        columns: Replaces columns of an episode; None removes one.
        features: Changes meta/info.json's description of them.
        info: Changes other keys there.
        rows: Changes the table of episodes.
        cameras: Features with videos; the second is upside down, and so on by turns.
        split_files: Version 3.0 with a parquet file for each episode.
        pts: Times of the frames in milliseconds.
        video_fps: Frames a second of the video itself.
        codec, size: Of the videos.
    """
    is_v2 = version.startswith("v2")
    tables, meta, start = [], [], 0
    for e, n in enumerate(lengths):
        a = actions(e, n)
        data: dict[str, Any] = {
            "action": list(a),
            "observation.state": list(a * 2),
            "timestamp": (np.arange(n) / fps).astype("f4"),
            "frame_index": np.arange(n),
            "episode_index": np.full(n, e),
            "index": start + np.arange(n),
            "task_index": np.zeros(n, int),
        }
        data |= columns(e, n, a) if columns else {}
        tables.append(pa.table({k: v for k, v in data.items() if v is not None}))
        row: dict[str, Any] = {"episode_index": e, "tasks": ["do"], "length": n}
        if not is_v2:
            row |= {
                "data/chunk_index": 0,
                "data/file_index": e if split_files else 0,
                "dataset_from_index": start,
                "dataset_to_index": start + n,
            }
            for camera in cameras:
                key = f"videos/{camera}/"
                row |= {
                    key + "chunk_index": 0,
                    key + "file_index": 0,
                    key + "from_timestamp": start / fps,
                    key + "to_timestamp": (start + n) / fps,
                }
        meta.append(row)
        start += n
    if rows:
        rows(meta)
    chunk_size = int((info or {}).get("chunks_size", 1000))
    for number, camera in enumerate(cameras):
        parts = [
            [frame(e, k, *size)[:: (-1) ** number] for k in range(n)] for e, n in enumerate(lengths)
        ]
        if not is_v2:
            parts = [[one for part in parts for one in part]]
        for e, part in enumerate(parts):
            names = {"video_key": camera, "chunk_index": 0, "file_index": 0}
            names |= {"episode_index": e, "episode_chunk": e // chunk_size}
            path = out / (V2_VIDEO if is_v2 else V3_VIDEO).format(**names)
            write_shown(path, part, video_fps or Fraction(fps), codec, pts)
    files = tables if is_v2 or split_files else [pa.concat_tables(tables)]
    for e, table in enumerate(files):
        names = {"chunk_index": 0, "file_index": e}
        names |= {"episode_index": e, "episode_chunk": e // chunk_size}
        path = out / (V2_DATA if is_v2 else V3_DATA).format(**names)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    (out / "meta").mkdir(exist_ok=True)
    if is_v2:
        lines = {"episodes": meta, "tasks": [{"task_index": 0, "task": "do"}]}
        if version == "v2.1":
            lines["episodes_stats"] = [{"episode_index": e, "stats": {}} for e in range(len(meta))]
        else:
            (out / "meta/stats.json").write_text("{}")
        for name, content in lines.items():
            text = "".join(json.dumps(row) + "\n" for row in content)
            (out / f"meta/{name}.jsonl").write_text(text)
    else:
        path = out / "meta/episodes/chunk-000/file-000.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(meta), path)
    known = {
        "action": feature("float32", 6),
        "observation.state": feature("float32", 6),
        **{name: feature("int64", 1) for name in COUNTERS},
        "timestamp": feature("float32", 1),
        **{c: feature("video", *size, 3, names=["height", "width", "channels"]) for c in cameras},
    }
    content = {
        "codebase_version": version,
        "robot_type": "so101",
        "total_episodes": len(lengths),
        "total_frames": start,
        "chunks_size": 1000,
        "fps": fps,
        "splits": {"train": f"0:{len(lengths)}"},
        "data_path": V2_DATA if is_v2 else V3_DATA,
        "video_path": V2_VIDEO if is_v2 else V3_VIDEO,
        "features": features(known) if features else known,
    }
    (out / "meta/info.json").write_text(json.dumps(content | (info or {})))
    return out


def write_shown(
    path: Path,
    frames: Sequence[np.ndarray],
    rate: Fraction,
    codec: str = "libx264",
    pts: Sequence[int] | None = None,
) -> None:
    """A video as LeRobot's recorders make them, but with all of its colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_av1 = codec == "libsvtav1"
    options = {"g": "2", "preset": "11", "crf": "4"} if is_av1 else {"g": "2"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p" if is_av1 else "yuv444p"
        for i, picture in enumerate(frames):
            shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            if pts:
                shown.pts, shown.time_base = pts[i], Fraction(1, 1000)
            container.mux(stream.encode(shown))
        container.mux(stream.encode())


def edit_info(root: Path, **values: Any) -> None:
    """Change keys of meta/info.json."""
    path = root / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rows_of(root: Path) -> Iterator[dict[str, Any]]:
    """All rows of a dataset."""
    for path in sorted((root / "data").glob("*/*.parquet")):
        yield from pq.read_table(path).to_pylist()

"""Datasets in LeRobot's format v3 (parquet and mp4), read with pyarrow and PyAV.

Time: a row has a frame and the action that was taken there, as many frames as actions. What the
last action of an episode led to was not recorded, so an episode of L rows is one of L frames and
L - 1 actions by our contract; "next.reward" and "next.done" of a row belong to its action.

Episodes lie one after another in shared parquet and mp4 files: frame k of one is the frame nearest
to `from_timestamp + k / fps` of its video.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.episodes import read_json
from world_model.video import frames_from

VERSION = "v3."
# Our own note beside a dataset that we wrote: what LeRobot's format has no place for.
NOTE = Path("meta") / "irasim.json"
STATE = "observation."


@dataclass(frozen=True, kw_only=True, eq=False)
class LeRobotEpisode:
    """One episode by our time contract: L frames, L - 1 actions.

    Attributes:
        frames: uint8 (L, H, W, 3), RGB, as decoded.
        actions: float32 (L - 1, A).
        rewards: float64 (L - 1,), zeros if not recorded.
        terminated: bool (L - 1,), False if not recorded.
        states: low-dimensional observations by name, float64 (L, n).
        tasks: what was to be done, in words.
    """

    frames: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    states: dict[str, np.ndarray]
    tasks: list[str]


class LeRobotReader:
    """A LeRobot v3 dataset in a directory.

    Args:
        root: Directory with meta/, data/ and videos/.
        camera: Feature with the frames; may be left out if there is one.
        action, reward, done: Features with these.

    Raises:
        ValueError: No such dataset, another version, or features that it does not have.
    """

    def __init__(
        self,
        root: Path,
        *,
        camera: str | None = None,
        action: str = "action",
        reward: str = "next.reward",
        done: str = "next.done",
    ):
        self.root = root
        self.info = _read_info(root)
        self.fps = float(self.info["fps"])
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.camera = self._choose_camera(camera)
        self.action, self.reward, self.done = action, reward, done
        if action not in self.features:
            raise ValueError(
                f"{root}: has no feature {action!r}, it has {', '.join(sorted(self.features))}"
            )
        self.episodes = self._read_episodes()
        note = root / NOTE
        self._table: tuple[Path | None, Any] = (None, None)
        self.note: dict[str, Any] = read_json(note) if note.is_file() else {}

    @property
    def state_features(self) -> list[str]:
        """Low-dimensional observations."""
        return [
            name
            for name, feature in self.features.items()
            if name.startswith(STATE)
            and feature["dtype"].startswith(("float", "int"))
            and len(feature["shape"]) == 1
        ]

    def __len__(self) -> int:
        return len(self.episodes)

    def read(self, index: int) -> LeRobotEpisode:
        """Episode `index`.

        Raises:
            ValueError: Names the file in which something is missing.
        """
        row = self.episodes[index]
        length = int(row["length"])
        if length < 2:
            raise ValueError(
                f"{self.root}: episode {index} has {length} frames, expected 2 or more"
            )
        data = self._file("data_path", row, "data")
        table = self._rows(data, index, length)
        last = length - 1
        recorded = set(table.column_names)
        rewards, done = np.zeros(last), np.zeros(last, bool)
        if self.reward in recorded:
            rewards = _array(data, table, self.reward)[:last, 0].astype(np.float64)
        if self.done in recorded:
            done = _array(data, table, self.done)[:last, 0].astype(bool)
        return LeRobotEpisode(
            frames=self._frames(row, table, length),
            actions=_array(data, table, self.action)[:last].astype(np.float32),
            rewards=rewards,
            terminated=done,
            states=self._states(data, table),
            tasks=list(row.get("tasks") or []),
        )

    def _states(self, data: Path, table: Any) -> dict[str, np.ndarray]:
        found = {
            name.removeprefix(STATE): _array(data, table, name).astype(np.float64)
            for name in self.state_features
        }
        if "states" not in self.note:
            return found
        # We wrote it: our states one after another in "observation.state".
        sizes = self.note["states"]
        ends = np.cumsum(list(sizes.values()))[:-1]
        return (
            dict(zip(sizes, np.split(found["state"], ends, axis=1), strict=True)) if sizes else {}
        )

    def _choose_camera(self, camera: str | None) -> str:
        cameras = [
            name
            for name, feature in self.features.items()
            if feature["dtype"] in ("video", "image") and not _is_depth(feature)
        ]
        if camera is None and len(cameras) == 1:
            return cameras[0]
        if camera not in cameras:
            asked = "no camera is named" if camera is None else f"camera {camera!r} is asked for"
            raise ValueError(f"{self.root}: {asked}, it has {', '.join(cameras) or 'none'}")
        return camera

    def _read_episodes(self) -> list[dict[str, Any]]:
        """A row for each episode, sorted."""
        pq = parquet()
        paths = sorted((self.root / "meta" / "episodes").glob("*/*.parquet"))
        if not paths:
            raise ValueError(f"{self.root}: holds no meta/episodes/*/*.parquet")
        rows: list[dict[str, Any]] = []
        for path in paths:
            names = [n for n in pq.read_schema(path).names if not n.startswith("stats/")]
            rows += pq.read_table(path, columns=names).to_pylist()
        rows.sort(key=lambda row: row["episode_index"])
        found = [row["episode_index"] for row in rows]
        if found != list(range(self.info["total_episodes"])):
            raise ValueError(
                f"{self.root}: meta/episodes describes {len(found)} episodes, meta/info.json "
                f"announces {self.info['total_episodes']}; download it again"
            )
        return rows

    def _file(self, template: str, row: dict[str, Any], key: str) -> Path:
        """Where an episode's data or video lies."""
        place = {name: row[f"{key}/{name}"] for name in ("chunk_index", "file_index")}
        path = self.root / self.info[template].format(video_key=self.camera, **place)
        if not path.is_file():
            raise ValueError(f"{path}: missing, episode {row['episode_index']} lies in it")
        return path

    def _rows(self, path: Path, index: int, length: int) -> Any:
        """The episode's rows of its parquet file."""
        import pyarrow.compute as pc

        if self._table[0] != path:  # episodes are read in order, and many share a file
            self._table = (path, parquet().read_table(path))
        table = self._table[1]
        rows = table.filter(pc.equal(table["episode_index"], index))  # pyright: ignore[reportAttributeAccessIssue]
        numbers = rows["frame_index"].to_numpy()
        if not np.array_equal(numbers, np.arange(length)):
            raise ValueError(
                f"{path}: episode {index} has {len(numbers)} rows, expected frames 0 to "
                f"{length - 1} in order"
            )
        return rows

    def _frames(self, row: dict[str, Any], table: Any, length: int) -> np.ndarray:
        if self.features[self.camera]["dtype"] == "image":
            cells = table[self.camera].to_pylist()
            return np.stack([_decode_image(self.root, cell) for cell in cells])
        key = f"videos/{self.camera}"
        path = self._file("video_path", row, key)
        return episode_frames(path, float(row[f"{key}/from_timestamp"]), self.fps, length)


def episode_frames(path: Path, begin: float, fps: float, length: int) -> np.ndarray:
    """The frames nearest to begin, begin + 1 / fps, ...: uint8 (length, H, W, 3).

    Raises:
        ValueError: The video has none within half a frame of a time.
    """
    frames: list[np.ndarray] = []
    for seconds, frame in frames_from(path, begin):
        wanted = begin + len(frames) / fps
        if seconds < wanted - 0.5 / fps:
            continue
        if seconds > wanted + 0.5 / fps:
            raise ValueError(f"{path}: no frame at {wanted:.3f} s, the next is at {seconds:.3f} s")
        frames.append(frame)
        if len(frames) == length:
            return np.stack(frames)
    raise ValueError(
        f"{path}: {len(frames)} frames from {begin:.3f} s on, expected {length}; download it again"
    )


def parquet() -> Any:
    """pyarrow.parquet, which comes with an extra."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError("LeRobot datasets need pyarrow: pip install 'irasim-env[lerobot]'") from (
            error
        )
    return pyarrow.parquet


def _read_info(root: Path) -> dict[str, Any]:
    path = root / "meta" / "info.json"
    if not path.is_file():
        raise ValueError(f"{root}: is no LeRobot dataset (meta/info.json is missing)")
    info = read_json(path)
    version = str(info.get("codebase_version"))
    if not version.startswith(VERSION):
        raise ValueError(
            f"{path}: codebase_version is {version}, expected v3.0; bring v2.1 up to date with "
            "`python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=OWNER/NAME`"
        )
    missing = [key for key in ("fps", "features", "total_episodes") if key not in info]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; download it again")
    return info


def _is_depth(feature: dict[str, Any]) -> bool:
    details = feature.get("info") or feature.get("video_info") or {}
    return bool(details.get("is_depth_map") or details.get("video.is_depth_map"))


def _array(path: Path, table: Any, name: str) -> np.ndarray:
    """A column as an array (L, n)."""
    if name not in table.column_names:
        raise ValueError(f"{path}: has no column {name!r}, though meta/info.json names it")
    column = table[name].combine_chunks()
    if column.null_count:
        raise ValueError(f"{path}: {column.null_count} values of {name!r} are missing")
    values = column.flatten() if hasattr(column, "flatten") and column.type.num_fields else column
    return values.to_numpy(zero_copy_only=False).reshape(len(column), -1)


def _decode_image(root: Path, cell: dict[str, Any]) -> np.ndarray:
    import cv2

    encoded = np.frombuffer(cell.get("bytes") or b"", np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if image is None:
        raise ValueError(f"{root}: a picture ({cell.get('path')}) cannot be decoded")
    return np.ascontiguousarray(image[:, :, ::-1])

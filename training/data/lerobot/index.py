"""Which episodes a LeRobot dataset lists, and in which files each of them lies.

Version 3.0 keeps many episodes in one parquet file and one video, and says in meta/episodes where
each begins. Versions 2.0 and 2.1 keep one of each for an episode, and list them in
meta/episodes.jsonl. Statistics (stats.json, episodes_stats.jsonl) are not needed here.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from training.data.episodes import read_json
from world_model.io.json_files import parse_json
from world_model.video import FrameTimes, frame_times

KNOWN_VERSIONS = ("v2.0", "v2.1", "v3.0")
V2_DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
V2_VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
V2_EPISODES = Path("meta") / "episodes.jsonl"
# More episodes than these that are announced and not listed are a mistake in a number.
MOST_UNLISTED = 100_000


class BrokenEpisodeError(ValueError):
    """An episode that cannot be imported.

    Attributes:
        kind: What is wrong, in words that are the same for all episodes of which it is wrong.
    """

    def __init__(self, message: str, kind: str):
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an episode lies, by what meta/ says."""

    index: int
    length: int
    """Rows, and so frames."""
    tasks: list[str] = field(default_factory=list)
    data: Path
    """Its parquet file."""
    video: Path | None = None
    """Its video, None where its frames are in the parquet file."""
    begin_s: float | None = None
    """Where it begins in that video, in seconds; None where it has the video to itself."""


class LeRobotIndex:
    """The episodes of a dataset.

    Args:
        root: Directory of the dataset.
        info: Its meta/info.json, as `read_info` gives it.
        video_key: The feature whose video is wanted; None if frames are in the parquet files.

    Raises:
        ValueError: meta/ cannot be read; names the file.
    """

    def __init__(self, root: Path, info: dict[str, Any], video_key: str | None):
        self.root, self.info, self.video_key = root, info, video_key
        self.version: str = info["codebase_version"]
        rows = self._rows_v2() if self.version.startswith("v2") else self._rows_v3()
        self.places = {place.index: place for place in rows}
        self.count = max(info["total_episodes"], *(place.index + 1 for place in rows), 0)
        if self.count > len(rows) + MOST_UNLISTED:
            raise ValueError(
                f"{root / 'meta'}: lists {len(rows)} episodes, info.json or their numbers announce "
                f"{self.count}; download the dataset again"
            )
        self._times: tuple[Path | None, FrameTimes | None] = (None, None)

    def __getitem__(self, index: int) -> Place:
        if index not in self.places:
            where = V2_EPISODES if self.version.startswith("v2") else Path("meta") / "episodes"
            raise BrokenEpisodeError(
                f"{self.root / where}: does not list episode {index}, meta/info.json announces "
                f"{self.info['total_episodes']} episodes; download it again",
                "not listed in meta/",
            )
        return self.places[index]

    def need_video(self, place: Place) -> None:
        """Raise BrokenEpisodeError if an episode's video is not there."""
        if place.video is not None and not place.video.is_file():
            raise BrokenEpisodeError(
                f"{place.video}: missing, although it should contain episode {place.index}",
                "video absent",
            )

    def frames_of(self, place: Place) -> tuple[FrameTimes, int]:
        """When each frame of an episode's video is shown, and the number of the episode's first.

        Frames are counted: the episodes of a video follow each other without a gap. Times are not
        relied upon, since added up in floating point they come to lie between two frames.

        Raises:
            BrokenEpisodeError: There is no video, or it has more or fewer frames than the
                episodes in it together, so that which frames are whose cannot be told.
        """
        self.need_video(place)
        assert place.video is not None, "asked for the video of an episode that has none"
        if self._times[0] != place.video:
            try:
                self._times = (place.video, frame_times(place.video))
            except ValueError as error:
                raise BrokenEpisodeError(str(error), "video damaged") from error
        times = self._times[1]
        assert times is not None
        sharing = self._sharing[place.video]
        begin, total = 0, sum(one.length for one in sharing)
        for one in sharing:
            if one.index == place.index:
                break
            begin += one.length
        if len(times) != total:
            whose = (
                f"its episodes {sharing[0].index} to {sharing[-1].index} have {total} together"
                if len(sharing) > 1
                else f"episode {place.index} has {total}"
            )
            raise BrokenEpisodeError(
                f"{place.video}: has {len(times)} frames, {whose} by meta/, so which frame belongs "
                "to which row is not known; download it again",
                "video of another length than meta/ says",
            )
        return times, begin

    @cached_property
    def _sharing(self) -> dict[Path, list[Place]]:
        """The episodes of each video, in the order in which they lie there."""
        found: dict[Path, list[Place]] = {}
        for place in self.places.values():
            if place.video is not None:
                found.setdefault(place.video, []).append(place)
        for places in found.values():
            places.sort(key=lambda place: (place.begin_s or 0.0, place.index))
        return found

    def _rows_v2(self) -> list[Place]:
        path = self.root / V2_EPISODES
        chunk_size = int(self.info.get("chunks_size") or 1000)
        data_path = self.info.get("data_path") or V2_DATA_PATH
        video_path = self.info.get("video_path") or V2_VIDEO_PATH
        places = []
        for number, row in _json_lines(path):
            where = f"{path}, line {number}"
            index, length = (_whole(where, row, key) for key in ("episode_index", "length"))
            names = {"episode_index": index, "episode_chunk": index // chunk_size}
            places.append(
                Place(
                    index=index,
                    length=length,
                    tasks=_tasks(row),
                    data=self._path("data_path", data_path, names),
                    video=self._path("video_path", video_path, names) if self.video_key else None,
                )
            )
        return sorted(places, key=lambda place: place.index)

    def _rows_v3(self) -> list[Place]:
        pq = parquet()
        folder = self.root / "meta" / "episodes"
        paths = sorted(folder.glob("*/*.parquet"))
        if not paths:
            raise ValueError(f"{folder}: holds no */*.parquet; download the dataset again")
        places = []
        for path in paths:
            try:
                names = [n for n in pq.read_schema(path).names if not n.startswith("stats/")]
                rows = pq.read_table(path, columns=names).to_pylist()
            except parquet_errors() as error:
                raise ValueError(
                    f"{path}: cannot be read as parquet ({error}); download it again"
                ) from error
            places += [self._place_v3(path, row) for row in rows]
        return sorted(places, key=lambda place: place.index)

    def _place_v3(self, path: Path, row: dict[str, Any]) -> Place:
        def file(template: str, key: str) -> Path:
            numbers = {
                name: _whole(str(path), row, f"{key}/{name}")
                for name in ("chunk_index", "file_index")
            }
            return self._path(template, self.info.get(template), numbers)

        video = begin = None
        if self.video_key is not None:
            key = f"videos/{self.video_key}"
            video, begin = file("video_path", key), row.get(f"{key}/from_timestamp")
        return Place(
            index=_whole(str(path), row, "episode_index"),
            length=_whole(str(path), row, "length"),
            tasks=_tasks(row),
            data=file("data_path", "data"),
            video=video,
            begin_s=float(begin) if isinstance(begin, int | float) else None,
        )

    def _path(self, key: str, template: Any, names: dict[str, Any]) -> Path:
        """A file of the dataset by its template in meta/info.json."""
        info = self.root / "meta" / "info.json"
        try:
            if not isinstance(template, str):
                raise ValueError("it is no text")
            name = template.format(video_key=self.video_key, **names)
        except (KeyError, IndexError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{info}: {key} is {template!r}, expected a template of {', '.join(names)}"
            ) from error
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{info}: {key} is {template!r}, which leads out of the dataset")
        return self.root / name


def read_info(root: Path) -> dict[str, Any]:
    """meta/info.json of a LeRobot dataset.

    Raises:
        ValueError: There is none, it lacks something, or its version is not known here.
    """
    path = root / "meta" / "info.json"
    if not path.is_file():
        raise ValueError(f"{root}: is no LeRobot dataset (meta/info.json is missing)")
    info = read_json(path)
    version = info.get("codebase_version")
    if not isinstance(version, str) or not version.startswith(("v2.", "v3.")):
        raise ValueError(
            f"{path}: codebase_version is {version!r}, expected one of "
            f"{', '.join(KNOWN_VERSIONS)}; bring an older dataset up to date with LeRobot's own "
            "scripts (lerobot/datasets/v21, v30)"
        )
    wanted = ["fps", "features", "total_episodes"]
    wanted += ["data_path"] if version.startswith("v3.") else []
    if version.startswith("v3.") and isinstance(info.get("features"), dict):
        kinds = [one.get("dtype") for one in info["features"].values() if isinstance(one, dict)]
        wanted += ["video_path"] if "video" in kinds else []
    missing = [key for key in wanted if info.get(key) is None]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; download it again")
    if not isinstance(info["fps"], int | float) or not info["fps"] > 0:
        raise ValueError(f"{path}: fps is {info['fps']!r}, expected a positive number")
    features = info["features"]
    if not isinstance(features, dict) or not all(map(_is_feature, features.values())):
        raise ValueError(f"{path}: features are not as LeRobot describes them (dtype and shape)")
    _whole(str(path), info, "total_episodes")
    return info


def _is_feature(one: Any) -> bool:
    """Whether an entry of meta/info.json's features is of LeRobot's form."""
    if not isinstance(one, dict) or not isinstance(one.get("dtype"), str):
        return False
    shape = one.get("shape", [])
    details = (one.get(key) for key in ("info", "video_info"))
    return (
        isinstance(shape, list)
        and all(type(side) is int and side >= 0 for side in shape)
        and all(isinstance(one, dict | None) for one in details)
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


def parquet_errors() -> tuple[type[Exception], ...]:
    """What pyarrow raises for a file that is damaged, or is no parquet."""
    import pyarrow

    return (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError)


def _json_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Each line's number and object; empty lines are left out."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); download it again") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line, path)
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: is no JSON ({error}); download it again"
            ) from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: is no JSON object; download it again")
        found.append((number, row))
    return found


def _whole(where: str, row: dict[str, Any], key: str) -> int:
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{where}: {key} is {value!r}, expected a whole number from 0 on")
    return value


def _tasks(row: dict[str, Any]) -> list[str]:
    """What was to be done, in words."""
    tasks = row.get("tasks") or []
    return [str(task) for task in (tasks if isinstance(tasks, list) else [tasks])]

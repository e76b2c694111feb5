"""Index of a split: each annotation read and checked once, then known by size and date.

The index of a large split lies beside the data, in root/.index/. An annotation, video or file of
latents that changed, came or went is noticed when the index is used; it alone is examined again.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.data.episodes import read_json
from training.data.irasim.annotation import content_path, num_frames, recorded
from training.data.irasim.datasets import DataConfig
from world_model.io.whole_files import write_whole
from world_model.progress import progress_bar

VERSION = 1
THREADS = 16
# Smaller splits are examined at every start, which takes a second, and leave nothing behind.
KEPT_FROM = 1000
# Broken episodes named in an error; with broken="skip" all are printed.
NAMED = 10


class Entry(NamedTuple):
    """What is known of one annotation. Stamps are size and time of change, "" if no such file."""

    stamp: str
    content: str
    content_stamp: str
    num_frames: int
    action_dim: int
    problem: str


@dataclass(frozen=True, eq=False)
class Index:
    """The usable episodes of a split, sorted by id."""

    ids: list[str]
    contents: list[str]
    """Of each, its video or latents, relative to the root."""
    num_frames: np.ndarray
    """Of each, int64 (E,)."""
    broken: dict[str, str]
    """Ids of broken episodes and what is wrong with each."""


def open_index(config: DataConfig) -> Index:
    """The split's index: read, brought up to date, kept.

    Raises:
        ValueError: No annotations, or broken episodes and config.broken is "error"; names files.
    """
    root = Path(config.root)
    folder = root / "annotation" / config.split
    stamps = _annotation_stamps(folder)
    path = _index_path(config)
    known = _load(path)
    entries: dict[str, Entry] = {}
    stale = []
    for name, stamp in stamps.items():
        entry = known.get(name)
        if (
            entry is not None
            and entry.stamp == stamp
            and (not entry.content or entry.content_stamp == _stamp(root / entry.content))
        ):
            entries[name] = entry
        else:
            stale.append(name)
    if stale:
        entries |= _examined(stale, lambda name: _examine(config, folder / name, stamps[name]))
    if len(entries) >= KEPT_FROM and (stale or len(known) != len(entries)):
        _save(path, entries)
    return _index(config, folder, entries)


def _annotation_stamps(folder: Path) -> dict[str, str]:
    """File name and stamp of each annotation, sorted by name."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such directory, expected annotations there (ID.json)")
    with os.scandir(folder) as found:
        stamps = {
            entry.name: _format(entry.stat())
            for entry in found
            if entry.name.endswith(".json") and not entry.name.startswith(".")
        }
    if not stamps:
        raise ValueError(f"{folder}: holds no annotations (ID.json)")
    return {name: stamps[name] for name in sorted(stamps)}


def _examined(names: list[str], examine: Callable[[str], Entry]) -> dict[str, Entry]:
    with ThreadPoolExecutor(THREADS) as pool:
        results = pool.map(examine, names, chunksize=64)
        bar = progress_bar(results, "indexing", total=len(names), unit="episodes", leave=False)
        return dict(zip(names, bar, strict=True))


def _examine(config: DataConfig, path: Path, stamp: str) -> Entry:
    """Read one annotation and look at the file that it names."""
    from training.data.irasim.content import count_frames

    content = content_stamp = ""
    try:
        annotation = read_json(path)
        content = content_path(path, annotation, config.source, config.camera)
        content_stamp = _stamp(Path(config.root) / content)
        numbers = recorded(path, annotation, config.kind)
        expected = num_frames(numbers, config.kind)
        file = Path(config.root) / content
        if not content_stamp:
            raise ValueError(f"{path}: its {config.source} file {file} is missing; restore it")
        found = count_frames(file, config.source)
        if found < expected:
            what = "actions" if config.kind == "direct" else "motions between its states"
            raise ValueError(
                f"{path}: {file} has {found} frames for {expected - 1} {what}, expected "
                f"{expected}; restore the file"
            )
    except ValueError as error:
        return Entry(stamp, content, content_stamp, 0, 0, str(error))
    return Entry(stamp, content, content_stamp, expected, numbers.shape[1], "")


def _index(config: DataConfig, folder: Path, entries: dict[str, Entry]) -> Index:
    """The usable episodes, or what is said of the broken ones."""
    dim = len(config.action_scale)
    broken: dict[str, str] = {}
    good: list[tuple[str, Entry]] = []
    for name in sorted(entries):
        entry = entries[name]
        problem = entry.problem
        if not problem and entry.action_dim != dim:
            problem = (
                f"{folder / name}: actions have {entry.action_dim} components, action_scale has "
                f"{dim} numbers"
            )
        if problem:
            broken[name.removesuffix(".json")] = problem
        else:
            good.append((name.removesuffix(".json"), entry))
    if broken:
        _report(config, folder, broken, len(entries))
    return Index(
        ids=[name for name, _ in good],
        contents=[entry.content for _, entry in good],
        num_frames=np.array([entry.num_frames for _, entry in good], np.int64),
        broken=broken,
    )


def _report(config: DataConfig, folder: Path, broken: dict[str, str], total: int) -> None:
    problems = list(broken.values())
    count = f"{len(broken)} of {total} episodes in {folder} are broken"
    if config.broken == "error":
        more = f"\n  and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        named = "\n  ".join(problems[:NAMED])
        raise ValueError(f"{count} (--broken skip leaves them out):\n  {named}{more}")
    if len(broken) == total:
        raise ValueError(f"{count}, none is left:\n  " + "\n  ".join(problems[:NAMED]))
    _say("\n  ".join([f"{count} and left out:", *problems]))


def _index_path(config: DataConfig) -> Path:
    name = f"{config.split}-{config.kind}-{config.source}-camera_{config.camera}.json"
    return Path(config.root) / ".index" / name.replace("/", "_")


def _load(path: Path) -> dict[str, Entry]:
    """The kept index; none if there is none, or one that is damaged or of another version."""
    try:
        content = json.loads(path.read_bytes())
        if content["version"] != VERSION:
            return {}
        return {name: Entry(*entry) for name, entry in content["entries"].items()}
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _save(path: Path, entries: dict[str, Entry]) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json.dumps({"version": VERSION, "entries": entries}))
    except OSError as error:
        _say(f"{path} cannot be written ({error.strerror}): every start makes the index again")


def _say(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # one process of several
        print(text, flush=True)


def _stamp(path: Path) -> str:
    try:
        return _format(path.stat())
    except FileNotFoundError:
        return ""


def _format(stat: os.stat_result) -> str:
    return f"{stat.st_size}-{stat.st_mtime_ns}"

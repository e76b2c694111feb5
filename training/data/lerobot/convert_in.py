"""A LeRobot dataset as our episodes: the half of `irasim convert` that brings one in."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from training.data.episodes import (
    RECORDED,
    SPLITS,
    EpisodeNumbers,
    list_episodes,
    read_json,
    write_json,
    write_streamed,
)
from training.data.lerobot.broken import Broken
from training.data.lerobot.config import VERSIONS_NOTED, ConvertConfig
from training.data.lerobot.convert_report import report
from training.data.lerobot.index import BrokenEpisodeError
from training.data.lerobot.read import Checked, LeRobotReader
from training.data.lerobot.splits import assign
from training.data.missing_split import CONVERTED as NOTE
from training.data.resize import resize_frame
from world_model.io.whole_files import clear_leftovers
from world_model.versions import versions

# What may be otherwise when a conversion goes on.
FREE = ("out", "broken", "lossless", "task", "episodes_per_file", "env_id")


def bring_in(config: ConvertConfig, source: Path) -> None:
    """A LeRobot dataset into our layout, episode by episode; those that are there are kept.

    Everything short of decoding is checked of all episodes before the first is written.
    """
    from world_model.progress import progress_bar

    reader = LeRobotReader(
        source,
        camera=config.camera,
        action=config.action,
        reward=config.reward,
        done=config.done,
        states=config.states,
        fps=config.fps,
        commands=config.commands,
        held=config.absolute_components,
    )
    chosen = chosen_episodes(config.episodes, len(reader))
    broken = Broken(config.broken, len(chosen))
    checked: dict[int, Checked] = {}
    for index in progress_bar(chosen, "checking", unit="episodes", leave=False):
        with broken.noted(index):
            checked[index] = reader.check(index)
    if config.size is None:
        check_sizes({index: one.size for index, one in checked.items()}, broken)
    broken.stop_if_wanted()
    kept = [index for index in chosen if index not in broken.problems]
    notes, remarks = _notes(config, reader, kept)
    _check_out(config, notes)
    _write_note(config, reader, notes)
    present = {(split, name) for split in SPLITS for name in list_episodes(config.out, split)}
    missing = [i for i in kept if (notes[i]["split"], notes[i]["id"]) not in present]
    for index in progress_bar(missing, "importing", unit="episodes"):
        note = notes[index]
        with broken.noted(index):
            parts = (frame[None] for frame in _frames(config, reader, index))
            write_streamed(config.out, note["split"], _numbers(reader, index, note), parts)
        broken.stop_if_wanted()
    kept = [index for index in kept if index not in broken.problems]
    about = {index: checked[index] for index in kept}
    report(config, reader, about, [*broken.lines(), *remarks])


def check_sizes(sizes: dict[int, tuple[int, int]], broken: Broken) -> None:
    """Note the episodes whose frames are not of the size that most have: a world has one."""
    if not sizes:
        return
    (usual, count), *others = Counter(sizes.values()).most_common()
    for index, size in sizes.items() if others else ():
        if size != usual:
            with broken.noted(index):
                raise BrokenEpisodeError(
                    f"episode {index}: frames are {size[0]} x {size[1]}, those of {count} others "
                    f"{usual[0]} x {usual[1]}; --height and --width make all of one size",
                    "frames of another size than most",
                )


def chosen_episodes(wanted: tuple[str, ...], count: int) -> list[int]:
    """Numbers of the episodes that are asked for; of all, if none is.

    Raises:
        ValueError: Something else than a number or a span, or an episode that there is not.
    """
    if not wanted:
        return list(range(count))
    found: set[int] = set()
    for text in wanted:
        match = re.fullmatch(r"(\d+)(?:(:)(\d*))?", text)
        if not match:
            raise ValueError(f"--episodes {text}: expected numbers or spans, as in 0 2 10:20")
        begin = int(match[1])
        end = (int(match[3]) if match[3] else count) if match[2] else begin + 1
        if begin >= end or end > count:
            raise ValueError(
                f"--episodes {text}: there are {count} episodes, 0 to {count - 1} (a span's end is "
                "not in it)"
            )
        found |= set(range(begin, end))
    return sorted(found)


def _notes(
    config: ConvertConfig, reader: LeRobotReader, kept: list[int]
) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """Id, split, seed, environment and policy of each episode; and what was decided about them."""
    if "episodes" in reader.note:
        return {index: reader.note["episodes"][index] for index in kept}, []
    info = reader.root / "meta" / "info.json"
    splits = assign(info, reader.info, len(reader), kept, val=config.val, test=config.test)
    notes = {
        index: {
            "id": f"{index:06d}",
            "split": split,
            "seed": None,
            "env_id": config.env_id,
            "env_kwargs": {},
            "policy": RECORDED,
        }
        for index, split in splits.of.items()
    }
    return notes, splits.remarks


def _check_out(config: ConvertConfig, notes: dict[int, dict[str, Any]]) -> None:
    """Refuse to mix two datasets, or two ways of bringing one in."""
    path = config.out / NOTE
    present = {(split, name) for split in SPLITS for name in list_episodes(config.out, split)}
    if not present:
        config.out.mkdir(parents=True, exist_ok=True)
        clear_leftovers(config.out)
        return
    if not path.is_file():
        raise ValueError(f"{config.out} holds other episodes: choose another directory")
    before = read_json(path).get("config")
    if not isinstance(before, dict):
        raise ValueError(f"{path}: lacks the key 'config'; restore it")
    now = json.loads(json.dumps(_settings(config)))
    default = json.loads(json.dumps(_settings(ConvertConfig(source="", out=config.out))))
    changed = [key for key in now if key not in FREE and before.get(key, default[key]) != now[key]]
    if changed:
        raise ValueError(
            f"{config.out} was made with another {', '.join(changed)}: choose another directory"
        )
    clear_leftovers(config.out)
    strange = present - {(note["split"], note["id"]) for note in notes.values()}
    if strange:
        split, name = sorted(strange)[0]
        raise ValueError(
            f"{config.out} holds {len(strange)} episodes that would not be in it now, such as "
            f"{name} of {split}: other episodes were broken then; choose another directory"
        )


def _settings(config: ConvertConfig) -> dict[str, Any]:
    return {**asdict(config), "out": str(config.out)}


def _write_note(
    config: ConvertConfig, reader: LeRobotReader, notes: dict[int, dict[str, Any]]
) -> None:
    """Say beside the episodes what they were made of, and how."""
    content = {
        "config": _settings(config),
        "versions": versions(*VERSIONS_NOTED),
        "camera": reader.camera,
        "states": list(reader.chosen.states),
        "left_out": {kind: list(names) for kind, names in reader.chosen.left_out.items()},
        "tasks": {note["id"]: reader.tasks(index) for index, note in notes.items()},
    }
    write_json(config.out / NOTE, content)


def _frames(config: ConvertConfig, reader: LeRobotReader, index: int) -> Iterator[np.ndarray]:
    for frame in reader.frames(index):
        yield frame if config.size is None else resize_frame(frame, config.size)


def _numbers(reader: LeRobotReader, index: int, note: dict[str, Any]) -> EpisodeNumbers:
    """Episode `index` as ours, without its frames."""
    recorded = reader.read(index)
    return EpisodeNumbers(
        episode_id=note["id"],
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

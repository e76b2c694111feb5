"""`irasim label`: poses of rigid bodies from the video itself, as hidden states to train on.

Read are frames and the robot's own low-dimensional observation; nothing that a simulator knows
besides. A run that stopped goes on where it was.
"""

import dataclasses
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from training.data.episodes import (
    SPLITS,
    Episode,
    list_episodes,
    read_annotation,
    read_episode,
    read_json,
    write_json,
)
from training.data.labels import contact
from training.data.labels.background import noise_between
from training.data.labels.camera import Camera
from training.data.labels.columns import (
    Units,
    add_columns,
    column_names,
    columns,
    drop_columns,
    hidden_names,
)
from training.data.labels.config import LabelConfig
from training.data.labels.robot import RobotByExample
from training.data.labels.scene import Scene, fit_scene
from training.data.labels.scene_file import FOLDER, SCENE, load_scene, save_scene
from training.data.labels.sheet import Sheet
from training.data.labels.summary import Summary, described
from training.data.labels.track import track
from world_model.directories import check_directory
from world_model.io.whole_files import clear_leftovers
from world_model.tasks import find_task
from world_model.versions import versions

# Beside the episodes: the record, the scene, its sprites as pictures, and the sheet.
RECORD, SHEET = "labels.json", "sheet.png"
# Frames and episodes that are worked on at a time, and bytes of them, at most.
EPISODES_AT_ONCE, BYTES_AT_ONCE = 64, 400e6
# Episodes that the frames of the scene are drawn from, at most: each is decoded whole.
FIT_EPISODES = 100
# Of a robot that is no sprite, where it is seen is kept for every so manieth frame of as many
# episodes as this, at most.
EXAMPLE_EPISODES, EXAMPLE_STRIDE = 250, 4
# First frames of an episode that its noise is read from.
NOISE_FRAMES = 12

Where = tuple[str, str]


def main(config: LabelConfig) -> None:
    """Label what has no labels yet, then say how well it went."""
    begin = time.time()
    check_directory(config.data, "DATA")
    episodes = [(s, i) for s in config.splits for i in list_episodes(config.data, s)]
    if not episodes:
        raise ValueError(
            f"{config.data} has no episodes in {', '.join(config.splits)}; record some with "
            "`irasim collect`, or bring yours in with `irasim convert`"
        )
    folder = config.data / FOLDER
    clear_leftovers(folder)
    clear_leftovers(config.data / "annotation")
    record = _earlier_record(folder / RECORD)
    scene, names = _scene(config, episodes, folder)
    plane = _plane(config, episodes)
    if scene.camera is not None and config.plane is not None:
        raise ValueError(
            "the camera looks aslant, and labels are in the units of "
            f"{scene.camera.state!r}: leave out --plane"
        )
    mine = column_names(names)
    before = {key: record.get(key) for key in ("plane", "columns")}
    now = {"plane": plane and list(plane), "columns": mine}
    if record and before != now and not config.overwrite:
        raise ValueError(
            f"{config.data} has labels {', '.join(record['names'])} of plane {record['plane']}, "
            f"asked for is {', '.join(names)} of {now['plane']}: give --overwrite to replace them"
        )
    known = set(record.get("columns", []))
    _check_recorded(config, episodes, set(mine) - known)
    if config.overwrite:  # of all splits, since bodies found anew have other origins
        for split in SPLITS:
            for episode_id in list_episodes(config.data, split):
                drop_columns(config.data, split, episode_id, known)
    todo = [where for where in episodes if set(mine) - hidden_names(config.data, *where)]
    summary, sheet = Summary(names, scene), Sheet(scene)
    content = {
        "command": shlex.join(["irasim", "label", *_words(config)]),
        "versions": versions("irasim-env", "numpy", "scipy", "opencv-python"),
        "names": list(names),
        "columns": mine,
        "plane": None if plane is None else list(plane),
        "units": _units(scene),
        "scene": summary.scene(),
    }
    folder.mkdir(exist_ok=True)
    runs = [] if config.overwrite else record.get("runs", [])
    write_json(folder / RECORD, {**content, "runs": runs})
    save_scene(folder, scene, names)
    _label(config, todo, scene, plane, summary, sheet)
    if todo:
        runs = [*runs, summary.figures(time.time() - begin)]
        write_json(folder / RECORD, {**content, "runs": runs})
        sheet.write(folder / SHEET)
    print(described(summary, len(episodes) - len(todo)))
    print(f"check {folder / SHEET} and the sprites beside it; the record is {folder / RECORD}")
    print(_next(config, names, scene, plane))


def _label(
    config: LabelConfig,
    todo: list[Where],
    scene: Scene,
    plane: tuple[float, float, float, float] | None,
    summary: Summary,
    sheet: Sheet,
) -> None:
    """Follow the bodies through episodes, and write where they are."""
    for batch in _batches(config, todo, scene):
        observations = [observed(scene, episode) for _, episode in batch]
        frames = [scene.rectified(episode.frames) for _, episode in batch]
        found = track(scene, frames, observations)
        for ((split, episode_id), _), shown, tracks in zip(batch, frames, found, strict=True):
            if scene.camera is not None:
                units = Units(scene.camera.left, scene.camera.top, scene.camera.scale)
            else:
                units = Units.of(plane, (shown.shape[1], shown.shape[2]))
            labels: dict[str, np.ndarray] = {}
            for name, one in zip(summary.names, tracks, strict=True):
                labels |= columns(name, one, units)
            add_columns(config.data, split, episode_id, labels)
            summary.add(split, episode_id, tracks)
            sheet.add(f"{split}/{episode_id}", shown, tracks)


def _next(
    config: LabelConfig,
    names: tuple[str, ...],
    scene: Scene,
    plane: tuple[float, float, float, float] | None,
) -> str:
    """The command that trains on the labels."""
    name = " ".join(names)
    line = f"next: irasim train --data {config.data} --hidden {name}"
    poses = f"--poses {name} --points"
    if scene.camera is not None:
        return f"{line} {poses} {scene.camera.state}"
    if not scene.robot:
        # Poses are related to what acts on them, and nothing says where in the picture that is.
        return f"{line}\n(where actions are places in the picture: {poses} action)"
    line += f" {poses} {' '.join(scene.observations)}"
    if plane is None:
        line += (
            "\n(labels are in pixels, as --points must be then: where the observation is "
            "a place in the picture, label with --plane LEFT TOP RIGHT BOTTOM, its edges in the "
            "observation's units)"
        )
    return line


def _units(scene: Scene) -> str:
    """What the numbers of a pose are."""
    if scene.camera is None:
        return (
            "x and y of the sprite's centroid, from the plane's left and top edge, x to the right "
            "and y down; angle in rad, from x to y"
        )
    return (
        f"x and y of the middle of the body's top, in the units of {scene.camera.state!r} and the "
        "plane in which robot and bodies touch; angle in rad, from x to y"
    )


def observed(scene: Scene, episode: Episode) -> np.ndarray:
    """The observations that the scene's robot follows, (T, Q)."""
    missing = [name for name in scene.observations if name not in episode.states]
    if missing:
        raise ValueError(
            f"episode {episode.episode_id} has no state {missing[0]!r}, which the robot's layer "
            "follows: name with --robot what all episodes have"
        )
    parts = [episode.states[name] for name in scene.observations]
    return np.concatenate([*parts, np.zeros((len(episode.frames), 0))], axis=1)


def _scene(
    config: LabelConfig, episodes: list[Where], folder: Path
) -> tuple[Scene, tuple[str, ...]]:
    """The scene that is there, or that of another data set, or a new one; names of its bodies."""
    if config.like is not None:
        return load_scene(config.like / FOLDER)
    if (folder / SCENE).is_file() and not config.overwrite:
        scene, names = load_scene(folder)
        return scene, _named(config, scene) if config.names else names
    rng = np.random.default_rng(config.seed)
    chosen = [episodes[i] for i in _evenly(len(episodes), FIT_EPISODES)]
    each = -(-config.fit_frames // len(chosen))
    frames, observations, noises, names = [], [], [], config.robot
    sizes: tuple[int, ...] = ()
    for split, episode_id in chosen:
        episode = read_episode(config.data, split, episode_id)
        names = tuple(episode.states) if names is None else names
        if frames and episode.frames.shape[1:] != frames[0].shape[1:]:
            raise ValueError(
                f"episode {episode_id} of {split} has frames {episode.frames.shape[1:]}, others "
                f"{frames[0].shape[1:]}: label data sets of one size"
            )
        missing = [name for name in names if name not in episode.states]
        if missing:
            raise ValueError(
                f"episode {episode_id} of {split} has no state {missing[0]!r} (it has "
                f"{', '.join(episode.states) or 'none'}): name with --robot what all have"
            )
        pick = np.sort(rng.permutation(len(episode.frames))[:each])
        frames.append(episode.frames[pick])
        noises.append(noise_between(episode.frames[:NOISE_FRAMES]))
        parts = [episode.states[name][pick] for name in names]
        sizes = tuple(part.shape[1] for part in parts)
        observations.append(np.concatenate([*parts, np.zeros((len(pick), 0))], axis=1))
    scene = fit_scene(
        np.concatenate(frames),
        np.concatenate(observations),
        names or (),
        noise=float(np.median(noises)),
        most_bodies=config.bodies,
        sizes=sizes,
    )
    if scene.camera is not None:
        scene = dataclasses.replace(scene, examples=_examples(config, episodes, scene))
        scene = dataclasses.replace(scene, camera=_touching(config, episodes, scene))
    return scene, _named(config, scene)


def _examples(config: LabelConfig, episodes: list[Where], scene: Scene) -> RobotByExample:
    """What frames of many episodes show, with the observation there."""
    seen, shown = [], []
    for split, episode_id in (episodes[i] for i in _evenly(len(episodes), EXAMPLE_EPISODES)):
        episode = read_episode(config.data, split, episode_id)
        frames = scene.rectified(episode.frames[::EXAMPLE_STRIDE])
        seen.append(observed(scene, episode)[::EXAMPLE_STRIDE])
        shown.append(scene.strange(frames.astype(np.float32)))
    return RobotByExample(np.concatenate(seen), np.concatenate(shown))


def _touching(config: LabelConfig, episodes: list[Where], scene: Scene) -> Camera | None:
    """The camera, in the plane in which robot and bodies touch."""
    chosen = [
        read_episode(config.data, *episodes[i]) for i in _evenly(len(episodes), contact.EPISODES)
    ]
    places = [observed(scene, episode) for episode in chosen]
    found = track(scene, [scene.rectified(episode.frames) for episode in chosen], places)
    assert scene.camera is not None
    robots = [episode.states[scene.camera.state] for episode in chosen]
    return contact.touching(scene, found, robots) or scene.camera


def _named(config: LabelConfig, scene: Scene) -> tuple[str, ...]:
    """Names of the bodies.

    Raises:
        ValueError: Not as many were given as bodies were found.
    """
    count = len(scene.bodies)
    if config.names and len(config.names) != count:
        raise ValueError(
            f"{count} bodies were found, {len(config.names)} names given: give as many, or "
            "--bodies N for those that show most often"
        )
    return config.names or tuple(f"body_{i}" for i in range(count))


def _plane(config: LabelConfig, episodes: list[Where]) -> tuple[float, float, float, float] | None:
    """Of the labels: asked for, or the task's."""
    if config.plane is not None:
        return config.plane
    env_id = read_annotation(config.data, *episodes[0])["env_id"]
    task = find_task(env_id) if env_id else None
    return None if task is None else task.frame_edges


def _check_recorded(config: LabelConfig, episodes: list[Where], new: set[str]) -> None:
    """Raise ValueError if a column has the name of a state that was recorded."""
    for split, episode_id in episodes:
        there = new & hidden_names(config.data, split, episode_id)
        if there:
            raise ValueError(
                f"episode {episode_id} of {split} has {min(there)!r} recorded already: choose "
                "other --names"
            )


def _batches(
    config: LabelConfig, todo: list[Where], scene: Scene
) -> Iterator[list[tuple[Where, Episode]]]:
    """Episodes of about one length, some at a time."""
    from world_model.progress import progress_bar

    lengths = {where: len(read_annotation(config.data, *where)["actions"]) + 1 for where in todo}
    shape = (scene.background.picture if scene.picture is None else scene.picture).shape
    frame_bytes = scene.background.picture.size
    batch: list[tuple[Where, Episode]] = []
    used = 0
    with progress_bar(total=sum(lengths.values()), desc="labelling", unit="frames") as progress:
        for where in sorted(todo, key=lambda one: lengths[one]):
            size = lengths[where] * frame_bytes
            if batch and (used + size > BYTES_AT_ONCE or len(batch) == EPISODES_AT_ONCE):
                yield batch
                progress.update(sum(len(episode.frames) for _, episode in batch))
                batch, used = [], 0
            episode = read_episode(config.data, *where)
            if episode.frames.shape[1:] != shape:
                raise ValueError(
                    f"episode {where[1]} of {where[0]} has frames {episode.frames.shape[1:]}, the "
                    f"scene {shape}: label data sets of one size"
                )
            batch.append((where, episode))
            used += size
        if batch:
            yield batch
            progress.update(sum(len(episode.frames) for _, episode in batch))


def _evenly(count: int, most: int) -> list[int]:
    """At most so many of `count` numbers, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()


def _earlier_record(path: Path) -> dict[str, Any]:
    """What an earlier run noted; empty where there was none."""
    if not path.is_file():
        return {}
    record = read_json(path)
    if not all(key in record for key in ("names", "columns", "plane", "runs")):
        raise ValueError(f"{path}: is not as irasim label writes it; restore it, or delete it")
    return record


def _words(config: LabelConfig) -> list[str]:
    """The command line of a config: what is not as by default."""
    words = [str(config.data)]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "data" or value == field.default:
            continue
        words.append("--" + field.name.replace("_", "-"))
        if isinstance(value, tuple):
            words += map(str, value)
        elif value is not True:
            words.append(str(value))
    return words

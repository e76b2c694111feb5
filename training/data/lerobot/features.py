"""Which of a LeRobot dataset's features become frames, actions, rewards, ends and states.

A feature is a column of the parquet files or a video, as meta/info.json describes it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "observation."
# Features that are states unless others are named: observations, and what some recorders call so.
STATE_WORDS = ("observation", "observations", "obs", "state", "states")
# What counts rows, which every dataset has.
COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
NUMBERS = ("float", "int", "uint", "bool")
# A state of more numbers is a picture or a cloud of points, and is taken only when it is named.
MOST_NUMBERS = 512

Features = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What is imported, by the names of features."""

    camera: str
    action: str
    reward: str
    done: str
    states: tuple[str, ...]
    left_out: dict[str, tuple[str, ...]]
    """What is not, by kind: cameras, numbers, other."""

    def state_name(self, feature: str) -> str:
        """What a state is called in our episodes: without LeRobot's prefix, if that is unique."""
        short = feature.removeprefix(PREFIX)
        alike = [name for name in self.states if name.removeprefix(PREFIX) == short]
        return short if len(alike) == 1 else feature

    def shortcomings(self) -> Iterator[str]:
        """What is left out, and how to take it instead, in words."""
        hints = {
            "cameras": "a world has one camera, --camera NAME takes another",
            "numbers": "--states NAME ... takes exactly the states that it names",
            "other": "no numbers",
        }
        for kind, names in self.left_out.items():
            if names:
                yield f"left out: {', '.join(names)} ({hints[kind]})"


def choose(
    root: Path,
    features: Features,
    *,
    camera: str | None,
    action: str,
    reward: str,
    done: str,
    states: Sequence[str] | None,
) -> Chosen:
    """Choose by the names that are given, else by LeRobot's habits.

    Args:
        root: Of the dataset, for messages.
        features: Its features.
        camera: Name, or the last part of one; may be left out where there is one camera.
        action, reward, done: Names; the latter two need not be there.
        states: Names, or None for all observations of up to `MOST_NUMBERS` numbers.

    Raises:
        ValueError: A feature that is named or needed is not there, or has no numbers.
    """
    if action not in features:
        raise ValueError(
            f"{root}: has no feature {action!r}, it has {', '.join(sorted(features))}; name the "
            "actions' with --action"
        )
    if not is_numeric(features[action]):
        raise ValueError(
            f"{root}: feature {action!r} is of {features[action]['dtype']}, expected numbers"
        )
    chosen = _camera(root, features, camera)
    if states is None:
        taken = [name for name in features if _is_state(name, features[name])]
    else:
        taken = [_state(root, features, name) for name in states]
    taken = [name for name in dict.fromkeys(taken) if name not in (action, reward, done)]
    used = {chosen, action, reward, done, *taken, *COUNTERS}
    rest = [name for name in features if name not in used]
    return Chosen(
        camera=chosen,
        action=action,
        reward=reward,
        done=done,
        states=tuple(taken),
        left_out={
            "cameras": tuple(name for name in rest if is_camera(features[name])),
            "numbers": tuple(name for name in rest if is_numeric(features[name])),
            "other": tuple(
                name
                for name in rest
                if not is_camera(features[name]) and not is_numeric(features[name])
            ),
        },
    )


def component_names(feature: dict[str, Any]) -> list[str]:
    """Names of a feature's components, in the forms that recorders give them; may be empty."""
    names = feature.get("names")
    while isinstance(names, dict | list) and len(names) == 1:  # {"motors": [...]}, [[...]]
        inner = next(iter(names.values() if isinstance(names, dict) else names))
        if not isinstance(inner, list | dict):
            break
        names = inner
    if isinstance(names, dict):  # {"x": 0, "y": 1}
        names = list(names)
    return [str(name) for name in names] if isinstance(names, list) else []


def components(feature: dict[str, Any], wanted: Sequence[str], option: str) -> tuple[int, ...]:
    """Positions of components that are named, or told by their position.

    Raises:
        ValueError: There is no such component.
    """
    names, count = component_names(feature), size_of(feature)
    found = []
    for one in wanted:
        position = int(one) if one.lstrip("-").isdigit() else -count - 1
        if one in names:
            found.append(names.index(one))
        elif -count <= position < count:
            found.append(position % count)
        else:
            known = f", or one of {', '.join(names)}" if names else ""
            raise ValueError(f"{option} {one}: no such component, expected 0 to {count - 1}{known}")
    return tuple(found)


def size_of(feature: dict[str, Any]) -> int:
    """How many numbers a row of a feature has."""
    return math.prod(int(one) for one in feature.get("shape") or [1])


def is_numeric(feature: dict[str, Any]) -> bool:
    """Whether a feature is a column of numbers."""
    return feature["dtype"].startswith(NUMBERS)


def is_camera(feature: dict[str, Any]) -> bool:
    """Whether a feature is pictures, but not of depth."""
    details = feature.get("info") or feature.get("video_info") or {}
    depth = details.get("is_depth_map") or details.get("video.is_depth_map")
    return feature["dtype"] in ("video", "image") and not depth


def _is_state(name: str, feature: dict[str, Any]) -> bool:
    word = name.replace("/", ".").partition(".")[0]
    return word in STATE_WORDS and is_numeric(feature) and size_of(feature) <= MOST_NUMBERS


def _state(root: Path, features: Features, name: str) -> str:
    for full in (name, f"{PREFIX}{name}"):
        if full in features:
            if not is_numeric(features[full]):
                raise ValueError(
                    f"{root}: --states {name} is of {features[full]['dtype']}, expected numbers"
                )
            return full
    numeric = [one for one in features if is_numeric(features[one]) and one not in COUNTERS]
    raise ValueError(
        f"{root}: --states {name}: no such feature, those with numbers are {', '.join(numeric)}"
    )


def _camera(root: Path, features: Features, camera: str | None) -> str:
    cameras = [name for name, feature in features.items() if is_camera(feature)]
    if camera is None and len(cameras) == 1:
        return cameras[0]
    alike = [name for name in cameras if camera and name.endswith(f".{camera}")]
    if camera in cameras:
        return camera
    if len(alike) == 1:
        return alike[0]
    asked = "no camera is named" if camera is None else f"camera {camera!r} is asked for"
    cure = "; choose one with --camera NAME" if cameras else ": a world needs pictures"
    raise ValueError(f"{root}: {asked}, it has {', '.join(cameras) or 'none'}{cure}")

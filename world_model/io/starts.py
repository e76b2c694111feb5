"""Starts: the recorded clips that a world's episodes begin from (`starts.safetensors`).

Frames are kept as PNG, one picture per clip with its frames one below the other: a hundred clips
of 96 x 96 pixels are a megabyte.
"""

import json
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from world_model.io.json_files import parse_json

PNG = b"\x89PNG\r\n\x1a\n"
# Of the frames of one clip together: thirty of 1080 x 1920.
MOST_PIXELS = 2**26


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """A short recorded clip, and how the ground truth gets to its last frame."""

    frames: np.ndarray
    """uint8 (T, H, W, 3)"""
    actions: np.ndarray
    """float32 (T - 1, A), in the environment's own units"""
    states: dict[str, np.ndarray] = field(default_factory=dict)
    """Low-dimensional observations at each frame, float32 (T, n) each: what a world knows of its
    state where it begins. One that is missing is estimated from the frames."""
    seed: int | None = 0
    """Seed of the ground truth's reset; None where there was none, as on a real robot."""
    replay: np.ndarray | None = None
    """float32 (n, A): every action since that reset, n >= T - 1. None if it is not known."""
    episode_id: str = ""

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.dtype != np.uint8 or self.frames.shape[-1] != 3:
            raise ValueError(
                f"start frames are {self.frames.dtype} {self.frames.shape}, "
                "expected uint8 (T, H, W, 3)"
            )
        if len(self.actions) != len(self.frames) - 1:
            raise ValueError(
                f"a start has {len(self.frames)} frames and {len(self.actions)} actions; "
                "N actions go with N + 1 frames"
            )
        for name, values in self.states.items():
            if values.ndim != 2 or len(values) != len(self.frames):
                raise ValueError(
                    f"a start has observation {name!r} of shape {values.shape}, expected "
                    f"({len(self.frames)}, n): that of each frame"
                )


class Starts(Sequence[Start]):
    """A world's starts, decoded when asked for."""

    def __init__(self, starts: Sequence[Start] = ()):
        self._starts = list(starts)

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Start]:
        return iter(self._starts)

    def __getitem__(self, index: int) -> Start:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise ValueError(f"start {index} does not exist: this world has 0 to {len(self) - 1}")
        return self._starts[index]

    def save(self, path: Path) -> None:
        """Write all starts to one safetensors file."""
        tensors: dict[str, np.ndarray] = {}
        about = []
        for i, start in enumerate(self._starts):
            tensors[f"{i}.png"] = encode_frames(start.frames)
            tensors[f"{i}.actions"] = np.ascontiguousarray(start.actions, np.float32)
            for name, values in start.states.items():
                tensors[f"{i}.states.{name}"] = np.ascontiguousarray(values, np.float32)
            if start.replay is not None:
                tensors[f"{i}.replay"] = np.ascontiguousarray(start.replay, np.float32)
            about.append({"seed": start.seed, "episode_id": start.episode_id})
        # safetensors refuses a file without tensors.
        tensors["count"] = np.array([len(self)], np.int64)
        save_file(tensors, path, metadata={"starts": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> "Starts":
        """Read what `save` wrote.

        Raises:
            ValueError: The file is truncated, altered, or not a file of starts.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                about = parse_json((file.metadata() or {})["starts"], path)
            count = int(tensors["count"].reshape(())[()]) if "count" in tensors else -1
            if not isinstance(about, list) or count != len(about):
                raise ValueError(f"it counts {count} starts and describes others")
            return cls([_read_start(tensors, i, one) for i, one in enumerate(about)])
        # Types that numpy does not have are one or another of these.
        except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{path} is not a whole file of starts ({error}); restore it"
            ) from error


def _read_start(tensors: dict[str, np.ndarray], index: int, about: dict) -> Start:
    actions = tensors[f"{index}.actions"]
    prefix = f"{index}.states."
    states = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    replay = tensors.get(f"{index}.replay")
    for name, values in (("actions", actions), ("replay", replay), *states.items()):
        if values is None:
            continue
        if values.dtype != np.float32 or values.ndim != 2 or not np.isfinite(values).all():
            raise ValueError(
                f"start {index}: {name} are {values.dtype} {values.shape}, expected finite float32 "
                "(T, n)"
            )
        if name not in ("actions", "replay") and len(values) != len(actions) + 1:
            raise ValueError(
                f"start {index}: {name} are of {len(values)} frames, expected {len(actions) + 1}"
            )
    if replay is not None and replay.shape[1:] != actions.shape[1:]:
        raise ValueError(f"start {index}: replay is of other actions, {replay.shape[1:]}")
    seed, episode_id = about["seed"], about["episode_id"]
    if not (seed is None or type(seed) is int) or not isinstance(episode_id, str):
        raise ValueError(f"start {index}: seed {seed!r} and episode_id {episode_id!r}")
    return Start(
        frames=decode_frames(tensors[f"{index}.png"], len(actions) + 1),
        actions=actions,
        states=states,
        seed=seed,  # pyright: ignore[reportArgumentType]
        replay=replay,
        episode_id=episode_id,
    )


def encode_frames(frames: np.ndarray) -> np.ndarray:
    """uint8 (T, H, W, 3) -> the bytes of one PNG, uint8 (n,), without loss."""
    column = frames.reshape(-1, *frames.shape[2:])
    ok, png = cv2.imencode(".png", column[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert ok, "OpenCV did not encode a PNG"
    return png.reshape(-1)


def decode_frames(png: np.ndarray, num_frames: int) -> np.ndarray:
    """What `encode_frames` gave -> uint8 (T, H, W, 3)."""
    head = png[:24].tobytes() if png.dtype == np.uint8 and png.ndim == 1 else b""
    sides = struct.unpack(">2I", head[16:]) if head.startswith(PNG) and len(head) == 24 else (0, 0)
    # Its bytes say how large a picture is before it takes memory.
    column = cv2.imdecode(png, cv2.IMREAD_COLOR) if 0 < math.prod(sides) <= MOST_PIXELS else None
    if column is None or len(column) % num_frames:
        raise ValueError(f"a clip's PNG of {sides[0]} x {sides[1]} pixels is damaged")
    return np.ascontiguousarray(column[..., ::-1]).reshape(num_frames, -1, *column.shape[1:])

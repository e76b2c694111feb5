"""What an environment's observations are made of: pictures, and numbers beside them.

Knows Gymnasium's spaces by their attributes alone. Parts of nested dictionaries and tuples are
named by their path, as in "robot.joints" and "0"; a space that is one part is "pixels" if it is a
picture, else "state".

Dimensions: H W pixels of a picture.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

# The name of the picture where a space is nothing else, and of the one that is taken first.
PIXELS = "pixels"
# The name of the numbers where a space is nothing else.
STATE = "state"
# Asks for the environment's render() in place of an observed picture.
RENDER = "render"
# A picture has at least so many pixels along each side: smaller arrays are numbers.
SMALLEST = 16
# More numbers than this are no low-dimensional state.
MOST_NUMBERS = 1024


@dataclass(frozen=True, kw_only=True)
class Part:
    """One array within an observation."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    low: float
    """Least value by its space; -inf where there is none."""
    high: float

    @property
    def picture(self) -> bool:
        """Whether it is a picture, of a form that can be recorded or of another."""
        shape = self.shape
        if self.dtype == "bool" or len(shape) not in (2, 3, 4):
            return False
        if len(shape) == 2:
            bounded = self.dtype == "uint8" or np.isfinite((self.low, self.high)).all()
            return bool(bounded) and min(shape) >= SMALLEST
        first, last = (min(shape[-3:-1]), min(shape[-2:]))
        channels_last = shape[-1] <= 16 and first >= SMALLEST
        channels_first = shape[-3] <= 16 and last >= SMALLEST
        return channels_last or channels_first

    @property
    def numbers(self) -> bool:
        """Whether it can be recorded as a low-dimensional state."""
        return not self.picture and self.dtype != "text"

    @property
    def small(self) -> bool:
        """Whether it is recorded unless something else is asked for."""
        return self.numbers and int(np.prod(self.shape)) <= MOST_NUMBERS

    def describe(self) -> str:
        """Name and form, in words."""
        size = " x ".join(map(str, self.shape)) or "1"
        kind = "a picture" if self.picture else "numbers" if self.numbers else "text"
        return f"{self.name} ({kind}{'' if kind == 'text' else f', {size} {self.dtype}'})"


def named_spaces(space: Any) -> dict[str, Any]:
    """The spaces of an observation space's parts by name, in its order."""
    found = dict(_spaces(space, ""))
    if set(found) != {""}:
        return found
    return {PIXELS if _part("", space).picture else STATE: space}


def find_parts(space: Any) -> list[Part]:
    """The parts of an observation space, in its order."""
    return [_part(name, part) for name, part in named_spaces(space).items()]


def read_parts(observation: Any) -> dict[str, Any]:
    """The parts of an observation, by the names that `find_parts` gives them, but for a space that
    is one part, whose only one is named ""."""
    return dict(_values(observation, ""))


def read_part(observation: Any, name: str) -> Any:
    """The part of a name."""
    values = read_parts(observation)
    return values[""] if set(values) == {""} else values[name]


def as_picture(values: Any, part: Part) -> np.ndarray:
    """A copy of an observed picture as uint8 (H, W, 3).

    Grey is repeated, channels that come first go last, and values of other types are scaled from
    their bounds to 0 to 255, and rounded.

    Raises:
        ValueError: It is none, or of an unknown form.
    """
    picture = np.asarray(values)
    if picture.shape != part.shape:
        raise ValueError(
            f"observation {part.name!r} has shape {picture.shape}, its space says {part.shape}"
        )
    check_picture(part)
    if picture.ndim == 2:
        picture = picture[..., None]
    elif picture.shape[-1] not in (1, 3):
        picture = np.moveaxis(picture, 0, -1)
    if picture.dtype != np.uint8:
        scaled = (picture.astype(np.float64) - part.low) * (255 / (part.high - part.low))
        if not np.isfinite(scaled).all() or scaled.min() < -0.5 or scaled.max() > 255.5:
            raise ValueError(
                f"observation {part.name!r} has values from {picture.min()} to {picture.max()}, "
                f"its space says {part.low:g} to {part.high:g}: correct the space"
            )
        picture = scaled.round().clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3))).copy()


def check_picture(part: Part) -> None:
    """Refuse a picture that cannot be recorded, with the wrapper that mends it.

    Raises:
        ValueError: Depth or alpha beside colours, stacked frames, or values without bounds.
    """
    shape, name = part.shape, part.name
    if len(shape) == 4 or (len(shape) == 3 and not {shape[0], shape[-1]} & {1, 3}):
        raise ValueError(
            f"observation {name!r} has shape {shape}, expected a picture (H, W), (H, W, 1), "
            "(H, W, 3) or with its channels first. If frames are stacked, leave out the wrapper "
            "that stacks them (FrameStackObservation): a world sees several by itself. If there "
            "are other channels beside colours, take these: gymnasium.wrappers."
            "TransformObservation(env, lambda image: image[..., :3], space). Or take what the "
            f"environment renders: --camera {RENDER}"
        )
    if part.dtype == "uint8":
        return
    if not (np.isfinite(part.low) and np.isfinite(part.high) and part.low < part.high):
        raise ValueError(
            f"observation {name!r} is a picture of {part.dtype} without bounds ({part.low:g} to "
            f"{part.high:g}), so what is black and white is not known; say them in its space, or "
            "make it uint8: gymnasium.wrappers.TransformObservation(env, lambda image: "
            "(255 * image).astype('uint8'), gymnasium.spaces.Box(0, 255, shape, 'uint8')). Or take "
            f"what the environment renders: --camera {RENDER}"
        )


def resized(picture: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """A picture uint8 (H, W, 3) in another height and width; None leaves it."""
    if size is None or picture.shape[:2] == size:
        return picture
    smaller = size[0] <= picture.shape[0] and size[1] <= picture.shape[1]
    # Averages over what a pixel covers where it gets smaller, so that nothing flickers.
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(picture, (size[1], size[0]), interpolation=how)


def as_numbers(values: Any) -> np.ndarray:
    """A copy of a part as float64 (n,): matrices row by row, truth values as 0 and 1."""
    return np.array(values, np.float64).reshape(-1)


def choose_picture(parts: list[Part], camera: str | None) -> Part | None:
    """The picture to take; None for what the environment renders.

    Args:
        parts: Those of the environment's observations.
        camera: Its name, or "render"; None takes "pixels", else the only one, and renders where
            there is none.

    Raises:
        ValueError: There is no picture of that name, several and none is named, or one that cannot
            be recorded.
    """
    pictures = {part.name: part for part in parts if part.picture}
    if camera == RENDER or (camera is None and not pictures):
        return None
    names = ", ".join(pictures) or "none"
    if camera is None:
        if PIXELS not in pictures and len(pictures) > 1:
            raise ValueError(
                f"it observes {len(pictures)} pictures, {names}: choose one with --camera NAME, "
                f"or what it renders with --camera {RENDER}"
            )
        camera = PIXELS if PIXELS in pictures else next(iter(pictures))
    if camera not in pictures:
        raise ValueError(
            f"it observes no picture {camera!r}; there are {names}, and {RENDER} for what it "
            "renders"
        )
    check_picture(pictures[camera])
    return pictures[camera]


def _spaces(space: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(space, "spaces", None)
    if isinstance(inner, Mapping):
        for name, part in inner.items():
            yield from _spaces(part, f"{path}{name}.")
    elif isinstance(inner, list | tuple):
        for index, part in enumerate(inner):
            yield from _spaces(part, f"{path}{index}.")
    else:
        yield path.removesuffix("."), space


def _part(name: str, space: Any) -> Part:
    shape, dtype = getattr(space, "shape", None), getattr(space, "dtype", None)
    number = dtype is not None and np.dtype(dtype).kind in "biuf" and shape is not None
    return Part(
        name=name,
        shape=tuple(shape or ()),
        dtype=np.dtype(dtype).name if number else "text",
        low=float(np.min(getattr(space, "low", -np.inf))) if number else -np.inf,
        high=float(np.max(getattr(space, "high", np.inf))) if number else np.inf,
    )


def _values(observation: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(observation, Mapping):
        for name, values in observation.items():
            yield from _values(values, f"{path}{name}.")
    elif isinstance(observation, tuple):
        for index, values in enumerate(observation):
            yield from _values(values, f"{path}{index}.")
    else:
        yield path.removesuffix("."), observation

"""What a page and the server tell each other.

A page sends JSON objects, each with a "type" and that type's fields, no other:

| type | fields | asks for |
|---|---|---|
| join | token | a player; first of all, once |
| input | seq, held, pointer | these keys held, the mouse there, from now on |
| ack | frame | nothing: the view of that number is drawn |
| command | key | what the key does in a window |
| begin | start, seed | an episode; start null lets the seed draw it |
| uncertainty | on | samples of each step, or none |
| snapshot | | the moment kept |
| branch | snapshot | the episode to go on from there |
| forget | snapshot | that one kept no more |

The server sends JSON too, in text; a message with pictures or a video is binary: four bytes, big
endian, say how long the JSON is that follows, whose "sizes" say how long each file after it is.
"""

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

# Bytes of a message to the server.
LONGEST = 2048
MOST_HELD = 32
# Numbers that JavaScript knows exactly.
_LARGEST = 2**53 - 1
# A larger picture goes as JPEG: exact pixels are worth their bytes in small ones.
_MOST_PIXELS_OF_PNG = 160 * 160
_JPEG_QUALITY = 90


class MessageError(ValueError):
    """A message that means nothing; its words are safe to send back."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message of the right form: its type, and its fields by name."""

    type: str
    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


def parse(text: str | bytes) -> Message:
    """Read a page's message.

    Raises:
        MessageError: it is no JSON, or not of the form that its type has.
    """
    if not isinstance(text, str):
        raise MessageError("the message is binary, expected JSON as text")
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise MessageError("the message is no JSON") from None
    if not isinstance(content, dict):
        raise MessageError("the message is no JSON object")
    kind = content.pop("type", None)
    if not isinstance(kind, str) or kind not in _FORMS:
        raise MessageError(f"the message has no known type, expected one of {', '.join(_FORMS)}")
    form = _FORMS[kind]
    if content.keys() != form.keys():
        names = ", ".join(form) or "none besides the type"
        raise MessageError(f"the fields of {kind!r} are other than expected: {names}")
    for name, (fits, expected) in form.items():
        if not fits(content[name]):
            raise MessageError(f"{name} of {kind!r} is no {expected}")
    return Message(type=kind, fields=content)


def pack(content: Mapping[str, Any], *files: bytes) -> bytes:
    """A binary message: JSON, then files."""
    head = json.dumps({**content, "sizes": [len(file) for file in files]}).encode()
    return b"".join((struct.pack(">I", len(head)), head, *files))


def unpack(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """What `pack` was given, "sizes" besides."""
    (length,) = struct.unpack_from(">I", message)
    content = json.loads(message[4 : 4 + length])
    files, at = [], 4 + length
    for size in content["sizes"]:
        files.append(message[at : at + size])
        at += size
    return content, files


def picture_file(frame: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), as PNG; as JPEG where it is large."""
    small = frame.shape[0] * frame.shape[1] <= _MOST_PIXELS_OF_PNG
    options = [] if small else [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    done, file = cv2.imencode(".png" if small else ".jpg", frame[..., ::-1], options)
    assert done, "OpenCV writes PNG and JPEG of any picture"
    return file.tobytes()


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= 1


def _is_pointer(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 2 and all(map(_is_share, value))


def _is_held(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MOST_HELD
        and all(isinstance(key, str) for key in value)
    )


_Form = dict[str, tuple[Callable[[Any], bool], str]]
_COUNT = (_is_count, "whole number from 0 to 2^53 - 1")
_TEXT = (lambda value: isinstance(value, str), "text")
_FORMS: dict[str, _Form] = {
    "join": {"token": _TEXT},
    "input": {
        "seq": _COUNT,
        "held": (_is_held, f"list of at most {MOST_HELD} names of keys"),
        "pointer": (_is_pointer, "null or two shares of the picture, from 0 to 1"),
    },
    "ack": {"frame": _COUNT},
    "command": {"key": _TEXT},
    "begin": {
        "start": (lambda value: value is None or _is_count(value), "null or whole number"),
        "seed": _COUNT,
    },
    "uncertainty": {"on": (lambda value: isinstance(value, bool), "true or false")},
    "snapshot": {},
    "branch": {"snapshot": _COUNT},
    "forget": {"snapshot": _COUNT},
}

"""Which split each episode of a LeRobot dataset goes to: as meta/info.json says, or as asked."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Names that people give the three splits.
NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "heldout": "test",
    "held_out": "test",
}
# Part of the training episodes that is set aside for each of val and test if nobody says how many.
SHARE, MOST = 0.1, 50


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The split of each episode, and what had to be decided about them."""

    of: dict[int, str]
    remarks: list[str] = field(default_factory=list)


def assign(
    info_path: Path,
    info: dict[str, Any],
    count: int,
    kept: Sequence[int],
    *,
    val: int | None,
    test: int | None,
) -> Splits:
    """Splits by meta/info.json, then the last training episodes to val and test.

    Args:
        info_path: For messages.
        info: Its content; `splits` are spans of episodes, "0:80" or "80%:100%", or lists of them.
        count: How many episodes the dataset has.
        kept: Those that are imported, in order.
        val, test: So many of the training episodes that are imported, the last before those of
            test, and the very last. None: what the dataset's own splits say; without a val split, a
            tenth goes to val, and without either, a tenth to test too if `val` is None.

    Raises:
        ValueError: Splits that cannot be understood, or more episodes asked for than there are.
    """
    of, remarks = _named(info_path, info.get("splits"), count)
    of = {index: of[index] for index in kept}
    own = set(of.values())
    train = [index for index in kept if of[index] == "train"]
    share = min(MOST, max(1, round(SHARE * len(train)))) if len(train) > 1 else 0
    if test is None:
        test = share if val is None and not own & {"val", "test"} and len(train) > 2 else 0
    if val is None:
        val = 0 if "val" in own else share
    if (val or test) and val + test >= len(train):
        raise ValueError(
            f"val is {val} and test {test}, there are {len(train)} training episodes to take them "
            "from: at least one has to be left to train on"
        )
    begin = len(train) - test
    for index in train[begin:]:
        of[index] = "test"
    for index in train[begin - val : begin]:
        of[index] = "val"
    return Splits(of=of, remarks=remarks)


def _named(info_path: Path, splits: Any, count: int) -> tuple[dict[int, str], list[str]]:
    """The split of every episode, by the dataset's own word."""
    remarks: list[str] = []
    of = dict.fromkeys(range(count), "")
    if splits and not isinstance(splits, dict):
        raise ValueError(f"{info_path}: splits are {splits!r}, expected spans by name")
    spans = {name: _span(info_path, name, span, count) for name, span in (splits or {}).items()}
    known = {name: NAMES.get(name.lower(), "train") for name in spans}
    # Where spans overlap, nothing that is held out is trained on.
    for split in ("train", "val", "test"):
        for name, span in spans.items():
            if known[name] == split:
                of |= dict.fromkeys(span, split)
    others = [name for name in spans if name.lower() not in NAMES]
    if others:
        remarks.append(
            f"{info_path}: splits {', '.join(map(repr, others))} are neither train, val nor test: "
            "their episodes are trained on"
        )
    rest = [index for index in of if not of[index]]
    if rest and spans:
        remarks.append(
            f"{info_path}: its splits leave out {len(rest)} of {count} episodes, which are trained "
            "on"
        )
    return of | dict.fromkeys(rest, "train"), remarks


def _span(path: Path, name: str, span: Any, count: int) -> Sequence[int]:
    """The episodes of a span: "2:5", "80%:100%", "80%" (the first), or a list."""
    whole = isinstance(span, list) and all(
        isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in span
    )
    if whole:
        return [one for one in span if one < count]
    match = re.fullmatch(r"\s*(?:(\d+(?:\.\d+)?)(%?)\s*:\s*)?(\d+(?:\.\d+)?)?(%?)\s*", str(span))
    if not match or not isinstance(span, str) or not span.strip():
        raise ValueError(
            f"{path}: split {name!r} is {span!r}, expected episodes as 0:80, 0%:80%, or a list"
        )

    def number(text: str | None, percent: str, default: int) -> int:
        if text is None:
            return default
        value = float(text) * count / 100 if percent else float(text)
        return min(count, round(value))

    return range(number(match[1], match[2], 0), number(match[3], match[4], count))

"""What `irasim convert` prints after an import: what is there, and what to do next."""

from collections.abc import Iterator, Mapping, Sequence

from training.data.episodes import SPLITS, list_episodes
from training.data.lerobot.config import ConvertConfig
from training.data.lerobot.read import Checked, LeRobotReader

# The default patch of `irasim train`, and those that are proposed where it does not fit.
PATCH, PATCHES = 16, (12, 20, 24, 10, 8, 25, 30, 32)
# Frames that take more memory than this are worth a warning: training holds all of them.
MUCH_MEMORY = 4e9
PAUSES_NAMED = 5


def report(
    config: ConvertConfig,
    reader: LeRobotReader,
    kept: Mapping[int, Checked],
    remarks: Sequence[str],
) -> None:
    """Print it.

    Args:
        config: What was asked for.
        reader: Of the dataset.
        kept: The episodes that were imported, and what is known of them.
        remarks: What else there is to say.
    """
    counts = {split: len(list_episodes(config.out, split)) for split in SPLITS}
    splits = ", ".join(f"{count} {split}" for split, count in counts.items())
    print(f"{config.out}: {splits} episodes of {reader.camera}, {reader.fps:g} frames per second")
    for line in (*_contents(config, reader), *remarks, *_shortcomings(reader, kept)):
        print(f"  {line}")
    size = config.size or next(iter(kept.values())).size
    num_bytes = 3 * size[0] * size[1] * sum(reader.num_frames(index) for index in kept)
    if num_bytes > MUCH_MEMORY:
        print(
            f"  training holds all frames in memory, {num_bytes / 1e9:.0f} GB of {size[0]} x "
            f"{size[1]}: --height and --width make them smaller, --fps fewer"
        )
    print(_next(config, counts, size))


def _next(config: ConvertConfig, counts: dict[str, int], size: tuple[int, int]) -> str:
    """The next command, as it can be run; or what stands in its way."""
    for split in ("train", "val"):
        if not counts[split]:
            return (
                f"next: training needs {split} episodes, of which there are none: convert again "
                "into another directory, with more episodes or with --val N"
            )
    fitting = [patch for patch in (PATCH, *PATCHES) if not any(side % patch for side in size)]
    if not fitting:
        height, width = (max(PATCH, round(side / PATCH) * PATCH) for side in size)
        return (
            f"next: frames of {size[0]} x {size[1]} are not multiples of a patch: convert again "
            f"into another directory, as with --height {height} --width {width}"
        )
    patch = "" if fitting[0] == PATCH else f" --patch {fitting[0]}"
    name = config.out.resolve().name
    return f"next: irasim train --data {config.out} --out runs/{name} --name {name}{patch}"


def _contents(config: ConvertConfig, reader: LeRobotReader) -> Iterator[str]:
    """What became of the features."""
    names = [reader.chosen.state_name(name) for name in reader.chosen.states]
    yield f"states: {', '.join(names) or 'none'}"
    yield from reader.chosen.shortcomings()
    if reader.step > 1:
        absolute = config.commands == "absolute"
        how = "last command" if absolute else "sum of the commands"
        other = "relative" if absolute else "absolute"
        yield (
            f"one frame of every {reader.step} was kept, and the {how} before it: commands are "
            f"{config.commands} (--commands {other} if they are not)"
        )


def _shortcomings(reader: LeRobotReader, kept: Mapping[int, Checked]) -> Iterator[str]:
    """What this dataset did not have, in words."""
    details = reader.features[reader.camera].get("info") or {}
    pixels = details.get("video.pix_fmt", "of unknown form")
    if reader.is_video and pixels not in ("gbrp", "rgb24"):
        yield f"its video is {pixels}: what the camera recorded is kept only nearly, colour least"
    pauses = [one.pause for one in kept.values() if one.pause]
    if pauses:
        more = "; ..." if len(pauses) > PAUSES_NAMED else ""
        yield (
            f"videos of {len(pauses)} episodes pause for a moment; frames were counted "
            f"nevertheless: {'; '.join(pauses[:PAUSES_NAMED])}{more}"
        )
    if reader.chosen.reward not in reader.features:
        yield f"it has no {reader.chosen.reward!r}: rewards are 0, so worlds learn no reward"
    if reader.chosen.done not in reader.features:
        yield f"it has no {reader.chosen.done!r}: no episode terminates"
    elif all(one.ended for one in kept.values()) and "episodes" not in reader.note:
        yield (
            f"{reader.chosen.done!r} is true at the end of every episode, so a world learns ends "
            "there; where it only says that a recording is over, convert with --done none"
        )

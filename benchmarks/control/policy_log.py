"""Played episodes on disk, a line of JSON each, so that a run goes on where it stopped."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.line_log import append_line, whole_lines
from world_model.io.json_files import parse_json


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One episode of a policy, as it is kept."""

    policy: str
    start: int
    limit: int
    """The most steps that it was allowed."""
    rewards: tuple[float, ...]
    """Of each step."""
    ended: bool
    """With success: by the simulator in the ground truth, by what ends an episode in the world."""
    verdict: str | None = None
    """Of the success detector: success, failure or undecidable; None where none was asked."""
    judged_step: int | None = None
    """Index of the first frame that it takes for success."""

    @property
    def steps(self) -> int:
        """How long it was."""
        return len(self.rewards)

    def cut(self, max_steps: int) -> "EpisodeRecord":
        """The episode as it had been under a time limit of at most its own."""
        assert max_steps <= self.limit or self.ended, "an episode cannot be made longer"
        late = self.judged_step is not None and self.judged_step >= max_steps
        return replace(
            self,
            limit=max_steps,
            rewards=self.rewards[:max_steps],
            ended=self.ended and self.steps <= max_steps,
            verdict="failure" if late else self.verdict,
            judged_step=None if late else self.judged_step,
        )


def _as_record(entry: dict[str, Any]) -> EpisodeRecord:
    """An episode as it is kept in a line.

    Raises:
        TypeError: It is another thing.
    """
    record = EpisodeRecord(**{**entry, "rewards": tuple(entry["rewards"])})
    whole = [record.start, record.limit] + [record.judged_step or 0]
    if not (
        isinstance(record.policy, str)
        and isinstance(record.ended, bool)
        and all(type(number) is int for number in whole)
        and all(type(reward) in (int, float) for reward in record.rewards)
        and (record.verdict is None or isinstance(record.verdict, str))
    ):
        raise TypeError(f"this is no episode: {str(entry)[:200]}")
    return record


class PolicyLog:
    """Episodes of policies in one place, under settings that are the file's first line.

    Args:
        path: The file; made if it is not there.
        settings: All that the episodes depend on besides policy, start and time limit.

    Raises:
        ValueError: the file's episodes were played under other settings, or it cannot be read.
    """

    def __init__(self, path: Path, settings: dict[str, Any]):
        self.path = path
        self._records: dict[tuple[str, int], EpisodeRecord] = {}
        settings = json.loads(json.dumps(settings, default=str))
        lines = whole_lines(path)
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            append_line(path, {"settings": settings})
            return
        try:
            first, *entries = (
                parse_json(line, f"line {number}", "delete it")
                for number, line in enumerate(lines, 1)
            )
            found = dict(first["settings"].items())
            records = [_as_record(entry) for entry in entries]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: is no log of played episodes ({error}); move it away"
            ) from error
        if differing := sorted(
            key for key in {*found, *settings} if found.get(key) != settings.get(key)
        ):
            changed = "; ".join(
                f"{key} {found.get(key)!r}, now {settings.get(key)!r}" for key in differing
            )
            raise ValueError(
                f"{path}: its episodes were played under other settings ({changed}); choose "
                "another directory (--out) or repeat those settings"
            )
        self._records = {(one.policy, one.start): one for one in records}

    def missing(self, policy: str, starts: range, max_steps: int) -> list[int]:
        """Those of the starts that the policy has not played, or not for so long."""
        return [start for start in starts if self._known(policy, start, max_steps) is None]

    def add(self, record: EpisodeRecord) -> None:
        """Keep an episode: on disk before this returns."""
        append_line(self.path, asdict(record))
        self._records[record.policy, record.start] = record

    def episodes(self, policy: str, starts: range, max_steps: int) -> list[EpisodeRecord]:
        """The policy's episodes from those starts under a time limit, as far as they are known."""
        known = (self._known(policy, start, max_steps) for start in starts)
        return [record.cut(max_steps) for record in known if record is not None]

    def _known(self, policy: str, start: int, max_steps: int) -> EpisodeRecord | None:
        """The episode, if it was played for long enough."""
        record = self._records.get((policy, start))
        if record is None or (record.limit < max_steps and not record.ended):
            return None
        return record

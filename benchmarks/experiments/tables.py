"""Makes the published tables again from the records of what was measured; nothing is played.

    python -m benchmarks.experiments.tables            # writes into docs/
    python -m benchmarks.experiments.tables --out out  # beside it, with the records unpacked

`docs/records.tar.xz` holds every episode and trial behind them, a line of JSON each.
"""

import json
import tarfile
import tempfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import report
from benchmarks.control.policy_log import PolicyLog
from benchmarks.control.policy_ranking import (
    RankingConfig,
    agreement_table,
    draw,
    measure_agreement,
)
from benchmarks.control.policy_runs import summarize, summary_table
from benchmarks.policy_evaluation import title
from benchmarks.pusht.planning import SUCCESS_RULE, PushTPlanningConfig, summarised, tables
from world_model.renamed import with_current_names

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = "records.tar.xz"
PLANNING = ("planning", "planning/states", "planning/fresh")


@dataclass(frozen=True, kw_only=True)
class TablesConfig:
    """Make the published tables again from the records in docs/records.tar.xz."""

    out: Path = DOCS
    """Directory for the tables and the reports beside them, laid out as docs/ is. Elsewhere than
    there the records are unpacked into it too."""


def main(config: TablesConfig) -> list[Path]:
    """Write all tables; their paths."""
    with tempfile.TemporaryDirectory() as name:
        records = Path(name) if config.out == DOCS else config.out
        unpack(records)
        made = [write_ranking(records, config.out), write_reinforcement(config.out)]
        made += [write_planning(records, config.out, part) for part in PLANNING]
    for path in made:
        print(path)
    return made


def unpack(out: Path) -> None:
    """Unpack the records into a directory."""
    with tarfile.open(DOCS / RECORDS) as archive:
        archive.extractall(out, filter="data")


@dataclass(frozen=True, kw_only=True)
class RecordedRuns:
    """Episodes of policies that were played before, as `PolicyRuns` has those that it plays."""

    config: Any
    max_steps: int
    logs: dict[str, Any] = field(default_factory=dict)
    starts: dict[str, range] = field(default_factory=dict)

    def episodes(self, place: str, name: str) -> list[Any]:
        """A policy's episodes in a place."""
        return self.logs[place].episodes(name, self.starts[place], self.max_steps)


def write_ranking(records: Path, out: Path) -> Path:
    """policies/ranking.md, ranking.json and scatter.png; the path of the first."""
    results = json.loads((DOCS / "policies/ranking.json").read_text())
    asked = with_current_names(
        RankingConfig, {**results["config"], "out": out / "policies"}, "ranking.json"
    )
    config = RankingConfig(
        **{one.name: asked[one.name] for one in fields(RankingConfig) if one.name in asked}
    )
    logs = {}
    for place in ("truth", "world"):
        path = records / f"policies/{place}.jsonl"
        with path.open() as file:
            logs[place] = PolicyLog(path, json.loads(file.readline())["settings"])
    starts = {"truth": range(config.truth_episodes or 0), "world": range(config.episodes)}
    runs: Any = RecordedRuns(
        config=config, max_steps=results["max_steps"], logs=logs, starts=starts
    )
    names = list(results["policies"])
    results["policies"] = {
        name: {place: summarize(runs.episodes(place, name), config.seed) for place in logs}
        for name in names
    }
    results["agreement"] = measure_agreement(runs, names)
    parts = [title(results), summary_table(results["policies"])]
    parts.append(agreement_table(results["agreement"]))
    report.write_report(out / "policies/ranking.json", results)
    path = out / "policies/ranking.md"
    path.write_text("\n\n".join(parts) + "\n")
    draw(config, results)
    return path


def write_planning(records: Path, out: Path, part: str) -> Path:
    """table.md and pusht_planning.json of one run of the experiment; the path of the first."""
    results = json.loads((DOCS / part / "pusht_planning.json").read_text())
    # The run in `planning` is older than the option; options that came later are as they are now.
    asked = {"imagine": "frames", **results["config"]}
    asked["out"] = Path(asked["out"])
    config = PushTPlanningConfig(
        **{one.name: asked[one.name] for one in fields(PushTPlanningConfig) if one.name in asked}
    )
    results["config"] = asked
    trials: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
    for line in (records / part / "trials.jsonl").read_text().splitlines():
        trial = json.loads(line)
        trials.setdefault((trial["model"], trial["count"]), {})[trial["seed"]] = trial
    results["rows"] = summarised(trials, config)
    results["success_rule"] = SUCCESS_RULE.format(max_steps=config.max_steps)
    report.write_report(out / part / "pusht_planning.json", results)
    path = out / part / "table.md"
    path.write_text(tables(results) + "\n")
    return path


def write_reinforcement(out: Path) -> Path:
    """reinforcement.json from the returns that are in it, and its table; the path of the latter."""
    from benchmarks.control.reinforcement import ABOUT, summarise, table

    results = json.loads((DOCS / "reinforcement.json").read_text())
    returns = {name: np.array(values) for name, values in results["returns"].items()}
    results |= summarise(returns, seed=results["config"]["seeds"][0])
    results["about"] = ABOUT
    report.write_report(out / "reinforcement.json", results)
    path = out / "reinforcement_table.md"
    path.write_text(table(results) + "\n")
    return path


if __name__ == "__main__":
    main(tyro.cli(TablesConfig, prog="python -m benchmarks.experiments.tables"))

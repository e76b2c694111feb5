"""The published tables are those of the committed records."""

import json

import pytest

from benchmarks.experiments.tables import DOCS, TablesConfig, main


@pytest.mark.slow_suite
def test_the_published_tables_are_made_from_the_records(tmp_path):
    made = main(TablesConfig(out=tmp_path))
    assert len(made) == 5
    for path in made:
        assert path.read_text() == (DOCS / path.relative_to(tmp_path)).read_text(), path.name
    for name in ("policies/ranking.json", "reinforcement.json"):
        assert json.loads((tmp_path / name).read_text()) == json.loads((DOCS / name).read_text())
    for name in ("policies/truth.jsonl", "policies/world.jsonl", "planning/states/trials.jsonl"):
        assert (tmp_path / name).stat().st_size > 5e5


def test_published_intervals_contain_their_estimates():
    agreement = json.loads((DOCS / "policies/ranking.json").read_text())["agreement"]
    for estimates in agreement.values():
        for at in estimates.values():
            assert at["low"] <= at["value"] <= at["high"]
    learning = json.loads((DOCS / "reinforcement.json").read_text())
    for part in ("mean_return", "over_random"):
        for at in learning[part].values():
            assert at["interval"][0] <= at["value"] <= at["interval"][1]
    share = learning["share"]
    assert share["interval"][0] < share["value"] < share["interval"][1]

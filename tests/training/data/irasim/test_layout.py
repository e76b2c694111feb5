"""IRASim's own data given to the default preset are recognised, and its presets named."""

from pathlib import Path

import pytest

from tests.training.data.test_episodes import make_episode
from tests.training.published_data import write_arm, write_plane
from training.chunk.config import CHUNK_PRESETS
from training.data.episodes import write_episode
from training.data.irasim.layout import refuse_published
from training.streaming.config import TrainConfig
from training.train import main


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_language_table_is_told_with_its_presets(tmp_path: Path, split: str):
    write_plane(tmp_path / "data", split=split)
    with pytest.raises(
        ValueError, match=r"a\.json has no rewards .*languagetable_frame_ada"
    ) as told:
        main(TrainConfig(data=tmp_path / "data", out=tmp_path / "run", cpu=True))
    assert not (tmp_path / "run").exists()
    assert "rt1" not in str(told.value)
    names = [word.strip(",;") for word in str(told.value).split() if word.startswith("languaget")]
    assert len(names) == 4 and set(names) <= set(CHUNK_PRESETS)


def test_arms_are_told_with_their_presets_and_wherever_they_are_given(tmp_path: Path):
    write_arm(tmp_path / "more")
    write_episode(tmp_path / "data", "train", make_episode())
    config = TrainConfig(
        data=tmp_path / "data", more_data=(tmp_path / "more",), out=tmp_path / "run", cpu=True
    )
    with pytest.raises(ValueError, match="more is in IRASim's .*rt1_frame_ada.*bridge_vdm"):
        main(config)


def test_our_own_episodes_and_absent_ones_are_not(tmp_path: Path):
    write_episode(tmp_path / "data", "val", make_episode())
    refuse_published(tmp_path / "data")
    refuse_published(tmp_path / "absent")
    (tmp_path / "data/annotation/val/000003.json").write_text("{oops")
    refuse_published(tmp_path / "data")  # it is told by whoever reads it

"""Training the cloned policies, in miniature."""

import dataclasses
import json
import shutil

import pytest

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")

from benchmarks.pusht.cloning import CloningConfig, main
from policies.pusht.cloning import CloneConfig, load_clone

SMALL = CloneConfig(width=16, modes=2, targets=3, follow=2)


@pytest.fixture
def config(episodes, tmp_path) -> CloningConfig:
    """Trains on the fixture's test episodes, as if they were of the training split."""
    for part in ("annotation", "videos"):
        shutil.copytree(episodes / part / "test", tmp_path / "data" / part / "train")
    for path in (tmp_path / "data/annotation/train").glob("*.json"):
        annotation = json.loads(path.read_text())
        annotation["video_path"] = annotation["video_path"].replace("/test/", "/train/")
        path.write_text(json.dumps(annotation))
    return CloningConfig(
        data=tmp_path / "data", out=tmp_path / "out", stages=(2, 5), batch=4, network=SMALL
    )


def test_each_stage_is_saved_and_told(config):
    paths = main(config)
    assert [path.name for path in paths] == ["clone_2.safetensors", "clone_5.safetensors"]
    early, late = (load_clone(path) for path in paths)
    assert early.config == late.config == SMALL
    assert any((a != b).any() for a, b in zip(early.parameters(), late.parameters(), strict=True))
    written = json.loads((config.out / "cloning.json").read_text())
    assert written["episodes"] == 2  # of the kind "expert"
    assert written["moments"] == 14 + 9
    assert set(written["loss_of_last_100_steps"]) == {"2", "5"}
    assert written["config"]["seed"] == 0


def test_the_same_seed_gives_the_same_weights(config):
    first = [load_clone(path).state_dict() for path in main(config)][-1]
    other = dataclasses.replace(config, out=config.out / "again")
    again = [load_clone(path).state_dict() for path in main(other)]
    assert all((first[key] == again[-1][key]).all() for key in first)


def test_nothing_to_imitate_and_senseless_stages_are_refused(config):
    with pytest.raises(ValueError, match="no training episode of nobody"):
        main(dataclasses.replace(config, kinds=("nobody",)))
    with pytest.raises(ValueError, match="growing numbers"):
        dataclasses.replace(config, stages=(5, 2))

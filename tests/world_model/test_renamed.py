"""Older names of configs' fields keep working: in code, in files and on the command line."""

import dataclasses
import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from tests.conftest import TINY_CONFIG, with_states
from tests.world_model.streaming.states.test_flat_config import flat
from training.captured.config import gpu_preset, gpu_preset_names
from training.command import parse
from training.run.directory import write_config
from training.streaming.config import TrainConfig, preset, task_preset
from world_model import WorldModel
from world_model.io.checkpoint import _checksum
from world_model.renamed import renamed_fields
from world_model.streaming.config import SamplerConfig
from world_model.streaming.states.config import StatesConfig
from world_model.tasks import Task, load_task


def test_older_names_construct_and_read_with_a_warning_that_names_the_new_one():
    with pytest.warns(DeprecationWarning, match="dead_zone is deprecated, use change_threshold"):
        sampler = SamplerConfig(dead_zone=0.2)  # pyright: ignore[reportCallIssue]
    assert sampler.change_threshold == 0.2
    with pytest.warns(DeprecationWarning, match="use change_threshold"):
        assert sampler.dead_zone == 0.2  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.warns(DeprecationWarning, match="use refinement_iterations"):
        states = dataclasses.replace(StatesConfig(), reader_looks=3)  # pyright: ignore
    assert states.refinement_iterations == 3
    with pytest.warns(DeprecationWarning, match="use mask_radii"):
        task = Task(name="mine", env_id="Mine-v0", reach=(1.0,))  # pyright: ignore
    assert task.mask_radii == (1.0,)
    with pytest.warns(DeprecationWarning, match="use frame_edges"):
        task = Task(name="mine", env_id="Mine-v0", plane=(0.0, 0.0, 1.0, 1.0))  # pyright: ignore
    assert task.frame_edges == (0.0, 0.0, 1.0, 1.0)


def older(config: dict) -> dict:
    """A world's config as earlier versions wrote it."""
    config = flat(config)
    config["sampler"]["dead_zone"] = config["sampler"].pop("change_threshold")
    config["denoiser"]["reader_looks"] = config["denoiser"].pop("refinement_iterations")
    config["denoiser"]["foresight_width"] = config["denoiser"].pop("dynamics_width")
    config["plane"]["reach"] = config["plane"].pop("mask_radii")
    return config


def test_a_world_of_an_earlier_version_loads_and_is_the_same(tmp_path):
    world = WorldModel.create(with_states(TINY_CONFIG, refinement_iterations=1))
    world.save_pretrained(tmp_path / "now")
    before = shutil.copytree(tmp_path / "now", tmp_path / "before")
    weights = load_file(before / "model.safetensors")
    renamed = {
        name.replace("estimator.refiners.", "estimator.looks."): x for name, x in weights.items()
    }
    assert renamed.keys() != weights.keys()
    save_file(renamed, before / "model.safetensors")
    config = older(json.loads((before / "config.json").read_text()))
    config["sha256"]["model.safetensors"] = _checksum(before / "model.safetensors")
    (before / "config.json").write_text(json.dumps(config))
    now, earlier = (WorldModel.from_pretrained(tmp_path / name) for name in ("now", "before"))
    assert now.config == earlier.config
    for (name, mine), (other, theirs) in zip(
        now.state_dict().items(), earlier.state_dict().items(), strict=True
    ):
        assert name == other and mine.equal(theirs)
    config["sampler"]["change_threshold"] = 0.5
    (before / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="'dead_zone' is the older name of .*remove 'dead_zone'"):
        WorldModel.from_pretrained(before)


def test_older_flags_are_read_and_noted(capsys):
    config = parse(
        ["--preset", "tiny", "--dead-zone", "0.25", "--reader-looks=1", "--reach", "4", "5"]
        + ["--plane", "0", "0", "9", "9", "--sees-states"]
    )
    assert isinstance(config, TrainConfig)
    assert config.change_threshold == 0.25
    assert config.refinement_iterations == 1
    assert config.mask_radii == (4.0, 5.0)
    assert config.states and config.frame_edges == (0.0, 0.0, 9.0, 9.0)
    noted = capsys.readouterr().err
    assert "--dead-zone is deprecated: use --change-threshold" in noted
    assert "use --refinement-iterations" in noted and "use --mask-radii" in noted
    assert "--plane is deprecated: use --frame-edges" in noted
    assert "--sees-states is deprecated: use --states" in noted


@pytest.mark.parametrize("flag", ["--no-sees-states", "--no_sees_states"])
def test_older_flags_may_say_no(capsys, flag):
    assert not parse(["--data", "data/mine", flag]).states
    assert f"{flag} is deprecated: use --no-states, its new name" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # nothing to say no to
        parse(["--data", "data/mine", "--no-plane"])
    assert "is deprecated" not in capsys.readouterr().err


def test_presets_of_tasks_may_use_older_names():
    task = load_task("pusht")
    config = task_preset(task, "mine", {"own_past_from": 0.5, "plane": (0, 0, 9, 9)}, TrainConfig)
    assert (config.self_rollout_from, config.frame_edges) == (0.5, (0, 0, 9, 9))
    assert gpu_preset(gpu_preset_names()[0]).mask_radii == ()


def test_a_run_begun_by_an_earlier_version_goes_on(tmp_path):
    config = dataclasses.replace(preset("tiny"), out=tmp_path)
    write_config(config, tmp_path, set())
    path = next(tmp_path.iterdir())
    content = json.loads(path.read_text())
    for old, new in renamed_fields(TrainConfig).items():
        content[old] = content.pop(new)
    path.write_text(json.dumps(content))
    (tmp_path / "state.pt").touch()
    write_config(config, tmp_path, set())
    assert {"change_threshold", "states", "frame_edges"} <= json.loads(path.read_text()).keys()
    with pytest.raises(SystemExit, match="another change_threshold"):
        write_config(dataclasses.replace(config, change_threshold=0.5), tmp_path, set())
    with pytest.raises(SystemExit, match="another frame_edges"):
        write_config(dataclasses.replace(config, frame_edges=(0, 0, 9, 9)), tmp_path, set())

"""Configs of chunk models' training: presets, command line, what is refused."""

import dataclasses
from pathlib import Path

import pytest

from tests.training.chunk_runs import config_for, fresh
from training.chunk.config import CHUNK_PRESETS, chunk_tiny
from training.command import parse


def test_presets_are_the_references_recipe():
    assert len(CHUNK_PRESETS) == 13
    for name in CHUNK_PRESETS:
        config = CHUNK_PRESETS[name]()
        assert config.preset == name
        if name == "chunk_tiny":
            continue
        dataset = name.partition("_")[0]
        table = dataset == "languagetable"
        assert (config.size, config.patch, config.num_frames) == ("XL", 2, 16)
        assert (config.rate, config.ema, config.clip_norm) == (1e-4, 0.9999, 0.1)
        assert (config.batch, config.max_steps, config.seed) == (64, 300_000, 3407)
        assert (config.validate_every, config.checkpoint_every) == (10_000, 10_000)
        if name == "languagetable_vdm":
            assert config.frame_size == (144, 256)
        else:
            assert config.frame_size == ((288, 512) if table else (256, 320))
        assert config.kind == ("direct" if table else "arm")
        assert config.action_scale == ((20.0, 20.0) if table else (20.0,) * 6 + (1.0,))
        assert config.source == ("video" if name.endswith("_vdm") else "latents")
        assert not (config.final_frame_ada or config.learn_sigma or config.accumulate)
        # On the reference's 32 processes two windows are one part, on one they are sixteen.
        assert (config.num_parts(32), config.num_parts(1)) == (1, 16)


def test_command_line_overrides_the_preset():
    config = parse(["--preset", "rt1_lvdm", "--batch", "8", "--data", "here", "--camera", "front"])
    expected = dataclasses.replace(
        CHUNK_PRESETS["rt1_lvdm"](), batch=8, data=Path("here"), camera="front"
    )
    assert config == expected
    with pytest.raises(SystemExit, match="choose one of .*bridge_video_ada.*chunk_tiny"):
        parse(["--preset", "nosuch"])
    with pytest.raises(SystemExit, match="did you mean rt1_lvdm"):
        parse(["--preset", "rt1lvdm"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "lvdm", "learn_sigma": True}, "learn_sigma is for the transformers"),
        ({"model": "video_ada", "final_frame_ada": True}, "is for model frame_ada"),
        ({"model": "lvdm", "pixels": True}, "for pixels choose --model vdm"),
        ({"local_batch": 0}, "local_batch is 0"),
        ({"save_every": "soon"}, "write 90s"),
        ({"kind": "arm"}, "actions of an arm have 7"),
    ],
)
def test_wrong_configs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(chunk_tiny(), **changes)


def test_what_does_not_fit_the_data_is_refused(chunk_data, tmp_path):
    with pytest.raises(ValueError, match="latents .* are 8 x 8, expected 32 x 40"):
        fresh(config_for(chunk_data, tmp_path, frame_size=(256, 320)))
    with pytest.raises(ValueError, match="batch 5 does not divide"):
        fresh(config_for(chunk_data, tmp_path, batch=5, local_batch=2))
    with pytest.raises(ValueError, match="hidden_size is 30"):
        fresh(config_for(chunk_data, tmp_path, width=30))

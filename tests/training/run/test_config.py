"""Options of a training run: what would change nothing is refused, what a preset sets is not."""

import pytest

from training.anchored.config import ANCHORED_PRESETS
from training.captured.config import gpu_preset_names
from training.chunk.config import CHUNK_PRESETS
from training.command import parse
from training.streaming.config import preset_names


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--preset chunk_tiny --model vdm --depth 3 --patch 4", "--patch, --depth: for the transf"),
        ("--preset chunk_tiny --unet-dim 32", "--unet-dim: for the U-Nets"),
        ("--preset rt1_lvdm --size B", "--size: for the transformers"),
        ("--preset video --num-heads 8", "--num-heads: for the transformer"),
        ("--parts 2", "--parts: for the U-Net"),
        ("--max-steps 3 --budget 80s", "--budget: for runs by the clock"),
        ("--preset robot_video --max-steps 3 --budget 1h", "--budget: for runs by the clock"),
        ("--codec-width 8", "--codec-width: for an autoencoder"),
        ("--no-states --states-share 1", "--states-share: for worlds that know states"),
        ("--collect-policy policies.pusht:mixture", "--collect-policy: for recording"),
        (
            "--preset robot_video --references 0 --rest-within 1",
            "--rest-within: for worlds",
        ),
        ("--preset robot_video --sharpen-from 1 --sharpen-weight 1", "--sharpen-weight: for the"),
        ("--preset pusht_video_gpu --num-heads 2 --parts 3", "--parts: for the U-Net"),
    ],
)
def test_what_changes_nothing_is_refused(line, message):
    with pytest.raises(ValueError, match=f"{message}.*leave it out"):
        parse(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "--preset chunk_tiny --model vdm --unet-dim 32",
        "--preset chunk_tiny --depth 3",
        "--preset video --parts 2",
        "--codec autoencoder_tiny --codec-width 8",
        "--preset robot_video --references 0",
        "--preset robot_video --references 0 --detail-contrast 5",  # of the one blend that there is
        "--init runs/mine/world --parts 2",  # compared with the world, once it is loaded
    ],
)
def test_what_counts_is_taken(line):
    parse(line.split())


@pytest.mark.parametrize(
    "name", [*preset_names(), *CHUNK_PRESETS, *ANCHORED_PRESETS, *gpu_preset_names()]
)
def test_every_preset_runs_as_it_is(name):
    assert parse(["--preset", name]).preset == name

"""Figures of the IRASim reference; README.md beside this tells what is in each file."""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

HERE = Path(__file__).parent
TRANSFORMERS = (
    "rt1_frame_ada",
    "rt1_video_ada",
    "languagetable_frame_ada",
    "languagetable_video_ada",
)


def figures(name: str) -> dict[str, Tensor]:
    """Inputs and outputs of a network of the reference."""
    return load_file(HERE / f"{name}.safetensors")


def arm_figures() -> dict[str, Any]:
    """States of an arm, and its actions."""
    return json.loads((HERE / "rt1_actions.json").read_text())


@pytest.fixture(scope="session")
def golden_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the reference's checkpoints, NAME.pt each."""
    directory = tmp_path_factory.mktemp("golden")
    for packed in HERE.glob("*.pt.xz"):
        (directory / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    return directory

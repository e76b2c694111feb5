"""The lines of docs/adoption.md that need packages of others, run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adoption import OVERLOADED, PATIENT

PAGE = (Path(__file__).parents[2] / "docs/adoption.md").read_text()
BLOCK = re.compile(
    r"^<!-- not run: needs (?P<package>\S+) -->\n```python\n(?P<code>.*?)^```",
    flags=re.MULTILINE | re.DOTALL,
)
BLOCKS = {found["package"]: found["code"] for found in BLOCK.finditer(PAGE)}


def test_the_page_has_a_block_for_each():
    assert set(BLOCKS) == {"torchrl", "ray[rllib]", "stable-worldmodel"}


@pytest.mark.adoption
@pytest.mark.parametrize("package", BLOCKS)
def test_the_block_runs(package, tmp_path):
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-c", BLOCKS[package]],
            cwd=tmp_path,
            env=os.environ | PATIENT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if OVERLOADED not in done.stderr:
            break
    assert not done.returncode, done.stderr
    assert done.stdout.strip()

"""Fixtures: data to train chunk models on."""

from pathlib import Path

import pytest

from tests.training.chunk_runs import write_dataset


@pytest.fixture(scope="session")
def chunk_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes with direct actions, see `write_dataset`."""
    root = tmp_path_factory.mktemp("direct")
    write_dataset(root, "direct")
    return root

"""Fixtures: data to train chunk models on."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def chunk_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes with direct actions, see `write_dataset`."""
    # Here, so that tests beside it run where nothing reads videos.
    from tests.training.chunk_runs import write_dataset

    root = tmp_path_factory.mktemp("direct")
    write_dataset(root, "direct")
    return root

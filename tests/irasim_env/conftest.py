"""Fixtures: worlds to play, and players."""

import dataclasses

import pytest

from irasim_env.play import PlayConfig, make_player
from tests.conftest import TINY_CONFIG, make_starts, randomized
from world_model import WorldModel


@pytest.fixture(scope="session")
def endless_world(tmp_path_factory):
    """A tiny world whose episodes never end by themselves."""
    config = dataclasses.replace(TINY_CONFIG, termination_threshold=1.0, max_episode_steps=30)
    path = tmp_path_factory.mktemp("worlds") / "endless"
    randomized(WorldModel.create(config, make_starts(config))).save_pretrained(path)
    return str(path)


@pytest.fixture
def play(endless_world):
    """Makes players; closes them."""
    players = []

    def make(**settings):
        players.append(make_player(PlayConfig(**{"world": endless_world, **settings})))
        return players[-1]

    yield make
    for player in players:
        player.close()

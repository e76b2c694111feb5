"""Drives players from scripts of keys and from window events."""

import pygame

import irasim_env  # noqa: F401
from irasim_env.key_script import parse_keys
from irasim_env.player import COMMANDS

NO_END = {"max_episode_steps": 0}


def run(player, keys, steps=None):
    presses = parse_keys(keys, player.session.controls.keys, tuple(COMMANDS))
    player.run_script(presses, steps)


def tell(player, kind, **values):
    player.handle(pygame.event.Event(kind, **values))

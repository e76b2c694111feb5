"""`irasim play`: the session, and the real simulator beside it."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

import irasim_env  # noqa: F401
from tests.conftest import TINY_CONFIG, make_starts, randomized
from tests.irasim_env.players import NO_END, run
from world_model import Starts, WorldModel


@pytest.fixture(scope="module")
def ending_world(tmp_path_factory):
    """A tiny world whose episodes end at the first step."""
    config = dataclasses.replace(TINY_CONFIG, termination_threshold=0.0)
    path = tmp_path_factory.mktemp("worlds") / "ending"
    randomized(WorldModel.create(config, make_starts(config))).save_pretrained(path)
    return str(path)


def test_keys_step_the_world_as_its_environment_does(play, endless_world):
    player = play(start=1, seed=3)
    session = player.session
    first = session.action
    assert first.tolist() == session.world.starts[1].states["agent_pos"][-1].tolist()
    run(player, "right*3 up")
    env = gym.make("IRASim/World-v0", world=endless_world)
    frame, _ = env.reset(seed=3, options={"start": 1})
    action = first
    for held in ["right"] * 3 + ["up"]:
        action = session.controls.next_action(action, {held})
        frame, reward, *_ = env.step(action)
    assert np.array_equal(session.frame, frame)
    assert session.reward == reward
    assert (session.steps, session.total_steps) == (4, 4)


def test_pause_and_single_step(play):
    player = play()
    run(player, "right*2 space right*5")
    assert player.session.steps == 2
    before = player.session.action
    run(player, "down+n*3")
    assert player.session.steps == 5
    assert player.session.action[1] > before[1]
    run(player, "space wait")
    assert player.session.steps == 6
    run(player, "n wait")  # steps once, and pauses
    assert player.session.steps == 7


def test_reset_and_choice_of_starts(play):
    player = play(start=3)
    session = player.session
    run(player, "wait*2 r")
    assert (session.start, session.steps, session.reward) == (3, 0, None)
    assert np.array_equal(session.frame, session.world.starts[3].frames[-1])
    run(player, "]")
    assert session.start == 0
    run(player, "[ [")
    assert session.start == 2
    run(player, "1")
    assert session.start == 1
    run(player, "7")
    assert (session.start, session.message) == (1, "no start 7: this world has 0 to 3")


def test_another_try_has_other_noise_and_the_same_seed_repeats_both(play):
    tries = []
    for _ in range(2):
        player = play(seed=5)
        run(player, "right*3")
        first = player.session.frame
        run(player, "r right*3")
        tries.append((first, player.session.frame))
    assert np.array_equal(tries[0], tries[1])
    assert not np.array_equal(*tries[0])


def test_end_is_shown_and_waits_for_reset(play, ending_world):
    player = play(world=ending_world)
    run(player, "wait*5 n")
    assert player.session.ending == "success after 1 step"
    assert player.session.total_steps == 1
    run(player, "r n space")
    assert player.session.total_steps == 2


def test_auto_reset_begins_again_after_a_second(play, ending_world):
    player = play(world=ending_world, auto_reset=True, fps=4)
    run(player, "wait*4")
    assert player.session.ending is not None
    run(player, "wait")
    assert (player.session.ending, player.session.steps) == (None, 0)
    run(player, "", steps=3)
    assert player.session.total_steps == 3


def test_time_limit_is_the_worlds_unless_given(play, endless_world):
    player = play()
    run(player, "", steps=31)
    assert player.session.ending == "time is up after 30 steps"
    player = play(max_episode_steps=2)
    run(player, "wait*3")
    assert player.session.ending == "time is up after 2 steps"
    player = play(**NO_END)
    run(player, "", steps=31)
    assert (player.session.ending, player.session.steps) == (None, 31)


def test_steps_cut_a_script_and_go_on_after_it(play):
    player = play()
    run(player, "right*9", steps=4)
    assert player.session.total_steps == 4
    run(player, "right", steps=7)
    assert player.session.total_steps == 7
    run(player, "q", steps=9)
    assert player.session.total_steps == 7


def test_world_without_reward_shows_none(play, tiny_world_without_reward):
    player = play(world=str(tiny_world_without_reward))
    run(player, "right*2")
    assert player.session.reward is None
    player.picture()


def test_reality_follows_the_same_actions_whenever_it_is_shown(play):
    pytest.importorskip("gym_pusht")
    early, late = play(start=0, reality=True), play(start=0)
    run(early, "right*4 down*3")
    run(late, "right*4 down*2 g down")
    assert late.session.reality is not None
    assert np.array_equal(early.session.reality.frame, late.session.reality.frame)
    assert early.session.reality.reward == late.session.reality.reward
    before = late.session.reality.frame
    run(late, "left*3")
    assert not np.array_equal(late.session.reality.frame, before)
    run(late, "r")
    run(early, "r")
    assert np.array_equal(early.session.reality.frame, late.session.reality.frame)
    assert late.session.reality.reward is None
    run(late, "g")
    assert late.session.reality is None


def test_reality_that_there_is_not_is_told(play, endless_world, monkeypatch):
    player = play()
    config = dataclasses.replace(TINY_CONFIG, ground_truth=None)
    monkeypatch.setattr(player.session.world, "config", config)
    run(player, "wait g wait")
    assert player.session.reality is None
    assert "names no ground truth" in player.session.message
    assert player.session.steps == 2
    with pytest.raises(ValueError, match="names no ground truth"):
        player.session.show_reality()


def test_reality_is_lost_with_a_start_that_it_cannot_reach(play):
    pytest.importorskip("gym_pusht")
    player = play(start=0, reality=True)
    world = player.session.world
    starts = [
        dataclasses.replace(start, replay=start.replay if i == 0 else None)
        for i, start in enumerate(world.starts)
    ]
    world.starts = Starts(starts)
    run(player, "]")
    assert player.session.start == 1
    assert player.session.reality is None
    assert "no replay" in player.session.message

"""The family: policies that act on what is seen, in the simulator and in a learned world."""

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")

import torch

import irasim_env  # noqa: F401  registers the ids
from policies.pusht import cloning, family
from policies.pusht.cloning import (
    CloneConfig,
    CloneNetwork,
    Demonstration,
    fit,
    load_clone,
    save_clone,
)
from policies.pusht.from_pixels import GOAL, Hold, PixelExpert, SeenState

REAL = "gym_pusht:gym_pusht/PushT-v0"
# What is cloned here is cloned once.
pytestmark = pytest.mark.xdist_group("family")


def play(policy, env: gym.Env, seed: int, max_steps: int) -> tuple[np.ndarray, float]:
    """Actions and the highest reward of one episode."""
    observation, _ = env.reset(seed=seed)
    actions, best = [], 0.0
    for _ in range(max_steps):
        actions.append(policy(observation))
        observation, reward, terminated, _, _ = env.step(actions[-1])
        best = max(best, float(reward))
        if terminated:
            break
    return np.stack(actions), best


@pytest.fixture(scope="module")
def real():
    env = gym.make(REAL, obs_type="pixels_agent_pos", max_episode_steps=-1)
    yield env
    env.close()


@pytest.mark.parametrize("name", family.FAMILY)
def test_each_runs_in_both_worlds_unchanged(name, real, tiny_world):
    learned = gym.make("IRASim/PushT-v0", world=tiny_world, obs_type="pixels_agent_pos")
    factory = getattr(family, name)
    for env in (real, learned):
        actions, _ = play(factory(env, 3), env, seed=3, max_steps=3)
        again, _ = play(factory(env, 3), env, seed=3, max_steps=3)
        np.testing.assert_array_equal(actions, again)
        assert actions.dtype == np.float32
        assert ((actions >= 0) & (actions <= 512)).all()
    learned.close()


def test_the_expert_on_pixels_solves_what_wandering_does_not(real):
    for seed in (2_600_010, 2_600_011):
        assert play(family.expert(real, seed), real, seed, 250)[1] == 1
        assert play(family.wander(real, seed), real, seed, 100)[1] < 0.9


def test_the_expert_sees_the_scene_as_it_is(real):
    observation, info = real.reset(seed=2_600_012)
    seen = SeenState()
    pose = seen.block(observation)
    assert np.hypot(*(np.array([pose.x, pose.y]) - info["block_pose"][:2])) < 4
    np.testing.assert_array_equal(seen.disc(observation), observation["agent_pos"])
    true_goal = real.unwrapped.goal_pose
    np.testing.assert_allclose([GOAL.x, GOAL.y, GOAL.angle], true_goal)


def test_a_t_that_cannot_be_made_out_is_where_it_was_seen_last(real):
    observation, _ = real.reset(seed=2_600_013)
    seen = SeenState()
    before = seen.block(observation)
    blank = {**observation, "pixels": np.full((96, 96, 3), 255, np.uint8)}
    assert seen.block(blank) == before
    assert isinstance(PixelExpert(real, 0)(blank), np.ndarray)


def test_trembling_and_slips_move_the_targets(real):
    observation, _ = real.reset(seed=2_600_014)
    steady = PixelExpert(real, 1)(observation)
    errors = []
    for seed in range(15):
        meant = PixelExpert(real, seed, candidates=2)(observation)
        trembling = PixelExpert(real, seed, candidates=2, tremble=10)
        errors.append(trembling(observation) - meant)
    assert 6 < np.std(errors) < 14
    slipping = PixelExpert(real, 1, slips=1.0)
    assert np.linalg.norm(slipping(observation) - steady) > 30


def test_hold_leaves_everything_where_it_is(real):
    observation, info = real.reset(seed=2_600_015)
    before = observation["agent_pos"]
    policy = Hold(real, 0)
    for _ in range(10):
        observation, _, _, _, after = real.step(policy(observation))
    np.testing.assert_allclose(observation["agent_pos"], before, atol=2)
    np.testing.assert_allclose(after["block_pose"], info["block_pose"], atol=15)


@pytest.mark.parametrize("policy", [Hold, PixelExpert])
def test_an_observation_without_what_is_needed_is_refused(policy, real):
    with pytest.raises(ValueError, match='obs_type="pixels_agent_pos"'):
        policy(real, 0)(np.zeros((96, 96, 3), np.uint8))


SMALL = CloneConfig(width=32, modes=4, targets=4, follow=2)


def demonstrations(count: int) -> list[Demonstration]:
    """The disc shall go to the white square, wherever that is."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        frames = np.zeros((4, 96, 96, 3), np.uint8)
        goal = rng.integers(8, 88, 2)
        frames[:, goal[1] - 6 : goal[1] + 6, goal[0] - 6 : goal[0] + 6] = 255
        discs = rng.uniform(100, 412, (4, 2)).astype(np.float32)
        actions = np.repeat(goal[None] * 512 / 96, 4, axis=0).astype(np.float32)
        found.append(Demonstration(frames=frames, discs=discs, actions=actions))
    return found


@pytest.fixture(scope="module")
def trained() -> tuple[CloneNetwork, list[float]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = CloneNetwork(SMALL)
    losses = [
        loss for _, loss in fit(network, demonstrations(40), steps=120, batch=16, rate=3e-3, seed=0)
    ]
    return network, losses


def test_cloning_learns_what_was_shown(trained):
    network, losses = trained
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    again = fit(CloneNetwork(SMALL), demonstrations(2), steps=3, batch=2, rate=1e-3, seed=0)
    assert [step for step, _ in again] == [1, 2, 3]
    assert not network.training


def test_a_clone_follows_a_sequence_and_then_looks_again(trained, tmp_path):
    save_clone(trained[0], tmp_path / "small.safetensors")
    looks = []
    policy = cloning.clone_of(tmp_path / "small.safetensors", seed=0)
    network = policy._network
    handle = network.register_forward_hook(lambda *_: looks.append(1))
    one = demonstrations(1)[0]
    observation = {"pixels": one.frames[0], "agent_pos": one.discs[0]}
    for _ in range(5):
        action = policy(observation)
    handle.remove()
    assert len(looks) == 3  # follow is 2
    assert action.shape == (2,)


def test_saved_weights_are_those_loaded(trained, tmp_path):
    path = tmp_path / "clone.safetensors"
    save_clone(trained[0], path)
    loaded = load_clone(path)
    assert loaded.config == SMALL
    for key, value in trained[0].state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=1e-3, atol=1e-4)


def test_files_that_are_no_clones_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no cloned Push-T policy"):
        load_clone("clone_of_nobody")
    (tmp_path / "text.safetensors").write_text("nothing")
    with pytest.raises(ValueError, match="no cloned Push-T policy"):
        load_clone(tmp_path / "text.safetensors")
    with pytest.raises(ValueError, match="nothing to imitate"):
        next(fit(CloneNetwork(SMALL), [], steps=1, batch=1, rate=1e-3, seed=0))

"""Observations that are handed in where an episode begins: taken, checked, and felt."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

import irasim_env  # noqa: F401  registers the ids
from tests.chunk_worlds import table_world
from tests.conftest import DEVICES, TINY_CONFIG, make_starts, randomized, without_states
from world_model import Start, Starts, StreamingWorld, WorldModel

ACTIONS = np.full((1, 2, 2), 200, np.float32)


@pytest.fixture(scope="module")
def world() -> StreamingWorld:
    world = randomized(WorldModel.create(TINY_CONFIG, make_starts(TINY_CONFIG)))
    assert isinstance(world, StreamingWorld)
    return world


def clip(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, 3, 96, 96, 3), np.uint8)


def positions(*last: float) -> dict[str, np.ndarray]:
    """Observed at three frames, (1, 3, 2)."""
    return {"agent_pos": np.array([[[100, 50], [110, 60], last]], np.float32)}


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_handed_in_is_what_the_world_begins_with(device: str):
    world = randomized(WorldModel.create(TINY_CONFIG)).to(device)
    state = world.start(clip(), ACTIONS, [0], positions(120, 75))
    assert state.output.states["agent_pos"].cpu() == pytest.approx(
        torch.tensor([[120.0, 75.0]]), abs=1e-3
    )
    # Both frames that the next one is predicted from: position and velocity are the recording's.
    known = state.memory["states"][0, :, :2].cpu()
    expected = torch.tensor([[110.0, 60.0], [120.0, 75.0]]) / 256 - 1
    assert known == pytest.approx(expected, abs=1e-6)


def test_what_is_handed_in_changes_what_is_predicted(world: StreamingWorld):
    action = np.full((1, 2), 256, np.float32)
    frames, guesses = [], []
    for last in ((120, 75), (400, 300)):
        state = world.start(clip(), ACTIONS, [0], positions(*last))
        scaled = world.scale_actions(torch.from_numpy(action))
        control = world.conditioner.control(state.memory, scaled)
        guesses.append(world.conditioner(control).prediction)
        frames.append(world.step_(state, action).frame)
    assert not torch.equal(*frames)
    assert not torch.equal(*guesses)


def test_what_is_not_handed_in_is_estimated_as_before(world: StreamingWorld):
    estimated = world.start(clip(), ACTIONS, [0])
    for nothing in (None, {}):
        again = world.start(clip(), ACTIONS, [0], nothing)
        assert torch.equal(again.memory["states"], estimated.memory["states"])
    given = world.start(clip(), ACTIONS, [0], positions(120, 75))
    # A hidden pose is read off the picture either way.
    assert torch.equal(given.output.states["block_pose"], estimated.output.states["block_pose"])
    assert not torch.equal(given.output.states["agent_pos"], estimated.output.states["agent_pos"])


def test_a_world_that_does_not_see_states_shows_what_is_handed_in():
    world = randomized(WorldModel.create(without_states(TINY_CONFIG)))
    state = world.start(clip(), ACTIONS, [0], positions(120, 75))
    assert state.output.states["agent_pos"].numpy() == pytest.approx(
        np.array([[120, 75]]), abs=1e-3
    )


def test_a_batch_begins_as_each_of_it_alone(world: StreamingWorld):
    frames = np.concatenate([clip(0), clip(1)])
    known = {
        "agent_pos": np.concatenate([positions(9, 9)["agent_pos"], positions(500, 2)["agent_pos"]])
    }
    both = world.start(frames, np.repeat(ACTIONS, 2, 0), [3, 4], known)
    for row in range(2):
        alone = world.start(
            frames[row : row + 1], ACTIONS, [3 + row], {"agent_pos": known["agent_pos"][row][None]}
        )
        mine, its = (state.memory["states"] for state in (both, alone))
        assert mine[row].numpy() == pytest.approx(its[0].numpy(), abs=1e-5)


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        ([1, 2], r"observations are list, expected a dictionary by name"),
        ({"speed": np.zeros((1, 3, 2))}, r"have 'speed'.*does not observe; it observes agent_pos"),
        ({"block_pose": np.zeros((1, 3, 4))}, "have 'block_pose'"),
        ({"agent_pos": np.zeros((1, 2, 2))}, r"has shape \(1, 2, 2\), expected \(1, 3, 2\)"),
        ({"agent_pos": np.zeros((3, 2))}, r"has shape \(3, 2\), expected \(1, 3, 2\)"),
        ({"agent_pos": np.full((1, 3, 2), np.nan)}, r"is nan|are nan"),
        ({"agent_pos": [["a", "b"]]}, "no array of numbers"),
        ({"agent_pos": np.full((1, 3, 2), 3e4)}, r"far outside of its bounds 0 to 512; .*units"),
    ],
)
def test_what_does_not_fit_is_refused(world: StreamingWorld, observations, message: str):
    with pytest.raises(ValueError, match=message):
        world.start(clip(), ACTIONS, [0], observations)


def test_a_little_out_of_bounds_is_clipped_as_actions_are(world: StreamingWorld):
    state = world.start(clip(), ACTIONS, [0], positions(-3, 514))
    assert state.output.states["agent_pos"].tolist() == [[0, 512]]


def test_a_world_without_observations_takes_none():
    world = table_world()
    config = world.config
    frames = np.zeros((1, 1, config.height, config.width, 3), np.uint8)
    with pytest.raises(ValueError, match="it observes pictures only"):
        world.start(frames, np.zeros((1, 0, 2)), [0], {"state": np.zeros((1, 1, 2))})


def test_starts_carry_what_was_observed(tmp_path, world: StreamingWorld):
    for index in range(3):
        state = world.begin([index], [0])
        recorded = world.starts[index].states["agent_pos"][-1]
        assert state.output.states["agent_pos"][0].numpy() == pytest.approx(recorded, abs=1e-3)
    world.save_pretrained(tmp_path / "world")
    again = WorldModel.from_pretrained(tmp_path / "world")
    np.testing.assert_array_equal(
        again.starts[2].states["agent_pos"], world.starts[2].states["agent_pos"]
    )


def test_starts_of_older_files_without_observations_are_estimated(tmp_path):
    clips = list(make_starts(TINY_CONFIG))
    bare = Starts([dataclasses.replace(start, states={}) for start in clips[:2]])
    bare.save(tmp_path / "starts.safetensors")
    world = randomized(WorldModel.create(TINY_CONFIG, Starts.load(tmp_path / "starts.safetensors")))
    state = world.begin([1], [0])
    estimated = world.start(clips[1].frames[None], clips[1].actions[None], [0])
    assert torch.equal(state.output.states["agent_pos"], estimated.output.states["agent_pos"])


def test_a_start_whose_observations_do_not_fit_its_frames_is_refused():
    frames, actions = np.zeros((3, 8, 8, 3), np.uint8), np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match=r"'agent_pos' of shape \(2, 2\), expected \(3, n\)"):
        Start(frames=frames, actions=actions, states={"agent_pos": np.zeros((2, 2))})


def options() -> dict:
    return {
        "frames": clip()[0],
        "actions": ACTIONS[0],
        "observations": {"agent_pos": positions(120, 75)["agent_pos"][0]},
    }


def test_the_environment_takes_observations_of_a_clip(world: StreamingWorld):
    env = gym.make("IRASim/World-v0", world=world, obs_type="pixels_agent_pos")
    obs, info = env.reset(seed=1, options=options())
    assert info["start"] is None
    assert obs["agent_pos"] == pytest.approx(np.array([120, 75]), abs=1e-3)
    estimated, _ = env.reset(seed=1, options={k: options()[k] for k in ("frames", "actions")})
    assert not np.allclose(estimated["agent_pos"], obs["agent_pos"], atol=1)
    # A snapshot keeps it: what follows is the same.
    env.reset(seed=1, options=options())
    snapshot = env.unwrapped.snapshot()
    first = [env.step([256, 300])[0] for _ in range(3)]
    env.unwrapped.restore(snapshot)
    for one in first:
        again = env.step([256, 300])[0]
        np.testing.assert_array_equal(one["pixels"], again["pixels"])
        np.testing.assert_array_equal(one["agent_pos"], again["agent_pos"])


def test_vector_environments_take_observations_of_a_clip(world: StreamingWorld):
    from policies.vec_env import WorldVecEnv

    envs = gym.make_vec(
        "IRASim/World-v0",
        num_envs=3,
        world=world,
        obs_type="pixels_agent_pos",
        autoreset_mode="SameStep",
    )
    obs, _ = envs.reset(seed=1, options=options())
    np.testing.assert_allclose(obs["agent_pos"], [[120, 75]] * 3, atol=1e-3)
    wrapped = WorldVecEnv(envs)
    wrapped.seed(1)
    wrapped.set_options([options(), {"start": 2}, options()])
    obs = wrapped.reset()
    expected = world.starts[2].states["agent_pos"][-1]
    np.testing.assert_allclose(obs["agent_pos"], [[120, 75], expected, [120, 75]], atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": {"agent_pos": np.zeros((2, 2))}}, r"do not fit 3 frames: .*\(2, 2\)"),
        ({"observations": {"pose": np.zeros((3, 2))}}, "'pose'"),
        ({"observations": 3}, "do not fit 3 frames: observations are int"),
        ({"frames": None}, "the option 'actions' without 'frames'"),
        ({"frames": None, "actions": None}, "the option 'observations' without 'frames'"),
    ],
)
def test_the_environment_refuses_what_does_not_fit(world, changes: dict, message: str):
    env = gym.make("IRASim/World-v0", world=world)
    with pytest.raises(ValueError, match=message):
        env.reset(options=options() | changes)


def test_a_start_takes_no_observations_of_its_own(world: StreamingWorld):
    env = gym.make("IRASim/World-v0", world=world)
    with pytest.raises(ValueError, match=r"'start' and a clip of its own \('observations'\)"):
        env.reset(options={"start": 1, "observations": options()["observations"]})

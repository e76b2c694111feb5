"""`output="torch"`: the same episodes as tensors on the world's device."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import irasim_env  # noqa: F401  registers the ids
from tests.conftest import DEVICES
from world_model import WorldModel

ID = "IRASim/World-v0"


@pytest.fixture(scope="module", params=DEVICES)
def world(tiny_world, request):
    return WorldModel.from_pretrained(tiny_world, device=request.param)


def _leaves(observation) -> list:
    return list(observation.values()) if isinstance(observation, dict) else [observation]


def _vector(world, output: str, **kwargs) -> gym.vector.VectorEnv:
    return gym.make_vec(
        ID, num_envs=3, world=world, obs_type="pixels_agent_pos", output=output, **kwargs
    )


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_tensors_hold_what_arrays_hold(world, mode):
    arrays, tensors = (
        _vector(world, output, autoreset_mode=mode, max_episode_steps=[2, 4, 9])
        for output in ("numpy", "torch")
    )
    rng = np.random.default_rng(0)
    told, _ = arrays.reset(seed=3)
    got, _ = tensors.reset(seed=3)
    for _ in range(8):
        for a, t in zip(_leaves(told), _leaves(got), strict=True):
            assert isinstance(t, torch.Tensor)
            assert t.device == world.device
            np.testing.assert_array_equal(t.cpu().numpy(), a.astype(t.cpu().numpy().dtype))
        action = rng.uniform(0, 512, (3, 2)).astype(np.float32)
        told, *numbers, info = arrays.step(action)
        got, *others, other_info = tensors.step(torch.from_numpy(action))
        for a, t in zip(numbers, others, strict=True):
            assert isinstance(t, torch.Tensor)
            np.testing.assert_array_equal(t.cpu().numpy(), a.astype(t.cpu().numpy().dtype))
        assert info.keys() == other_info.keys()
        over = numbers[1] | numbers[2]
        if mode == "Disabled" and over.any():
            told, _ = arrays.reset(options={"reset_mask": over})
            got, _ = tensors.reset(options={"reset_mask": over})


def test_tensors_are_float32_where_arrays_are_float64(world):
    envs = _vector(world, "torch")
    observation, _ = envs.reset(seed=0)
    assert observation["pixels"].dtype == torch.uint8
    assert observation["agent_pos"].dtype == torch.float32
    _, reward, terminated, truncated, _ = envs.step(torch.zeros(3, 2))
    assert reward.dtype == torch.float32
    assert terminated.dtype == truncated.dtype == torch.bool


def test_tensors_are_copies(world):
    envs = _vector(world, "torch", autoreset_mode="Disabled")
    first, _ = envs.reset(seed=0)
    kept = first["pixels"].clone()
    second, reward, terminated, *_ = envs.step(torch.full((3, 2), 100.0))
    assert torch.equal(first["pixels"], kept)
    outputs = [*second.values(), reward, terminated]
    before = [tensor.clone() for tensor in outputs]
    envs.reset(seed=5, options={"reset_mask": np.array([True, False, True])})
    envs.step(torch.full((3, 2), 300.0))
    assert all(map(torch.equal, outputs, before))
    # Nor does what a user does to them reach the episode.
    calm, spoilt = _vector(world, "torch"), _vector(world, "torch")
    calm.reset(seed=1)
    spoilt.reset(seed=1)[0]["pixels"].zero_()
    one, other = (envs.step(torch.full((3, 2), 9.0))[0] for envs in (calm, spoilt))
    assert torch.equal(one["pixels"], other["pixels"])


@pytest.mark.parametrize("chunk", [None, 2])
def test_a_single_environment_gives_tensors_too(world, chunk):
    arrays = gym.make(ID, world=world, chunk=chunk)
    tensors = gym.make(ID, world=world, chunk=chunk, output="torch", disable_env_checker=True)
    told, _ = arrays.reset(seed=2)
    got, _ = tensors.reset(seed=2)
    np.testing.assert_array_equal(got.cpu().numpy(), told)
    action = np.full(arrays.action_space.shape, 200.0, np.float32)
    told, reward, terminated, _, info = arrays.step(action)
    got, other, ended, truncated, tensor_info = tensors.step(torch.from_numpy(action))
    np.testing.assert_array_equal(got.cpu().numpy(), told)
    assert other.shape == ended.shape == truncated.shape == ()
    assert float(other) == np.float32(reward)
    assert bool(ended) is terminated
    assert not truncated
    if chunk:
        np.testing.assert_array_equal(tensor_info["frames"].cpu().numpy(), info["frames"])


def test_a_time_limit_truncates_with_a_bool_as_documented(world):
    env = gym.make(ID, world=world, output="torch", max_episode_steps=2, disable_env_checker=True)
    env.reset(seed=0)
    truncated = [env.step(torch.zeros(2))[3] for _ in range(2)]
    assert isinstance(truncated[0], torch.Tensor)
    assert not truncated[0]
    assert truncated[1] is True


def test_rendering_and_snapshots_work_as_with_arrays(world):
    env = gym.make(
        ID, world=world, output="torch", render_mode="rgb_array", disable_env_checker=True
    )
    env.reset(seed=0)
    snapshot = env.unwrapped.snapshot()
    first, *_ = env.step(torch.tensor([10.0, 20.0]))
    shown = env.render()
    assert isinstance(shown, np.ndarray)
    np.testing.assert_array_equal(shown, first.cpu().numpy())
    env.unwrapped.restore(snapshot)
    again, *_ = env.step(torch.tensor([10.0, 20.0]))
    assert torch.equal(first, again)


@pytest.mark.parametrize("made", ["numpy", "torch"])
@pytest.mark.parametrize("chunks", [(None, 2), (2, None), (2, 2)])
def test_snapshots_are_restored_across_outputs_and_chunks(world, made, chunks):
    other = {"numpy": "torch", "torch": "numpy"}[made]
    kwargs = {"world": world, "obs_type": "pixels_agent_pos", "disable_env_checker": True}
    source = gym.make(ID, output=made, chunk=chunks[0], **kwargs)
    source.reset(seed=4)
    source.step(np.full(source.action_space.shape, 70.0, np.float32))
    snapshot = source.unwrapped.snapshot()
    results = []
    for output in (made, other):
        env = gym.make(ID, output=output, chunk=chunks[1], render_mode="rgb_array", **kwargs)
        env.reset(seed=9)
        env.unwrapped.restore(snapshot)
        results.append([env.render()])
        for value in (70.0, 400.0):
            observation, reward, terminated, _, _ = env.step(
                np.full(env.action_space.shape, value, np.float32)
            )
            assert isinstance(observation["pixels"], torch.Tensor) is (output == "torch")
            leaves = [*observation.values(), reward, terminated]
            results[-1] += [np.asarray(leaf, np.float32) for leaf in leaves]
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_actions_that_are_tensors_are_checked(world):
    envs = _vector(world, "torch")
    envs.reset(seed=0)
    with pytest.raises(gym.error.InvalidAction, match="shape"):
        envs.step(torch.zeros(2, 2))
    with pytest.raises(gym.error.InvalidAction, match="NaN"):
        envs.step(torch.full((3, 2), float("nan")))
    learned = torch.zeros(3, 2, requires_grad=True)
    envs.step(learned)


def test_outputs_that_cannot_be_are_refused(world):
    with pytest.raises(ValueError, match="one of numpy, torch"):
        gym.make(ID, world=world, output="jax")
    with pytest.raises(ValueError, match="reward_fn"):
        gym.make(ID, world=world, output="torch", reward_fn=lambda frames, action: (0.0, False))

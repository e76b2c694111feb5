"""Policies by import path, callables and model files, and what is told when they are wrong."""

import json
import warnings
import zipfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("gym_pusht", reason="needs pip install 'irasim-env[pusht]'")

import stable_baselines3
from stable_baselines3.common.preprocessing import maybe_transpose

import irasim_env  # noqa: F401  registers the ids
from policies.actors.actors import CallableActor, StableBaselinesActor, load_actor
from policies.actors.sb3_file import find_algorithm, load_sb3_policy, read_content

NOT_CALLABLE = 7


def remembers(env: gym.Env, seed: int):
    """A factory whose policies tell their seed and what they have seen."""
    seen = []

    def policy(observation):
        seen.append(observation)
        return [seed, len(seen)]

    return policy


def plain(observation):
    """A plain callable."""
    return observation["agent_pos"]


def three(a, b, c):
    """No policy."""


def gives_nothing(env, seed):
    """A factory that forgets to return."""


def scalar(observation):
    """A policy with an action of a wrong shape."""
    return 3.0


@pytest.fixture(scope="module")
def real_env():
    env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type="pixels_agent_pos")
    yield env
    env.close()


@pytest.fixture(scope="module")
def observations() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "pixels": rng.integers(0, 256, (3, 96, 96, 3), np.uint8),
        "agent_pos": rng.uniform(0, 512, (3, 2)),
    }


def train(algorithm: str, policy: str, obs_type: str, path: Path, **kwargs) -> Path:
    """A small model, trained for a moment on gym_pusht."""
    env = gym.make("gym_pusht:gym_pusht/PushT-v0", obs_type=obs_type)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are SB3's own, about tiny settings
        model = getattr(stable_baselines3, algorithm)(policy, env, seed=0, device="cpu", **kwargs)
        model.learn(16)
        model.save(path)
    env.close()
    return path


@pytest.fixture(scope="module")
def cnn(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "ppo.zip"
    settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}
    return train("PPO", "CnnPolicy", "pixels", path, **settings)


def test_a_factory_makes_a_policy_for_each_episode(real_env, observations):
    actor = load_actor("tests.policies.actors.test_actors:remembers", real_env)
    actor.begin(0, 11)
    actor.begin(2, 22)
    np.testing.assert_array_equal(actor.act(observations, [0, 2]), [[11, 1], [22, 1]])
    np.testing.assert_array_equal(actor.act(observations, [2]), [[22, 2]])
    actor.begin(2, 33)
    np.testing.assert_array_equal(actor.act(observations, [0, 2]), [[11, 2], [33, 1]])


def test_a_plain_callable_acts_on_its_own_slots_observation(real_env, observations):
    for policy in (plain, "tests.policies.actors.test_actors:plain"):
        actor = load_actor(policy, real_env)
        assert isinstance(actor, CallableActor)
        for slot in range(3):
            actor.begin(slot, 0)
        np.testing.assert_allclose(
            actor.act(observations, [2, 0]), observations["agent_pos"][[2, 0]], rtol=1e-6
        )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("policies.pusht_famly:expert", "cannot be imported.*pusht_famly"),
        ("policies.pusht_family:exprt", "cannot be imported.*exprt"),
        ("policies.pusht_family", "expected module:name"),
        ("tests.policies.actors.test_actors:three", "expected a factory \\(env, seed\\)"),
        ("tests.policies.actors.test_actors:NOT_CALLABLE", "expected a factory \\(env, seed\\)"),
    ],
)
def test_wrong_import_paths_say_what_is_wrong(real_env, path, message):
    with pytest.raises(ValueError, match=message):
        load_actor(path, real_env)


def test_wrong_policies_say_what_is_wrong(real_env, observations):
    with pytest.raises(ValueError, match="its factory gave NoneType"):
        load_actor(gives_nothing, real_env).begin(0, 0)
    actor = load_actor(scalar, real_env)
    actor.begin(0, 0)
    with pytest.raises(ValueError, match=r"expected finite numbers of shape \(2,\)"):
        actor.act(observations, [0])


def test_a_model_acts_as_stable_baselines_does(cnn, real_env, observations):
    actor = load_actor(cnn, real_env)
    assert isinstance(actor, StableBaselinesActor)
    expected, _ = stable_baselines3.PPO.load(cnn, device="cpu").predict(
        observations["pixels"][[2, 0]], deterministic=True
    )
    np.testing.assert_allclose(actor.act(observations, [2, 0]), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("algorithm", "kwargs"),
    [
        ("A2C", {"n_steps": 16}),
        ("SAC", {"buffer_size": 32, "learning_starts": 100}),
        ("TD3", {"buffer_size": 32, "learning_starts": 100}),
    ],
)
def test_the_algorithm_is_found_in_the_file(algorithm, kwargs, tmp_path, real_env, observations):
    from torch import nn

    layers = {"net_arch": [8, 8], "activation_fn": nn.Tanh}
    path = train(
        algorithm,
        "MultiInputPolicy",
        "pixels_agent_pos",
        tmp_path / "model.zip",
        policy_kwargs={**layers, "features_extractor_kwargs": {"cnn_output_dim": 8}},
        **kwargs,
    )
    assert find_algorithm(path, read_content(path)) == algorithm
    actor = load_actor(path, real_env)
    model = getattr(stable_baselines3, algorithm).load(path, device="cpu", buffer_size=32)
    expected, _ = model.predict(observations, deterministic=True)
    np.testing.assert_allclose(actor.act(observations, [0, 1, 2]), expected, rtol=1e-4)


def test_a_model_of_gym_pusht_loads_and_runs_in_the_learned_world_unchanged(cnn, tiny_world):
    """Stable-Baselines3 itself checks that the spaces are equal, and then acts."""
    env = gym.make("IRASim/PushT-v0", world=tiny_world)
    model = stable_baselines3.PPO.load(cnn, env=env, device="cpu")
    observation, _ = env.reset(seed=0)
    for _ in range(3):
        action, _ = model.predict(observation, deterministic=True)
        observation, *_ = env.step(action)
    assert env.observation_space.contains(observation)
    env.close()


def poisoned(cnn: Path, path: Path, key: str, marker: Path) -> Path:
    """A copy of a model in which unpickling `key` makes a file."""
    import base64
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    with zipfile.ZipFile(cnn) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "data":
                data = json.loads(content)
                text = base64.b64encode(pickle.dumps(Evil())).decode()
                data[key] = {":type:": "<class 'x'>", ":serialized:": text}
                content = json.dumps(data).encode()
            new.writestr(name, content)
    return path


@pytest.mark.parametrize("key", ["lr_schedule", "clip_range", "policy_class"])
def test_pickles_in_a_model_run_no_code(cnn, tmp_path, key, real_env):
    marker = tmp_path / "ran"
    path = poisoned(cnn, tmp_path / "poisoned.zip", key, marker)
    if key == "policy_class":
        with pytest.raises(ValueError, match="--trust-pickle"):
            load_actor(path, real_env)
    else:
        load_actor(path, real_env)
    assert not marker.exists()


def test_files_that_are_no_models_and_models_of_other_spaces_are_refused(cnn, tmp_path, real_env):
    with pytest.raises(ValueError, match="no Stable-Baselines3 model"):
        load_actor(tmp_path / "absent.zip", real_env)
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match="no Stable-Baselines3 model"):
        load_actor(tmp_path / "text.zip", real_env)
    with pytest.raises(ValueError, match="expected one of SAC|policy class"):
        load_actor(cnn, real_env, algorithm="SAC")
    with pytest.raises(ValueError, match="algorithm is 'PPPO'"):
        load_actor(cnn, real_env, algorithm="PPPO")
    seven = gym.spaces.Box(-1, 1, (7,), np.float32)
    with pytest.raises(ValueError, match="do not fit"):
        load_sb3_policy(cnn, real_env.observation_space["pixels"], seven)


def test_a_trusted_model_is_the_same(cnn, real_env, observations):
    careful, trusting = (
        load_sb3_policy(
            cnn, real_env.observation_space["pixels"], real_env.action_space, trust_pickle=trust
        )
        for trust in (False, True)
    )
    frames = observations["pixels"]
    assert maybe_transpose(frames, careful.observation_space).shape == (3, 3, 96, 96)
    for policy in (careful, trusting):
        np.testing.assert_array_equal(policy.predict(frames)[0].shape, (3, 2))
    np.testing.assert_allclose(
        careful.predict(frames, deterministic=True)[0],
        trusting.predict(frames, deterministic=True)[0],
        rtol=1e-5,
    )

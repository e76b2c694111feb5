"""Collecting: exact replay, resuming, disjoint seeds, and errors that tell what to do."""

import json
from itertools import pairwise
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from irasim_env import console
from training.data.collect import FIRST_SEED, SEEDS_PER_SPLIT, CollectConfig, main
from training.data.episodes import annotation_path, list_episodes, read_episode, video_path
from training.data.record import RandomActions, make_env, record_episode

PUSHT = "gym_pusht:gym_pusht/PushT-v0"
PIXELS_AGENT_POS = '{"obs_type": "pixels_agent_pos"}'


class Counter(gym.Env):
    """Shows how many steps were taken and the last action; ends after six."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's form)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float64)
    observation_space = gym.spaces.Box(-100.0, 100.0, (3,), np.float32)

    def __init__(self, render_mode: str | None = None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.last = 0, np.zeros(2)
        return self._observe(), self._info()

    def step(self, action):
        self.count, self.last = self.count + 1, action
        return self._observe(), float(self.count), self.count == 6, False, self._info()

    def render(self):
        return np.full((16, 16, 3), self.count, np.uint8)

    def _observe(self):
        return np.array([self.count, *self.last], np.float32)

    def _info(self):
        return {"place": np.array([self.count, -self.count]), "mass": 2.5, "map": np.eye(2)}


class Blind(Counter):
    """A counter that nobody can look at."""

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's form)


@pytest.fixture(autouse=True)
def environments_are_registered():
    gym.register("Counter-v0", entry_point=Counter)
    gym.register("Blind-v0", entry_point=Blind)
    yield
    gym.registry.pop("Counter-v0")
    gym.registry.pop("Blind-v0")


def config(out: Path, **changes) -> CollectConfig:
    return CollectConfig(
        **{"env_id": "Counter-v0", "out": out, "workers": 0, "episodes": 2} | changes
    )


def pusht_config(out: Path, **changes) -> CollectConfig:
    defaults = {"env_id": PUSHT, "env_kwargs": PIXELS_AGENT_POS, "policy": "policies.pusht:play"}
    return config(out, **defaults | {"max_steps": 40} | changes)


def test_replaying_seed_and_actions_gives_what_was_recorded(tmp_path: Path):
    main(pusht_config(tmp_path, split="val", episodes=1, policy="policies.pusht:expert"))
    episode = read_episode(tmp_path, "val", "000000")
    assert (episode.policy, episode.fps, len(episode.actions)) == ("expert", 10.0, 40)
    env = gym.make(episode.env_id, **episode.env_kwargs)
    obs, _ = env.reset(seed=episode.seed)
    for t, action in enumerate(episode.actions):
        np.testing.assert_array_equal(episode.frames[t], obs["pixels"])
        np.testing.assert_array_equal(episode.states["agent_pos"][t], obs["agent_pos"])
        obs, reward, terminated, _, _ = env.step(action)
        # The overlap's area is summed in an order that varies: its last bit may differ.
        assert episode.rewards[t] == pytest.approx(reward, abs=1e-12)
        assert episode.terminated[t] == terminated
    np.testing.assert_array_equal(episode.frames[-1], obs["pixels"])
    np.testing.assert_array_equal(episode.states["agent_pos"][-1], obs["agent_pos"])
    assert np.ptp(episode.rewards) > 0.05  # the block moved


def test_environment_that_only_renders_is_recorded_in_step(tmp_path: Path):
    main(config(tmp_path))
    episode = read_episode(tmp_path, "train", "000001")
    assert episode.policy == "random"
    np.testing.assert_array_equal(episode.frames[:, 0, 0, 0], range(7))
    np.testing.assert_array_equal(episode.rewards, range(1, 7))
    np.testing.assert_array_equal(episode.terminated, [False] * 5 + [True])
    # The state after a step shows the action of that step, exactly as it was stepped.
    np.testing.assert_array_equal(episode.states["state"][1:, 1:], episode.actions)


def test_hidden_states_are_recorded_from_the_info_beside_every_frame(tmp_path: Path):
    main(config(tmp_path, hidden=("place", "mass")))
    episode = read_episode(tmp_path, "train", "000001")
    np.testing.assert_array_equal(episode.hidden["place"][:, 0], range(7))
    np.testing.assert_array_equal(episode.hidden["place"][:, 1], -np.arange(7))
    np.testing.assert_array_equal(episode.hidden["mass"], np.full((7, 1), 2.5))
    assert list(episode.states) == ["state"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("speed", "info has no 'speed' to record; it has map, mass, place"),
        ("map", r"info\['map'\] has shape \(2, 2\), expected numbers \(n,\)"),
    ],
)
def test_what_the_info_does_not_hold_cannot_be_recorded(tmp_path: Path, name: str, message: str):
    with pytest.raises(ValueError, match=message):
        main(config(tmp_path, hidden=(name,)))
    main(config(tmp_path, hidden=("mass",)))  # no episode of other hidden states is there
    with pytest.raises(ValueError, match="holds episodes recorded with hidden mass"):
        main(config(tmp_path, hidden=("place",)))


def test_stopped_run_goes_on_where_it_was(tmp_path: Path):
    main(config(tmp_path, episodes=3))
    kept = video_path(tmp_path, "train", "000000").stat().st_mtime_ns
    before = read_episode(tmp_path, "train", "000001")
    # Killed between the video and the annotation: the episode does not count as there.
    annotation_path(tmp_path, "train", "000001").unlink()
    main(config(tmp_path, episodes=4))
    assert list_episodes(tmp_path, "train") == ["000000", "000001", "000002", "000003"]
    assert video_path(tmp_path, "train", "000000").stat().st_mtime_ns == kept
    np.testing.assert_array_equal(read_episode(tmp_path, "train", "000001").actions, before.actions)
    runs = json.loads((tmp_path / "collect.json").read_text())["runs"]
    assert [run["new_episodes"] for run in runs] == [3, 2]
    assert runs[1]["seeds"] == [0, 3]
    assert runs[1]["versions"]["gymnasium"] == gym.__version__


def test_worker_processes_record_the_same_episodes(tmp_path: Path):
    changes = {"policy": "policies.pusht:mixture", "max_steps": 4}
    main(pusht_config(tmp_path / "here", **changes))
    main(pusht_config(tmp_path / "workers", workers=2, **changes))
    for episode_id in ("000000", "000001"):
        paths = [annotation_path(tmp_path / n, "train", episode_id) for n in ("here", "workers")]
        assert paths[0].read_bytes() == paths[1].read_bytes()
        here, there = (read_episode(tmp_path / n, "train", episode_id) for n in ("here", "workers"))
        np.testing.assert_array_equal(here.frames, there.frames)


def test_splits_never_share_a_seed(tmp_path: Path):
    ranges = [range(first, first + SEEDS_PER_SPLIT) for first in FIRST_SEED.values()]
    assert all(a[-1] < b[0] for a, b in pairwise(ranges))
    config(tmp_path, episodes=SEEDS_PER_SPLIT)
    with pytest.raises(ValueError, match="seeds of the next split"):
        config(tmp_path, episodes=SEEDS_PER_SPLIT + 1)
    for split, first in FIRST_SEED.items():
        main(config(tmp_path, split=split, episodes=1))
        assert read_episode(tmp_path, split, "000000").seed == first


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    console.run(
        [
            "collect",
            "--env-id",
            "Counter-v0",
            "-o",
            str(tmp_path),
            "--episodes",
            "1",
            "--workers",
            "0",
        ]
    )
    assert list_episodes(tmp_path, "train") == ["000000"]
    assert "random" in capsys.readouterr().out


def test_failure_names_episode_and_seed(tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"episode 000000 of val \(seed 1000000\) failed: the Push-T policies"
    ):
        main(config(tmp_path, split="val", policy="policies.pusht:expert"))
    assert list_episodes(tmp_path, "val") == []


def test_another_environment_in_the_same_directory_is_refused(tmp_path: Path):
    main(config(tmp_path))
    with pytest.raises(ValueError, match="holds episodes of Counter-v0"):
        main(pusht_config(tmp_path))


@pytest.mark.parametrize("policy", ["policies.absent:x", "policies.pusht:absent", "policies", ""])
def test_wrong_policy_path_is_named(tmp_path: Path, policy: str):
    with pytest.raises(ValueError, match="expected module:factory"):
        main(config(tmp_path, policy=policy))


def of_no_arguments():
    """A policy factory of another signature."""


def of_blind_policies(env: gym.Env, seed: int):
    return lambda: np.zeros(2)


def of_words(env: gym.Env, seed: int):
    return lambda obs: "left"


number = 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("of_no_arguments", r"000000 of train .*TypeError.*factory\(env, seed\)"),
        ("of_blind_policies", r"000000 of train .*TypeError.*policy\(observation\)"),
        ("of_words", "000000 of train .*could not convert"),
        ("number", r"is a int, expected a factory\(env, seed\)"),
    ],
)
def test_policy_of_another_form_is_the_users_mistake(tmp_path: Path, name: str, message: str):
    with pytest.raises(ValueError, match=message):
        main(config(tmp_path, policy=f"{__name__}:{name}"))


@pytest.mark.parametrize("kwargs", ['{"foo": 1}', '{"obs_type": "x"}'])
def test_arguments_that_the_environment_does_not_take_are_named(tmp_path: Path, kwargs: str):
    with pytest.raises(ValueError, match=r"PushT-v0: cannot be made with .*change --env-kwargs"):
        main(config(tmp_path, env_id=PUSHT, env_kwargs=kwargs))


def test_out_that_is_a_file_is_named_and_kept(tmp_path: Path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ValueError, match="--out .*file is a file, expected a directory"):
        main(config(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("text", ["\n{oops", "[]", "{}", '{"runs": [1]}', '{"runs": 1}'])
def test_damaged_collect_json_is_named_and_kept(tmp_path: Path, text: str):
    (tmp_path / "collect.json").write_text(text)
    with pytest.raises(ValueError, match=r"collect\.json: "):
        main(config(tmp_path))
    assert (tmp_path / "collect.json").read_text() == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "episodes is 0"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"env_kwargs": "{obs"}, "expected JSON"),
        ({"env_kwargs": "[1]"}, "expected a JSON object"),
    ],
)
def test_wrong_config_is_named(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        config(tmp_path, **changes)


@pytest.mark.parametrize("env_id", ["absent_module:Env-v0", "Absent-v0"])
def test_unknown_environment_is_named_with_the_cure(env_id: str):
    with pytest.raises(ValueError, match=rf"{env_id}: cannot be made .*irasim-env\[pusht\]"):
        make_env(env_id, {})


def test_environment_without_pixels_is_refused():
    with pytest.raises(ValueError, match="cannot render rgb_array"):
        make_env("Blind-v0", {})


def test_action_outside_of_the_space_is_refused():
    env = make_env("Counter-v0", {})
    with pytest.raises(ValueError, match=r"action \[3\. 0\.\] is not in Box"):
        record_episode(env, lambda obs: np.array([3.0, 0.0]), seed=0)


def test_random_actions_follow_the_seed():
    env = make_env("Counter-v0", {})
    episodes = [record_episode(env, RandomActions(env, seed), seed=0) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(episodes[0]["actions"], episodes[1]["actions"])
    assert not np.array_equal(episodes[0]["actions"], episodes[2]["actions"])

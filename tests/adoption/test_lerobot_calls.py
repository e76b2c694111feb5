"""The calls that LeRobot 0.6.1's `lerobot_eval.rollout` makes, without LeRobot: a test double.

LeRobot itself runs in test_lerobot.py, where it is installed (`make test-adoption`).
"""

import gymnasium as gym
import numpy as np
import pytest

import irasim_env  # noqa: F401 (registers the ids)

RIGHT, LEFT = (500.0, 0.0), (0.0, 0.0)


def rollout(env: gym.vector.VectorEnv, act, seeds: list[int]) -> dict[str, np.ndarray]:
    """What its function returns: reward, success and done, (B, T) each; and what it renders."""
    observation, info = env.reset(seed=seeds, options={"lerobot_new_rollout": True})
    frames = [np.stack(env.call("render")[: env.num_envs])]
    done = np.zeros(env.num_envs, bool)
    rewards, successes, dones = [], [], []
    max_steps = env.call("_max_episode_steps")[0]
    for name in ("task_description", "task"):
        env.get_attr(name)  # or it warns
    for step in range(max_steps):
        assert observation["pixels"].dtype == np.uint8
        assert observation["agent_pos"].shape == (env.num_envs, 2)
        assert list(env.call("task_description")) == [
            "Push the T-shaped block onto the T-shaped target."
        ] * len(done)
        observation, reward, terminated, truncated, info = env.step(act(step))
        frames.append(np.stack(env.call("render")[: env.num_envs]))
        found = info.get("final_info", info)
        successes.append(found["is_success"].tolist())
        done = terminated | truncated | done | (step + 1 == max_steps)
        rewards.append(reward)
        dones.append(done)
        if done.all():
            break
    assert env.unwrapped.metadata["render_fps"] == 10
    return {
        "frames": np.stack(frames, 1),
        **{
            name: np.array(rows).T
            for name, rows in (("reward", rewards), ("success", successes), ("done", dones))
        },
    }


@pytest.mark.filterwarnings("ignore:.*lerobot_new_rollout.*:UserWarning")
def test_success_is_counted_where_an_episode_ends(tiny_world):
    env = gym.make_vec(
        "IRASim/PushT-v0",
        num_envs=3,
        world=tiny_world,
        autoreset_mode="SameStep",
        obs_type="pixels_agent_pos",
        render_mode="rgb_array",
        max_episode_steps=5,
        reward_fn=lambda frames, action: (1.0, action[0] > 256),
    )

    def act(step: int) -> np.ndarray:
        return np.array([RIGHT if step == 1 else LEFT, RIGHT if step == 3 else LEFT, LEFT])

    made = rollout(env, act, seeds=[4, 5, 6])
    first = made["done"].argmax(1)
    assert first.tolist() == [1, 3, 4]
    until = np.arange(5) <= first[:, None]
    assert (made["success"] & until).any(1).tolist() == [True, True, False]
    assert made["frames"].shape == (3, 6, 96, 96, 3)
    again = rollout(env, act, seeds=[4, 5, 6])
    assert all(np.array_equal(made[name], again[name]) for name in made)
    env.close()

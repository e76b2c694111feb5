"""The drawer of Meta-World that docs/metaworld.md learns."""

from pathlib import Path

import numpy as np
import pytest

metaworld = pytest.importorskip("metaworld", reason="needs pip install metaworld==3.1.1")
pytestmark = pytest.mark.adoption

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_drawer_is_drawn_by_its_seed_and_its_expert_opens_it(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import gymnasium as gym

    drawer = __import__("metaworld_drawer")
    env = gym.make("Drawer-v0")
    places = []
    for seed in (3, 3, 4):
        observation, info = env.reset(seed=seed)
        assert observation["pixels"].shape == (96, 96, 3) and observation["hand"].shape == (4,)
        assert observation["pixels"].std() > 20
        places.append(info["handle"])
    assert np.array_equal(places[0], places[1]) and not np.array_equal(places[1], places[2])
    policy = drawer.record(env, 0)
    policy.noise, policy.wanders = 0.0, False
    for _ in range(policy.max_steps):
        observation, _, terminated, _, info = env.step(policy(observation))
        if terminated:
            break
    assert info["is_success"] and info["handle"][1] < places[2][1] - 0.1
    env.close()

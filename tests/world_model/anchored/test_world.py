"""The anchored engine's contract: that of every world, and what is its own."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import irasim_env  # noqa: F401  registers the ids
from tests.conftest import make_starts, randomized
from tests.world_model.runtime.test_captured_steps import Uncaptured
from world_model import AnchoredConfig, AnchoredState, AnchoredWorld, WorldModel
from world_model.anchored.config import PainterConfig
from world_model.anchored.dynamics import LinearDynamics
from world_model.config import ObservationConfig
from world_model.runtime.captured_steps import CapturedSteps

CONFIG = AnchoredConfig(
    name="arm",
    height=32,
    width=64,
    fps=10.0,
    action_low=(-1.0, -1.0),
    action_high=(1.0, 1.0),
    observations={"agent_pos": ObservationConfig(low=(0.0, 0.0), high=(512.0, 512.0))},
    lags=3,
    painter=PainterConfig(channels=8, embedding=16, refiner_channels=8),
)
REFERRING = dataclasses.replace(
    CONFIG,
    painter=dataclasses.replace(
        CONFIG.painter,
        references=6,
        references_per_frame=3,
        blend_contrast=2.0,
        detail_contrast=5.0,
        rest_within=0.05,
    ),
)


def made(config: AnchoredConfig = CONFIG) -> AnchoredWorld:
    world = randomized(WorldModel.create(config, make_starts(config)))
    assert isinstance(world, AnchoredWorld)
    generator = torch.Generator().manual_seed(1)
    if world.references is not None:
        frames = torch.randint(256, world.references.frames.shape, generator=generator)
        world.references.frames.copy_(frames)
        states = torch.rand(world.references.states.shape, generator=generator)
        world.references.states.copy_(2 * states - 1)
    world.dynamics.weight.copy_(
        0.05 * torch.randn(world.dynamics.weight.shape, generator=generator)
    )
    return world


def begun(world: WorldModel, starts: list[int], seeds: list[int]) -> AnchoredState:
    state = world.begin(starts, seeds)
    assert isinstance(state, AnchoredState)
    return state


@pytest.fixture(scope="module", params=[CONFIG, REFERRING], ids=["plain", "references"])
def world(request) -> AnchoredWorld:
    return made(request.param)


def actions(count: int, steps: int = 1) -> np.ndarray:
    return np.random.default_rng(count).uniform(-1, 1, (count, steps, 2)).astype(np.float32)


def test_it_is_an_environment(world):
    env = gym.make("IRASim/World-v0", world=world, obs_type="pixels_agent_pos")
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=0)
    observation, reward, *_ = env.step(env.action_space.sample())
    assert set(observation) == {"pixels", "agent_pos"}
    assert np.isfinite(float(reward))


def test_a_batch_steps_as_its_members_do_alone(world):
    steps = actions(3, 4)
    together = begun(world, [0, 1, 2], [5, 6, 7])
    alone = [begun(world, [i], [5 + i]) for i in range(3)]
    for t in range(4):
        out = world.step_(together, steps[:, t])
        for i, state in enumerate(alone):
            single = world.step_(state, steps[i : i + 1, t])
            assert (out.frame[i].int() - single.frame[0].int()).abs().max() <= 1
            torch.testing.assert_close(out.reward[i], single.reward[0], rtol=1e-4, atol=1e-5)
            for name, values in out.states.items():
                torch.testing.assert_close(values[i], single.states[name][0])


def test_a_snapshot_goes_on_to_the_bit(world):
    steps = actions(2, 5)
    state = begun(world, [0, 3], [0, 1])
    world.step_(state, steps[:, 0])
    kept, first = state.clone(), [world.step_(state, steps[:, t]).frame for t in range(1, 5)]
    again = [world.step_(kept, steps[:, t]).frame for t in range(1, 5)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])


def test_resets_of_some_leave_the_others(world):
    steps = actions(3, 2)
    state = begun(world, [0, 1, 2], [0, 1, 2])
    world.step_(state, steps[:, 0])
    state.put([1], begun(world, [3], [9]))
    out = world.step_(state, steps[:, 1])
    fresh = begun(world, [3], [9])
    torch.testing.assert_close(
        out.states["agent_pos"][1], world.step_(fresh, steps[1:2, 1]).states["agent_pos"][0]
    )
    undisturbed = begun(world, [0, 1, 2], [0, 1, 2])
    for t in range(2):
        expected = world.step_(undisturbed, steps[:, t])
    assert torch.equal(out.frame[[0, 2]], expected.frame[[0, 2]])


def test_a_rollout_is_the_steps_that_it_stands_for(world):
    state = begun(world, [0, 1], [0, 1])
    tried = actions(4, 3).reshape(2, 2, 3, 2)
    out = world.rollout(state, tried, return_frames=True)
    assert out.frames is not None
    assert out.frames.shape == (2, 2, 3, 32, 64, 3)
    single = begun(world, [1], [1])
    for t in range(3):
        step = world.step_(single, tried[1:2, 1, t])
        assert (out.frames[1, 1, t].int() - step.frame[0].int()).abs().max() <= 1
        torch.testing.assert_close(out.reward[1, 1, t], step.reward[0], rtol=1e-4, atol=1e-5)
    without = world.rollout(state, tried)
    torch.testing.assert_close(without.reward, out.reward, rtol=1e-4, atol=1e-5)
    assert without.frames is None


def test_fresh_weights_paint_the_anchor():
    world = WorldModel.create(CONFIG, make_starts(CONFIG))
    state = begun(world, [0], [0])
    frame = world.step_(state, actions(1)[:, 0]).frame
    shown = torch.from_numpy(world.starts[0].frames[-1])
    # A blend of it and of nothing yet: near, and nearer than to any other start.
    errors = [
        (frame[0].int() - torch.from_numpy(world.starts[i].frames[-1]).int()).abs().float().mean()
        for i in range(4)
    ]
    assert int(torch.stack(errors).argmin()) == 0
    assert frame[0].shape == shown.shape


def test_no_drawn_frame_is_looked_at(world):
    """Whatever the newest picture is, the next one is the same: nothing adds up."""
    state = begun(world, [0], [0])
    world.step_(state, actions(1)[:, 0])
    other = state.clone()
    other.latents.fill_(0.7)
    a, b = (world.step_(one, actions(1)[:, 0]).frame for one in (state, other))
    assert torch.equal(a, b)


def test_states_that_nobody_hands_in_are_estimated(world):
    begin = world.starts[0]
    known = {"agent_pos": begin.states["agent_pos"][None]}
    given = world.start(begin.frames[None], begin.actions[None], [0], known)
    read = world.start(begin.frames[None], begin.actions[None], [0])
    np.testing.assert_allclose(
        given.output.states["agent_pos"][0], begin.states["agent_pos"][-1], atol=0.01
    )
    estimated = world.estimator(read.latents).clamp(-1, 1)
    torch.testing.assert_close(read.now, estimated)


def test_one_frame_is_enough_to_begin_and_its_first_action_is_taken_for_those_before(world):
    frame = world.starts[0].frames[None, -1:]
    none = np.zeros((1, 0, 2), np.float32)
    state = world.start(frame, none, [0])
    assert not state.acted.any()
    action = actions(1)[:, 0]
    world.step_(state, action)
    scaled = world.scale_actions(torch.from_numpy(action))
    torch.testing.assert_close(state.actions, scaled[:, None].expand(-1, CONFIG.lags, -1))
    assert state.acted.all()


def test_the_states_follow_the_law():
    dynamics = LinearDynamics(CONFIG)
    # The next state is the mean of the present one and the newest action.
    dynamics.weight[:, :2] = -0.5 * torch.eye(2)
    dynamics.weight[:, 4:6] = 0.5 * torch.eye(2)
    now, led = torch.tensor([[0.2, -0.4]]), torch.tensor([[[0.6, 0.0], [9.0, 9.0], [9.0, 9.0]]])
    torch.testing.assert_close(dynamics(now, now, led), torch.tensor([[0.4, -0.2]]))
    assert dynamics(now, now, 100 * led).abs().max() <= 1  # within their bounds


def test_captured_steps_are_the_eager_ones(world):
    captured = CapturedSteps(world.predict, capture=Uncaptured)
    steps = torch.from_numpy(actions(2, 4))
    eager, graphed = begun(world, [0, 1], [0, 1]), begun(world, [0, 1], [0, 1])
    for t in range(4):
        shown = captured(graphed, steps[:, t], frames=True, setting=None)
        expected = world.step_(eager, steps[:, t])
        assert torch.equal(shown["frame"], expected.frame)
        if t == 1:
            graphed.put([0], begun(world, [2], [3]))
            eager.put([0], begun(world, [2], [3]))


def test_a_saved_world_is_the_same(world, tmp_path):
    world.save_pretrained(tmp_path)
    loaded = WorldModel.from_pretrained(tmp_path)
    assert isinstance(loaded, AnchoredWorld)
    assert loaded.config == world.config
    a, b = (
        one.step_(begun(one, [0], [0]), actions(1)[:, 0]).frame.int() for one in (world, loaded)
    )
    assert (a - b).abs().max() <= 3  # weights are kept in half precision


def test_bfloat16_is_near(world):
    state = begun(world, [0, 1], [0, 1])
    exact = world.step_(state.clone(), actions(2)[:, 0]).frame.int()
    world.precision = "bf16"
    try:
        near = world.step_(state.clone(), actions(2)[:, 0]).frame.int()
    finally:
        world.precision = "float32"
    assert 0 < (near - exact).abs().float().mean() < 3


def test_a_world_without_rewards_says_none():
    world = made(dataclasses.replace(CONFIG, reward_head=False))
    out = world.step_(begun(world, [0], [0]), actions(1)[:, 0])
    assert out.reward.eq(0).all()
    assert not out.terminated.any()
    assert not list(world.head.parameters())


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"height": 48}, "--height 64"),
        ({"observations": {}}, "low-dimensional"),
        ({"lags": 0}, "lags"),
    ],
)
def test_what_does_not_fit_is_refused(changes, cure):
    with pytest.raises(ValueError, match=cure):
        dataclasses.replace(CONFIG, **changes)
    with pytest.raises(ValueError, match="multiple of 8"):
        PainterConfig(channels=12)

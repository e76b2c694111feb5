"""The tabletop: physics and pictures, what is read from them, and who acts on it."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="needs pip install 'irasim-env[tabletop]'")

from policies.planning.plan import Memory
from policies.tabletop import arm, family
from policies.tabletop.cloning import CloneConfig, CloneNetwork, load_clone, save_clone
from policies.tabletop.family import FAMILY
from policies.tabletop.from_pixels import blocks_of
from policies.tabletop.proposals import Pushes, SkillConfig
from policies.tabletop.proposals import propose as proposed
from policies.tabletop.reading import PUSHER, measure, true_pixels
from policies.tabletop.recorders import heldout, mixture, pusher
from policies.tabletop.scene import (
    BLOCKS,
    NAMES,
    REACH_HIGH,
    REACH_LOW,
    STEP,
    TABLE,
    at_height,
    rotation,
    to_pixels,
    to_table,
)
from policies.tabletop.simulator import TabletopSim
from policies.tabletop.success_detector import TouchSuccessDetector
from tests.simulators import simulator
from world_model.tasks import load_task


def make(**settings) -> gym.Env:
    return simulator(load_task("tabletop"), **settings)


def played(policy, env, seed, steps=100):
    """Results of an episode under a policy of the simulator's state, `reset` first."""
    actor = policy(env, seed)
    results = [env.reset(seed=seed)]
    for _ in range(min(steps, getattr(actor, "max_steps", None) or steps)):
        results.append(env.step(actor(results[-1][0])))
        if results[-1][2]:
            break
    return results


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"move": "star"}, "move is 'star', expected one of cube, cylinder, prism, cross"),
        ({"to": "cube"}, "expected two different blocks"),
        ({"obs_type": "frames"}, "obs_type is 'frames', expected one of pixels"),
        ({"render_mode": "human"}, "expected rgb_array"),
    ],
)
def test_arguments_that_cannot_be_are_refused(settings, cure):
    with pytest.raises(ValueError, match=cure):
        TabletopSim(**settings)


def test_options_of_a_reset_are_refused_and_nothing_is_lost():
    env = TabletopSim(obs_type="state")
    before, _ = env.reset(seed=0)
    with pytest.raises(ValueError, match="takes none"):
        env.reset(options={"start": 1})
    after, *_ = env.step(np.zeros(2))
    np.testing.assert_allclose(after, before, atol=1e-3)


def test_a_snapshot_of_other_blocks_is_refused():
    env = TabletopSim(obs_type="state")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="make it with the same move and to"):
        TabletopSim(move="prism", to="cross", obs_type="state").restore(env.snapshot())


@pytest.mark.parametrize("pair", [("cube", "cylinder"), ("cross", "prism")])
def test_starts_overlap_nowhere_and_the_pair_is_apart(pair):
    env = TabletopSim(move=pair[0], to=pair[1], obs_type="state")
    for seed in range(50):
        _, info = env.reset(seed=seed)
        places = np.vstack((env.poses[:, :2], env.effector_pos))
        between = np.linalg.norm(places[:, None] - places, axis=-1)[np.triu_indices(5, 1)]
        assert between.min() >= 0.045
        assert info["distance"] >= 0.09
        assert not info["is_success"]


def test_rewards_sum_to_the_way_made_good_and_success_ends():
    env = TabletopSim(obs_type="state")
    (_, begin), *steps = played(pusher, env, seed=2)
    *_, end = steps[-1]
    assert sum(step[1] for step in steps) == pytest.approx(
        (begin["distance"] - end["distance"]) / STEP
    )
    assert [step[2] for step in steps] == [False] * (len(steps) - 1) + [True]
    assert end["is_success"] and end["distance"] <= 0.04
    with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\)"):
        env.step(np.zeros(2))


def test_the_pusher_arrives_within_its_step_and_stays_over_the_table():
    env = TabletopSim(obs_type="state")
    env.reset(seed=1)
    for action in np.random.default_rng(0).uniform(-1.5, 1.5, (60, 2)):
        before, poses = env.effector_pos, env.poses
        env.step(action)
        target = np.clip(before + STEP * action.clip(-1, 1), REACH_LOW, REACH_HIGH)
        if np.array_equal(env.poses, poses):  # nothing was in the way
            np.testing.assert_allclose(env.effector_pos, target, atol=3e-4)
        assert (np.abs(env.effector_pos) < TABLE).all()


def test_blocks_rest_when_nothing_pushes_them_and_never_leave():
    for seed in range(6):
        env = TabletopSim(obs_type="state")
        played(mixture, env, seed=seed)
        outlines = [
            pose[:2] + np.array(block.outline) @ rotation(pose[2]).T
            for block, pose in zip(BLOCKS, env.poses, strict=True)
        ]
        assert (np.abs(np.concatenate(outlines)) <= np.array(TABLE) + 0.002).all()
        snapshot = env.snapshot()
        if snapshot.ended:
            continue
        for _ in range(3):
            env.step(np.zeros(2))
        before = env.poses
        env.step(np.zeros(2))
        np.testing.assert_allclose(env.poses, before, atol=1e-3)


def test_two_of_the_recorders_kinds_are_what_tests_need():
    env = TabletopSim(obs_type="state")
    for seed, moved in ((0, True), (1, False)):
        actor = heldout(env, seed)
        env.reset(seed=seed)
        before = env.poses
        for _ in range(actor.max_steps):
            if env.step(actor(None))[2]:
                break
        assert bool(np.abs(env.poses - before).max() > 0.005) == moved


def test_projection_is_that_of_the_camera_and_can_be_undone():
    places = np.random.default_rng(0).uniform(-0.1, 0.1, (20, 2))
    pixels = to_pixels(at_height(places, 0.012))
    np.testing.assert_allclose(to_table(pixels, 0.012), places, atol=1e-9)
    # And of what MuJoCo draws: the pusher is seen where it is said to be.
    env = make()
    env.reset(seed=0)
    tip = to_pixels(at_height(env.unwrapped.effector_pos, 0.018)).astype(int)
    red, green, blue = env.step(np.zeros(2))[0]["pixels"][tip[1], tip[0]].astype(int)
    assert min(red, blue) - green > 60  # magenta


def test_the_arms_links_keep_their_lengths_everywhere():
    for x in np.linspace(REACH_LOW[0], REACH_HIGH[0], 7):
        for y in np.linspace(REACH_LOW[1], REACH_HIGH[1], 7):
            shoulder, elbow, wrist = arm.joints(np.array([x, y]))
            lengths = np.linalg.norm(elbow - shoulder), np.linalg.norm(wrist - elbow)
            np.testing.assert_allclose(lengths, arm.LINKS)
            assert elbow[2] > max(shoulder[2], wrist[2]) - 1e-9
    with pytest.raises(ValueError, match="does not reach"):
        arm.joints(np.array([0.0, -1.0]))


@pytest.fixture(scope="module")
def seen():
    """Frames of contact-rich episodes, with the true places."""
    frames, poses, places = [], [], []
    env = make()
    for seed in range(20, 26):
        actor = mixture(env, seed)
        observation, _ = env.reset(seed=seed)
        for _ in range(40):
            observation, _, ended, _, _ = env.step(actor(observation))
            frames.append(observation["pixels"])
            poses.append(env.unwrapped.poses)
            places.append(env.unwrapped.effector_pos)
            if ended:
                break
    return np.stack(frames), np.stack(poses), np.stack(places)


def test_readings_are_near_the_truth(seen):
    frames, poses, places = seen
    found, true = measure(frames), true_pixels(poses, places)
    assert set(found) == {*NAMES, PUSHER}
    for name, at in found.items():
        errors = np.linalg.norm(at - true[name], axis=-1)
        assert np.isfinite(errors).mean() > 0.98, name
        assert np.nanmedian(errors) < 0.7, name  # of 96 px
        assert np.nanquantile(errors, 0.95) < 1.8, name


def test_what_is_gone_or_there_twice_is_not_read(seen):
    frame = make().reset(seed=4)[0]["pixels"]
    gone = frame.copy()
    red = (frame[..., 0] > 100) & (frame[..., 1:].max(-1) < 90)
    gone[red] = frame[80, 48]
    assert np.isnan(measure(gone[None])["cube"]).all()
    assert np.isfinite(measure(gone[None])["cross"]).all()
    twice = frame.copy()
    rows, columns = np.nonzero(red)
    clear = 60 if columns.mean() < 48 else 10
    twice[70 : 70 + np.ptp(rows) + 1, clear : clear + np.ptp(columns) + 1] = frame[
        rows.min() : rows.max() + 1, columns.min() : columns.max() + 1
    ]
    assert np.isnan(measure(twice[None])["cube"]).all()


@pytest.mark.parametrize(
    "frames",
    [np.zeros((2, 96, 96, 3)), np.zeros((96, 96, 3), np.uint8), np.zeros((1, 40, 40, 3), np.uint8)],
)
def test_what_are_no_frames_is_refused(frames):
    with pytest.raises(ValueError, match="expected"):
        measure(frames)


def test_the_detector_sees_success_as_the_simulator_does():
    env, detect = make(), TouchSuccessDetector()
    for seed, policy in ((30, pusher), (31, pusher), (33, heldout)):
        results = played(policy, env, seed)
        frames = np.stack([result[0]["pixels"] for result in results[1:]])
        judged = detect(frames)
        assert (judged.verdict == "success") == results[-1][2]
        if judged.step is not None:
            assert judged.step >= len(frames) - 3
            assert detect.reward(frames[judged.step - 1 : judged.step + 1], np.zeros(2))[1]
    nothing = detect(np.full((5, 96, 96, 3), 200, np.uint8))
    assert nothing.verdict == "undecidable"


@pytest.mark.slow_suite
def test_the_family_goes_from_hopeless_to_good():
    assert len(FAMILY) >= 8
    env = make()
    solved = {}
    for name in ("push", "wrong_block"):
        solved[name] = 0
        for seed in range(3_000_100, 3_000_106):
            actor = getattr(family, name)(env, seed)
            observation, _ = env.reset(seed=seed)
            for _ in range(45):
                observation, _, ended, _, _ = env.step(actor(observation))
                if ended:
                    solved[name] += 1
                    break
    assert solved["push"] >= 5 > 1 >= solved["wrong_block"]


@pytest.mark.parametrize("name", FAMILY)
def test_each_of_the_family_acts_on_observations_alone(name):
    env = make(move="prism", to="cross")
    observation, _ = env.reset(seed=0)
    first, again = ([getattr(family, name)(env, 5)(observation) for _ in range(2)] for _ in "ab")
    assert all(action in env.action_space for action in first)
    assert np.array_equal(first, again)
    assert blocks_of(env) == ("prism", "cross")


def test_what_shows_too_little_is_told():
    with pytest.raises(ValueError, match="pixels_effector_pos"):
        family.push(make(), 0)(np.zeros((96, 96, 3), np.uint8))


def test_a_clone_is_saved_and_what_is_none_is_told(tmp_path):
    network = CloneNetwork(CloneConfig(demonstrations=3))
    save_clone(network, tmp_path / "clone.safetensors")
    assert load_clone(tmp_path / "clone.safetensors").config == network.config
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"policies\.tabletop\.cloning"):
        load_clone(tmp_path / "junk.safetensors")


def test_proposals_are_pushes_of_which_the_first_are_those_of_few():
    env = make(obs_type="state")
    env.reset(seed=3)
    propose = Pushes(envs=[env])
    memory = Memory(
        seeds=torch.tensor([3]),
        decisions=torch.tensor([0]),
        mean=torch.zeros(1, propose.horizon, 2),
        elites=torch.zeros(1, 0, propose.horizon, 2),
    )
    few, many = propose(None, memory, 2), propose(None, memory, 6)
    assert torch.equal(few.actions, many.actions[:, :2])
    assert many.actions.shape == (1, 6, propose.horizon, 2)
    assert many.actions.abs().max() <= 1
    assert len({tuple(plan.flatten().tolist()) for plan in many.actions[0]}) == 6
    for plan, length in zip(many.actions[0], many.lengths[0], strict=True):
        assert 1 <= length <= propose.horizon
        assert not plan[length:].any()
    later = dataclasses.replace(memory, decisions=torch.tensor([1]))
    assert not torch.equal(propose(None, later, 2).actions, few.actions)


def test_a_proposal_without_errors_brings_the_block_nearer():
    env = make(obs_type="state")
    exact = SkillConfig(aim=0.0, aside=0.0)
    gains = []
    for seed in range(4):
        _, info = env.reset(seed=seed)
        table = env.unwrapped
        push = proposed(
            table.poses[:, :2],
            table.effector_pos,
            NAMES.index(table.move),
            NAMES.index(table.to),
            rng=np.random.default_rng(seed),
            skill=exact,
        )
        before = info["distance"]
        for action in push:
            *_, ended, _, info = env.step(action)
            if ended:
                break
        gains.append(before - info["distance"])
    assert min(gains) > 0.01

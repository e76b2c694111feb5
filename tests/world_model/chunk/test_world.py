"""Worlds with the chunk engine: the face of every world, over the reference's models."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from tests.chunk_worlds import FAST, TABLE, pixel_world, table_world, tiny_vae, with_sampler
from tests.world_model.chunk_denoisers import tiny_irasim, tiny_unet
from world_model import (
    ChunkConfig,
    ChunkSamplerConfig,
    ChunkWorld,
    StreamingWorld,
    WorldModel,
    sample_chunk,
    sample_video,
)
from world_model.chunk.reference.convert import import_denoiser
from world_model.frames import frames_to_pixels, pixels_to_frames
from world_model.runtime.counter_rng import counted_noise

CHUNK = 3  # actions of the tiny models' chunk


@pytest.fixture(scope="module", params=["latents", "pixels"])
def world(request) -> ChunkWorld:
    return table_world() if request.param == "latents" else pixel_world()


def started(world: ChunkWorld, rows=(0,), seeds=(0,)):
    frames = np.stack([world.starts[i].frames for i in rows])
    return world.start(frames, np.zeros((len(rows), 0, world.config.action_dim)), list(seeds))


def draw_actions(world: ChunkWorld, *leading: int, seed: int = 0) -> torch.Tensor:
    low, high = torch.tensor(world.config.action_low), torch.tensor(world.config.action_high)
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*leading, len(low), generator=generator)


def test_a_chunk_is_what_sample_chunk_makes_of_scaled_actions(world):
    state = started(world, [0, 1], [4, 5])
    first = frames_to_pixels(state.output.frame)
    first = world.codec.encode(first)[:, None]
    actions = draw_actions(world, 2, CHUNK)
    shape = (CHUNK + 1, *world.config.latent_shape)
    expected = sample_chunk(
        world.denoiser,
        first,
        actions * torch.tensor(world.config.action_scale),
        noise=counted_noise(torch.tensor([4, 5]), torch.tensor([0, 0]), shape),
        sampler="ddim",
        num_steps=3,
    )
    made = world.step_chunk_(state, actions)
    assert torch.equal(state.latents, expected[:, -1])
    assert state.steps.tolist() == [CHUNK, CHUNK]
    with torch.no_grad():
        frames = pixels_to_frames(world.codec.decode(expected[:, 1:].flatten(0, 1)))
    assert made.frames.shape == (2, CHUNK, world.config.height, world.config.width, 3)
    assert (made.frames.flatten(0, 1).int() - frames.int()).abs().max() <= 1
    assert torch.equal(made.frames[:, -1], state.output.frame)


def test_a_single_step_is_the_first_frame_of_the_action_repeated(world):
    action = draw_actions(world, 1)
    single = started(world)
    out = world.step_(single, action)
    repeated = world.step_chunk_(started(world), action[:, None].expand(-1, CHUNK, -1))
    assert torch.equal(out.frame, repeated.frames[:, 0])
    assert single.steps.tolist() == [1]


def test_more_actions_than_a_chunk_are_predicted_chunk_by_chunk_as_sample_video_does(world):
    actions = draw_actions(world, 1, 2 * CHUNK + 1)
    whole, parts = started(world), started(world)
    frames = world.step_chunk_(whole, actions).frames
    pieces = [world.step_chunk_(parts, part).frames for part in actions.split(CHUNK, dim=1)]
    assert torch.equal(frames, torch.cat(pieces, 1))
    seeds, shape = torch.tensor([0]), (CHUNK + 1, *world.config.latent_shape)
    video = sample_video(
        world.denoiser,
        started(world).latents[:, None],
        actions * torch.tensor(world.config.action_scale),
        noise=lambda index: counted_noise(seeds, torch.tensor([index * CHUNK]), shape),
        sampler="ddim",
        num_steps=3,
    )
    assert torch.equal(whole.latents, video[:, -1])
    assert whole.steps.tolist() == [2 * CHUNK + 1]


def test_actions_matter(world):
    low, high = (
        torch.tensor([bounds]) for bounds in (world.config.action_low, world.config.action_high)
    )
    frames = [world.step_(started(world), action).frame for action in (low, high)]
    assert not torch.equal(*frames)


def test_same_seed_same_rollout_and_other_seed_another(world):
    def roll(seed: int) -> torch.Tensor:
        state = started(world, [0], [seed])
        return torch.stack([world.step_(state, a[None]).frame for a in draw_actions(world, 4)])

    assert torch.equal(roll(3), roll(3))
    assert not torch.equal(roll(3), roll(4))


@pytest.mark.parametrize("name", ["ddim", "ddpm", "pndm", "dpm-solver++"])
def test_batch_of_n_equals_n_singles_with_every_sampler(name):
    world = table_world(ChunkSamplerConfig(name=name, num_steps=4))
    actions = draw_actions(world, 2, 3)
    batch = started(world, [0, 1, 2], [5, 6, 7])
    frames = torch.stack([world.step_(batch, a).frame for a in actions])
    for i in range(3):
        single = started(world, [i], [5 + i])
        alone = torch.stack([world.step_(single, a[i : i + 1]).frame for a in actions])
        assert (alone[:, 0].int() - frames[:, i].int()).abs().max() <= 1


def test_guidance_changes_what_is_drawn():
    world = table_world()
    action = draw_actions(world, 1)
    guided = with_sampler(world, dataclasses.replace(FAST, guidance=4.0))
    assert guided.config.evaluations_per_step == 2 * world.config.evaluations_per_step
    assert not torch.equal(
        world.step_(started(world), action).frame, guided.step_(started(guided), action).frame
    )


def test_step_leaves_the_given_state_as_it_was(world):
    state = started(world, [0, 1], [1, 2])
    action = draw_actions(world, 2)
    _, first = world.step(state, action)
    later, second = world.step(state, action)
    assert torch.equal(first.frame, second.frame)
    assert state.steps.tolist() == [0, 0]
    assert later.steps.tolist() == [1, 1]


def test_partial_reset_equals_a_fresh_start(world):
    state = started(world, [0, 1, 2], [5, 6, 7])
    world.step_(state, draw_actions(world, 3))
    state.put([1], started(world, [2], [9]))
    assert state.steps.tolist() == [1, 0, 1]
    action = draw_actions(world, 3, seed=1)
    out = world.step_(state, action)
    alone = world.step_(started(world, [2], [9]), action[1:2])
    assert (out.frame[1].int() - alone.frame[0].int()).abs().max() <= 1


def test_outputs_are_not_changed_by_later_steps_and_resets(world):
    state = started(world)
    made = world.step_chunk_(state, draw_actions(world, 1, 2))
    before = made.frames.clone()
    state.put([0], started(world, [1], [1]))
    world.step_(state, draw_actions(world, 1))
    assert torch.equal(made.frames, before)


def test_rollout_gives_what_chunks_give_and_leaves_the_state(world):
    state = started(world, [0, 1], [1, 2])
    actions = draw_actions(world, 2, 2, 4)
    out = world.rollout(state, actions, return_frames=True)
    assert out.frames is not None
    assert out.reward.shape == out.terminated.shape == (2, 2, 4)
    assert not out.reward.any() and not out.terminated.any()
    for k in range(2):
        made = world.step_chunk_(state.clone(), actions[:, k])
        assert (out.frames[:, k].int() - made.frames.int()).abs().max() <= 1
    assert state.steps.tolist() == [0, 0]
    assert world.rollout(state, actions).frames is None


def test_of_a_clip_only_the_last_frame_matters(world):
    frames = np.stack([world.starts[i].frames[0] for i in range(3)])[None]
    actions = draw_actions(world, 1, 2)
    state, last = world.start(frames, actions, [0]), started(world, [2])
    assert torch.equal(state.latents, last.latents)
    assert torch.equal(state.output.frame, torch.from_numpy(frames[:, -1]))


def test_round_trip_through_a_directory(world, tmp_path):
    world.save_pretrained(tmp_path / "world")
    again = WorldModel.from_pretrained(tmp_path / "world")
    assert isinstance(again, ChunkWorld)
    assert again.config == world.config
    theirs = again.state_dict()
    for name, tensor in world.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name
    actions = draw_actions(world, 1, CHUNK)
    frames = [w.step_chunk_(started(w), actions).frames for w in (world, again)]
    assert torch.equal(*frames)
    assert [s.episode_id for s in again.starts] == ["0", "1", "2"]


def test_create_makes_the_engine_that_the_config_is_for(world):
    fresh = WorldModel.create(world.config, world.starts)
    assert isinstance(fresh, ChunkWorld)
    assert not isinstance(fresh, StreamingWorld)
    fresh.step_(started(fresh), draw_actions(world, 1))


def test_unknown_key_of_the_denoiser_is_refused(tmp_path):
    table_world().save_pretrained(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    assert data["engine"] == "chunk"
    data["irasim"]["colour"] = 3
    (tmp_path / "config.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"irasim: unknown key 'colour'; known keys are latent"):
        WorldModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"irasim": None}, "give either irasim or unet3d"),
        ({"reward_head": True}, "Give the environment a reward_fn instead"),
        ({"action_scale": (20.0,)}, "1 action_scale for 2 action components"),
        ({"height": 9}, "do not divide into latent cells of 2 x 2"),
        ({"height": 16}, r"takes latents of \(4, 4, 6\).*makes \(4, 8, 6\) of 16 x 12"),
        ({"action_low": (-1.0,), "action_high": (1.0,), "action_names": ()}, "action_scale"),
    ],
)
def test_configs_that_do_not_fit_together(changes, message):
    config = table_world().config
    assert isinstance(config, ChunkConfig)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **changes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_steps": 3}, "pndm takes 4 to 1000"),
        ({"name": "euler"}, "no sampler 'euler', expected one of pndm"),
    ],
)
def test_samplers_that_there_are_not(fields, message):
    with pytest.raises(ValueError, match=message):
        ChunkSamplerConfig(**fields)


def test_size_of_frames_is_the_transformers_own_and_a_unets_given():
    with pytest.raises(ValueError, match="16 x 24 were asked for, the weights are for 8 x 12"):
        import_denoiser(
            tiny_irasim(action_embedding="linear"),
            name="x", actions=TABLE, fps=10, vae=tiny_vae(), size=(16, 24),
        )  # fmt: skip
    with pytest.raises(ValueError, match="size of frames does not follow"):
        import_denoiser(tiny_unet(), name="x", actions=TABLE, fps=10, vae=tiny_vae())


@pytest.mark.parametrize("shape", [(1, 2), (1, 0, 2), (2, 3, 2), (1, 3, 4)])
def test_wrong_shapes_of_chunks_are_refused(shape):
    world = table_world()
    with pytest.raises(ValueError, match=r"actions have shape .*expected"):
        world.step_chunk_(started(world), torch.zeros(shape))


def test_network_evaluations_are_the_samplers():
    assert table_world(ChunkSamplerConfig()).config.evaluations_per_step == 59
    assert table_world().config.evaluations_per_step == 3

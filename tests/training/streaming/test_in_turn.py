"""How a U-Net is trained: frames in turn over its own, clips turned round, busy ones more often."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.conftest import randomized
from tests.training.test_train import accelerator, config_for, data, losses
from training.data.clips import ClipStore
from training.data.episodes import Episode, write_episode
from training.streaming.in_turn import InTurnObjective
from training.streaming.objective import make_batch
from training.streaming.turned import num_ways, turned
from training.train import main, prepare
from world_model import WorldModel

__all__ = ["accelerator", "data"]  # fixtures

UNET = {"network": "unet", "states": False, "patch": 4, "width": 16, "depth": 1, "context": 2}
UNET |= {"self_rollout_from": 1.0}


def prepared(data, out, accelerator, **changes):
    return prepare(config_for(data, out, **(UNET | changes)), accelerator)


def test_its_first_frame_is_the_networks_on_a_whole_clip(data, tmp_path, accelerator):
    trainer, world, _ = prepared(data, tmp_path, accelerator)
    randomized(world)
    samples = torch.arange(3)
    batch = make_batch(world, trainer.store.sample(0, samples, 3), 0, samples, 0)
    objective = trainer.objective
    assert isinstance(objective, InTurnObjective)
    previous = torch.cat((batch.latents[:, :1], batch.latents[:, :-1]), dim=1)
    with torch.no_grad():
        errors, head = objective.errors(batch)
        conditioning = objective.conditioning(batch)
        made, _ = world.denoiser(batch.noise, previous, batch.levels, conditioning)
    wrong = made - (batch.latents - previous)
    torch.testing.assert_close(errors[:, 2], wrong[:, 2].square().flatten(1).mean(-1))
    for each in (errors, head):
        assert (each[:, :2] == 0).all()
        assert (each[:, 2] > 0).all()


def test_further_ones_are_over_what_the_world_has_drawn(data, tmp_path, accelerator):
    """Targets that the world itself has drawn are met, to a clip's last frame."""
    trainer, world, _ = prepared(data, tmp_path, accelerator, change_threshold=0.0)
    with torch.no_grad():
        for name, weights in world.denoiser.named_parameters():
            if name.startswith("last."):
                weights.add_(0.03 * torch.randn_like(weights))
    samples = torch.arange(4)
    clips = trainer.store.sample(0, samples, 7)
    state = world.start(clips.frames[:, :2], clips.actions[:, 1:2], samples)
    recorded = make_batch(world, clips, 0, samples, 0)
    drawn = [recorded.latents[:, 0], recorded.latents[:, 1]]
    for t in range(2, 7):
        world.step_(state, clips.actions[:, t])
        drawn.append(state.latents.clone())
    own = dataclasses.replace(recorded, latents=torch.stack(drawn, dim=1))
    with torch.no_grad():
        met, missed = (trainer.objective.errors(batch)[0][:, 2:] for batch in (own, recorded))
    # What is beyond white or black is cut off where it is drawn.
    assert met.max() < 0.1 * missed.mean()


def test_rollouts_grow(data, tmp_path, accelerator):
    settings = {"max_steps": 10, "clip_frames": 7, "rollout_from": 0.3, "heads_from": 1.0}
    trainer, _, _ = prepared(data, tmp_path, accelerator, **settings)
    lengths = []
    for step in range(11):
        trainer.progress.step = step
        lengths.append(trainer._clip()[0])
    assert lengths == [3, 3, 3, 3, 3, 4, 5, 5, 6, 7, 7]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"motion_weight": 4.0}, "--network unet"),
        (UNET | {"self_rollout_from": 0.6}, "--self-rollout-from 1"),
    ],
)
def test_options_of_the_other_network_are_refused(data, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        config_for(data, tmp_path, **changes)


def test_motion_counts_more(data, tmp_path, accelerator):
    _, world, _ = prepared(data, tmp_path, accelerator)
    objective = InTurnObjective(world, motion_weight=3.0)
    wrong, motion = torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    wrong[..., 0] = 0.01
    still = objective._error(wrong, motion)
    assert still.shape == (2,)
    motion[1, ..., 0] = 0.5  # of the second clip alone
    counted = torch.tensor([1.0, 4.0])
    torch.testing.assert_close(objective._error(wrong, motion), counted * still)
    wrong[1] *= 10  # what is drawn that wrongly counts as what moves
    expected = counted * torch.tensor([1.0, 100.0]) * still
    torch.testing.assert_close(objective._error(wrong, torch.zeros_like(motion)), expected)


@pytest.mark.slow_suite
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")
def test_the_whole_command_writes_a_plain_world(data, tmp_path):
    config = config_for(data, tmp_path, **(UNET | {"max_steps": 4, "symmetric": True}))
    world = WorldModel.from_pretrained(main(config))
    assert world.config.states is None
    start = world.starts[0]
    state = world.start(start.frames[None], start.actions[None], [0])
    assert world.step_(state, start.actions[None, 0]).frame.shape == (1, 48, 48, 3)


@pytest.mark.slow_suite
def test_it_learns_to_move_a_square(data, tmp_path, accelerator):
    """The error of one batch, drawn over its own frames, falls."""
    trainer, world, _ = prepared(data, tmp_path, accelerator)
    samples = torch.arange(4)
    batch = make_batch(world, trainer.store.sample(0, samples, 4), 0, samples, 0)
    optimizer = torch.optim.AdamW(world.denoiser.parameters(), lr=1e-3)
    made = []
    for _ in range(15):
        loss = trainer.objective(batch).denoiser
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        made.append(loss.item())
    assert np.mean(made[-3:]) < 0.9 * np.mean(made[:3])


def test_a_resumed_run_goes_on_as_it_was(data, tmp_path, accelerator):
    trainer, _, _ = prepared(data, tmp_path, accelerator, symmetric=True)
    losses(trainer, 2)
    trainer.save_state(tmp_path / "state.pt")
    expected = losses(trainer, 2)
    again, _, _ = prepared(data, tmp_path, accelerator, symmetric=True)
    assert losses(again, 2) == expected


def test_turned_clips_obey_the_same_law(data, tmp_path, accelerator):
    """The square goes where its action says, four pixels at most, whichever way it is seen."""
    trainer, world, _ = prepared(data, tmp_path, accelerator)
    low, high = (-1.0, -1.0), (1.0, 1.0)
    place = dataclasses.replace(
        world.config.observations["place"], low=(0.0,) * 2, high=(40.0,) * 2
    )
    config = dataclasses.replace(
        world.config, action_low=low, action_high=high, observations={"place": place}
    )
    assert num_ways(config) == 8
    clips = trainer.store.clips(torch.tensor([2, 14]), 4)
    seen = set()
    for way in range(8):
        made = turned(clips, way, config)
        dark = (made.frames[..., 0] < 100).float()
        weight = dark.sum((2, 3))
        across = (dark.sum(2) * torch.arange(48)).sum(-1) / weight
        down = (dark.sum(3) * torch.arange(48)).sum(-1) / weight
        at = torch.stack((across, down), dim=-1)  # (B, T, 2)
        shown = at - 3.5
        torch.testing.assert_close(shown, made.states["place"], rtol=0, atol=1.01)
        meant = 4 * made.actions[:, 1:]
        inside = ((shown[:, 1:] > 1) & (shown[:, 1:] < 39)).all(-1)
        torch.testing.assert_close(at.diff(dim=1)[inside], meant[inside], rtol=0, atol=1.01)
        seen.add(tuple(made.actions[0, 1].tolist()))
    assert len(seen) == 8


def test_what_cannot_be_turned_is_refused(data, tmp_path, accelerator):
    _, world, _ = prepared(data, tmp_path, accelerator)
    config = dataclasses.replace(world.config, action_low=(-1.0,) * 3, action_high=(1.0,) * 3)
    with pytest.raises(ValueError, match="the action of 3: leave it out"):
        num_ways(config)
    assert [-x for x in world.config.action_low] != [*world.config.action_high]
    _, symmetric, _ = prepared(data, tmp_path, accelerator, symmetric=True)
    assert [-x for x in symmetric.config.action_low] == [*symmetric.config.action_high]
    moves = dataclasses.replace(world.config, action_low=(-0.8, -1.0), action_high=(1.0, 1.0))
    with pytest.raises(ValueError, match="the action about the middle .* leave --symmetric out"):
        num_ways(moves)
    oblong = dataclasses.replace(symmetric.config, width=96)
    assert num_ways(oblong) == 4


def test_clips_in_which_much_moves_are_drawn_more_often(tmp_path):
    """Without hidden states to say what moves, the pictures do."""
    frames = np.full((40, 16, 16, 3), 255, np.uint8)
    for t in range(40):  # a pixel moves in all of them, a block only in the last ten
        frames[t, 0, t % 16] = 0
        if t >= 30:
            frames[t, 4 : 4 + (t % 2) * 8] = 0
    episode = Episode(
        episode_id="000000",
        frames=frames,
        actions=np.zeros((39, 1), np.float32),
        rewards=np.zeros(39),
        terminated=np.zeros(39, bool),
        states={},
        hidden={},
        seed=0,
        env_id="NoSuch-v0",
        policy="none",
        fps=10.0,
    )
    write_episode(tmp_path, "train", episode)
    counts = torch.bincount(ClipStore(tmp_path, "train").clip_starts, minlength=40)
    assert counts[:24].tolist() == [1] * 24
    assert counts[30:39].tolist() == [9] * 9
    assert counts[39] == 0

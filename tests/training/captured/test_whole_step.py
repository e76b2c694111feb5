"""Optimizer steps as one function: what they compute, and that no step waits for the device."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import NEEDS_GPU, TINY_CONFIG, randomized, with_states
from tests.training.recorded import episode
from tests.world_model.runtime.test_captured_steps import Asynchronous
from training.captured.device_store import DeviceStore, StoreShape
from training.captured.objective import CapturedObjective, ClipLoss, Rollouts
from training.captured.trainer import block_matrices
from training.captured.whole_step import BETAS, Launcher, MuonAndAdamW, WholeStep
from world_model import StreamingWorld
from world_model.streaming.states.config import PlanarConfig

# A world that sees what the robot observes of itself, and nothing hidden.
CONFIG = with_states(
    TINY_CONFIG, hidden={}, planar=PlanarConfig(action=True, points=("agent_pos",))
)
ROLLED = Rollouts(share=1 / 2, rounds=2, smeared=True)


class Toy:
    """A small network, and a loss that is the same in every step."""

    def __init__(self, **settings: Any):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
        self.x, self.y = torch.randn(16, 3), 30 * torch.randn(16, 2)
        matrices = [self.network[0].weight] if settings.get("optimizer") == "muon" else ()
        parameters = list(self.network.parameters())
        self.step = WholeStep(parameters, self.loss, matrices=matrices, **settings)

    def loss(self):
        loss = (self.network(self.x) - self.y).square().mean()
        return loss, {"half": loss.detach() / 2}


def test_a_step_clips_steps_and_averages():
    toy, plain = Toy(clip_norm=0.5), Toy()
    parameters = list(plain.network.parameters())
    average = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=1.0, betas=BETAS, weight_decay=0.0)
    for rate, ema in ((0.1, 0.5), (0.02, 0.9), (0.05, 0.9)):
        toy.step.set(rate, ema)
        shown = toy.step()
        loss, _ = plain.loss()
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, 0.5)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        with torch.no_grad():
            for mean, parameter in zip(average, parameters, strict=True):
                mean.lerp_(parameter, 1 - ema)
        assert shown["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
        assert shown["half"].item() == pytest.approx(loss.item() / 2, rel=1e-5)
        assert shown["gradient_norm"].item() == pytest.approx(norm.item(), rel=1e-5)
    for made, expected in zip(toy.step.parameters, parameters, strict=True):
        torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-6)
    for made, expected in zip(toy.step.average, average, strict=True):
        torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-6)


def test_muon_has_the_rate_that_is_on_the_device():
    toy, plain = Toy(optimizer="muon"), Toy()
    matrix = plain.network[0].weight
    muon = torch.optim.Muon(
        [matrix], lr=1.0, momentum=0.95, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
    )
    others = [p for p in plain.network.parameters() if p is not matrix]
    optimizer = torch.optim.AdamW(others, lr=1.0, betas=BETAS, weight_decay=0.0)
    for rate in (0.1, 0.01, 0.03):
        toy.step.set(rate, 0.9)
        toy.step()
        plain.network.zero_grad()
        plain.loss()[0].backward()
        nn.utils.clip_grad_norm_(plain.network.parameters(), 1.0)
        for chosen in (muon, optimizer):
            chosen.param_groups[0]["lr"] = rate
            chosen.step()
    for made, expected in zip(toy.step.parameters, plain.network.parameters(), strict=True):
        torch.testing.assert_close(made, expected, rtol=1e-3, atol=1e-5)


def test_matrices_of_others_are_refused():
    toy = Toy()
    with pytest.raises(ValueError, match=r"1 matrices for Muon, 0 of them among the 4"):
        MuonAndAdamW(toy.step.parameters, [nn.Parameter(torch.zeros(2, 2))], toy.step.rate)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_goes_on_from_its_state(optimizer):
    one, other = Toy(optimizer=optimizer), Toy(optimizer=optimizer)
    one.step.set(0.05, 0.9)
    one.step()
    state = copy.deepcopy(one.step.state_dict())
    other.network.load_state_dict(one.network.state_dict())
    other.step.load_state_dict(state)
    for toy in (one, other):
        toy.step.set(0.02, 0.9)  # by the rate of its own, not by the one that was saved
        toy.step()
    for made, expected in zip(other.step.parameters, one.step.parameters, strict=True):
        torch.testing.assert_close(made, expected, rtol=0, atol=0)


def clip_loss(device: str, rollouts: Rollouts = ROLLED, autocast: bool = False) -> ClipLoss:
    """Of a tiny world and episodes of noise."""
    episodes = [episode(seed, 12, size=96) for seed in range(3)]
    place = torch.device(device, 0) if device == "cuda" else torch.device(device)
    store = DeviceStore(StoreShape.of(episodes[0], 60), place)
    for arrays in episodes:
        store.append(arrays)
    world = randomized(StreamingWorld.create(CONFIG)).to(place)
    assert isinstance(world, StreamingWorld)
    objective = CapturedObjective(world, edge_weight=0.25, absolute_weight=0.1)
    objective.rollouts = rollouts
    return ClipLoss(world, store, objective, seed=3, num_clips=4, num_frames=7, autocast=autocast)


def whole(clips: ClipLoss, optimizer: Any = "adamw") -> WholeStep:
    matrices = block_matrices(clips.world) if optimizer == "muon" else ()
    parameters = [p for p in clips.objective.parameters() if p.requires_grad]
    step = WholeStep(parameters, clips.drawing, optimizer=optimizer, matrices=matrices)
    step.set(1e-3, 0.9)
    return step


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("rollouts", [Rollouts(), ROLLED])
def test_a_whole_optimizer_step_asks_nothing_of_the_host(rollouts, autocast):
    clips = clip_loss("cpu", rollouts, autocast)
    step = whole(clips)
    # Fused kernels of the processor read the rate, those of a GPU do not.
    step.optimizer.step = lambda: None
    step()  # constants that are kept are made once
    with Asynchronous():
        shown = step()
        clips.head()
    assert all(value.isfinite() for value in shown.values())
    assert clips.count == 3
    assert all(p.grad is not None for p in step.parameters)


def test_muon_asks_nothing_of_the_host():
    step = whole(clip_loss("cpu"), "muon")
    step()
    step.optimizer.adamw.step = lambda: None
    with Asynchronous():
        step.optimizer.step()


def test_the_clips_differ_from_step_to_step_and_their_losses_are_kept():
    clips = clip_loss("cpu")
    assert clips.store.losses.isinf().all()
    losses = {clips.drawing()[0].item() for _ in range(3)}
    assert len(losses) == 3
    assert clips.store.losses.isfinite().sum() >= 3


def test_what_is_not_rolled_is_recorded():
    clips = clip_loss("cpu", Rollouts(share=0.5, rounds=1))
    _, batch = clips._next()
    conditioning = clips.objective.conditioning(batch, batch.wanted)
    previous = clips.objective.roll(batch, conditioning)
    recorded = CapturedObjective(clips.world).roll(batch, conditioning)
    assert torch.equal(previous[2:], recorded[2:])
    assert not torch.equal(previous[:2], recorded[:2])
    # The clip's first frame is given, and so is what is before its second.
    assert torch.equal(previous[:2, :2], recorded[:2, :2])


def test_one_round_is_what_the_plain_objective_rolls():
    from training.streaming.objective import StreamingObjective

    clips = clip_loss("cpu", Rollouts(share=1.0, rounds=2))
    _, batch = clips._next()
    conditioning = clips.objective.conditioning(batch, batch.wanted)
    deep = dataclasses.replace(batch, rounds=torch.full_like(batch.rounds, 2))
    expected = StreamingObjective(clips.world).roll(deep, conditioning)
    torch.testing.assert_close(clips.objective.roll(batch, conditioning), expected)


def test_a_processor_captures_nothing():
    step = whole(clip_loss("cpu"))
    with pytest.raises(ValueError, match="cannot be captured"):
        Launcher(step, captured=True)
    launch = Launcher(step)
    assert launch()["loss"].isfinite()
    assert launch.pool is None


class TestOnGpu:
    pytestmark = NEEDS_GPU

    @pytest.mark.parametrize("optimizer", ["adamw", "muon"])
    @pytest.mark.parametrize("autocast", [False, True])
    @pytest.mark.parametrize("rollouts", [Rollouts(), ROLLED])
    def test_a_captured_optimizer_step_is_the_eager_one(self, rollouts, autocast, optimizer):
        losses = {}
        for captured in (True, False):
            clips = clip_loss("cuda", rollouts, autocast)
            step = whole(clips, optimizer)
            launch = Launcher(step, captured=captured)
            losses[captured] = []
            for number in range(10):
                step.set(1e-3 / (1 + number), 0.9)  # the graph sees rates that change
                losses[captured].append(launch()["loss"].item())
            assert clips.count.item() == 10  # each launch was one step
            assert (launch.pool is not None) is captured
        assert losses[True] == pytest.approx(losses[False], rel=2e-2 if autocast else 1e-3)

    def test_a_new_phase_is_captured_anew_and_goes_on(self):
        clips = clip_loss("cuda", Rollouts(), autocast=True)
        step = whole(clips)
        for rollouts in (Rollouts(), ROLLED):
            clips.objective.rollouts = rollouts
            launch = Launcher(step)
            shown = [launch()["loss"].item() for _ in range(6)]
            assert all(loss == loss for loss in shown)
            assert len(set(shown)) == 6
        assert clips.count.item() == 12

    def test_episodes_that_come_after_the_capture_are_trained_on(self):
        clips = clip_loss("cuda", Rollouts())
        launch = Launcher(whole(clips))
        for _ in range(5):
            launch()
        assert clips.store.append(episode(9, 12, size=96))
        for _ in range(40):
            launch()
        assert clips.store.losses[39 : 39 + 12].isfinite().any()

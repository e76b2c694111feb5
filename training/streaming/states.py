"""The first phase of training a world with states: the networks that need at most one frame.

Small networks learn at once: the dynamics (the next states from the control, over several steps of
self-rollout), the estimator (the states from one frame), the reward model (reward and end from the
states) and, where a proxy has one, the robot's layer (how it looks by its observation). Last the
sprites of a proxy are fitted (sprites.py). They go through far more data in a minute than the
denoiser does; the later phases leave them as they are.

Dimensions: B clips, D depth in steps, S components of all states, A action.
"""

import time

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from training.data.clips import ClipStore
from training.run.config import seconds
from training.run.directory import STATES, STATES_STATE
from training.run.loop import resume, train_until, trained_once
from training.run.resumable import ResumableTrainer
from training.streaming.config import TrainConfig
from training.streaming.objective import scaled_states
from training.streaming.sprites import fit_sprites
from training.streaming.symmetries import Symmetries, symmetries_of
from world_model import StreamingWorld
from world_model.frames import frames_to_pixels
from world_model.runtime.counter_rng import counted_index, counted_noise, counted_uniform
from world_model.streaming.states.conditioner import (
    UNSURE_SCALE,
    StateConditioner,
    join_controls,
)

# Clips, frames and rewarded states a step, and pictures for the robot's layer.
CLIPS, FRAMES, REWARDED, PICTURES = 512, 64, 1024, 32
# Steps of the reward model for each of the others: it costs a twentieth of theirs and learns last.
REWARD_STEPS = 8
# Largest norm of the gradient of each network.
CLIP_NORM = 1.0
# Weight of the error of the robot's layer.
ROBOT_WEIGHT = 20.0
# Longest self-rollout in steps: one at first, these from the middle of the phase on. Long ones from
# the start diverged on small data.
DEPTH = 6
# Learning rate; a quarter of it where training continues from a world (--init).
RATE = 2e-3
# Streams of the counted numbers of one step's samples.
CLIP, UNSURE, SHARE, FRAME, REWARD, DISPLACEMENT, SYMMETRY, PICTURE = range(21, 29)
# Largest standard deviation of the displacement that refinement begins with in training.
MOST_DISPLACED = 0.06
# Errors count in units of a twentieth of a state's half range, and linearly past a tenth of that.
UNITS, LINEAR_FROM = 20.0, 0.1
# A body moves whose pose changes by more than this within a step (a state's range is 2).
MOVES, MOVES_WEIGHT = 1e-4, 0.05


def prepare_states(
    world: StreamingWorld, store: ClipStore, config: TrainConfig, accelerator: Accelerator
) -> None:
    """Train them once, by one process, and keep them beside the run for all and for a resume."""
    modules = world.conditioner.trained_first()
    if not modules:
        return
    together = nn.ModuleDict(modules)

    def train() -> dict[str, Tensor]:
        train_states(world, store, config, accelerator)
        return together.state_dict()

    state = config.out / StatesTrainer.state_name
    kept = trained_once(config.out / STATES, state, accelerator, train)
    part = "conditioner."  # a run begun by an older version has older names
    names = {name: world.current_name(part + name).removeprefix(part) for name in kept}
    weights = {names[name]: tensor for name, tensor in kept.items()}
    mine = {name: tensor.shape for name, tensor in together.state_dict().items()}
    if mine != {name: tensor.shape for name, tensor in weights.items()}:
        raise ValueError(
            f"{config.out / STATES} is of another model than this version trains; choose another "
            "--out, or delete it to train that phase anew"
        )
    together.load_state_dict(weights)


def train_states(
    world: StreamingWorld, store: ClipStore, config: TrainConfig, accelerator: Accelerator
) -> None:
    """Train in place: a share of the budget, or `max_steps` steps where steps are counted."""
    trainer = StatesTrainer(world, store, config, accelerator)
    resume(trainer, config.out)
    names = {"dynamics": "dynamics", "estimator": "estimator", "reward": "reward"}
    trained, proxy = world.conditioner.trained_first(), conditioner_of(world).proxy
    if proxy is not None and proxy.robot_layer is not None:
        names["proxy"] = "robot"
    shown = tuple(f"states/{name}" for module, name in names.items() if module in trained)
    train_until(1.0, trainer, config, name="states", shown=shown)
    means = ", ".join(
        f"{name.rpartition('/')[2]} {trainer.recent(name) or 0:.4f}" for name in shown
    )
    print(f"states: {trainer.progress.step} steps; {means}")
    if proxy is not None:
        before, after = fit_sprites(world, proxy, store, trainer.states, config.seed)
        print(f"proxy: frames are {127.5 * after:.2f} grey levels off, {127.5 * before:.2f} before")


class StatesTrainer(ResumableTrainer):
    """Trains dynamics, estimator and reward model on states and single frames from a store."""

    state_name = STATES_STATE
    report_every = 20  # each time asks the device for its numbers

    def __init__(
        self, world: StreamingWorld, store: ClipStore, config: TrainConfig, accelerator: Accelerator
    ):
        self.rate = RATE if config.init is None else RATE / 4
        modules = nn.ModuleDict(world.conditioner.trained_first()).requires_grad_(True)
        super().__init__(modules, accelerator, rate=self.rate, betas=(0.9, 0.98), alone=True)
        self.networks = list(modules.values())
        self.world, self.store, self.config = world, store, config
        scaled = scaled_states(world, store.states)
        self.states = torch.cat([scaled[name] for name in world.config.tracked], dim=-1)  # (F, S)
        self.actions = world.scale_actions(store.actions)
        if config.init is None:
            fit_law(world, store, self.states, self.actions)
        self.symmetries = None
        if config.symmetric:
            self.symmetries = symmetries_of(conditioner_of(world)).to(self.states.device)
            print(f"dynamics: each step counts as {len(self.symmetries)}, turned and mirrored")

    def fraction(self) -> float:
        """See `ResumableTrainer.share_done`."""
        config = self.config
        return self.share_done(config.max_steps, config.states_share * seconds(config.budget))

    def train_step(self) -> dict[str, float]:
        """One optimizer step; now and then its losses."""
        begin, fraction, step = time.perf_counter(), self.fraction(), self.progress.step
        rise, fall = min(1.0, (step + 1) / 100), max(0.02, min(1, 1.4 * (1 - fraction)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * rise * fall
        world, store, seed = self.world, self.store, self.config.seed
        depth = depth_at(fraction)
        rewards = self._train_reward()
        losses = {
            "states/dynamics": dynamics_loss(
                world,
                store,
                self.states,
                self.actions,
                seed,
                step,
                depth=depth,
                symmetries=self.symmetries,
            ),
        }
        with_pictures = step % self.config.dynamics_steps == 0
        if with_pictures:
            with self.accelerator.autocast():
                losses["states/estimator"] = estimator_loss(world, store, self.states, seed, step)
                losses["states/robot"] = robot_loss(world, store, self.states, seed, step)
        self.accelerator.backward(torch.stack(list(losses.values())).sum())
        self.apply_gradients()
        figures = {}
        if with_pictures and step % self.report_every == 0:
            figures = {name: loss.item() for name, loss in losses.items()}
            figures["states/reward"] = rewards.item()
        frames = CLIPS * depth + REWARDED * REWARD_STEPS + FRAMES * with_pictures
        return self.count_step(begin, frames, figures)

    def apply_gradients(self) -> Tensor:
        """See `ResumableTrainer`; each network's gradient is clipped apart, as they share nothing:
        where one is steep the others go on learning."""
        for network in self.networks:
            self.accelerator.clip_grad_norm_(network.parameters(), CLIP_NORM)
        return super().apply_gradients()

    def _train_reward(self) -> Tensor:
        """Several optimizer steps of the reward model alone; the loss of the last."""
        loss = self.states.new_zeros(())
        if conditioner_of(self.world).reward is None:
            return loss
        for number in range(
            self.progress.step * REWARD_STEPS, (self.progress.step + 1) * REWARD_STEPS
        ):
            loss = reward_loss(self.world, self.store, self.states, self.config.seed, number)
            self.accelerator.backward(loss)
            self.apply_gradients()
        return loss.detach()


def fit_law(world: StreamingWorld, store: ClipStore, states: Tensor, actions: Tensor) -> None:
    """Begin the dynamics of `world` with the linear law that fits all recorded steps best; see
    `dynamics_loss` for the states and actions."""
    begins = store.clip_starts.unique()
    index, valid, before = store.window(begins, 2)
    first = before == begins
    earlier, last = states[before], torch.where(first[:, None], torch.nan, actions[begins])
    controls = join_controls(actions[index[:, 1]], last, states[begins], earlier)
    following = states[index[:, 1]]
    known = valid.all(1)
    conditioner_of(world).dynamics.fit_law(controls[known], following[known])


def dynamics_loss(
    world: StreamingWorld,
    store: ClipStore,
    states: Tensor,
    actions: Tensor,
    seed: int,
    step: int,
    *,
    depth: int = DEPTH,
    symmetries: Symmetries | None = None,
) -> Tensor:
    """Mean error of predictions up to `depth` steps ahead, each from the one before it.

    Args:
        world: Whose dynamics.
        store: Where clips begin.
        states: Of all frames, scaled, (F, S).
        actions: That led to all frames, scaled, (F, A).
        seed, step: Fix the clips.
        depth: Steps.
        symmetries: Of the scene; each clip is seen by one of them.
    """
    samples, seeds = numbered(step, CLIPS, seed, states.device)
    begins = store.clip_starts[counted_index(seeds, samples, len(store.clip_starts), stream=CLIP)]
    index, valid, before = store.window(begins, depth + 1)
    wanted, led = states[index], actions[index]  # (B, 1 + D, S), (B, 1 + D, A)
    first, earlier, last = before == begins, states[before], actions[begins]
    if symmetries is not None:
        kind = counted_index(seeds, samples, len(symmetries), stream=SYMMETRY)
        on_states, on_actions = symmetries.states[kind].mT, symmetries.actions[kind].mT
        wanted, led = wanted @ on_states, led @ on_actions
        earlier, last = (earlier[:, None] @ on_states)[:, 0], (last[:, None] @ on_actions)[:, 0]
    # States estimated from a frame are not exact: neither are these.
    unsure = UNSURE_SCALE * counted_uniform(seeds, samples, (1, 1), stream=SHARE)
    noise = unsure * counted_noise(seeds, samples, (2, states.shape[1]), stream=UNSURE)
    now = wanted[:, 0] + noise[:, 0]
    earlier = torch.where(first[:, None], now, earlier + noise[:, 1])
    last = torch.where(first[:, None], torch.nan, last)
    total = states.new_zeros(())
    for t in range(1, depth + 1):
        action = led[:, t]
        controls = join_controls(action, last, now, earlier)
        guess, moves = conditioner_of(world).dynamics.predict(controls)
        error = smooth_error(guess, wanted[:, t]).mean(-1)
        error = error + moves_error(world, moves, wanted[:, t] - wanted[:, t - 1])
        total = total + (error * valid[:, t]).sum()
        # As in a rollout; each step learns to lead back from where those before it have led, and
        # not through them (Brandstetter et al., arXiv 2202.03376): contacts are too steep for that.
        now, earlier, last = guess.detach().clamp(-1, 1), now, action
    return total / valid[:, 1:].sum().clamp(min=1)


def moves_error(world: StreamingWorld, moves: Tensor, change: Tensor) -> Tensor:
    """Error of the logits (B, P) of whether bodies move, where states changed by (B, S): (B,)."""
    error = moves.new_zeros(len(moves))
    for body, part in enumerate(conditioner_of(world).plane.poses):
        moved = (change[:, part].abs() > MOVES).any(-1).to(moves.dtype)
        error = error + F.binary_cross_entropy_with_logits(moves[:, body], moved, reduction="none")
    return MOVES_WEIGHT * error


def depth_at(fraction: float) -> int:
    """Length of a self-rollout when a share of the phase is done."""
    return 1 + min(DEPTH - 1, int(2 * fraction * DEPTH))


def estimator_loss(
    world: StreamingWorld, store: ClipStore, states: Tensor, seed: int, step: int
) -> Tensor:
    """Mean error of the states estimated from single frames, over all refinement iterations."""
    samples, seeds = numbered(step, FRAMES, seed, states.device)
    pick = store.labelled[counted_index(seeds, samples, len(store.labelled), stream=FRAME)]
    with torch.no_grad():
        latents = world.codec.encode(frames_to_pixels(store.frames[pick]))
    # On frames that it was trained on it is more exact than on others, so refinement begins from a
    # displaced estimate.
    displaced = MOST_DISPLACED * counted_uniform(seeds, samples, (1,), stream=DISPLACEMENT).square()
    displaced = displaced * counted_noise(seeds, samples, states.shape[1:], stream=DISPLACEMENT)
    estimator = conditioner_of(world).estimator
    estimates = estimator.estimates(latents, displaced)
    errors = [smooth_error(one, states[pick]).mean() for one in estimates.states]
    if estimates.places.numel():
        seen = estimator.places_in_picture(states[pick])
        errors.append(smooth_error(estimates.places, seen).mean())
    return torch.stack(errors).mean()


def robot_loss(
    world: StreamingWorld, store: ClipStore, states: Tensor, seed: int, step: int
) -> Tensor:
    """Error of the proxy at the true states, for its robot's layer to learn from: square, by which
    a robot that covers little of the picture is found, and absolute, which edges are sharp by."""
    proxy = conditioner_of(world).proxy
    if proxy is None or proxy.robot_layer is None:
        return states.new_zeros(())
    samples, seeds = numbered(step, PICTURES, seed, states.device)
    pick = store.labelled[counted_index(seeds, samples, len(store.labelled), stream=PICTURE)]
    with torch.no_grad():
        true, behind = frames_to_pixels(store.frames[pick]), proxy.of_bodies(states[pick])
    made = proxy.robot_layer(behind, states[pick, : proxy.num_observed])
    error = made - true
    return ROBOT_WEIGHT * (error.square() + 0.2 * error.abs()).mean()


def reward_loss(
    world: StreamingWorld, store: ClipStore, states: Tensor, seed: int, step: int
) -> Tensor:
    """Mean error of the reward and end that the reward model gives for the true states."""
    config, reward_model = world.config, conditioner_of(world).reward
    if reward_model is None:
        return states.new_zeros(())
    samples, seeds = numbered(step, REWARDED, seed, states.device)
    pick = store.labelled[counted_index(seeds, samples, len(store.labelled), stream=REWARD)]
    before = store.window(pick, 1)[2]
    reward, end = reward_model(states[pick], states[before]).unbind(-1)
    known = ~store.rewards[pick].isnan() & store.known[before]
    scale = 0.05 * (config.reward_high - config.reward_low)
    wanted = torch.where(known, store.rewards[pick], 0.0)
    loss = F.smooth_l1_loss(reward / scale, wanted / scale, reduction="none", beta=LINEAR_FROM)
    ends = F.binary_cross_entropy_with_logits(end, store.ended[pick].float(), reduction="none")
    return ((loss + 10 * ends) * known).sum() / known.sum().clamp(min=1)


def smooth_error(guess: Tensor, wanted: Tensor) -> Tensor:
    """Errors of scaled states, componentwise."""
    return F.smooth_l1_loss(UNITS * guess, UNITS * wanted, reduction="none", beta=LINEAR_FROM)


def numbered(step: int, count: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Numbers of a step's samples, and the seed for each: int64 (count,)."""
    samples = torch.arange(step * count, (step + 1) * count, device=device)
    return samples, torch.full_like(samples, seed)


def conditioner_of(world: StreamingWorld) -> StateConditioner:
    """The conditioner of a world that predicts states."""
    conditioner = world.conditioner
    assert isinstance(conditioner, StateConditioner)
    return conditioner

"""The anchored engine's world: states by a linear law, each frame painted from where it began.

A step goes from `step_` to `predict`: the robot's next states follow from its last actions
(dynamics.py), and a frame is painted for them from the anchor, the frame at which the episode
began (painter.py). No drawn frame is ever looked at again, so an episode may last as long as one
likes. What a world can know is what the anchor shows and the states tell: things that are moved
and left elsewhere are remembered only as far as states tell of them.

Dimensions: B environments, K candidates, H horizon, A action, S components of all states, L lags.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from world_model.anchored.config import AnchoredConfig
from world_model.anchored.dynamics import LinearDynamics
from world_model.anchored.estimator import StateEstimator
from world_model.anchored.painter import Painter, Sketch
from world_model.anchored.state import AnchoredState
from world_model.frames import frames_to_pixels, pixels_to_frames
from world_model.io.starts import Starts
from world_model.runtime.captured_steps import CapturedSteps
from world_model.runtime.precision import Precision, in_own_precision
from world_model.state import RolloutOutput, StepOutput
from world_model.world import WorldModel


class AnchoredWorld(WorldModel):
    """A world with a painter, and a head that reads reward and end from what it has computed."""

    config: AnchoredConfig
    stored_dtype = torch.float16
    precision: Precision = "float32"
    """float32: strict, convolutions too. bf16: the painter in bfloat16, but for its blends. May be
    changed between steps."""
    action_middle: Tensor
    action_half: Tensor
    state_low: Tensor
    state_high: Tensor

    def __init__(self, config: AnchoredConfig, starts: Starts | None = None):
        super().__init__(config, starts)
        self.dynamics = LinearDynamics(config)
        self.estimator = StateEstimator(config)
        self.painter = Painter(config)
        seen = config.state_dim + 4 * config.painter.channels
        layers = (nn.Linear(seen, 128), nn.SiLU(), nn.Linear(128, 2)) if config.reward_head else ()
        self.head = nn.Sequential(*layers)
        low, high = torch.tensor(config.action_low), torch.tensor(config.action_high)
        self.register_buffer("action_middle", (high + low) / 2, persistent=False)
        self.register_buffer("action_half", (high - low) / 2, persistent=False)
        bounds = config.observations.values()
        for name, ends in (("low", [b.low for b in bounds]), ("high", [b.high for b in bounds])):
            joined = torch.tensor([end for part in ends for end in part])
            self.register_buffer(f"state_{name}", joined, persistent=False)
        self.weights_changed()

    @property
    def device(self) -> torch.device:
        return self.painter.position.device

    @torch.inference_mode(False)  # a state can be reset outside of a caller's inference mode
    @in_own_precision
    def start(
        self,
        frames: np.ndarray | Tensor,
        actions: np.ndarray | Tensor,
        seeds: Sequence[int] | np.ndarray | Tensor,
        observations: Mapping[str, np.ndarray | Tensor] | None = None,
    ) -> AnchoredState:
        """See `WorldModel.start`; the last frame becomes the anchor, of those before it only the
        states and the actions matter."""
        frames, actions, seeds, given = self._check_clips(frames, actions, seeds, observations)
        config = self.config
        last = frames[:, -2:]
        known = self.known_states(given, frames.shape[:2])[:, -2:]
        if known.isnan().any():
            read = self.estimator(frames_to_pixels(last.flatten(0, 1)))
            known = torch.where(known.isnan(), read.unflatten(0, last.shape[:2]), known)
        known = known.clamp(-1, 1)
        now, before = known[:, -1], known[:, 0]
        actions = self.scale_actions(actions)
        history = actions.new_zeros(len(now), config.lags, config.action_dim)
        if actions.shape[1]:
            # What the law says of a robot that rested before the first action that is known.
            history[:] = actions[:, :1]
            lawful = earlier = self.dynamics.at_rest(actions[:, 0])
            for t in range(actions.shape[1]):
                history = torch.cat((actions[:, t : t + 1], history[:, :-1]), dim=1)
                following = self.dynamics(lawful, earlier, history)
                lawful, earlier = following, lawful
            now = self.dynamics.agreed(now, lawful)
            before = self.dynamics.agreed(before, earlier)
        acted = torch.full((len(now),), bool(actions.shape[1]), device=self.device)
        anchor = frames_to_pixels(frames[:, -1])
        shown = now * self.dynamics.explained
        sketch = self._painter().sketch(anchor, shown, shown)
        return AnchoredState(
            latents=anchor.clone(),
            seeds=seeds,
            steps=torch.zeros_like(seeds),
            output=self._output(self._shown(frames[:, -1].clone(), now, sketch)),
            anchor=anchor,
            anchor_states=now.clone(),
            now=now.clone(),
            before=before.clone(),
            actions=history,
            acted=acted,
        )

    @torch.no_grad()
    def step_(self, state: AnchoredState, action: np.ndarray | Tensor) -> StepOutput:
        """See `WorldModel.step_`."""
        action = self._check_actions(action, (len(state),))
        state.output = self._output(self._run(state, action, frames=True))
        return state.output

    @torch.no_grad()
    def rollout(
        self,
        state: AnchoredState,
        actions: np.ndarray | Tensor,
        *,
        return_frames: bool = False,
        share_noise: bool = True,
    ) -> RolloutOutput:
        """See `WorldModel.rollout`; the world takes no noise, shared or not. Frames are painted
        only where they are asked for, or a reward is read off them."""
        rows, actions, shape = self._check_candidates(state, actions)
        state = state.select(rows)
        made = [
            self._run(state, actions[:, h], frames=return_frames) for h in range(actions.shape[1])
        ]
        joined = {
            name: torch.stack([shown[name] for shown in made], 1).unflatten(0, shape)
            for name in made[0]
        }
        return RolloutOutput(
            reward=joined["reward"],
            terminated=joined["terminated"],
            frames=joined.get("frame"),
            states=self._named(joined["states"]),
        )

    def predict(self, state: AnchoredState, action: Tensor, *, frames: bool) -> dict[str, Tensor]:
        """One step, in place; the same whether it is captured or not.

        Args:
            state: B environments; its tensors are overwritten, none is replaced.
            action: float32 (B, A), in the environment's own units, on the world's device.
            frames: Paint the frame too.

        Returns:
            `reward` float32 (B,), `terminated` bool (B,), `states` float32 (B, S) in the
            environment's own units, and with `frames` also `frame` uint8 (B, H, W, 3).
        """
        action = self.scale_actions(action)
        self._take_first(state, action)
        state.actions.copy_(torch.cat((action[:, None], state.actions[:, :-1]), dim=1))
        following = self.dynamics(state.now, state.before, state.actions)
        state.before.copy_(state.now)
        state.now.copy_(following)
        state.steps.add_(1)
        frame, sketch = None, None
        if frames or self.config.reward_head:
            painter = self._painter()
            explained = self.dynamics.explained  # the rest would be noise to the painter
            states = (state.anchor_states * explained, state.now * explained)
            sketch = painter.sketch(state.anchor, *states)
            if frames:
                painted = painter.refined(sketch, state.anchor).frame
                state.latents.copy_(self.codec.settle(painted))
                frame = pixels_to_frames(state.latents)
        return self._shown(frame, state.now, sketch)

    def _take_first(self, state: AnchoredState, action: Tensor) -> None:
        """Where no action is known yet the first one, (B, A), says what came before: a robot that
        rests where it leads to."""
        first = ~state.acted
        state.actions.copy_(torch.where(first[:, None, None], action[:, None], state.actions))
        lawful = self.dynamics.agreed(state.now, self.dynamics.at_rest(action))
        for known in (state.anchor_states, state.now, state.before):
            known.copy_(torch.where(first[:, None], lawful, known))
        state.acted.fill_(True)

    def read_reward(self, states: Tensor, pooled: Tensor) -> Tensor:
        """Reward and logit of the end, (B, 2), from states (B, S) and `Sketch.pooled`."""
        return self.head(torch.cat((states, pooled), dim=1))

    def scale_actions(self, actions: Tensor) -> Tensor:
        """Actions (..., A) from the environment's units to [-1, 1]."""
        return (actions.to(self.device) - self.action_middle) / self.action_half

    def known_states(self, given: Mapping[str, Tensor], leading: tuple[int, ...]) -> Tensor:
        """Observations by name (..., n) as states (..., S) within [-1, 1]; NaN where none is
        given."""
        known = self.state_low.new_full((*leading, self.config.state_dim), torch.nan)
        for name, part in self._named(known).items():
            if name in given:
                part.copy_(given[name])
        return 2 * (known - self.state_low) / (self.state_high - self.state_low) - 1

    @in_own_precision
    def _run(self, state: AnchoredState, action: Tensor, *, frames: bool) -> dict[str, Tensor]:
        """`predict`, through a graph where the world captures; tensors of their own."""
        if not self.captures:
            return self.predict(state, action, frames=frames)
        if self._graphs is None:
            self._graphs = CapturedSteps(self.predict)
        return self._graphs(state, action, frames=frames, setting=self.precision)

    def _painter(self) -> Painter:
        """The painter in the world's precision."""
        if self.precision not in get_args(Precision):
            raise ValueError(
                f"precision is {self.precision!r}, expected one of {', '.join(get_args(Precision))}"
            )
        if self.precision == "float32":
            return self.painter
        if self._narrow is None:
            self._narrow = (copy.deepcopy(self.painter).bfloat16().eval(),)  # no module of ours
        return self._narrow[0]

    def weights_changed(self) -> None:
        """See `WorldModel.weights_changed`."""
        self._narrow: tuple[Painter] | None = None
        self._graphs: Callable[..., dict[str, Tensor]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Of pickles and copies, which cannot hold graphs."""
        return self.__dict__ | {"_narrow": None, "_graphs": None}

    def _shown(
        self, frame: Tensor | None, states: Tensor, sketch: Sketch | None
    ) -> dict[str, Tensor]:
        """What a step hands out, as `predict` says."""
        config = self.config
        if config.reward_head and sketch is not None:
            reward, end = self.read_reward(states, sketch.pooled).unbind(-1)
            reward = reward.clamp(config.reward_low, config.reward_high)
            terminated = end.sigmoid() > config.termination_threshold
        else:
            reward = torch.zeros(len(states), device=self.device)
            terminated = torch.zeros_like(reward, dtype=torch.bool)
        span = self.state_high - self.state_low
        shown = {
            "reward": reward,
            "terminated": terminated,
            "states": self.state_low + (states + 1) / 2 * span,
        }
        return shown if frame is None else shown | {"frame": frame}

    def _output(self, shown: dict[str, Tensor]) -> StepOutput:
        return StepOutput(
            frame=shown["frame"],
            reward=shown["reward"],
            terminated=shown["terminated"],
            states=self._named(shown["states"]),
        )

    def _named(self, states: Tensor) -> dict[str, Tensor]:
        """States (..., S) by name (..., n)."""
        sizes = {name: len(bounds.low) for name, bounds in self.config.observations.items()}
        return dict(zip(sizes, states.split(list(sizes.values()), dim=-1), strict=True))

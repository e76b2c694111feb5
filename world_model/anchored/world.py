"""The anchored engine's world: states by a linear law, each frame painted from where it began.

A step goes from `step_` to `predict`: the robot's next states follow from its last actions
(dynamics.py), and a frame is painted for them from the anchor, the frame at which the episode
began (painter.py). No drawn frame is ever looked at again, so an episode may last as long as one
likes. What a world can know is what the anchor shows and the states tell: things that are moved
and left elsewhere are remembered only as far as states tell of them.

Dimensions: B environments, K candidates, H horizon, A action, S components of all states, L lags.
"""

import copy

import torch
from torch import Tensor, nn

from world_model.anchored.config import AnchoredConfig
from world_model.anchored.dynamics import LinearDynamics
from world_model.anchored.estimator import StateEstimator
from world_model.anchored.painter import Given, Painter, blended, with_detail_of
from world_model.anchored.references import References
from world_model.anchored.state import AnchoredState
from world_model.frames import frames_to_pixels, pixels_to_frames
from world_model.io.starts import Starts
from world_model.runtime.precision import Precision
from world_model.stepped import SteppedWorld


class AnchoredWorld(SteppedWorld):
    """A world with a painter, and a head that reads reward and end from what it has computed."""

    config: AnchoredConfig
    stored_dtype = torch.float16
    precision: Precision = "float32"
    """float32: strict, convolutions too. bf16: the painter in bfloat16, but for its blends. May be
    changed between steps."""

    def __init__(self, config: AnchoredConfig, starts: Starts | None = None):
        super().__init__(config, starts)
        self.dynamics = LinearDynamics(config)
        self.estimator = StateEstimator(config)
        self.painter = Painter(config)
        self.references = References(config) if config.painter.references else None
        seen = config.state_dim + 4 * config.painter.channels
        layers = (nn.Linear(seen, 128), nn.SiLU(), nn.Linear(128, 2)) if config.reward_head else ()
        self.head = nn.Sequential(*layers)
        self.weights_changed()

    @property
    def device(self) -> torch.device:
        return self.painter.position.device

    def started(
        self, frames: Tensor, actions: Tensor, seeds: Tensor, observations: dict[str, Tensor]
    ) -> AnchoredState:
        """See `WorldModel.start`; the last frame becomes the anchor, of those before it only the
        states and the actions matter."""
        config = self.config
        last = frames[:, -2:]
        known = self.scaled_states(observations, tuple(frames.shape[:2]))[:, -2:]
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
        _, pooled = self._paint(anchor, now, now, frames=False)
        return AnchoredState(
            latents=anchor.clone(),
            seeds=seeds,
            steps=torch.zeros_like(seeds),
            output=self._output(self._painted(frames[:, -1].clone(), now, pooled)),
            anchor=anchor,
            anchor_states=now.clone(),
            now=now.clone(),
            before=before.clone(),
            actions=history,
            acted=acted,
        )

    def predict(self, state: AnchoredState, action: Tensor, *, frames: bool) -> dict[str, Tensor]:
        """See `SteppedWorld.predict`; a frame is painted only where it is asked for."""
        action = self.scale_actions(action)
        self._take_first(state, action)
        state.actions.copy_(torch.cat((action[:, None], state.actions[:, :-1]), dim=1))
        following = self.dynamics(state.now, state.before, state.actions)
        state.before.copy_(state.now)
        state.now.copy_(following)
        state.steps.add_(1)
        frame, pooled = None, None
        if frames or self.config.reward_head:
            known = state.anchor, state.anchor_states, state.now
            painted, pooled = self._paint(*known, frames=frames)
            if painted is not None:
                state.latents.copy_(self.codec.settle(painted))
                frame = pixels_to_frames(state.latents)
        return self._painted(frame, state.now, pooled)

    def _take_first(self, state: AnchoredState, action: Tensor) -> None:
        """Where no action is known yet the first one, (B, A), says what came before: a robot that
        rests where it leads to."""
        first = ~state.acted
        state.actions.copy_(torch.where(first[:, None, None], action[:, None], state.actions))
        lawful = self.dynamics.agreed(state.now, self.dynamics.at_rest(action))
        for known in (state.anchor_states, state.now, state.before):
            known.copy_(torch.where(first[:, None], lawful, known))
        state.acted.fill_(True)

    def _paint(
        self, anchor: Tensor, anchor_states: Tensor, states: Tensor, *, frames: bool
    ) -> tuple[Tensor | None, Tensor]:
        """A frame (B, 3, H, W) of states (B, S), and the painter's pooled features (B, 4 channels):
        means of what is painted with each of the nearest references, but for fine detail, and the
        anchor while the robot rests."""
        painter, shape = self._painter(), self.config.painter
        many, explained = shape.references_per_frame, self.dynamics.explained
        states = states * explained  # the rest would be noise to the painter
        nearest = (None, None) if self.references is None else self.references.nearest(states, many)
        known = (anchor, anchor_states * explained, states)
        anchor, anchor_states, states = (x.repeat_interleave(many, dim=0) for x in known)
        given = Given(anchor, anchor_states, *nearest)
        sketch = painter.sketch(given, states)
        frame = None
        if frames:
            logits, sources = painter.sources_of(sketch, given)
            painted = blended(logits, sources, shape.blend_contrast).frame
            frame = painted.unflatten(0, (-1, many)).mean(dim=1)
            if shape.detail_contrast:
                sharp = blended(logits[::many], sources[::many], shape.detail_contrast).frame
                frame = with_detail_of(frame, sharp)
            if shape.rest_within and self.references is not None:
                far = self.references.distance(states[::many], anchor_states[::many])
                rests = far < shape.rest_within**2
                frame = torch.where(rests[:, None, None, None], anchor[::many], frame)
        return frame, sketch.pooled.unflatten(0, (-1, many)).mean(dim=1)

    def read_reward(self, states: Tensor, pooled: Tensor) -> Tensor:
        """Reward and logit of the end, (B, 2), from states (B, S) and `Sketch.pooled`."""
        return self.head(torch.cat((states, pooled), dim=1))

    def _painter(self) -> Painter:
        """The painter in the world's precision."""
        return self._in_precision(
            self.painter, lambda: copy.deepcopy(self.painter).bfloat16().eval()
        )

    def _painted(
        self, frame: Tensor | None, states: Tensor, pooled: Tensor | None
    ) -> dict[str, Tensor]:
        """What a step hands out, as `predict` says."""
        rewards = None
        if self.config.reward_head and pooled is not None:
            rewards = self.read_reward(states, pooled)
        return self._shown(frame, states, rewards)

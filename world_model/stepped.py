"""What engines that draw one frame a step have in common.

A step goes from `step_` to `predict`, which the engine brings, on a GPU as a captured graph. It
says what a step hands out by `_shown`: all numbers in the environment's own units.

Dimensions: B environments, K candidates, H horizon, A action, S components of all states.
"""

from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor, nn

from world_model.config import WorldConfig
from world_model.io.starts import Starts
from world_model.runtime.precision import Precision, in_own_precision
from world_model.state import RolloutOutput, StepOutput, WorldState
from world_model.world import WorldModel

Module = TypeVar("Module", bound=nn.Module)


class SteppedWorld(WorldModel):
    """A world that draws one frame a step, from a state that is changed in place."""

    action_middle: Tensor
    action_half: Tensor
    state_low: Tensor
    state_high: Tensor

    def __init__(self, config: WorldConfig, starts: Starts | None = None):
        """A subclass calls `weights_changed` once all its parts are there."""
        super().__init__(config, starts)
        low, high = torch.tensor(config.action_low), torch.tensor(config.action_high)
        self.register_buffer("action_middle", (high + low) / 2, persistent=False)
        self.register_buffer("action_half", (high - low) / 2, persistent=False)
        bounds = config.tracked.values()
        for name, ends in (("low", [b.low for b in bounds]), ("high", [b.high for b in bounds])):
            joined = torch.tensor([end for part in ends for end in part])
            self.register_buffer(f"state_{name}", joined, persistent=False)

    @abstractmethod
    def predict(self, state: Any, action: Tensor, *, frames: bool) -> dict[str, Tensor]:
        """One step, in place; the same whether it is captured or not.

        Args:
            state: B environments; its tensors are overwritten, none is replaced.
            action: float32 (B, A), in the environment's own units, on the world's device.
            frames: Draw the frame too.

        Returns:
            `reward` float32 (B,), `terminated` bool (B,), where the world tracks states `states`
            float32 (B, S) in the environment's own units, and with `frames` also `frame` uint8
            (B, H, W, 3).
        """

    @torch.no_grad()
    def step_(self, state: WorldState, action: np.ndarray | Tensor) -> StepOutput:
        """See `WorldModel.step_`."""
        action = self._check_actions(action, (len(state),))
        state.output = self._output(self._run(state, action, frames=True))
        return state.output

    def rolled_out(
        self, state: WorldState, actions: Tensor, shape: tuple[int, int], *, frames: bool
    ) -> RolloutOutput:
        """See `WorldModel.rollout`; a world that takes no noise does not share it either."""
        steps = range(actions.shape[1])
        return self._joined([self._run(state, actions[:, h], frames=frames) for h in steps], shape)

    def scale_actions(self, actions: Tensor) -> Tensor:
        """Actions (..., A) from the environment's units to [-1, 1]."""
        return (actions.to(self.device) - self.action_middle) / self.action_half

    def scaled_states(self, given: Mapping[str, Tensor], leading: tuple[int, ...]) -> Tensor:
        """Observations by name (..., n) as states (..., S), their bounds made -1 and 1; NaN where
        none is given."""
        known = self.state_low.new_full((*leading, self.config.state_dim), torch.nan)
        for name, part in self.config.by_name(known).items():
            if name in given:
                part.copy_(given[name])
        return 2 * (known - self.state_low) / (self.state_high - self.state_low) - 1

    @property
    def _setting(self) -> Hashable:
        """What a captured graph depends on beside its inputs."""
        return self.precision

    @in_own_precision
    def _run(self, state: Any, action: Tensor, *, frames: bool) -> dict[str, Tensor]:
        """`predict`, through a graph where the world captures; tensors of their own."""
        if not self.captures:
            return self.predict(state, action, frames=frames)
        if self._graphs is None:
            from world_model.runtime.captured_steps import CapturedSteps

            self._graphs = CapturedSteps(self.predict)
        return self._graphs(state, action, frames=frames, setting=self._setting)

    def _in_precision(self, module: Module, narrowed: Callable[[], Module]) -> Module:
        """A module in the world's precision, in bf16 as `narrowed` makes it."""
        if self.precision not in get_args(Precision):
            raise ValueError(
                f"precision is {self.precision!r}, expected one of {', '.join(get_args(Precision))}"
            )
        if self.precision == "float32":
            return module
        if self._narrow is None:
            self._narrow = (narrowed(),)  # a tuple, so no module of the world
        return self._narrow[0]

    def weights_changed(self) -> None:
        """See `WorldModel.weights_changed`."""
        self._narrow: tuple[Any] | None = None
        self._graphs: Callable[..., dict[str, Tensor]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Of pickles and copies, which cannot hold graphs."""
        return self.__dict__ | {"_narrow": None, "_graphs": None}

    def _shown(
        self, frame: Tensor | None, states: Tensor, rewards: Tensor | None
    ) -> dict[str, Tensor]:
        """What a step hands out, as `predict` says.

        Args:
            frame: uint8 (B, H, W, 3), if it was drawn.
            states: (B, S), their bounds being -1 and 1.
            rewards: Reward and logit of the end, (B, 2); None where the world knows none.
        """
        config = self.config
        if rewards is None:
            reward = torch.zeros(len(states), device=self.device)
            terminated = torch.zeros_like(reward, dtype=torch.bool)
        else:
            reward, end = rewards.unbind(-1)
            reward = reward.clamp(config.reward_low, config.reward_high)
            terminated = end.sigmoid() > config.termination_threshold
        shown = {"reward": reward, "terminated": terminated}
        if config.tracked:
            span = self.state_high - self.state_low
            shown["states"] = self.state_low + (states + 1) / 2 * span
        return shown if frame is None else shown | {"frame": frame}

    def _output(self, shown: dict[str, Tensor]) -> StepOutput:
        return StepOutput(
            frame=shown["frame"],
            reward=shown["reward"],
            terminated=shown["terminated"],
            states=self._named(shown),
        )

    def _joined(self, made: list[dict[str, Tensor]], shape: tuple[int, int]) -> RolloutOutput:
        """What steps handed out for B * K rows, as candidates' (B, K) = `shape`."""
        joined = {
            name: torch.stack([shown[name] for shown in made], 1).unflatten(0, shape)
            for name in made[0]
        }
        return RolloutOutput(
            reward=joined["reward"],
            terminated=joined["terminated"],
            frames=joined.get("frame"),
            states=self._named(joined),
        )

    def _named(self, shown: dict[str, Tensor]) -> dict[str, Tensor]:
        """States (..., S) of what a step hands out, by name (..., n)."""
        return self.config.by_name(shown["states"]) if self.config.tracked else {}

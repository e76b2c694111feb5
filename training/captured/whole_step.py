"""An optimizer step as one function of tensors that stay where they are, and its capture.

Forward, backward, clipping, optimizer and averaged weights: all of it is launched by one call on a
GPU, where hundreds of small kernels would wait for Python. Learning rate and decay of the average
are numbers on the device that are filled in before each call, so a schedule may follow the clock.
Eager and captured are the same function.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from world_model.runtime.cuda_graph import CapturedFunction, on_capture_stream

OptimizerName = Literal["adamw", "muon"]
BETAS, WEIGHT_DECAY = (0.9, 0.98), 0.0
# Muon's own rate against AdamW's: its changes have the size that AdamW's have (see `MuonAndAdamW`).
MUON_MOMENTUM = 0.95
EAGER_STEPS = 3  # before a capture


class WholeStep:
    """A loss, the weights that it is of, their optimizer and their average.

    Args:
        parameters: What is trained; gradients flow into these alone.
        loss: Nothing -> the loss (), and tensors to look at by name. It draws what it trains on by
            numbers on the device, and asks nothing of the host.
        optimizer: adamw, or muon for the matrices of `matrices` and adamw for the rest.
        matrices: Those of `parameters` that muon trains.
        clip_norm: Largest norm of the gradient.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        loss: Callable[[], tuple[Tensor, dict[str, Tensor]]],
        *,
        optimizer: OptimizerName = "adamw",
        matrices: Sequence[nn.Parameter] = (),
        clip_norm: float = 1.0,
    ):
        self.parameters = list(parameters)
        self.loss, self.clip_norm = loss, clip_norm
        device = self.parameters[0].device
        # float32 scalars that a captured step reads: filled, never replaced.
        self.rate = torch.zeros((), device=device)
        self.follow = torch.zeros((), device=device)
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        if optimizer == "muon":
            self.optimizer: Any = MuonAndAdamW(self.parameters, matrices, self.rate)
        else:
            self.optimizer = adamw(self.parameters, self.rate)

    def set(self, rate: float, ema: float) -> None:
        """Say what learning rate the next steps have, and what decay their average."""
        self.rate.fill_(rate)
        self.follow.fill_(1 - ema)

    def state_dict(self) -> dict[str, Any]:
        """Of the optimizer."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Of the optimizer, which goes on by this step's own rate, on this device."""
        self.optimizer.load_state_dict(state)
        for group in self._adamw_groups():
            group["lr"] = self.rate
            group |= _capturable(self.rate.device)

    def _adamw_groups(self) -> list[dict[str, Any]]:
        optimizer = self.optimizer
        return (optimizer.adamw if isinstance(optimizer, MuonAndAdamW) else optimizer).param_groups

    def __call__(self, **_: Tensor) -> dict[str, Tensor]:
        """One step; the loss, the norm of its gradient, and what `loss` wants looked at."""
        for parameter in self.parameters:
            parameter.grad = None  # a backward writes it anew, where the graph has it
        with torch.enable_grad():
            loss, shown = self.loss()
            loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimizer.step()
        follow(self.average, self.parameters, self.follow)
        return {"loss": loss.detach(), "gradient_norm": norm, **shown}


@torch.no_grad()
def follow(tensors: Sequence[Tensor], goals: Sequence[Tensor], share: Tensor) -> None:
    """Move tensors towards others, in place, by a share () of the way that is on the device."""
    kernels: Any = torch  # its functions of lists of tensors are not exported
    way = kernels._foreach_sub(goals, tensors)
    kernels._foreach_mul_(way, share)
    kernels._foreach_add_(tensors, way)


def adamw(parameters: Sequence[nn.Parameter], rate: Tensor) -> torch.optim.Optimizer:
    """AdamW whose rate is a number on the device, and whose steps are counted there."""
    optimizer: Any = torch.optim.AdamW(
        parameters, lr=rate, betas=BETAS, weight_decay=WEIGHT_DECAY, **_capturable(rate.device)
    )
    # It will be captured: the first steps, which are not, are no mistake to be warned of.
    optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer


def _capturable(device: torch.device) -> dict[str, bool]:
    # Fused kernels count steps on the device; on a processor they take a rate in a tensor too.
    return {"fused": True, "capturable": device.type == "cuda"}


class MuonAndAdamW:
    """Muon (Jordan et al., 2024) for matrices, AdamW for all else.

    torch's Muon takes its rate from the host. Here it makes steps of rate 1, of which the rate on
    the device is the part that is kept. Its changes are scaled to the size of AdamW's (Moonlight,
    arXiv 2502.16982), so that one rate serves both.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], matrices: Sequence[nn.Parameter], rate: Tensor
    ):
        chosen = {id(matrix) for matrix in matrices}
        self.matrices = [p for p in parameters if id(p) in chosen]
        others = [p for p in parameters if id(p) not in chosen]
        if len(self.matrices) != len(chosen) or not others:
            raise ValueError(
                f"{len(chosen)} matrices for Muon, {len(self.matrices)} of them among the "
                f"{len(parameters)} parameters; expected some of these, and not all"
            )
        self.rate = rate
        self.muon = torch.optim.Muon(
            self.matrices,
            lr=1.0,
            momentum=MUON_MOMENTUM,
            weight_decay=0.0,
            adjust_lr_fn="match_rms_adamw",
        )
        self.adamw = adamw(others, rate)

    @torch.no_grad()
    def step(self) -> None:
        """One step of both."""
        before = [matrix.detach().clone() for matrix in self.matrices]
        self.muon.step()
        follow(before, self.matrices, self.rate)
        kernels: Any = torch
        kernels._foreach_copy_(self.matrices, before)
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])


class Launcher:
    """Runs a whole step again and again: the first times eagerly, then as one captured graph.

    The eager steps are steps like all others, and in them libraries load kernels and allocate
    workspaces, as before any capture.

    Args:
        step: What is run; on a processor always as it is.
        captured: Whether to capture it. None: on a GPU.
    """

    def __init__(self, step: WholeStep, *, captured: bool | None = None):
        device = step.rate.device
        self._step = step
        self._captures = device.type == "cuda" if captured is None else captured
        if self._captures and device.type != "cuda":
            raise ValueError(f"a step on {device} cannot be captured; leave captured out")
        self._left = EAGER_STEPS
        self._graph: Any = None

    @property
    def pool(self) -> Any:
        """Memory of the graph; None while there is none."""
        return None if self._graph is None else self._graph.pool

    def __call__(self) -> dict[str, Tensor]:
        """One step, perhaps still under way on the device; the next overwrites what this shows."""
        if not self._captures:
            return self._step()
        if self._left:
            self._left -= 1
            with on_capture_stream(self._step.rate.device):
                return self._step()
        if self._graph is None:
            # What the step changes it shall go on with: the capture runs nothing.
            self._graph = CapturedFunction(
                self._step,
                {},
                residents={"rate": self._step.rate},
                warm_up=0,
                name="the optimizer step",
            )
        return self._graph(copy=False)


def in_autocast(device: torch.device, wanted: bool) -> Any:
    """bfloat16 for large products, or as they are.

    No copies of weights are kept: those made without gradients, for rollouts, would be taken where
    gradients are wanted, and a graph would read them after they are gone.
    """
    if not wanted:
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)

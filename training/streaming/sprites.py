"""Sharpens a proxy's sprites: they are fitted to the frames, as the proxy draws them.

`irasim label` averages what frames show where a body lies, at poses that are a little off, by
interpolation: its sprites are soft. Here their pixels are what leaves the smallest absolute error
of whole frames. An absolute error's best is a median, which is as sharp where poses scatter.
"""

import torch
from torch import Tensor

from training.data.clips import ClipStore
from world_model import StreamingWorld
from world_model.frames import frames_to_pixels
from world_model.runtime.counter_rng import counted_index
from world_model.streaming.states.proxy import Proxy

# Optimizer steps, frames in each, and the learning rate, which falls to a twentieth.
STEPS, FRAMES, RATE = 240, 32, 0.02
# Stream of the counted numbers that say which frames.
PICK = 31


def fit_sprites(
    world: StreamingWorld, proxy: Proxy, store: ClipStore, states: Tensor, seed: int
) -> tuple[float, float]:
    """Fit colours and alphas of sprites, and the colours of sides, in place.

    Args:
        world: Whose proxy it is.
        proxy: What the robot's layer shows stays as it is.
        store: The frames.
        states: Of all frames, scaled, (F, S).
        seed: Fixes which frames.

    Returns:
        The mean absolute error of frames, in [-1, 1], before and after.
    """
    layers = [sprite for sprites in (proxy.bodies, proxy.robot) for sprite in sprites]
    sides = [
        proxy.bodies.get_buffer(f"side_{number}")
        for number, has_one in enumerate(proxy.sides)
        if has_one
    ]
    if not layers:
        return 0.0, 0.0

    def error(step: int) -> Tensor:
        samples = torch.arange(step * FRAMES, (step + 1) * FRAMES, device=states.device)
        seeds = torch.full_like(samples, seed)
        pick = store.labelled[counted_index(seeds, samples, len(store.labelled), stream=PICK)]
        return (proxy(states[pick]) - frames_to_pixels(store.frames[pick])).abs().mean()

    fitted = [*layers, *sides]
    heights = [side[3].clone() for side in sides]
    optimizer = torch.optim.Adam([one.requires_grad_() for one in fitted], lr=RATE)
    frozen = [p for p in proxy.parameters() if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        with torch.no_grad():
            before = error(STEPS).item()
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = RATE * max(0.05, 1 - step / STEPS)
            optimizer.zero_grad()
            error(step).backward()
            optimizer.step()
            with torch.no_grad():
                for layer in layers:
                    layer[:3].clamp_(-1, 1)
                    layer[3].clamp_(0, 1)
                for side, height in zip(sides, heights, strict=True):
                    side[:3].clamp_(-1, 1)
                    side[3] = height
        with torch.no_grad():
            return before, error(STEPS).item()
    finally:
        for one in fitted:
            one.requires_grad_(False)
            one.grad = None
        for parameter in frozen:
            parameter.requires_grad_(True)

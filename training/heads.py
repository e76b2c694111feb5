"""The last phase: the head alone, on true frames and on those that the model makes itself."""

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import trange

from training.clips import ClipStore
from training.objective import Batch, StreamingObjective, head_loss, make_batch, read_frames
from training.presets import TrainConfig
from world_model import StreamingWorld


def train_head(
    world: StreamingWorld,
    store: ClipStore,
    config: TrainConfig,
    accelerator: Accelerator,
    *,
    first_step: int,
    num_steps: int,
) -> float:
    """Train `world.head` in place, the denoiser staying as it is; the mean of the last losses.

    Samples are numbered on from the steps before, so that a repeated phase is the same.
    """
    trunk = StreamingObjective(world)
    head: nn.Module = world.head
    trained = [parameter for parameter in head.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.rate, weight_decay=0.0)
    head, optimizer = accelerator.prepare(head, optimizer)
    recent: list[float] = []
    bar = trange(num_steps, desc="head", disable=not accelerator.is_main_process or None)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = config.rate * (1 - step / num_steps)
        first = (first_step + step) * config.batch_clips
        samples = torch.arange(first, first + config.batch_clips, device=accelerator.device)
        mine = samples[accelerator.process_index :: accelerator.num_processes]
        clips = store.sample(config.seed, mine, config.clip_frames)
        batch = make_batch(world, clips, config.seed, mine, config.rollout_rounds)
        with accelerator.autocast():
            tokens, guess = clean_tokens(trunk, batch)
        losses = head_loss(head(tokens.float(), guess), batch, world.config)
        counted = read_frames(batch, world.config)
        loss = (losses * counted).sum() / counted.sum()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean = accelerator.reduce(loss.detach(), "mean")
        assert isinstance(mean, Tensor)
        recent = [*recent[-49:], mean.item()]
        bar.set_postfix(loss=f"{sum(recent) / len(recent):.4f}")
    return sum(recent) / max(1, len(recent))


@torch.no_grad()
def clean_tokens(trunk: StreamingObjective, batch: Batch) -> tuple[Tensor, Tensor]:
    """Tokens (B, T, N, width) of clean frames, half of the clips true, half made by the model; and
    the states that their controls let guess (B, T, S)."""
    previous, controls = trunk.roll(batch)
    ones, clean = torch.ones_like(batch.levels), torch.zeros_like(batch.levels)
    change, _ = trunk.denoiser(batch.noise, previous, ones, controls, batch.acted)
    made = trunk.settle(previous + change)
    made[:, 0] = batch.latents[:, 0]
    own = (torch.arange(len(made), device=made.device) % 2 == 1)[:, None, None, None, None]
    latents = torch.where(own, made, batch.latents)
    _, tokens = trunk.denoiser(latents - previous, previous, clean, controls, batch.acted)
    return tokens, trunk.denoiser.foresight(controls)

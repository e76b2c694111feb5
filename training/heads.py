"""The last phase: the head alone, on frames drawn after recorded ones and after the model's own."""

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
            tokens, guess = drawn_tokens(trunk, batch)
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
def drawn_tokens(trunk: StreamingObjective, batch: Batch) -> tuple[Tensor, Tensor]:
    """Tokens (B, T, N, width) of the last pass that draws a frame, where a head reads in use; and
    the states that their controls let guess (B, T, S). Frames before are recorded or the model's
    own, by `batch.rounds`."""
    controls = trunk.controls(batch)
    previous = trunk.roll(batch, controls)
    levels = torch.full_like(batch.levels, 1 / trunk.config.sampler.num_steps)
    levels[:, 0].zero_()  # a start's first frame is given
    level = levels[..., None, None, None]
    noisy = (1 - level) * (batch.latents - previous) + level * batch.noise
    _, tokens = trunk.denoiser(noisy, previous, levels, controls, batch.acted)
    return tokens, trunk.denoiser.foresight(controls)

"""Predicts windows and episodes and writes them down; what is there already is not done again.

All noise of an item is a function of the seed and of its name, and batches are the same on any
number of processes, so that neither their number nor a resumed run changes anything.

B batch, T frames, C channels, h w latent size.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.irasim.config import EvaluationConfig, ShortConfig
from benchmarks.irasim.data import EvaluationData, Item, resized
from benchmarks.irasim.layout import Layout, write_frames, write_latents, write_reference_video
from benchmarks.irasim.model import ChunkModel
from world_model import sample_video
from world_model.frames import frames_to_pixels
from world_model.progress import progress_bar
from world_model.runtime.counter_rng import counted_noise


def is_done(layout: Layout, item: Item, has_frames: bool) -> bool:
    """Whether an item's files are all there; the video, or without one the latents, comes last."""
    return (layout.video(item.name) if has_frames else layout.latents(item.name)).is_file()


def generate(
    config: EvaluationConfig,
    model: ChunkModel,
    data: EvaluationData,
    layout: Layout,
    process: int,
    num_processes: int,
) -> int:
    """Predict this process's share of what is missing; returns how many items that was."""
    size = config.batch if isinstance(config, ShortConfig) else 1
    batches = [data.items[i : i + size] for i in range(0, len(data.items), size)]
    missing = [
        batch
        for batch in batches
        if not all(is_done(layout, item, data.has_frames) for item in batch)
    ]
    mine = missing[process::num_processes]
    what = "windows" if data.protocol == "short" else "episodes"
    bar = progress_bar(
        total=sum(map(len, mine)),
        desc=f"predicting {what} on {model.device}, {num_processes} processes",
        unit=what,
        shown=not process,
    )
    for batch in mine:
        contents, actions = zip(*(data.read(item) for item in batch), strict=True)
        given = [model_input(model, content) for content in contents]
        videos = predict(config, model, batch, torch.stack(given), torch.stack(actions))
        for item, video, content, true in zip(batch, videos, contents, given, strict=True):
            write_item(model, data, layout, item, video, content, true)
        bar.update(len(batch))
    bar.close()
    return sum(map(len, mine))


def model_input(model: ChunkModel, content: Tensor) -> Tensor:
    """Content of a dataset as the denoiser sees it, float32 (T, C, h, w) on the CPU."""
    if model.on_pixels:
        return frames_to_pixels(content)
    latents = model.latents(content) if content.dtype == torch.uint8 else content
    expected = getattr(model.denoiser.config, "latent_size", None)
    if expected is not None and tuple(latents.shape[-2:]) != tuple(expected):
        raise ValueError(
            f"the model takes latents of {expected[0]} x {expected[1]}, the data's are "
            f"{latents.shape[-2]} x {latents.shape[-1]}: encode the videos at the model's size, or "
            "evaluate with --source video, --vae and --frame-size"
        )
    return latents


def predict(
    config: EvaluationConfig,
    model: ChunkModel,
    items: Sequence[Item],
    given: Tensor,
    actions: Tensor,
) -> Tensor:
    """Videos (B, N + 1, C, h, w) that begin with `given` (B, T, C, h, w)'s first frame."""
    keys = torch.tensor([noise_key(config.seed, item) for item in items], device=model.device)
    shape = (model.num_frames, *given.shape[2:])
    draws = [torch.Generator(model.device).manual_seed(int(key) & (2**63 - 1)) for key in keys]
    return sample_video(
        model.denoiser,
        given[:, :1].to(model.device),
        actions.to(model.device),
        noise=lambda chunk: counted_noise(keys, torch.full_like(keys, chunk), shape),
        sampler=config.sampler,
        num_steps=config.num_steps,
        guidance=config.guidance,
        generator=draws,
    ).cpu()


def noise_key(seed: int, item: Item) -> int:
    """An item's stream of noise: 64 bits of its name and the seed."""
    digest = hashlib.sha256(f"{seed} {item.name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def write_item(
    model: ChunkModel,
    data: EvaluationData,
    layout: Layout,
    item: Item,
    video: Tensor,
    content: Tensor,
    given: Tensor,
) -> None:
    """Write a predicted item and its truth, what says that it is done last.

    Args:
        model, data, layout, item: Of this item.
        video: What was predicted, (T, C, h, w), given frame first.
        content: The truth as the dataset has it.
        given: The truth as the denoiser sees it.
    """
    if not model.on_pixels:
        write_latents(layout.true_latents(item.name), given)
        write_latents(layout.latents(item.name), video)
    if not data.has_frames:
        return
    true = data.true_frames(item)
    frames = model.frames(video)
    if model.on_pixels:
        frames = resized(frames, true.shape[1:3])
        if model.codec is not None:
            write_latents(layout.true_latents(item.name), model.latents(torch.from_numpy(true)))
            write_latents(layout.latents(item.name), model.latents(frames))
    elif frames.shape[1:] != true.shape[1:]:
        raise ValueError(
            f"{item.name}: predicted frames are {frames.shape[1]} x {frames.shape[2]}, true ones "
            f"{true.shape[1]} x {true.shape[2]}: give --frame-size the predicted size"
        )
    predicted = frames.numpy()
    write_frames(layout.frames(item.name), predicted[1:])
    if data.protocol == "short":
        write_reference_video(layout.true_video(item.name), true)
        write_reference_video(layout.video(item.name), predicted)
    else:
        write_reference_video(layout.video(item.name), predicted[1:])

"""`irasim train` for chunk models: from published data to checkpoints in the reference's form."""

from pathlib import Path
from typing import Any

from accelerate import Accelerator

from training.chunk.config import ChunkTrainConfig
from training.chunk.denoisers import load_weights, make_denoiser
from training.chunk.result import write_world
from training.chunk.samples import write_samples
from training.chunk.trainer import ChunkTrainer
from training.data.irasim.autoencoder import load_autoencoder
from training.data.irasim.windows import WindowDataset
from training.run.config import seconds
from training.run.directory import STATE, run_training, write_result
from training.run.resumable import processes
from training.run.stopping import noted_stops
from world_model import save_reference_checkpoint
from world_model.progress import progress_bar

# A run that goes on may differ in these: its length, its reports, and how its work is spread.
FREE = {"max_steps", "log_every", "validate_every", "checkpoint_every", "save_every", "samples"}
FREE |= {"sample_steps", "vae", "local_batch", "workers", "activation_checkpointing", "cpu"}


def main(config: ChunkTrainConfig) -> Path:
    """Train; returns the last checkpoint. A run that was stopped goes on where it was."""
    return run_training(train, config, FREE)


def train(config: ChunkTrainConfig, accelerator: Accelerator) -> Path:
    """The whole run."""
    trainer = prepare(config, accelerator)
    run(trainer, config)
    return checkpoint_path(config, trainer.progress.step)


def prepare(config: ChunkTrainConfig, accelerator: Accelerator) -> ChunkTrainer:
    """Data, a fresh or resumed model, and its trainer."""
    with accelerator.main_process_first():  # which writes the index that the others find
        windows = WindowDataset(config.data_config("train"))
        validation = WindowDataset(config.data_config("val"))
    denoiser = make_denoiser(config, windows[0])
    if config.init is not None:
        load_weights(denoiser, config.init)
    denoiser.to(accelerator.device)
    trainer = ChunkTrainer(denoiser, windows, validation, config, accelerator)
    state = config.out / STATE
    if state.exists():
        trainer.load_state(state)
        if trainer.progress.step > config.max_steps:
            raise ValueError(
                f"{config.out} holds a run of {trainer.progress.step} steps already, more than "
                f"max_steps {config.max_steps}; give more, or another --out"
            )
        accelerator.print(f"resumed at step {trainer.progress.step}")
    accelerator.print(
        f"{config.model}: {sum(p.numel() for p in trainer.parameters) / 1e6:.1f} M parameters; "
        f"{len(windows.episodes):,} episodes, {len(windows):,} windows, {len(validation):,} to "
        f"validate on; {processes(accelerator)} on {accelerator.device}, "
        f"{trainer.num_parts} part{'s' * (trainer.num_parts != 1)} a step"
    )
    return trainer


def run(trainer: ChunkTrainer, config: ChunkTrainConfig) -> None:
    """All steps, with logs, validations, checkpoints and saves on the way."""
    accelerator, progress = trainer.accelerator, trainer.progress
    vae = None
    if config.vae is not None:
        vae = load_autoencoder(config.vae).to(accelerator.device)
    saved, losses = progress.elapsed, []
    bar = progress_bar(
        total=config.max_steps,
        initial=progress.step,
        shown=accelerator.is_main_process,
        desc=config.preset,
    )
    with noted_stops(alone=trainer.num_processes == 1) as stop:
        while progress.step < config.max_steps:
            if stop.number is not None:
                trainer.save_state(config.out / STATE)
                stop.obey()
            figures = trainer.train_step()
            losses.append(figures["loss"])
            bar.update()
            step, last = progress.step, progress.step == config.max_steps
            if step % config.log_every == 0 or last:
                figures |= {"loss": sum(losses) / len(losses)} | trainer.throughput()
                losses = []
                accelerator.log(figures, step=step)
                bar.set_postfix_str(
                    f"loss {figures['loss']:.4f} {figures['frames_per_second']:.0f} frames/s, "
                    f"waiting {figures['data_share']:.0%}"
                )
            if step % config.validate_every == 0 or last:
                validate(trainer, config, vae)
            if accelerator.is_main_process and (step % config.checkpoint_every == 0 or last):
                write_checkpoint(trainer, config)
            if accelerator.is_main_process and last:
                finish(trainer, config, vae)
            # The last state is written last: it says that all else is there.
            if progress.elapsed - saved > seconds(config.save_every) or last:
                saved = progress.elapsed
                trainer.save_state(config.out / STATE)
    bar.close()


def validate(trainer: ChunkTrainer, config: ChunkTrainConfig, vae: Any) -> None:
    """Loss of the whole validation set under the averaged weights, and samples; kept and shown."""
    accelerator, step = trainer.accelerator, trainer.progress.step
    with trainer.averaged():
        loss = trainer.validation_loss()
        write_samples(trainer, config.out / "samples" / f"{step:07d}", vae)
    accelerator.log({"validation/loss": loss}, step=step)
    accelerator.print(f"\nstep {step}: validation loss {loss:.5f}", flush=True)
    if accelerator.is_main_process:
        windows = {"train": len(trainer.windows), "val": len(trainer.validation)}
        path = config.out / "train.json"
        write_result(path, config, trainer, validation_loss=loss, windows=windows)


def checkpoint_path(config: ChunkTrainConfig, step: int) -> Path:
    """Where the averaged weights of a step are kept, named as the reference does."""
    return config.out / "checkpoints" / f"{step:07d}.pt"


def write_checkpoint(trainer: ChunkTrainer, config: ChunkTrainConfig) -> None:
    """Keep the averaged weights in the reference's form; the file appears whole."""
    path = checkpoint_path(config, trainer.progress.step)
    path.parent.mkdir(exist_ok=True)
    with trainer.averaged():
        save_reference_checkpoint(trainer.denoiser, path)
    print(f"{path} written", flush=True)


def finish(trainer: ChunkTrainer, config: ChunkTrainConfig, vae: Any) -> None:
    """Write the world, where all is there that it needs, and say what to do next."""
    if config.source == "latents" and vae is None:
        checkpoint = checkpoint_path(config, trainer.progress.step)
        print(f"next: irasim import {checkpoint} --vae DIR --out {config.out / 'world'}")
        return
    world = config.out / "world"
    with trainer.averaged():
        write_world(trainer, config, vae, world)
    print(f"next: irasim play --world {world}")

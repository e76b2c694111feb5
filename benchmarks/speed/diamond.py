"""One step of DIAMOND's published diffusion world model (Alonso et al., arXiv 2405.12399).

For `irasim bench speed --compare`; see interleave.py for the protocol. It runs DIAMOND's own
code from a checkout of https://github.com/eloialonso/diamond, none of which is here, with fresh
weights: a step costs the same with trained ones. A step is its sampler's: three Euler steps of the
denoiser (config/agent/default.yaml, config/trainer.yaml) from the last four frames and actions to
the next, converted to uint8 on the host. Its reward and end model is left out, in its favour.

    git clone https://github.com/eloialonso/diamond
    irasim bench speed --world WORLD --compare "python -m benchmarks.speed.diamond diamond"
"""

import importlib
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro


@dataclass(frozen=True, kw_only=True)
class DiamondConfig:
    """Which DIAMOND, at which size."""

    checkout: Annotated[Path, tyro.conf.Positional]
    """Directory of DIAMOND's repository."""
    size: int = 96
    """Side of its frames, in pixels."""
    batch: int = 1
    """Environments stepped at once."""
    device: str = "cpu"
    """cpu or cuda."""


def main(config: DiamondConfig) -> None:
    """Say ready, then make a step for each line read."""
    import torch

    sampler = load(config.checkout, torch.device(config.device))
    generator = torch.Generator().manual_seed(0)
    num_frames = 4
    frames = torch.rand(
        config.batch, num_frames, 3, config.size, config.size, generator=generator
    ).to(config.device)
    frames = frames * 2 - 1
    actions = torch.zeros(config.batch, num_frames, dtype=torch.int64, device=config.device)

    def step() -> str:
        with torch.no_grad():
            frame, _ = sampler.sample(frames, actions)
            shown = frame.add(1).mul(127.5).clamp(0, 255).to(torch.uint8).cpu()
        frames.copy_(torch.cat((frames[:, 1:], frame[:, None]), dim=1))
        return f"{tuple(shown.shape)}"

    step()
    parameters = sum(parameter.numel() for parameter in sampler.denoiser.parameters())
    print(f"DIAMOND: {parameters:,} parameters, {torch.get_num_threads()} threads", file=sys.stderr)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(step(), flush=True)


def load(checkout: Path, device: Any) -> Any:
    """DIAMOND's sampler over its denoiser, both with their published settings."""
    source = checkout / "src"
    if not (source / "models" / "diffusion" / "denoiser.py").is_file():
        raise ValueError(
            f"{checkout} holds no src/models/diffusion/denoiser.py; expected a checkout: "
            "git clone https://github.com/eloialonso/diamond"
        )
    # Its denoiser takes two names for annotations from modules that load its training's packages
    # (h5py, wandb, hydra), which a step does not need.
    for module, name in (("data", "Batch"), ("utils", "LossAndLogs")):
        stand_in = types.ModuleType(module)
        setattr(stand_in, name, object)
        sys.modules[module] = stand_in
    sys.path.insert(0, str(source))
    diffusion = importlib.import_module("models.diffusion")
    denoiser = diffusion.Denoiser(
        diffusion.DenoiserConfig(
            sigma_data=0.5,
            sigma_offset_noise=0.3,
            inner_model=diffusion.InnerModelConfig(
                img_channels=3,
                num_steps_conditioning=4,
                cond_channels=256,
                depths=[2, 2, 2, 2],
                channels=[64, 64, 64, 64],
                attn_depths=[False, False, False, False],
                num_actions=18,
            ),
        )
    )
    settings = diffusion.DiffusionSamplerConfig(num_steps_denoising=3)
    return diffusion.DiffusionSampler(denoiser.to(device).eval(), settings)


if __name__ == "__main__":
    main(tyro.cli(DiamondConfig, prog="python -m benchmarks.speed.diamond", description=__doc__))

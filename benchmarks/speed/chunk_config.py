"""What `irasim bench chunk` takes, and the variants of a sampler that it times."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from training.chunk.config import VAE_SCALE

Precision = Literal["float32", "bf16"]
Variant = Literal["float32", "float32-table", "float32-graph", "bf16", "bf16-graph"]
# Constructor arguments of ChunkSampler; bf16 is as ChunkWorld runs it.
VARIANTS: dict[Variant, dict[str, Any]] = {
    "float32": {},
    "float32-table": {"tabulate": True},
    "float32-graph": {"graph": True},
    "bf16": {"precision": "bf16", "tabulate": True},
    "bf16-graph": {"precision": "bf16", "tabulate": True, "graph": True},
}
BASE: Variant = "float32"  # the reference's arithmetic, which the others are held against


@dataclass(frozen=True, kw_only=True)
class ChunkSpeedConfig:
    """What to measure."""

    size: Literal["S", "B", "L", "XL"] = "XL"
    """Published size of the transformer; its weights are random."""
    patch_size: Literal[2, 4, 8] = 2
    """Latent cells of a token, along each side."""
    height: int = 256
    """Of a frame in pixels, a latent cell being 8."""
    width: int = 320
    """Alike."""
    frames: int = 16
    """Frames of a chunk, the given one included."""
    batch: int = 1
    """Chunks at once."""
    pndm_steps: int = 50
    """Steps of PNDM, the reference's sampler: 50 make 59 network evaluations."""
    few_steps: int = 16
    """Steps of DPM-Solver++."""
    variants: tuple[Variant, ...] | None = None
    """What to time beside float32 (default: all, graphs on a GPU only)."""
    turns: int = 5
    """Chunks timed of each variant, turn about, after five that are not."""
    decode_batches: tuple[int, ...] = (1, 8, 16)
    """Frames decoded at once by an autoencoder of the reference's shape; empty: no decoding."""
    threads: int = 2
    """Threads of the processor."""
    seed: int = 0
    """Of weights, actions and noise."""
    device: str | None = None
    """cpu or cuda; the GPU where there is one."""
    out: Path | None = None
    """Directory for chunk.json; nothing is written without it."""

    def __post_init__(self):
        for name in ("batch", "turns", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("height", "width"):
            if getattr(self, name) % (VAE_SCALE * self.patch_size):
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected a multiple of "
                    f"{VAE_SCALE * self.patch_size}: a token covers that many pixels"
                )
        if any(number < 1 for number in self.decode_batches):
            raise ValueError(f"decode_batches are {self.decode_batches}, expected at least 1 each")

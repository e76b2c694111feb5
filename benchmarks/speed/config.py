"""What `irasim bench speed` and `chunk` are asked for, and the variants of a sampler timed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from training.chunk.config import VAE_SCALE
from world_model.config_fields import check_least

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
    """Measure how fast a model of IRASim's published sizes samples a chunk."""

    size: Literal["S", "B", "L", "XL"] = "XL"
    """Published size of the transformer; its weights are random."""
    patch_size: Literal[2, 4, 8] = 2
    """Latent cells of a token, along each side."""
    height: int = 256
    """Height of a frame in pixels; a latent cell covers 8."""
    width: int = 320
    """Width of a frame in pixels."""
    frames: int = 16
    """Frames of a chunk, including the given first one."""
    batch: int = 1
    """Chunks sampled at once."""
    pndm_steps: int = 50
    """Steps of PNDM, the reference's sampler: 50 make 59 network evaluations."""
    few_steps: int = 16
    """Steps of DPM-Solver++."""
    variants: tuple[Variant, ...] | None = None
    """Variants to time beside float32 (default: all; graphs only on a GPU)."""
    turns: int = 5
    """Chunks timed of each variant, interleaved, after five for warming up."""
    decode_batches: tuple[int, ...] = (1, 8, 16)
    """Numbers of frames decoded at once by an autoencoder of the reference's shape; empty: none."""
    threads: int = 2
    """CPU threads."""
    seed: int = 0
    """Seed of weights, actions and noise."""
    device: str | None = None
    """cpu or cuda (default: the GPU, if there is one)."""
    out: Path | None = None
    """Directory for chunk.json; nothing is written without it."""

    def __post_init__(self):
        check_least(self, batch=1, turns=1, threads=1)
        for name in ("height", "width"):
            if getattr(self, name) % (VAE_SCALE * self.patch_size):
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected a multiple of "
                    f"{VAE_SCALE * self.patch_size}: a token covers that many pixels"
                )
        if any(number < 1 for number in self.decode_batches):
            raise ValueError(f"decode_batches are {self.decode_batches}, expected at least 1 each")


@dataclass(frozen=True, kw_only=True)
class SpeedConfig:
    """Measure how fast a world steps."""

    world: str
    """World to measure: a shipped name, a directory, or a Hub id."""
    out: Path | None = None
    """Directory for speed.json; nothing is written without it."""
    batch: tuple[int, ...] | None = None
    """Numbers of environments stepped at once: 1 through gymnasium.make, more through make_vec
    (default: 1 and 8 on a CPU; 1, 8, 64 and 512 on a GPU)."""
    steps: int = 200
    """Steps timed in each repeat, and turns of interleaved measurements."""
    repeats: int = 5
    """Repeats, of which the median is reported."""
    threads: int = 2
    """CPU threads."""
    seed: int = 0
    """Seed of starts and random actions."""
    device: str | None = None
    """cpu or cuda (default: the GPU, if there is one)."""
    precision: Literal["float32", "bf16"] = "float32"
    """float32, or bf16: large matrix products and convolutions in bfloat16."""
    age: int = 0
    """Also compare an episode that is this many steps old with a new one, interleaved: time and
    memory must not depend on age. 10000 takes minutes on a CPU; 0: not measured."""
    contexts: tuple[int, ...] = ()
    """Also time the architecture, with fresh weights, at these context lengths, as in 1 3 8 16."""
    compare: str | None = None
    """Command line of another program to compare with at batch 1, interleaved. The program prints
    a line "ready"; then, for each line "step" on its standard input, it makes one step and prints
    a line, flushed. For example, DIAMOND: "python -m benchmarks.speed.diamond CHECKOUT"."""

    def __post_init__(self):
        check_least(self, steps=1, repeats=1, threads=1)
        if self.age < 0:
            raise ValueError(f"age is {self.age}, expected a number of steps, or 0 for none")
        for name in ("batch", "contexts"):
            if any(number < 1 for number in getattr(self, name) or ()):
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected numbers of at least 1, as in 1 8"
                )

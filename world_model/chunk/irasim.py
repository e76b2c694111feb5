"""The IRASim space-time transformer: a chunk of frames is denoised at once, given its actions.

IRASim (Zhu et al., arXiv 2406.14540), section 3.2; blocks after DiT (Peebles & Xie, 2212.09748).
Blocks alternate between attention over a frame's patches and attention over time at each patch.
Frame-Ada: each frame's spatial blocks are modulated by the action that led to it.
Video-Ada: every block is modulated by one embedding of all actions of the chunk.

B batch, T frames, K = T - 1 actions, A action, C channels, h w latent size, N patches, D width.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from world_model.chunk.layers import (
    Mlp,
    add_gated,
    check_chunk_inputs,
    drop_condition,
    modulate,
    sincos_table_1d,
    sincos_table_2d,
    timestep_embedding,
)
from world_model.config_fields import check_count, check_counts, check_least, check_within

TIME_FEATURES = 256
# Published sizes: depth, width, heads.
SIZES = {"S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}


@dataclass(frozen=True, kw_only=True)
class IRASimConfig:
    """What an IRASim denoiser is."""

    latent_size: tuple[int, int]
    """Height and width of a latent frame."""
    hidden_size: int
    depth: int
    """Number of blocks, spatial and temporal together: even."""
    num_heads: int
    action_dim: int
    action_embedding: Literal["linear", "mlp"]
    """"linear": two linear layers without an activation (the published Language-Table models);
    "mlp": with a GELU between them (the published arm models)."""
    conditioning: Literal["frame", "video"] = "frame"
    final_frame_ada: bool = False
    """Frame-Ada: let the last layer see the action too. The published checkpoints do not."""
    num_frames: int = 16
    """Frames of a chunk, the given first one included. The model always runs this many."""
    patch_size: int = 2
    in_channels: int = 4
    learn_sigma: bool = False
    """Predict C more channels that interpolate the log-variance of a reverse step."""
    condition_dropout: float = 0.1
    """Share of training items whose actions are replaced by the null embedding."""

    def __post_init__(self):
        sizes = ("hidden_size", "depth", "num_heads", "action_dim", "patch_size", "in_channels")
        check_counts(self, *sizes, "num_frames")
        for side in self.latent_size:
            check_count("a side of latent_size", side)
        check_within(self, 0, 1, "condition_dropout")
        check_least(self, num_frames=2)
        if self.depth % 2:
            raise ValueError(f"depth is {self.depth}: blocks come in pairs, so it must be even")
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}"
            )
        if self.hidden_size % 4:
            raise ValueError(
                f"hidden_size is {self.hidden_size}: 2-D positions need a multiple of 4"
            )
        if any(side % self.patch_size for side in self.latent_size):
            raise ValueError(
                f"latent_size {self.latent_size} is not divisible by patch_size {self.patch_size}"
            )

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = self.latent_size
        return height // self.patch_size, width // self.patch_size

    @property
    def out_channels(self) -> int:
        return self.in_channels * (2 if self.learn_sigma else 1)


def irasim_config(
    size: Literal["S", "B", "L", "XL"] = "XL", patch_size: Literal[2, 4, 8] = 2, **fields: Any
) -> IRASimConfig:
    """Config of a published size; `fields` are IRASimConfig's others."""
    if size not in SIZES or patch_size not in (2, 4, 8):
        raise ValueError(
            f"no IRASim-{size}/{patch_size}: sizes are {', '.join(SIZES)}, patches 2, 4, 8"
        )
    depth, hidden_size, num_heads = SIZES[size]
    return IRASimConfig(
        depth=depth, hidden_size=hidden_size, num_heads=num_heads, patch_size=patch_size, **fields
    )


class SelfAttention(nn.Module):
    """Multi-head self-attention within each frame, or over time at each patch."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, over_time: bool) -> Tensor:
        """(B, T, N, D) -> the same.

        Without a mask and with features last, queries, keys and values are what flash attention
        takes; only those over time of more than one chunk are copied.
        """
        axes = "(b n) h t d" if over_time else "(b t) h n d"
        qkv = rearrange(
            self.qkv(x), f"b t n (three h d) -> three {axes}", three=3, h=self.num_heads
        )
        out = nn.functional.scaled_dot_product_attention(*qkv.unbind(0))
        return self.proj(rearrange(out, f"{axes} -> b t n (h d)", b=len(x)))


class Block(nn.Module):
    """Transformer block with adaptive layer norm (adaLN-Zero), over patches or over time."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attn = SelfAttention(width, num_heads)
        self.mlp = Mlp(width, 4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x: Tensor, parameters: Tensor, over_time: bool) -> Tensor:
        """Attends and mixes features.

        Args:
            x: (B, T, N, D).
            parameters: (B, T or 1, 1, 6D) of the norms and gates, as `modulation` makes them.
            over_time: Attend over frames at each patch, not over patches in each frame.
        """
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = parameters.chunk(6, dim=-1)
        attended = self.attn(modulate(self.norm(x), shift_a, scale_a), over_time)
        x = add_gated(x, gate_a, attended)
        return add_gated(x, gate_m, self.mlp(modulate(self.norm(x), shift_m, scale_m)))


class FinalLayer(nn.Module):
    """Modulated norm and projection of each token to its patch."""

    def __init__(self, width: int, out_features: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(width, out_features)
        self.modulation = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor, parameters: Tensor) -> Tensor:
        """(B, T, N, D) under parameters (B, T or 1, 1, 2D) -> (B, T, N, out_features)."""
        shift, scale = parameters.chunk(2, dim=-1)
        x = x.to(self.linear.weight.dtype)
        return self.linear(modulate(self.norm(x), shift, scale))


class ActionEmbedding(nn.Module):
    """Embeds a chunk's actions: one vector an action (Frame-Ada) or one in all (Video-Ada)."""

    def __init__(self, config: IRASimConfig):
        super().__init__()
        width, action_dim = config.hidden_size, config.action_dim
        num_actions = config.num_frames - 1
        video = config.conditioning == "video"
        self.per_action: nn.Module = nn.Identity()
        self.per_chunk: nn.Module | None = None
        if config.action_embedding == "linear":
            self.per_action = nn.Sequential(
                nn.Linear(action_dim, 4 * width), nn.Linear(4 * width, width)
            )
            if video:
                self.per_chunk = Mlp(num_actions * width, num_actions * width, width)
        elif video:
            self.per_chunk = Mlp(num_actions * action_dim, 4 * width, width)
        else:
            self.per_action = Mlp(action_dim, 4 * width, width)

    def forward(self, actions: Tensor) -> Tensor:
        """(B, K, A) -> (B, K, D) or, for a whole chunk, (B, D)."""
        embedding = self.per_action(actions)
        return embedding if self.per_chunk is None else self.per_chunk(embedding.flatten(1))


class IRASim(nn.Module):
    """The denoiser: predicts the noise in a chunk of latent frames, given its actions."""

    def __init__(self, config: IRASimConfig):
        super().__init__()
        self.config = config
        width, patch = config.hidden_size, config.patch_size
        self.patch_embedding = nn.Conv2d(config.in_channels, width, patch, stride=patch)
        self.time_embedding = nn.Sequential(
            nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.action_embedding = ActionEmbedding(config)
        self.null_action = nn.Parameter(torch.randn(1, width))
        for name, table in self.constants(config).items():
            self.register_buffer(name, table)
        self.spatial_position: Tensor
        self.temporal_position: Tensor
        self.blocks = nn.ModuleList(Block(width, config.num_heads) for _ in range(config.depth))
        self.final = FinalLayer(width, patch * patch * config.out_channels)
        self._initialise()

    @staticmethod
    def constants(config: IRASimConfig) -> dict[str, Tensor]:
        """Buffers that are not learned: positions (1, N, D) of patches, (1, T, D) of frames."""
        width = config.hidden_size
        frames = sincos_table_1d(width, torch.arange(config.num_frames))
        return {
            "spatial_position": sincos_table_2d(width, *config.grid_size).float()[None],
            "temporal_position": frames.float()[None],
        }

    def _initialise(self):
        """DiT's initialisation: every block starts as the identity, the output as zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight.view(len(module.weight), -1))
                nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]
        for index in (0, 2):
            nn.init.normal_(self.time_embedding[index].weight, std=0.02)  # pyright: ignore
        zeroed = [block.modulation for block in self.blocks]
        for linear in [*zeroed, self.final.modulation, self.final.linear]:
            nn.init.zeros_(linear.weight)  # pyright: ignore
            nn.init.zeros_(linear.bias)  # pyright: ignore

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        actions: Tensor | None,
        generator: torch.Generator | None = None,
        dropped: Tensor | None = None,
    ) -> Tensor:
        """Predicts the noise in every frame.

        Args:
            x: (B, T, C, h, w) latents: frame 0 clean, the others at time t.
            t: (B,) diffusion times, 0 to 999.
            actions: (B, T - 1, A) as the model was trained (scaled), action k leading to frame
                k + 1; None uses the null embedding for the whole batch (for guidance).
            generator: Stream of the condition dropout; used in training mode only.
            dropped: bool (B,), whose actions are replaced by the null embedding, in place of the
                condition dropout's draw.

        Returns:
            (B, T, C, h, w), or with learned sigma (B, T, 2C, h, w), noise first.
        """
        config = self.config
        sizes = (config.in_channels, *config.latent_size)
        check_chunk_inputs(x, actions, config.num_frames, config.action_dim, sizes)
        time = self._embed_time(t)[:, None, None]  # (B, 1, 1, D)
        action = self._condition(actions, len(x), generator, dropped)
        return self.denoise(x, self._modulation(time, action))

    def modulation_table(self, times: Tensor, actions: Tensor | None) -> list[Tensor]:
        """What times and actions do to the network, for all times of a sampling at once.

        Args:
            times: (S,).
            actions: (B, T - 1, A), or None for the null embedding.

        Returns:
            Of each block, then of the final layer: adaLN parameters (S, B or 1, T or 1, 1, n D), 1
            where they are the same for all. Entry s of each is what `denoise` takes at times[s].
        """
        time = self._embed_time(times)[:, None, None, None]  # (S, 1, 1, 1, D)
        batch = 1 if actions is None else len(actions)
        return self._modulation(time, self._condition(actions, batch, None, None)[None])

    def denoise(self, x: Tensor, modulation: list[Tensor]) -> Tensor:
        """As `forward`, given the adaLN parameters (B or 1, T or 1, 1, n D) of each layer."""
        dtype = self.patch_embedding.weight.dtype
        tokens = self.patch_embedding(x.to(dtype).flatten(0, 1))
        tokens = rearrange(tokens, "(b t) d r c -> b t (r c) d", b=len(x))
        tokens = (tokens + self.spatial_position).to(dtype)  # positions may be of wider type
        *of_blocks, of_final = modulation
        for index, (block, parameters) in enumerate(zip(self.blocks, of_blocks, strict=True)):
            if index == 1:
                tokens = (tokens + self.temporal_position[:, :, None]).to(dtype)
            tokens = block(tokens, parameters, over_time=index % 2 == 1)
        patches = self.final(tokens, of_final)
        rows, _ = self.config.grid_size
        size = self.config.patch_size
        frames = rearrange(
            patches, "b t (r c) (p q k) -> b t k (r p) (c q)", r=rows, p=size, q=size
        )
        return frames.to(x.dtype)

    def _embed_time(self, t: Tensor) -> Tensor:
        """(n,) -> (n, D)."""
        features = timestep_embedding(t, TIME_FEATURES)
        return self.time_embedding(features.to(self.null_action.dtype))

    def _modulation(self, time: Tensor, action: Tensor) -> list[Tensor]:
        """adaLN parameters of each layer from embeddings (..., 1, 1, D) and (..., T or 1, 1, D)."""
        by_video = self.config.conditioning == "video"
        both = nn.functional.silu(time + action)
        alone = both if by_video else nn.functional.silu(time)
        last = both if by_video or self.config.final_frame_ada else alone
        of_blocks = [
            block.modulation(both if index % 2 == 0 else alone)  # pyright: ignore[reportCallIssue]
            for index, block in enumerate(self.blocks)
        ]
        return [*of_blocks, self.final.modulation(last)]

    def _condition(
        self,
        actions: Tensor | None,
        batch: int,
        generator: torch.Generator | None,
        dropped: Tensor | None,
    ) -> Tensor:
        """Embeds actions for the spatial blocks: (B, T, 1, D) by frame, (B, 1, 1, D) by video."""
        if actions is None:
            return self.null_action.expand(batch, 1, 1, -1)
        embedding = self.action_embedding(actions.to(self.null_action.dtype))
        if self.config.conditioning == "frame":
            # No action leads to the first frame.
            first = self.null_action.expand(batch, 1, -1)
            embedding = torch.cat([first, embedding], dim=1)  # (B, T, D)
        else:
            embedding = embedding[:, None]  # (B, 1, D)
        if self.training or dropped is not None:
            embedding = drop_condition(
                embedding, self.null_action, self.config.condition_dropout, generator, dropped
            )
        return embedding[:, :, None]

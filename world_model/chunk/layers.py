"""Layers that several denoisers share: embeddings, modulation, MLP, condition dropout.

B batch, T time, D width, N tokens.
"""

import math

import torch
from torch import Tensor, nn

MAX_PERIOD = 10_000.0


class Mlp(nn.Module):
    """Two linear layers around a tanh-approximated GELU."""

    def __init__(self, in_features: int, hidden_features: int, out_features: int):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.fc2 = nn.Linear(hidden_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x), approximate="tanh"))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive layer norm's second half: x (1 + scale) + shift, broadcast.

    Parameters wider than x are used as they are, and the result rounded once, to x's type.
    """
    if scale.dtype.itemsize > x.dtype.itemsize:
        return torch.addcmul(shift, x, 1 + scale, out=torch.empty_like(x))
    return x * (1 + scale) + shift


def add_gated(x: Tensor, gate: Tensor, branch: Tensor) -> Tensor:
    """A residual branch: x + gate branch, broadcast; wider gates as in `modulate`."""
    if gate.dtype.itemsize > x.dtype.itemsize:
        return torch.addcmul(x, gate, branch, out=torch.empty_like(x))
    return x + gate * branch


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Embeds diffusion times as cosines, then sines, of geometrically spaced frequencies.

    Args:
        t: (B,) times, fractional ones allowed.
        width: even number of features.

    Returns:
        (B, width) float32.
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float()[:, None] * torch.exp(-math.log(MAX_PERIOD) * steps / half)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def sincos_table_1d(width: int, positions: Tensor) -> Tensor:
    """Fixed sine-cosine features of positions (N,): sines first, (N, width) float64."""
    frequencies = MAX_PERIOD ** -(
        torch.arange(width // 2, dtype=torch.float64, device=positions.device) / (width / 2)
    )
    angles = positions.double()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def sincos_table_2d(width: int, rows: int, columns: int) -> Tensor:
    """Fixed features of a grid in row-major order, (rows * columns, width) float64.

    The first half of the features encodes the column, the second the row (as in IRASim).
    """
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    tables = [sincos_table_1d(width // 2, index.flatten()) for index in (column, row)]
    return torch.cat(tables, dim=-1)


def check_chunk_inputs(
    x: Tensor,
    actions: Tensor | None,
    num_frames: int,
    action_dim: int,
    sizes: tuple[int | str, ...],
) -> None:
    """Raise ValueError unless x is (B, T, C, H, W), its C, H and W as `sizes` (words: any), and
    actions are (B, T - 1, A) or none."""
    expected = (num_frames, *sizes)
    fits = x.ndim == 5 and all(
        isinstance(wanted, str) or side == wanted
        for side, wanted in zip(x.shape[1:], expected, strict=True)
    )
    if not fits:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, this model expects (B, T, C, H, W) = "
            f"(B, {', '.join(map(str, expected))}); it always runs its {num_frames} frames: "
            "sample_chunk pads shorter chunks"
        )
    wanted = (len(x), num_frames - 1, action_dim)
    if actions is not None and actions.shape != wanted:
        raise ValueError(
            f"actions have shape {tuple(actions.shape)}, expected (B, T - 1, A) = {wanted}"
        )


def drop_condition(
    embedding: Tensor,
    null: Tensor,
    probability: float,
    generator: torch.Generator | None,
    dropped: Tensor | None = None,
) -> Tensor:
    """Replaces whole batch items of a condition by the null embedding, for guidance.

    Args:
        embedding: (B, ..., D), one condition a batch item.
        null: Broadcasts against one item of `embedding`.
        probability: Chance of each item to be replaced.
        generator: Stream of the draw; None draws from torch's default one, as nn.Dropout does.
        dropped: bool (B,), the items to replace; then nothing is drawn.

    Returns:
        Like `embedding`.
    """
    if dropped is None:
        device = embedding.device if generator is None else generator.device
        draws = torch.rand(len(embedding), generator=generator, device=device)
        dropped = (draws < probability).to(embedding.device)
    return torch.where(dropped.view(-1, *[1] * (embedding.ndim - 1)), null, embedding)

"""Pre-norm transformer blocks whose attention knows the time of each token."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from brainfm.layers.rotary import rotate, rotation

PLAIN = 512**2  # the largest matrix of attention weights, tokens × tokens, that plain products are used for


class SelfBlock(nn.Module):
    """Tokens attend to each other, then each passes an MLP. No dropout: masking regularises, and its random numbers are dear."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = residual(nn.Linear(width, width, bias=False), depth)
        self.mlp = MLP(width, depth)

    def forward(
        self,
        x: Float[Tensor, "batch token width"],
        time: Float[Tensor, "batch token"],
        valid: Bool[Tensor, "batch token"] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        q, k, v = (split(part, self.heads) for part in self.qkv(self.norm(x)).chunk(3, dim=-1))
        cos, sin = rotation(time, q.shape[-1])
        mask = None if valid is None else valid[:, None, None, :]
        mixed = attend(rotate(q, cos, sin), rotate(k, cos, sin), v, mask)
        x = x + self.out(merge(mixed))
        return x + self.mlp(x)


class CrossBlock(nn.Module):
    """Queries attend to a context at its own times, then each passes an MLP."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, bias=False)
        self.norm_context = nn.LayerNorm(width, bias=False)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = residual(nn.Linear(width, width, bias=False), depth)
        self.mlp = MLP(width, depth)

    def forward(
        self,
        x: Float[Tensor, "batch token width"],
        time: Float[Tensor, "batch token"],
        context: Float[Tensor, "batch other width"],
        context_time: Float[Tensor, "batch other"],
        context_valid: Bool[Tensor, "batch other"] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        q = split(self.q(self.norm(x)), self.heads)
        k, v = (split(part, self.heads) for part in self.kv(self.norm_context(context)).chunk(2, dim=-1))
        q = rotate(q, *rotation(time, q.shape[-1]))
        k = rotate(k, *rotation(context_time, k.shape[-1]))
        mask = None if context_valid is None else context_valid[:, None, None, :]
        x = x + self.out(merge(attend(q, k, v, mask)))
        return x + self.mlp(x)


def attend(
    q: Float[Tensor, "batch head token size"],
    k: Float[Tensor, "batch head other size"],
    v: Float[Tensor, "batch head other size"],
    mask: Bool[Tensor, "batch #head #token other"] | None = None,
) -> Float[Tensor, "batch head token size"]:
    """Scaled dot-product attention; True in `mask` is attended to.

    On a CPU in bf16, torch's fused kernel takes two to five times as long as plain products while the weights are small
    (LOG, 2026-11-24).
    """
    if mask is not None:
        # a row of padding alone attends to all of it rather than to nothing, which would give NaN
        mask = mask | ~mask.any(dim=-1, keepdim=True)
    small = q.shape[-2] * k.shape[-2] <= PLAIN
    if mask is not None or q.device.type != "cpu" or q.dtype != torch.bfloat16 or not small:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    weight = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return weight.softmax(dim=-1) @ v


class MLP(nn.Module):
    """Norm, widen fourfold, exact GELU (its tanh form is four times slower on a CPU), narrow."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, bias=False)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = residual(nn.Linear(4 * width, width), depth)

    def forward(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        return self.narrow(F.gelu(self.widen(self.norm(x))))


def heads_for(width: int) -> int:
    """How many heads of about 64 features, each of even size, a width divides into."""
    return min((n for n in range(1, width) if width % (2 * n) == 0), key=lambda n: abs(width / n - 64))


def residual(linear: nn.Linear, depth: int) -> nn.Linear:
    """Shrink what a layer adds by √(2·depth), so that the sum over the blocks keeps its size (Radford et al. 2019, §2.3)."""
    with torch.no_grad():
        linear.weight /= math.sqrt(2 * depth)
    return linear


def split(x: Float[Tensor, "batch token width"], heads: int) -> Float[Tensor, "batch head token size"]:
    """One row of features per head."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge(x: Float[Tensor, "batch head token size"]) -> Float[Tensor, "batch token width"]:
    """The heads side by side again."""
    return x.transpose(1, 2).flatten(2)

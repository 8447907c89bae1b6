"""The one block of all encoders and decoders: pre-norm attention that knows the time of each token, then an MLP."""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from brainfm.layers.halves import Halves
from brainfm.layers.rotary import rotate, rotation

WIDEN = 4.0
"""How many times wider than a token its own network is, unless a recipe says otherwise."""
PLAIN = 512**2  # the largest matrix of attention weights, tokens × tokens, that plain products are used for

L = TypeVar("L", bound=nn.Linear | Halves)
Heads = Float[Tensor, "batch token head size"]
Mix = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Who attends to whom: queries, keys and values (each `Heads`) to what every query then holds."""


class Block(nn.Module):
    """Tokens attend to each other, or with `cross` to a context, then each passes an MLP.

    Who attends to whom is an argument of the call (`Mix`), so that full, axial and bottleneck encoders are made of this one.
    With `halves` the first half of the heads reads and writes the first half of the features alone, the others the second: where
    they look along two axes, each axis has features of its own until the MLP mixes them. Heads share the width unless each has a
    `size`, and the MLP is `widen` times as wide. No dropout: masking regularises, and its random numbers are dear.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        depth: int,
        cross: bool = False,
        halves: bool = False,
        gated: bool = False,
        size: int | None = None,
        widen: float = WIDEN,
    ) -> None:
        super().__init__()
        self.heads, self.cross = heads, cross
        inner = width if size is None else heads * size
        self.norm = nn.LayerNorm(width, bias=False)
        if cross:
            self.norm_context = nn.LayerNorm(width, bias=False)
            self.q = nn.Linear(width, inner, bias=False)
            self.kv = nn.Linear(width, 2 * inner, bias=False)
        else:
            self.qkv = Halves(width, 3) if halves else nn.Linear(width, 3 * inner, bias=False)
        self.out = residual(Halves(width) if halves else nn.Linear(inner, width, bias=False), depth)
        self.mlp = (GatedMLP if gated else MLP)(width, depth, round(widen * width))

    def forward(
        self,
        x: Float[Tensor, "batch token width"],
        time: Float[Tensor, "batch token"] | None,
        context: Float[Tensor, "batch other width"] | None = None,
        context_time: Float[Tensor, "batch other"] | None = None,
        context_valid: Bool[Tensor, "batch other"] | None = None,
        mix: Mix | None = None,
    ) -> Float[Tensor, "batch token width"]:
        """All attend to all that is valid unless `mix` says otherwise; a context and its times are for a block with `cross`.

        Without `time` nothing turns: attention does not know when anything is.
        """
        q, k, v = self.projected(x, context)
        if time is not None:
            turn = rotation(time, q.shape[-1])
            q = rotate(q, *turn)
            k = rotate(k, *(turn if context_time is None else rotation(context_time, k.shape[-1])))
        mixed = (mix or everyone(context_valid))(q, k, v)
        x = x + self.out(mixed.flatten(2))
        return x + self.mlp(x)

    def projected(
        self, x: Float[Tensor, "batch token width"], context: Float[Tensor, "batch other width"] | None
    ) -> tuple[Tensor, ...]:
        """Queries of `x`, keys and values of the context, or of `x` itself; each `Heads`."""
        if context is None:
            parts = self.qkv(self.norm(x)).chunk(3, dim=-1)
        else:
            parts = (self.q(self.norm(x)), *self.kv(self.norm_context(context)).chunk(2, dim=-1))
        return tuple(part.unflatten(-1, (self.heads, -1)) for part in parts)


class CrossBlock(Block):
    """Queries attend to a context at its own times."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__(width, heads, depth, cross=True)


def everyone(valid: Bool[Tensor, "batch other"] | None = None) -> Mix:
    """Every query attends to all of the context that is valid."""
    mask = None if valid is None else valid[:, None, None, :]
    return lambda q, k, v: attend(q, k, v, mask)


def earlier(time: Float[Tensor, "batch token"], valid: Bool[Tensor, "batch token"]) -> Mix:
    """Every token attends to itself and to what is valid and strictly earlier: not to what comes at the same time."""
    mask = itself_and_earlier(time, valid).unsqueeze(1)
    return lambda q, k, v: attend(q, k, v, mask)


def itself_and_earlier(
    time: Float[Tensor, "batch token"], valid: Bool[Tensor, "batch token"]
) -> Bool[Tensor, "batch token other"]:
    """Which others a token hears that is told by the past alone."""
    before = (time.unsqueeze(1) < time.unsqueeze(2)) & valid.unsqueeze(1)
    return before | torch.eye(time.shape[1], dtype=torch.bool, device=time.device)


def attend(
    q: Float[Tensor, "batch token head size"],
    k: Float[Tensor, "batch other head size"],
    v: Float[Tensor, "batch other head value"],
    mask: Bool[Tensor, "batch #head #token other"] | None = None,
) -> Float[Tensor, "batch token head value"]:
    """Scaled dot-product attention; True in `mask` is attended to.

    On a CPU in bf16, torch's fused kernel takes one and a half to thirteen times as long as plain products while the weights
    are small, most where rows are short (LOG, 2026-11-24 and 2026-11-26).
    """
    if mask is not None:
        # a row of padding alone attends to all of it rather than to nothing, which would give NaN
        mask = mask | ~mask.any(dim=-1, keepdim=True)
    small = q.shape[1] * k.shape[1] <= PLAIN
    q, k, v = (one.transpose(1, 2) for one in (q, k, v))
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or not small:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
    weight = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        weight = weight.masked_fill(~mask, -torch.inf)
    return (weight.softmax(dim=-1) @ v).transpose(1, 2)


class MLP(nn.Module):
    """Norm, widen to `hidden`, exact GELU (its tanh form is four times slower on a CPU), narrow."""

    def __init__(self, width: int, depth: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, bias=False)
        self.widen = nn.Linear(width, hidden)
        self.narrow = residual(nn.Linear(hidden, width), depth)

    def forward(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        return self.narrow(F.gelu(self.widen(self.norm(x))))


class GatedMLP(MLP):
    """The same with a gate on each of the wide features: half as many weights again (Shazeer 2020, arXiv:2002.05202, GEGLU)."""

    def __init__(self, width: int, depth: int, hidden: int) -> None:
        super().__init__(width, depth, hidden)
        self.gate = nn.Linear(width, hidden)

    def forward(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        normed = self.norm(x)
        return self.narrow(F.gelu(self.gate(normed)) * self.widen(normed))


def heads_for(width: int) -> int:
    """How many heads of about 64 features, each of even size, a width divides into."""
    return min((n for n in range(1, width) if width % (2 * n) == 0), key=lambda n: abs(width / n - 64))


def residual(linear: L, depth: int) -> L:
    """Shrink what a layer adds by √(2·depth), so that the sum over the blocks keeps its size (Radford et al. 2019, §2.3)."""
    with torch.no_grad():
        linear.weight.div_(math.sqrt(2 * depth))
    return linear

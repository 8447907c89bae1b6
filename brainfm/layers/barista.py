"""BaRISTA's network for intracranial recordings, under the names and shapes of its released weights.

Oganesian et al. 2025 (arXiv:2512.12135, NeurIPS 2025), §3: a dilated convolution reads each patch of each channel, a lookup table
says where the channel is, a transformer relates them all. Its licence lets weights be used for education, research and
non-profit purposes; they are not part of brainfm.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

PATCH = 512
"""Samples of a patch: 250 ms at 2048 Hz."""
WIDTH, HEADS, DEPTH, HIDDEN = 64, 4, 12, 5
BASE = 10_000.0
"""Of the rotary frequencies (Su et al. 2021)."""


class Barista(nn.Module):
    """Windows whose every channel is at mean 0 and deviation 1, and each channel's rows of the lookup tables, to tokens.

    Tokens are ordered by patch, then by channel; every token attends to all.
    """

    def __init__(self, tables: tuple[int, ...]) -> None:
        super().__init__()
        self.tokenizer: Any = (
            nn.ModuleDict(  # the names of its weights are all that is known of what lies inside
                {
                    "temporal_encoder": nn.ModuleDict(
                        {"feature_extractor": nn.ModuleDict({"net": dilated()})}
                    ),
                    "temporal_pooler": nn.ModuleDict({"final_layer": nn.Linear(PATCH, WIDTH, bias=False)}),
                    "spatial_encoder": nn.ModuleDict(
                        {
                            "subcomponent_embeddings": nn.ModuleList(
                                nn.Embedding(rows, WIDTH) for rows in tables
                            )
                        }
                    ),
                }
            )
        )
        self.backbone: Any = nn.ModuleDict(
            {"layers": nn.ModuleList(Layer() for _ in range(DEPTH)), "norm": nn.RMSNorm(WIDTH, eps=1e-8)}
        )

    def forward(
        self, signal: Float[Tensor, "batch sensor time"], place: Int[Tensor, "sensor table"]
    ) -> Float[Tensor, "batch patch sensor width"]:
        part = self.tokenizer
        patches = signal.unfold(2, PATCH, PATCH).transpose(1, 2)
        batch, times, sensors, _ = patches.shape
        x = patches.reshape(-1, 1, 1, PATCH)
        for block in part["temporal_encoder"]["feature_extractor"]["net"]:
            x = block(x)
        tokens = part["temporal_pooler"]["final_layer"](x.reshape(batch, times, sensors, PATCH))
        tables = part["spatial_encoder"]["subcomponent_embeddings"]
        where = torch.stack([table(place[:, number]) for number, table in enumerate(tables)]).sum(dim=0)
        out = (tokens + where).flatten(1, 2)
        time = torch.arange(times, device=signal.device).repeat_interleave(sensors)
        for layer in self.backbone["layers"]:
            out = layer(out, time)
        return self.backbone["norm"](out).unflatten(1, (times, sensors))


def dilated() -> nn.ModuleList:
    """Five blocks of two convolutions in time, each seeing twice as far as the one before."""
    widths = [1, *[HIDDEN] * 4, 1]
    return nn.ModuleList(Dilated(widths[row], widths[row + 1], 2**row) for row in range(5))


class Dilated(nn.Module):
    """Two dilated convolutions over the samples of a patch, each normalised over them, beside a way around both."""

    def __init__(self, before: int, after: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = Wrapped(before, after, dilation)
        self.conv2 = Wrapped(after, after, dilation)
        self.projector = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Float[Tensor, "patch before 1 time"]) -> Float[Tensor, "patch after 1 time"]:
        h = x
        for conv in (self.conv1, self.conv2):
            h = conv(h)
            h = F.gelu(F.layer_norm(h, h.shape[-1:]))
        return h + self.projector(x)


class Wrapped(nn.Module):
    """A convolution one level deeper in the names of its weights."""

    def __init__(self, before: int, after: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, (1, 3), padding=(0, dilation), dilation=(1, dilation))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Layer(nn.Module):
    """Attention among all tokens, then a gated MLP, each after a root-mean-square norm."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {
                "qkv_proj": nn.Linear(WIDTH, 3 * WIDTH),
                "o_proj": nn.Linear(WIDTH, WIDTH),
                "rotary_emb": Frequencies(),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": nn.Linear(WIDTH, 4 * WIDTH),
                "up_proj": nn.Linear(WIDTH, 4 * WIDTH),
                "down_proj": nn.Linear(4 * WIDTH, WIDTH),
            }
        )
        self.norm1, self.norm2 = nn.RMSNorm(WIDTH, eps=1e-8), nn.RMSNorm(WIDTH, eps=1e-8)

    def forward(
        self, x: Float[Tensor, "batch token width"], time: Int[Tensor, " token"]
    ) -> Float[Tensor, "batch token width"]:
        q, k, v = (
            part.unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in self.attention["qkv_proj"](self.norm1(x)).chunk(3, dim=-1)
        )
        turn = self.attention["rotary_emb"]
        mixed = F.scaled_dot_product_attention(turn(q, time), turn(k, time), v)
        x = x + self.attention["o_proj"](mixed.transpose(1, 2).flatten(2))
        h = self.norm2(x)
        gated = F.gelu(self.mlp["gate_proj"](h)) * self.mlp["up_proj"](h)
        return x + self.mlp["down_proj"](gated)


class Frequencies(nn.Module):
    """Rotary frequencies, kept among the weights as the released files have them; a pair lies half a head apart."""

    inv_freq: Tensor

    def __init__(self) -> None:
        super().__init__()
        size = WIDTH // HEADS
        self.register_buffer("inv_freq", BASE ** (-torch.arange(0, size, 2) / size))

    def forward(
        self, x: Float[Tensor, "batch head token size"], time: Int[Tensor, " token"]
    ) -> Float[Tensor, "batch head token size"]:
        angle = torch.outer(time.to(self.inv_freq), self.inv_freq)
        first, second = x.chunk(2, dim=-1)
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

"""Along a row: tokens of one sensor hear each other over time, and never those of another sensor."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.layers.attention import WIDEN, Block, heads_for


class Along(nn.Module):
    """A linear map, `depth` blocks within each row, a linear map: EEGFormer's encoder and decoder (Chen et al. 2024, §3).

    When a token is, attention knows by rotary time, `seconds` from one to the next; EEGFormer learns a vector for each place.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        depth: int,
        seconds: float,
        heads: int | None = None,
        size: int | None = None,
        widen: float = WIDEN,
    ) -> None:
        super().__init__()
        self.seconds = seconds
        self.into = nn.Linear(inputs, hidden)
        self.blocks = nn.ModuleList(
            Block(hidden, heads or heads_for(hidden), depth, size=size, widen=widen) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(hidden, bias=False)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, x: Float[Tensor, "row times inputs"]) -> Float[Tensor, "row times outputs"]:
        time = (torch.arange(x.shape[1], device=x.device) * self.seconds).expand(len(x), -1)
        x = self.into(x)
        for block in self.blocks:
            x = block(x, time)
        told: Tensor = self.out(self.norm(x))
        return told

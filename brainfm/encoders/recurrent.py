"""A recurrent core over stretches of time: learned queries read the tokens of each, a state goes from one to the next.

Ryoo et al. 2025 (POSSM, arXiv:2506.05320, abstract): what came in the last 50 ms is read by one query, and a recurrent network
(here a GRU) keeps what was before, so that a new stretch costs the same however long the recording has been running. The reading
is that of `bottleneck`; the core takes the place of its blocks over all stretches.
"""

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from brainfm.encoders.bottleneck import Bottleneck, BottleneckEncoder
from brainfm.layers.bins import Bins


class Recurrent(Bottleneck):
    """`depth` layers of a GRU, `latents` of a stretch side by side; `heads` and `fold` mean nothing to them.

    What a token holds in the end comes from its own stretch and those before it. A stretch without tokens leaves the state as
    it was.
    """

    @model_validator(mode="after")
    def _past_alone(self) -> "Recurrent":
        if self.across:
            raise ValueError(
                "a recurrent core tells nothing before it came, and latents that read across all stretches would"
            )
        return self

    def build(self, modalities: int) -> "RecurrentEncoder":
        return RecurrentEncoder(self, modalities)


class RecurrentEncoder(BottleneckEncoder):
    """`Tokens -> Tokens`; nothing of a stretch is told before it."""

    def __init__(self, part: Recurrent, modalities: int) -> None:
        super().__init__(part.model_copy(update={"depth": 0}), modalities)
        self.part = part
        wide = part.width * part.latents
        self.enter = nn.LayerNorm(wide, bias=False)
        self.cells = nn.ModuleList(nn.GRUCell(wide, wide) for _ in range(part.depth))

    def think(
        self, latents: Float[Tensor, "batch latent width"], time: Float[Tensor, "batch latent"], bins: Bins
    ) -> Float[Tensor, "batch latent width"]:
        """Each stretch's latents, and what the state makes of them."""
        x = self.enter(latents.unflatten(1, (-1, self.part.latents)).flatten(2))
        there = bins.any.unsqueeze(-1)
        for cell in self.cells:
            state, states = x.new_zeros(x.shape[0], x.shape[2]), []
            for step in range(x.shape[1]):
                state = torch.where(there[:, step], cell(x[:, step], state), state)
                states.append(state)
            x = x + torch.stack(states, dim=1)
        return x.unflatten(2, (self.part.latents, -1)).flatten(1, 2)

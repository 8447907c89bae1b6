"""A plain transformer over all tokens."""

from torch import nn

from brainfm.encoders import Shaped
from brainfm.layers.attention import earlier, everyone
from brainfm.layers.placed import Placed
from brainfm.tokens import Tokens


class Transformer(Shaped):
    """Full attention. The cost of a layer grows with the square of the tokens it sees, so hide many (He et al. 2022, §3)."""

    causal = True

    def build(self, modalities: int) -> "TransformerEncoder":
        return TransformerEncoder(self, modalities)


class TransformerEncoder(Placed):
    """`Tokens -> Tokens`; padding is neither attended to nor changed by what it holds."""

    def __init__(self, part: Transformer, modalities: int) -> None:
        super().__init__(part.width, modalities, part.where, part.when)
        self.part = part
        self.blocks = nn.ModuleList(part.block(part.width, part.heads, part.depth) for _ in range(part.depth))
        self.norm = nn.LayerNorm(part.width, bias=False)

    def forward(self, tokens: Tokens) -> Tokens:
        x, time = self.placed(tokens), self.clock(tokens.time)
        everybody = everyone(tokens.valid if tokens.padded else None)
        mix = earlier(tokens.time, tokens.valid) if tokens.causal else everybody
        for block in self.blocks:
            x = block(x, time, mix=mix)
        return tokens.with_embedding(self.norm(x))

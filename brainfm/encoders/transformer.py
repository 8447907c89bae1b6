"""A plain transformer over all tokens: Fourier features say where, rotary embedding says when."""

from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from brainfm.encoders import Encoder
from brainfm.layers.attention import SelfBlock
from brainfm.layers.position import PositionFeatures
from brainfm.tokens import Tokens


class Transformer(Encoder):
    """Full attention. The cost of a layer grows with the square of the tokens it sees, so hide many (He et al. 2022, §3)."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "Transformer":
        if self.width % (2 * self.heads):
            raise ValueError(f"a width of {self.width} can't be split into {self.heads} heads of even size")
        return self

    def build(self, modalities: int) -> "TransformerEncoder":
        return TransformerEncoder(self, modalities)


class TransformerEncoder(nn.Module):
    """`Tokens -> Tokens`; padding is neither attended to nor changed by what it holds."""

    def __init__(self, part: Transformer, modalities: int) -> None:
        super().__init__()
        self.part = part
        self.where = PositionFeatures(part.width)
        self.instrument = nn.Embedding(modalities, part.width)
        self.blocks = nn.ModuleList(SelfBlock(part.width, part.heads, part.depth) for _ in range(part.depth))
        self.norm = nn.LayerNorm(part.width, bias=False)

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens.with_embedding(self.norm(self.layers(tokens)[-1]))

    def layers(self, tokens: Tokens) -> list[Float[Tensor, "batch token width"]]:
        """What every block gives, before the final norm: for probes that look deeper."""
        x = tokens.embedding + self.where(tokens.position, tokens.located) + self.instrument(tokens.modality)
        valid = tokens.valid if tokens.padded else None
        outputs = []
        for block in self.blocks:
            x = block(x, tokens.time, valid)
            outputs.append(x)
        return outputs

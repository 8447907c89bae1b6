"""How every encoder begins: what a token says, with where it is and which instrument made it."""

from jaxtyping import Float
from torch import Tensor, nn

from brainfm.layers.position import PositionFeatures
from brainfm.tokens import Tokens


class Placed(nn.Module):
    """The base of the encoders' modules. When a token is, attention knows by itself (`layers.rotary`)."""

    def __init__(self, width: int, modalities: int) -> None:
        super().__init__()
        self.where = PositionFeatures(width)
        self.instrument = nn.Embedding(modalities, width)

    def placed(self, tokens: Tokens) -> Float[Tensor, "batch token width"]:
        """The tokens' embeddings, their place and their instrument added."""
        return (
            tokens.embedding + self.where(tokens.position, tokens.located) + self.instrument(tokens.modality)
        )

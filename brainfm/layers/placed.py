"""How every encoder begins: what a token says, with where and when it is and which instrument made it."""

from jaxtyping import Float
from torch import Tensor, nn

from brainfm.moments import Moment
from brainfm.places import Place
from brainfm.tokens import Tokens


class Placed(nn.Module):
    """The base of the encoders' modules. What says where and when may be nothing (`places.none`, `moments.rotary`)."""

    def __init__(self, width: int, modalities: int, where: Place, when: Moment) -> None:
        super().__init__()
        self.where = where.build(width)
        self.instrument = nn.Embedding(modalities, width)
        self.when = when.build(width)
        self.turns = when.turns

    def placed(self, tokens: Tokens) -> Float[Tensor, "batch token width"]:
        """The tokens' embeddings, their place, their instrument and their moment added."""
        x = tokens.embedding if self.where is None else tokens.embedding + self.where(tokens)
        x = x + self.instrument(tokens.modality)
        return x if self.when is None else x + self.when(tokens)

    def clock(self, time: Float[Tensor, "batch token"]) -> Float[Tensor, "batch token"] | None:
        """The times by which attention turns; None where it does not."""
        return time if self.turns else None

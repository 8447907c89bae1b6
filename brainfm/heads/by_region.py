"""A linear head on the mean token of each of some named regions."""

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.heads import Head
from brainfm.pooling import in_regions, means
from brainfm.tokens import Tokens


class ByRegion(Head):
    """Regions are told apart by the labels of the sensor table, so people whose contacts differ share a head; what lies in none
    of them is not heard."""

    regions: list[str] = Field(min_length=1)

    def build(self, width: int, classes: int, sensors: int, times: int) -> "ByRegionHead":
        return ByRegionHead(self, width, classes)


class ByRegionHead(nn.Module):
    """`Tokens -> (batch, class)` logits. It starts at zero, so that training starts from an even guess."""

    def __init__(self, part: ByRegion, width: int, classes: int) -> None:
        super().__init__()
        self.part = part
        self.norm = nn.LayerNorm(len(part.regions) * width)
        self.score = nn.Linear(len(part.regions) * width, classes)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch class"]:
        return self.score(self.norm(means(tokens, in_regions(tokens, self.part.regions)).flatten(1)))

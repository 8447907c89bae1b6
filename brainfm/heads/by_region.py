"""A linear head on the mean token of each of some named regions."""

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from brainfm.heads import Head
from brainfm.layers.scored import Scored
from brainfm.pooling import in_regions, means
from brainfm.tokens import Tokens


class ByRegion(Head):
    """Regions are told apart by the labels of the sensor table, so people whose contacts differ share a head; what lies in none
    of them is not heard."""

    regions: list[str] = Field(min_length=1)

    def build(self, width: int, classes: int, sensors: int, times: int) -> "ByRegionHead":
        return ByRegionHead(self, width, classes)


class ByRegionHead(Scored):
    """`Tokens -> (batch, class)` logits."""

    def __init__(self, part: ByRegion, width: int, classes: int) -> None:
        super().__init__(len(part.regions) * width, classes)
        self.part = part

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch class"]:
        return self.scored(means(tokens, in_regions(tokens, self.part.regions)).flatten(1))

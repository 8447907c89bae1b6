"""How every head ends: a linear map that starts at zero, so that training starts from an even guess."""

from jaxtyping import Float
from torch import Tensor, nn


class Scored(nn.Module):
    """The base of heads that pool tokens into features: normalise, then the map."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.score = even(features, classes)

    def scored(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch class"]:
        """What the map says of each."""
        found: Tensor = self.score(self.norm(features))
        return found


def even(features: int, classes: int) -> nn.Linear:
    """A linear map that says the same of everything."""
    made = nn.Linear(features, classes)
    nn.init.zeros_(made.weight)
    nn.init.zeros_(made.bias)
    return made

"""A sketch: the picture that features mean on average, by a small network without noise or steps.

MindEye2's low-level branch (arXiv:2403.11207) gives such a blurry picture for sampling to start from. Trained on squares,
it tells the mean over all pictures that the features may belong to, and no sample of a generator comes nearer in squares.
"""

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.part import Settings


class Sketch(Settings):
    """One hidden layer of `hidden` units before a picture of `size` pixels."""

    hidden: int = Field(default=512, ge=1)
    size: int = Field(default=28, ge=4)
    grey: bool = False

    def build(self, tokens: int, width: int) -> "SketchNetwork":
        """For features of so many tokens of so many numbers."""
        return SketchNetwork(self, tokens * width)


class SketchNetwork(nn.Module):
    """(picture, token, width) to (picture, 3, size, size) in [0, 1]."""

    def __init__(self, part: Sketch, numbers: int) -> None:
        super().__init__()
        self.part = part
        colours = 1 if part.grey else 3
        self.layers = nn.Sequential(
            nn.Linear(numbers, part.hidden),
            nn.GELU(),
            nn.Linear(part.hidden, part.hidden),
            nn.GELU(),
            nn.Linear(part.hidden, colours * part.size**2),
        )

    def forward(self, told: Float[Tensor, "picture token width"]) -> Float[Tensor, "picture 3 size size"]:
        flat = self.layers(told.flatten(1)).sigmoid()
        return flat.unflatten(1, (-1, self.part.size, self.part.size)).expand(-1, 3, -1, -1)

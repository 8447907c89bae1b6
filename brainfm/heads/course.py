"""What went on while a window lasted: numbers for every patch in time, as one answer for the window."""

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.errors import RecipeError
from brainfm.heads import Head
from brainfm.pooling import moments
from brainfm.tokens import Tokens


class Course(Head):
    """Two linear maps with a GELU between, the same at all times (Défossez et al. 2023, arXiv:2208.12266, §2.3, last layers).

    For a target of several steps in a window (`segment`): each step is told from the patches that lie in it. The mean over
    rows is taken first.
    """

    hidden: int | None = Field(default=None, ge=1, description="between the maps; twice the width")
    features: int = Field(ge=1, description="numbers of one step, as many as the target's track has columns")

    def build(self, width: int, classes: int, sensors: int, times: int) -> "CourseHead":
        steps = classes // self.features
        if steps * self.features != classes or not steps or times % steps:
            raise RecipeError(
                f"head course: {classes} numbers of {self.features} features can't be divided over {times} patches in time; "
                "give the target as many steps as a divisor of these, and say how many columns its track has"
            )
        return CourseHead(self, width, steps)


class CourseHead(nn.Module):
    """`Tokens -> (batch, step · feature)`, step by step."""

    def __init__(self, part: Course, width: int, steps: int) -> None:
        super().__init__()
        self.part, self.steps = part, steps
        hidden = part.hidden or 2 * width
        self.first = nn.Linear(width, hidden)
        self.last = nn.Linear(hidden, part.features)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch output"]:
        said = self.last(F.gelu(self.first(moments(tokens, apart=False))))
        return said.unflatten(1, (self.steps, -1)).mean(dim=2).flatten(1)

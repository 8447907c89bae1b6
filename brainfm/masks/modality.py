"""Modality masks: of instruments that recorded at once, one is hidden whole and told from the others."""

from collections.abc import Sequence

import torch
from pydantic import Field, SerializeAsAny

from brainfm.chance import Chance
from brainfm.masks import Mask
from brainfm.tokens import Hidden, Tokens


class Modality(Mask):
    """In a share of the steps one instrument of the windows is hidden and the others are seen; `otherwise` decides in the rest.

    Which one is drawn for the step, so that all its windows hide the same count (4M, Mizrahi et al. 2023, §3, draws what is
    seen per sample and pads). Windows of one instrument are left to `otherwise`. A hidden stream of events is asked for as it
    lies, its padding with it, which objectives must not count.
    """

    otherwise: SerializeAsAny[Mask]
    drop: float = Field(
        default=0.5, gt=0, le=1, description="share of the steps in which an instrument is hidden"
    )

    def draw(self, tokens: Tokens, chance: Chance) -> Hidden:
        return self.otherwise.draw(tokens, chance)

    def draw_together(self, streams: Sequence[Tokens], chance: Chance) -> list[Hidden]:
        if len(streams) < 2:
            return self.otherwise.draw_together(streams, chance)
        # both are drawn in every step, from what all processes share
        dropped = float(torch.rand((), generator=chance.shared)) < self.drop
        which = int(torch.randint(len(streams), (), generator=chance.shared))
        if not dropped:
            return self.otherwise.draw_together(streams, chance)
        return [all_or_none(tokens, number == which) for number, tokens in enumerate(streams)]


def all_or_none(tokens: Tokens, hide: bool) -> Hidden:
    """Every token hidden, or every token seen."""
    every = torch.arange(tokens.count, device=tokens.time.device).expand(len(tokens.time), -1)
    none = every[:, :0]
    return Hidden(seen=none, hidden=every) if hide else Hidden(seen=every, hidden=none)

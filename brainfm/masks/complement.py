"""Complement: hide what another mask would show."""

from pydantic import SerializeAsAny

from brainfm.chance import Chance
from brainfm.masks import Mask, hide_least, shortest
from brainfm.tokens import Hidden, Tokens


class Complement(Mask):
    """The other mask, turned round: `of` a block mask, what is seen are blocks and all else is to be told.

    It makes the context compact where masks make the targets compact (I-JEPA, Assran et al. 2023, §3, does so). LaBraM's pair,
    a mask and its complement on the same windows in one step, is another thing: `symmetric` of `masked_codes`. With rows that
    are padded, those that are longer than the shortest show so much more.
    """

    of: SerializeAsAny[Mask]

    def draw(self, tokens: Tokens, chance: Chance) -> Hidden:
        first = self.of.draw(tokens, chance)
        kept = first.hidden.shape[1]
        turn = chance.uniform(*tokens.time.shape).to(tokens.time.device) + first.mask()
        return hide_least(turn, tokens, shortest(tokens) - kept)

"""Sensor masks: whole rows of tokens, so that a sensor must be told from the others alone."""

from brainfm.chance import Chance
from brainfm.masks import ShareMask, hide_least, rank
from brainfm.tokens import Hidden, Tokens


class Sensor(ShareMask):
    """Hide sensors (or what else rows stand for) for the whole window, the same number in every window.

    Asks what interpolation asks: what does an electrode hear that was never attached (as BrainOmni, Xiao et al. 2025, drops
    whole sensors)? Neurons fire unequally often: of the last one that is hidden, some spikes are seen.
    """

    def draw(self, tokens: Tokens, chance: Chance) -> Hidden:
        batch, n = tokens.time.shape
        row = rank(chance.uniform(batch, tokens.rows).to(tokens.time.device))
        tie = chance.uniform(batch, n).to(tokens.time.device)
        return hide_least(row.gather(1, tokens.sensor) + tie, tokens, self.whole(tokens, tokens.rows))

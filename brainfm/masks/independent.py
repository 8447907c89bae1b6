"""Independent masks: every token has the same chance, whatever its neighbours."""

from brainfm.chance import Chance
from brainfm.masks import ShareMask, hide_least
from brainfm.tokens import Hidden, Tokens


class Independent(ShareMask):
    """Hide tokens one by one (He et al. 2022). Easy for smooth fields: the neighbours give the answer away."""

    def draw(self, tokens: Tokens, chance: Chance) -> Hidden:
        noise = chance.uniform(*tokens.time.shape)
        return hide_least(noise.to(tokens.time.device), tokens, self.count(tokens))

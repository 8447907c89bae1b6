"""Time masks: stretches of time of all sensors at once, so that a moment must be told from before and after."""

import math

import torch
from pydantic import Field

from brainfm.chance import Chance
from brainfm.masks import ShareMask, hide_least, moment, stretches
from brainfm.tokens import Hidden, Tokens


class Time(ShareMask):
    """Hide stretches of `length` patches at random times, whatever the sensor; the last stretch is cut at its end.

    Volume conduction gives nothing away then: at a hidden moment nobody was heard. Of events, a patch is `EVENT` seconds.
    """

    length: int = Field(default=2, ge=1, description="patches")

    def draw(self, tokens: Tokens, chance: Chance) -> Hidden:
        when = moment(tokens)
        moments = int(when.max()) + 1
        enough = math.ceil(-math.log(1 - self.share) * moments / self.length) + 8
        begin = chance.uniform(len(when), enough).to(when.device)
        covered = stretches(when, begin, self.length)
        first = torch.where(covered.any(dim=1), covered.float().argmax(dim=1), enough)
        return hide_least(first * moments + when, tokens, self.whole(tokens, moments))

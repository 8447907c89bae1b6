"""Rotary moments: attention knows how far apart in time two tokens are, and nothing knows when the window began."""

from brainfm.moments import Moment


class Rotary(Moment):
    """Queries and keys turn with time in seconds (Su et al. 2021); what every encoder has unless its recipe says otherwise."""

    @property
    def turns(self) -> bool:
        return True

    def build(self, width: int) -> None:
        return None

"""No moment: nothing says when a token is, or the place says it already (`fourier_4d`)."""

from brainfm.moments import Moment


class Untold(Moment):
    """Nothing is added, and attention does not turn."""

    def build(self, width: int) -> None:
        return None

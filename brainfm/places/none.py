"""No place: a token is told by its instrument, its kind and its direction alone, or by its name (`named_patch`)."""

from brainfm.places import Place


class Nowhere(Place):
    """Nothing is added."""

    def build(self, width: int) -> None:
        return None

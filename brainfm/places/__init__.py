"""Places: where a token is, as a code that is added to what it says; one file each, `Tokens -> (batch, token, width)`."""

from typing import Any, ClassVar

from brainfm.part import Part


class Place(Part):
    """A way of saying where a token is. A decoder that asks for a token says it in the same way, with weights of its own."""

    run_time: ClassVar[frozenset[str]] = frozenset({"width"})

    def build(self, width: int) -> Any:
        """A module that maps `Tokens` to what is added to each, or None where nothing is."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

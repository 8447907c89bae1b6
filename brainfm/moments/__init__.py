"""Moments: when a token is. Attention may turn with time, a code of the time may be added, or both; one file each."""

from typing import Any, ClassVar

from brainfm.part import Part


class Moment(Part):
    """A way of saying when a token is. A decoder that asks for a token says it in the same way, with weights of its own."""

    run_time: ClassVar[frozenset[str]] = frozenset({"width"})

    @property
    def turns(self) -> bool:
        """Whether queries and keys of attention turn with time (`layers.rotary`), so that they know how far apart they are."""
        return False

    def build(self, width: int) -> Any:
        """A module that maps `Tokens` to what is added to each, or None where nothing is."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

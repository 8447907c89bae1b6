"""Quantizers: one file each, a vector to one or several codes out of a finite set, and back."""

from typing import Any, ClassVar

from brainfm.part import Part


class Quantizer(Part):
    """How many codes there are, and how they are found.

    What `build` gives maps vectors (..., width) to `layers.codebook.Quantised`; `start` puts its codes where the vectors of an
    untrained network are, `lookup` gives the vectors of codes, and `sizes` says how many codes each of its quantizers has.
    """

    run_time: ClassVar[frozenset[str]] = frozenset({"width"})

    def build(self, width: int) -> Any:
        """The module, for vectors of `width`."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def of_size(self, codes: int) -> str:
        """How a recipe asks for about that many codes, for advice: `codes: 64`."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

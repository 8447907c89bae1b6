"""Tokenizers: one file each, `Batch -> Tokenized`."""

from typing import Any, ClassVar

from pydantic import Field

from brainfm.part import Part


class Tokenizer(Part):
    """Turns windows of one modality into tokens."""

    run_time: ClassVar[frozenset[str]] = frozenset({"width", "modality"})

    seconds: float = Field(gt=0, description="of signal in one token")
    sfreq: float = Field(gt=0, description="rate of the prepared signal, hertz")

    @property
    def times(self) -> int:
        """Samples in one token."""
        return round(self.seconds * self.sfreq)

    def build(self, width: int, modality: int) -> Any:
        """A module that maps a `Batch` to `Tokenized` of `width`; `modality` is the index that its tokens carry."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

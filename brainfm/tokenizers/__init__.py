"""Tokenizers: one file each, `Batch -> Tokenized`."""

from typing import Any, ClassVar

from brainfm.part import Part


class Tokenizer(Part):
    """Turns windows of one modality into tokens."""

    run_time: ClassVar[frozenset[str]] = frozenset({"width", "modality"})

    def build(self, width: int, modality: int) -> Any:
        """A module that maps a `Batch` to `Tokenized` of `width`; `modality` is the index that its tokens carry."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

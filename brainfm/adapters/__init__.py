"""Adapters: one file for each kind of model that others made; a name before a colon chooses it, `braindecode:Labram`."""

from pathlib import Path
from typing import Self

from brainfm.errors import CheckpointError
from brainfm.foreign_model import Foreign
from brainfm.part import Part, find, known, suggest


class Adapter(Part):
    """How a model of others is named, built and fed."""

    @classmethod
    def of(cls, words: str) -> Self:
        """The adapter that `words`, what follows the colon, asks for. Raises `CheckpointError` where they mean nothing to it."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def build(self) -> Foreign:
        """The model under its contract. Raises `CheckpointError` where it can't be had."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own


def named(where: str) -> Foreign | None:
    """The foreign model that a name asks for; None for a folder or a Hub id, which has no colon."""
    kind, colon, words = where.partition(":")
    if not colon or not kind.isidentifier() or len(kind) < 2 or Path(where).exists():  # C: is a drive
        return None
    if kind not in known(Adapter):
        raise CheckpointError(f"{where}: {kind!r} is no kind of model{suggest(kind, known(Adapter))}")
    return find(Adapter, kind).of(words).build()


def weights_of(words: str) -> tuple[str, str]:
    """`Name@weights` as its two halves, the second "" where none are named."""
    name, _, weights = words.partition("@")
    return name, weights

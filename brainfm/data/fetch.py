"""Get a card's dataset, where anybody may: never asks, goes on after a cut, and says where to ask where it may not."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from brainfm.data.cards import DataCard, data_root
from brainfm.data.licences import stated
from brainfm.data.provenance import GATED
from brainfm.errors import DataError


def fetch(
    card: DataCard, out: Path | None = None, subjects: Sequence[str] = (), limit: int | None = None
) -> Iterator[Path]:
    """The files of a card, fetched into `out` or where its reader looks; yields each once it is there.

    Raises `DataError` in one sentence for a set that is gated, has no licence or no way to be fetched, before anything
    is fetched.
    """
    refuse_gated(card)
    assert card.fetch is not None  # refused above
    return card.fetch.fetch(out or target(card), subjects, limit)


def target(card: DataCard) -> Path:
    """Where the card looks for its files: there already, or under BRAINFM_DATA."""
    if not card.folder:
        return data_root() / card.name
    try:
        return card.path
    except DataError:
        return data_root() / card.folder


def refuse_gated(card: DataCard) -> None:
    """Raise `DataError` that says where to ask, unless anybody may have the set and the card says how."""
    where = (card.access.ask if card.access else None) or card.source
    if card.simulated:
        raise DataError(f"{card.name} is made by brainfm when it is read; there is nothing to fetch")
    if card.access is not None and card.access.kind in GATED:
        took = {"registration": "registration", "agreement": "an agreement", "application": "an application"}
        raise DataError(
            f"{card.name} is given out after {took[card.access.kind]} only, which nobody can do for you: ask at "
            f"{where}, then put the files into {target(card)}"
        )
    if not stated(card.licence):
        raise DataError(
            f"{card.name} states no licence, so nobody may copy it for you: ask its owners, {where}"
        )
    if card.fetch is None:
        raise DataError(
            f"{card.name} does not say how to fetch it; get it from {where} and put the files into {target(card)}"
        )

"""The list of cards: which there are, and a line for each."""

from collections.abc import Sequence
from typing import Any, get_args

from brainfm.data.cards import DataCard, list_cards
from brainfm.data.modalities import instruments
from brainfm.data.provenance import Gate
from brainfm.errors import DataError
from brainfm.part import suggest

GATES: tuple[str, ...] = get_args(Gate)


def chosen(modality: str | None = None, access: str | None = None) -> list[DataCard]:
    """The shipped cards of one modality and one kind of access, or of all. Raises `DataError` for an unknown word."""
    if modality is not None and modality not in instruments():
        raise DataError(f"modality {modality!r} is not known{suggest(modality, instruments())}")
    if access is not None and access not in GATES:
        raise DataError(f"access {access!r} is not known{suggest(access, GATES)}")
    cards = [DataCard.load(name) for name in list_cards()]
    return [
        card
        for card in cards
        if modality in (None, card.modality) and access in (None, card.access.kind if card.access else "")
    ]


def row(card: DataCard) -> dict[str, Any]:
    """What a list says of a card; None where the card does not."""
    facts = card.facts
    return {
        "name": card.name,
        "title": card.title,
        "modality": card.modality,
        "licence": card.licence,
        "access": card.access.kind if card.access else None,
        "subjects": facts.subjects if facts else None,
        "hours": facts.hours if facts else None,
        "readable": card.reader is not None,
        "fetch": card.fetch.kind if card.fetch else None,
    }


def table(cards: Sequence[DataCard]) -> str:
    """One line a card under a line of headings; a dot stands for what is not known."""
    heads = ("name", "modality", "access", "licence", "subjects", "hours", "fetch")
    rows = [[shown(row(card)[head]) for head in heads] for card in cards]
    widths = [max(len(line[column]) for line in [heads, *rows]) for column in range(len(heads))]
    lines = [
        [*line, title]
        for line, title in zip([heads, *rows], ["title", *(c.title for c in cards)], strict=True)
    ]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, [*widths, 0], strict=True)) for line in lines
    )


def shown(value: Any) -> str:
    """A cell; a licence in the owner's own words is cut short, `data show` has it whole."""
    text = "·" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text.partition(",")[0] if len(text) > 30 else text

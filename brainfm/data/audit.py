"""What can be checked of a card without its files: who says so, under which licence, known by which hash."""

from brainfm import folders
from brainfm.data.cards import FOLDER, SUFFIX, DataCard, Problem
from brainfm.data.licences import licence, stated
from brainfm.data.modalities import instruments
from brainfm.data.provenance import GATED

NEED_NO_SOURCE = frozenset({"overlaps"})
"""Each overlap says why by itself."""


def audit(card: DataCard) -> list[Problem]:
    """Every gap of a card in what it claims: an unknown instrument, a fact without a source, an open blank."""
    return [*blanks(card), *instrument(card), *terms(card), *sources(card), *others(card)]


def blanks(card: DataCard) -> list[Problem]:
    """What `data new` left to be filled in."""
    open_ = [name for name, value in card.model_dump(mode="json").items() if "FILL IN" in str(value)]
    return [Problem(name, "FILL IN", "nothing yet") for name in open_]


def instrument(card: DataCard) -> list[Problem]:
    """The modality is one that brainfm knows and that measures the brain."""
    known = instruments()
    said = f"brainfm knows {', '.join(known)}"
    return [] if card.modality in known else [Problem("modality", card.modality, said)]


def terms(card: DataCard) -> list[Problem]:
    """Access and licence agree: an open set has a licence, and what is fetched is open."""
    if card.access is None:
        return [Problem("access", "nothing", "open, registration, agreement, application or local is needed")]
    found = []
    if card.fetch is not None and not stated(card.licence):
        found.append(Problem("licence", card.licence, "what has no licence can't be fetched for anybody"))
    if stated(card.licence) and licence(card.licence) is None and not card.use and not card.access.ask:
        found.append(
            Problem("licence", card.licence, "no SPDX identifier; say in `use` what the owner's terms allow")
        )
    if card.fetch is not None and card.access.kind in GATED:
        found.append(
            Problem("fetch", card.fetch.kind, f"a set that takes {card.access.kind} can't be fetched")
        )
    return found


def sources(card: DataCard) -> list[Problem]:
    """Every fact has a source, and every source that is not the card's own files has an address."""
    claimed = [name for group in card.verified for name in group.facts]
    found = [
        Problem(name, "stated", "no source: name it in `verified`, or leave it out")
        for name in sorted(card.stated - NEED_NO_SOURCE - set(claimed))
    ]
    for group in card.verified:
        if group.source is None and (
            group.by == "literature" or (group.by == "files" and card.reader is None)
        ):
            found.append(Problem("verified", ", ".join(group.facts), "no address of where that is said"))
    return found


def others(card: DataCard) -> list[Problem]:
    """The cards that an overlap names exist."""
    cards = folders.names(FOLDER, SUFFIX)
    return [
        Problem("overlaps", one.card, "no card of that name; say `dataset:` for a set without one")
        for one in card.overlaps
        if one.card is not None and one.card not in cards
    ]

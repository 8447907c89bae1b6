"""What a recipe says of its data: cards, how much each weighs, and who is never read."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from brainfm.part import Settings


class Corpus(Settings):
    """What to pretrain on: data cards, and who is never read."""

    cards: list[str] = Field(min_length=1)
    store: str | None = Field(
        default=None, description="a prepared store that holds them, a folder or an URL; else their files"
    )
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="card → its share of the tokens that steps see, relative to others (1)"
    )
    hold_out: dict[str, list[str]] = {}
    """Card → places left out, each "subject", "subject/session" or "subject/session/run"; with "@60-180" behind it, of
    each of its recordings the seconds from 60 to 180 alone."""

    def held(self, card: str, subject: str, session: str, run: str) -> set[str]:
        """The places of `hold_out` that this recording is of, or stretches of it; none: it is trained on."""
        place = (subject, session, run)
        places = {held: held.partition("@")[0] for held in self.hold_out.get(card, [])}
        return {
            held for held, where in places.items() if tuple(where.split("/")) == place[: where.count("/") + 1]
        }

    @field_validator("hold_out")
    @classmethod
    def _of_these_cards(cls, value: dict[str, list[str]], info: Any) -> dict[str, list[str]]:
        for card in value.keys() - {Path(name).stem for name in info.data.get("cards", [])}:
            raise ValueError(f"{card!r} is held out but is not among the cards")
        return value

    @field_validator("hold_out")
    @classmethod
    def _spans_are_spans(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for place in [place for places in value.values() for place in places]:
            span(place)
        return value

    @field_validator("weights")
    @classmethod
    def _of_known_cards(cls, value: dict[str, float], info: Any) -> dict[str, float]:
        cards = {Path(name).stem for name in info.data.get("cards", [])}
        for card in value.keys() - cards:
            raise ValueError(f"{card!r} has a weight but is not among the cards")
        if value and not any(value.get(card, 1.0) for card in cards):
            raise ValueError("every card weighs nothing; give one a weight")
        return value


def span(place: str) -> tuple[float, float] | None:
    """The seconds that a place of `hold_out` ends in, None where it is whole recordings. Raises `ValueError` for no span."""
    _, at, seconds = place.partition("@")
    if not at:
        return None
    start, dash, stop = seconds.partition("-")
    try:
        found = float(start), float(stop)
    except ValueError:
        found = (0.0, 0.0)
    if not dash or not 0 <= found[0] < found[1]:
        raise ValueError(f"{place!r} should end in @ and two rising numbers of seconds, such as 01@60-180")
    return found

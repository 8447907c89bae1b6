"""What a card says of a dataset beside how it is read: who may have it, what it must not be mixed with, who says so."""

from typing import Literal, Self

from pydantic import Field, model_validator

from brainfm.part import Settings

Gate = Literal["open", "registration", "agreement", "application", "local"]
"""How a set is given out: to anybody, after signing up, after accepting terms, on application, or by nobody (own files)."""
GATED = frozenset({"registration", "agreement", "application"})

Shared = Literal["subjects", "sessions", "recordings", "stimuli"]


class Access(Settings):
    """Who gets the files, and where to ask where not everybody does."""

    kind: Gate
    ask: str | None = None
    """The address at which one signs up, accepts the terms or applies."""

    @model_validator(mode="after")
    def _say_where(self) -> Self:
        if self.kind in GATED and not self.ask:
            raise ValueError(f"a set that takes an {self.kind} needs `ask`, the address at which to ask")
        return self


class Overlap(Settings):
    """What this set shares with another, so that training on one spoils a test on the other.

    `what` says when: `subjects`: the same ids are the same people, so a person seen in one is known in the other;
    `sessions`: the same subject and session is the same recording; `recordings` and `stimuli`: the two can't be told
    apart by name, so whatever was seen of one counts.
    """

    card: str | None = None
    """The other set, by the name of its card, under which manifests know it."""
    dataset: str | None = None
    """The other set's name, where it has no card."""
    what: Shared
    why: str
    only: list[str] = Field(default=[])
    """What of this set is concerned, as subject or subject/session; everything where it is empty."""

    @model_validator(mode="after")
    def _name_one(self) -> Self:
        if (self.card is None) == (self.dataset is None):
            raise ValueError("names either a `card` or, where the other set has none, a `dataset`")
        return self

    @property
    def other(self) -> str:
        """The other set's name."""
        return self.card or self.dataset or ""

    def concerns(self, subject: str, session: str) -> bool:
        """Whether a recording of this set is one of those that are shared."""
        return not self.only or subject in self.only or f"{subject}/{session}" in self.only

    def seen(self, test: tuple[str, str], trained: tuple[str, str]) -> bool:
        """Whether training on (subject, session) of the other set tells of `test` of this one. A name that is not known
        counts as the same: what can't be told apart must not pass for clean."""
        if self.what not in ("subjects", "sessions"):
            return True
        compared = 1 if self.what == "subjects" else 2
        pairs = zip(test[:compared], trained[:compared], strict=True)
        return all(one == other or not one or not other for one, other in pairs)


class Verified(Settings):
    """Where a group of facts comes from: counted in the files, stated in a publication, or not checked by anybody."""

    facts: list[str] = Field(min_length=1)
    by: Literal["files", "literature", "no"]
    source: str | None = None
    """The address; needed unless the files are those that the card reads."""

"""Which sensors a decoder listens to: those that weigh most in a first one, trained on the same windows with all of them.

Zheng et al. 2024 (Du-IN, arXiv:2405.11459, §4.2 and its code) choose a person's contacts once, on all labels. Whatever is
chosen by labels must be chosen by those of the training windows alone, so here each fold has a first decoder and a choice of
its own.
"""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from brainfm.part import Settings


class ListeningTo(Settings):
    """How many sensors of each person are kept."""

    keep: int = Field(ge=1)

    def quiet(self, loudness: Mapping[int, float], people: Iterable[Sequence[int]]) -> set[int]:
        """Of the sensors of each of `people`, by identity, all but the loudest. One without a loudness is not heard anyway."""
        found: set[int] = set()
        for several in people:
            ordered = sorted((one for one in several if one in loudness), key=lambda one: -loudness[one])
            found.update(ordered[self.keep :])
        return found

"""A model that listens to some of its sensors alone."""

import copy
from typing import Any

from brainfm.corpus import Stream
from brainfm.errors import RecipeError
from brainfm.layers.listening import ListeningTo
from brainfm.model import BrainFM


def narrowed(start: BrainFM, first: BrainFM, choice: ListeningTo, seen: Stream) -> BrainFM:
    """A copy of `start` without the sensors that weigh least in `first`, of the people whose windows are `seen`."""
    require(start, seen.modality)
    people = [batch.identity[0][batch.valid[0]].tolist() for batch in seen.of_each()]
    weighed: Any = first.tokenizers[seen.modality]
    quiet = choice.quiet(weighed.loudness(), people)
    found = copy.deepcopy(start)
    tokenizer: Any = found.tokenizers[seen.modality]
    tokenizer.leave_out(quiet)
    found.config.known = {**found.config.known, seen.modality: tokenizer.known()}
    return found


def require(model: BrainFM, modality: str) -> None:
    """Raise `RecipeError` unless the modality's tokenizer can leave sensors out."""
    if not hasattr(model.tokenizers[modality], "leave_out"):
        kind = model.signals[modality].tokenizer.kind
        raise RecipeError(
            f"sensors: the tokenizer {kind} can't leave sensors out; take one with a weight for each sensor: subject_linear"
        )


def left_out(model: BrainFM, modality: str) -> frozenset[int]:
    """The identities of the sensors that a model does not listen to."""
    found: frozenset[int] = getattr(model.tokenizers[modality], "left_out", frozenset())
    return found

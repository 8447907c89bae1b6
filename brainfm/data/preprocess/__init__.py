"""Preprocessing: one file per step, each `Recording -> Recording`; what is fitted is fitted first, on training data."""

from collections.abc import Sequence
from typing import Self

from brainfm.data.recording import Recording
from brainfm.part import Part


class Step(Part):
    """One step of a `prepare:` list, applied to the signal of one modality."""

    def fit(self, recordings: Sequence[Recording], modality: str) -> Self:
        """The step with what it learns from the training recordings filled in; most steps learn nothing."""
        return self

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """The recording with that modality's signal changed; never in place."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

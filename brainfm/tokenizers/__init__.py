"""Tokenizers: one file each, `Batch -> Tokenized`."""

from typing import Any, ClassVar

from pydantic import Field

from brainfm.data.recording import Sensors
from brainfm.part import Part


class Tokenizer(Part):
    """Turns windows of one modality into tokens.

    What `build` gives is called with a batch and, while it trains, a generator for whatever it leaves out at random. One
    that knows single sensors or regions is a `layers.vocabulary.Knowing`.
    """

    run_time: ClassVar[frozenset[str]] = frozenset({"width", "modality"})
    ragged: ClassVar[bool] = False
    """Whether windows of one length give different numbers of tokens."""
    drops: ClassVar[bool] = False
    """Whether it leaves sensors out to regularise, whatever it is trained for; else to learn to tell them, in pretraining."""
    decodes: ClassVar[bool] = False
    """Whether its module goes back from rows to any sensors asked for (`encode`, `decode`)."""
    reads: ClassVar[tuple[str, ...]] = ("eeg", "meg", "seeg")
    """The modalities whose signal it can make tokens of."""

    seconds: float = Field(gt=0, description="of signal in one token")
    sfreq: float = Field(gt=0, description="rate of the prepared signal, hertz")

    @property
    def times(self) -> int:
        """Samples in one token."""
        return round(self.seconds * self.sfreq)

    @property
    def held(self) -> int:
        """Numbers that a token stands for, as its target has them: its samples, if it is a stretch of one signal."""
        return self.times

    def rows(self, sensors: Sensors, owner: str) -> tuple[str, ...]:
        """What each row of tokens stands for, in order; none where tokens come in no rows.

        `owner` (`data.modalities.owner`) is whose the sensors' names are: rows of one name mean the same.
        """
        return tuple(f"{owner}/{name}" if owner else name for name in sensors.name)

    def build(self, width: int, modality: int) -> Any:
        """A module that maps a `Batch` to `Tokenized` of `width`; `modality` is the index that its tokens carry."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

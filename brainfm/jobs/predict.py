"""Predict: a decoder and a file, nothing else said."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.events import attach_events, has_events
from brainfm.data.readers import Entry
from brainfm.data.recording import Events, Recording
from brainfm.data.windows import Windows
from brainfm.data.windows.trials import Trials
from brainfm.errors import CheckpointError, DataError
from brainfm.model import BrainFM, throughout
from brainfm.model_config import DecoderSettings
from brainfm.sequence_scores import collapsed
from brainfm.whose import Person, owned, require_known


@dataclass(frozen=True)
class Predictions:
    """One row a window, or a patch of one: `start` in seconds, all `seconds` long; `probability` is (row, label).

    Where `of` says that the decoder tells no classes but numbers, `labels` are their names and `probability` has them, in `unit`.
    """

    labels: Sequence[str]
    start: NDArray[np.float64]
    seconds: float
    probability: NDArray[np.float64]
    cut: str
    of: str = "classes"
    unit: str = ""
    notes: Sequence[str] = ()
    """What a user must know of the file."""

    @property
    def label(self) -> list[str]:
        """The likeliest label of each window."""
        return [self.labels[index] for index in self.probability.argmax(axis=1)]

    @property
    def json(self) -> dict[str, Any]:
        """What `predict --json` prints."""
        told = [dict(zip(self.labels, map(float, row), strict=True)) for row in self.probability]
        shared = {
            "labels": list(self.labels),
            "seconds": self.seconds,
            "cut": self.cut,
            "notes": list(self.notes),
        }
        if self.of != "classes":
            rows = [{"start": float(a), "value": row} for a, row in zip(self.start, told, strict=True)]
            return {**shared, "of": self.of, "unit": self.unit, "windows": rows}
        both = zip(self.start, self.label, told, strict=True)
        return {
            **shared,
            "windows": [{"start": float(a), "label": name, "probability": row} for a, name, row in both],
        }

    def csv(self) -> str:
        """A table with a header: start, seconds, label and a probability per label; or start, seconds and the numbers."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        classes = self.of == "classes"
        named = ["label", *(f"p_{label}" for label in self.labels)] if classes else self.labels
        table.writerow(["start", "seconds", *named])
        for start, label, row in zip(self.start, self.label, self.probability, strict=True):
            told = [label, *(f"{p:.4f}" for p in row)] if classes else [f"{value:.6g}" for value in row]
            table.writerow([f"{start:.3f}", f"{self.seconds:g}", *told])
        return text.getvalue()


@dataclass(frozen=True)
class Spelled:
    """One row a window, for decoders of sequences: `start` in seconds, all `seconds` long, and the labels in their order."""

    labels: Sequence[str]
    start: NDArray[np.float64]
    seconds: float
    sequence: list[list[str]]
    cut: str
    notes: Sequence[str] = ()

    @property
    def json(self) -> dict[str, Any]:
        """What `predict --json` prints."""
        pairs = zip(self.start, self.sequence, strict=True)
        rows = [{"start": float(start), "sequence": sequence} for start, sequence in pairs]
        shared = {
            "labels": list(self.labels),
            "seconds": self.seconds,
            "cut": self.cut,
            "notes": list(self.notes),
        }
        return {**shared, "of": "sequences", "windows": rows}

    def csv(self) -> str:
        """A table with a header: start, seconds, and the labels with blanks between them."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["start", "seconds", "sequence"])
        for start, sequence in zip(self.start, self.sequence, strict=True):
            table.writerow([f"{start:.3f}", f"{self.seconds:g}", " ".join(sequence)])
        return text.getvalue()


def predict(
    decoder: str | Path, file: Path, subject: str = "", session: str = "", stranger: bool = False
) -> Predictions | Spelled:
    """Decode a file window by window: at its events where the decoder learnt trials and the file has events, else throughout.

    `subject` is whose it is, by the name of the decoder's training set, and `session` in which of theirs, where neurons are a
    session's own; a `stranger` was never met, and sensors of their own are taken for average ones. Raises `DataError` where the
    file lacks a sensor that the decoder needs, where it knows sensors by their owner and none of these, and for a subject without
    a map of their own.
    """
    person = Person(subject, session, stranger)
    model = BrainFM.from_pretrained(decoder)
    if model.decoder is None:
        raise CheckpointError(
            f"{decoder} has no decoder; make one with `brainfm finetune RECIPE --from {decoder}`"
        )
    recording = owned(same_sensors(read(model.decoder, file), model.decoder), model.decoder, person)
    prepared = model.prepare([recording], model.decoder.modality)
    notes = require_known(model, prepared[0], person)
    windows, cut = cut_windows(prepared, model.decoder)
    stream = model.stream(prepared, windows, model.decoder.modality)
    found = model.probabilities(stream, np.arange(len(windows)))
    answer = model.decoder.answer
    labels = model.decoder.labels
    if answer.of == "sequences":
        spelled = [[labels[symbol] for symbol in one] for one in collapsed(found)]
        return Spelled(labels[:-1], windows.start, windows.seconds, spelled, cut, notes)
    parts = found.shape[1] if found.ndim == 3 else 1
    seconds = windows.seconds / parts
    start = (windows.start[:, None] + seconds * np.arange(parts)).reshape(-1)
    told = found.reshape(len(start), -1)
    return Predictions(labels, start, seconds, told, cut, answer.of, answer.unit, notes)


def read(settings: DecoderSettings, file: Path) -> Recording:
    """The file, read as the decoder's training files were: the same units and names, behind the same gate.

    Events are read where the decoder learnt trials and the file has them.
    """
    if not file.exists():
        raise DataError(f"{file} does not exist")
    recording, entry = settings.reader.read(file), Entry(file, "", "", "")
    if settings.events is None or not isinstance(settings.window, Trials):
        return recording
    if settings.events.source == "name" or not has_events(recording, settings.events, entry, settings.reader):
        return replace(recording, events=Events())
    return attach_events(recording, settings.events, entry, settings.reader)


def same_sensors(recording: Recording, settings: DecoderSettings) -> Recording:
    """The decoder's sensors in its order; a missing one is refused by name, never filled with zeros."""
    signal = recording.signal(settings.modality)
    require_sensors(signal.sensors.name, recording.name, settings)
    return recording.with_signal(
        settings.modality, signal.take([signal.sensors.name.index(name) for name in settings.sensors])
    )


def require_sensors(names: Sequence[str], where: str, settings: DecoderSettings) -> None:
    """Raise `DataError` that names the decoder's sensors which are not among `names`."""
    missing = [name for name in settings.sensors if name not in names]
    if missing:
        raise DataError(
            f"{where} lacks {', '.join(missing)}, which the decoder of {settings.card} was trained with"
        )


def cut_windows(prepared: Sequence[Recording], settings: DecoderSettings) -> tuple[Windows, str]:
    """Where to decode, and how that was chosen, in words."""
    if isinstance(settings.window, Trials) and len(prepared[0].events):
        windows = settings.window(prepared, settings.modality, [])
        if not len(windows):
            raise DataError(
                f"{prepared[0].name}: none of its {len(prepared[0].events)} events has "
                f"{settings.window.seconds:g} s of signal where the decoder looks"
            )
        left_out = "".join(f"; {count} left out: {why}" for why, count in windows.dropped.items())
        return windows, f"a window at each event{left_out}"
    return throughout(prepared, settings.modality, settings.window.seconds), "consecutive windows"

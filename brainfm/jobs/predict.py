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
from brainfm.model import BrainFM, DecoderSettings, throughout


@dataclass(frozen=True)
class Predictions:
    """One row a window: `start` in seconds, probabilities (window, label), all windows `seconds` long."""

    labels: Sequence[str]
    start: NDArray[np.float64]
    seconds: float
    probability: NDArray[np.float64]
    cut: str

    @property
    def label(self) -> list[str]:
        """The likeliest label of each window."""
        return [self.labels[index] for index in self.probability.argmax(axis=1)]

    @property
    def json(self) -> dict[str, Any]:
        """What `predict --json` prints."""
        rows = [
            {
                "start": float(start),
                "label": label,
                "probability": dict(zip(self.labels, map(float, row), strict=True)),
            }
            for start, label, row in zip(self.start, self.label, self.probability, strict=True)
        ]
        return {"labels": list(self.labels), "seconds": self.seconds, "cut": self.cut, "windows": rows}

    def csv(self) -> str:
        """A table with a header: start, seconds, label, and a probability per label."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["start", "seconds", "label", *(f"p_{label}" for label in self.labels)])
        for start, label, row in zip(self.start, self.label, self.probability, strict=True):
            table.writerow([f"{start:.3f}", f"{self.seconds:g}", label, *(f"{p:.4f}" for p in row)])
        return text.getvalue()


def predict(decoder: str | Path, file: Path) -> Predictions:
    """Decode a file window by window: at its events where the decoder learnt trials and the file has events, else throughout.

    Raises `DataError` where the file lacks a sensor that the decoder needs.
    """
    model = BrainFM.from_pretrained(decoder)
    if model.decoder is None:
        raise CheckpointError(
            f"{decoder} has no decoder; make one with `brainfm finetune RECIPE --from {decoder}`"
        )
    recording = same_sensors(read(model.decoder, file), model.decoder)
    prepared = model.prepare([recording], model.decoder.modality)
    windows, cut = cut_windows(prepared, model.decoder)
    stream = model.stream(prepared, windows, model.decoder.modality)
    found = model.probabilities(stream, np.arange(len(windows)))
    return Predictions(model.decoder.labels, windows.start, windows.seconds, found, cut)


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

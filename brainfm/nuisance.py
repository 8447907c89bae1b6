"""Nuisance: what decoders reach that hear mains hum, loudness, or the bands of eyes and muscles alone, and no brain."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

from brainfm.data.recording import Sensors
from brainfm.data.selection import FIELDS
from brainfm.data.windows import Windows, layouts, take
from brainfm.evaluation import Evaluation
from brainfm.panel import probe_fold
from brainfm.probes import Protocol
from brainfm.scores import Aside

LINES = ((49.0, 51.0), (59.0, 61.0))
EYES = (0.5, 4.0)
"""Blinks and saccades lie below about 4 Hz and are largest at the front."""
MUSCLE = (35.0, 120.0)
"""Muscles of the head above about 35 Hz (Muthukumaraswamy 2013); what of it is mains hum is left out."""
FRONT = 1 / 3
"""The share of sensors, those farthest to the front, that the eyes are looked for in."""
TITLES = {
    "line": "mains hum",
    "amplitude": "overall amplitude",
    "eyes": "eye band, frontal sensors",
    "muscle": "muscle band",
}


def aside(evaluation: Evaluation, protocol: Protocol) -> Aside:
    """A row for each nuisance that the recordings can hold."""
    rows = [
        evaluation.row(
            f"nuisance:{TITLES[name]}",
            [
                evaluation.out_of_fold(
                    lambda _, fold, values=values: probe_fold(evaluation, values, fold, protocol)  # type: ignore[misc]
                )
            ],
        )
        for name, values in features(evaluation).items()
    ]
    words = "The same probe on what is no brain, of the raw signal. What it reaches, ours may owe to it, too."
    return Aside("Nuisances alone", rows, evaluation.metric, evaluation.chance().score, words)


def features(evaluation: Evaluation) -> dict[str, NDArray[np.float32]]:
    """(window, feature) of each nuisance; summaries over sensors where recordings of a fold do not share theirs."""
    per_sensor = evaluation.comparable
    found: dict[str, list[NDArray[np.float64]]] = {}
    places: list[NDArray[np.int64]] = []
    for some in layouts(evaluation.recordings, evaluation.modality):
        rows = np.flatnonzero(np.isin(evaluation.windows.recording, some))
        if not len(rows):
            continue
        places.append(rows)
        for name, values in of_layout(evaluation, evaluation.windows, rows).items():
            wide = values if per_sensor else np.c_[values.mean(axis=1), values.std(axis=1)]
            found.setdefault(name, []).append(wide)
    order = np.argsort(np.concatenate(places))
    return {
        name: padded(parts)[order].astype(np.float32)
        for name, parts in found.items()
        if len(parts) == len(places)
    }


def of_layout(
    evaluation: Evaluation, windows: Windows, rows: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """(row, sensor) of each nuisance in windows of one layout."""
    recording = evaluation.recordings[int(windows.recording[rows[0]])]
    sfreq = recording.signal(evaluation.modality).sfreq
    sensors = recording.signal(evaluation.modality).sensors
    signal = take(evaluation.recordings, windows, rows, evaluation.modality).astype(np.float64)
    if evaluation.modality not in FIELDS:
        return {"amplitude": np.log1p(np.abs(signal).mean(axis=(1, 2)))[:, None]}
    out = {"amplitude": np.log(signal.std(axis=2).mean(axis=1) + 1e-30)[:, None]}
    frequency, power = welch(signal, sfreq, nperseg=min(signal.shape[2], int(2 * sfreq)))
    hum = np.any([(frequency >= low) & (frequency <= high) for low, high in LINES], axis=0)
    bands = {
        "line": hum,
        "eyes": (frequency >= EYES[0]) & (frequency < EYES[1]),
        "muscle": (frequency >= MUSCLE[0]) & (frequency < min(MUSCLE[1], 0.45 * sfreq)) & ~hum,
    }
    for name, bins in bands.items():
        if bins.any():
            out[name] = np.log(power[:, :, bins].mean(axis=2) + 1e-30)
    if "eyes" in out:
        out["eyes"] = out["eyes"][:, frontal(sensors)]
    return out


def frontal(sensors: Sensors) -> NDArray[np.int64]:
    """The rows of the foremost third; all where places are not known or nothing is at the eyes (contacts in the brain)."""
    front = sensors.position[:, 1]
    if not sensors.located.all() or set(sensors.kind) & {"seeg", "ecog", "dbs"}:
        return np.arange(len(sensors))
    return np.sort(np.argsort(-front, kind="stable")[: max(1, round(FRONT * len(sensors)))])


def padded(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The parts below one another, shorter rows ending in zeros: no fold compares those of other sensors."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])

"""The gate: no recording leaves a reader with a wrong unit, a dead sensor or numbers that are none."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainfm.data.lazy import LazyDataset, LazyRaw
from brainfm.data.modalities import Kind, Modality, modality
from brainfm.data.recording import Array2D, Recording, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.data.units import UNITS, readable, spelled, words
from brainfm.errors import DataError

OnBad = Literal["refuse", "drop"]
CHUNK = 1 << 20
"""Samples over all sensors that are held in memory at once."""


def trustworthy(
    recording: Recording, on_bad: OnBad = "refuse", label: Callable[[], str] = lambda: "V"
) -> Recording:
    """The recording after every check of the gate, with its content hash.

    `label` gives the unit that the file states, asked only when the amplitude is wrong. Raises `DataError`
    in one sentence.
    """
    for name, signal in recording.signals.items():
        if not len(signal.sensors):
            raise DataError(f"{recording.name} holds no {name} sensor")
        if not signal.n_times:
            raise DataError(f"{recording.name} holds no sample of {name}")
        recording = without_bad(recording, modality(name), on_bad)
        check_amplitude(recording, modality(name), label)
    return replace(recording, content_hash=content_hash(recording))


def check_amplitude(recording: Recording, kind: Modality, label: Callable[[], str] = lambda: "V") -> None:
    """Refuse a recording in which the typical amplitude of a kind of sensor, the median over them, is not
    plausible."""
    signal = recording.signal(kind.name)
    amplitude = kind.amplitude(signal)
    for name in dict.fromkeys(signal.sensors.kind):
        rows = np.flatnonzero(np.array(signal.sensors.kind) == name)
        alive = rows[amplitude[rows] > 0]
        middle = float(np.median(amplitude[alive])) if len(alive) else 0.0
        measured = kind.kinds[name]
        low, high = measured.plausible
        if low <= middle <= high:
            continue
        nearest = alive[np.argmin(np.abs(amplitude[alive] - middle))] if len(alive) else -1
        sensor = signal.sensors.name[nearest] if len(alive) else "all"
        unit = measured.unit
        raise DataError(
            f"{recording.name}: sensor {sensor} {kind.verb} {readable(middle, unit)}, but {kind.words} lies "
            f"between {readable(low, unit)} and {readable(high, unit)}; {advice(middle, measured, label())}"
        )


def without_bad(recording: Recording, kind: Modality, on_bad: OnBad) -> Recording:
    """Refuse, or leave out with a note, every sensor that is not finite or measures nothing."""
    signal = recording.signal(kind.name)
    bad = faults(signal, kind)
    if not bad:
        return recording
    said = ", ".join(f"{name} {fault}" for name, fault in list(bad.items())[:8])
    said += f" and {len(bad) - 8} more" if len(bad) > 8 else ""
    if on_bad == "refuse":
        raise DataError(
            f"{recording.name}: sensor {said}; leave it out with `drop: [{next(iter(bad))}]`, or say "
            "`on_bad: drop` to leave out every such sensor"
        )
    keep = [row for row, name in enumerate(signal.sensors.name) if name not in bad]
    if not keep:
        raise DataError(f"{recording.name}: no usable sensor is left ({said})")
    kept = replace(signal, data=rows(signal.data, keep), sensors=signal.sensors.take(keep))
    return recording.with_signal(kind.name, kept).noting(f"left out: {said}")


def faults(signal: Signal, kind: Modality) -> dict[str, str]:
    """What is wrong with which sensor: numbers that are none, or no measurement."""
    missing = absences(signal)
    amplitude = kind.amplitude(signal)
    flat = amplitude == 0
    for name in set(signal.sensors.kind):
        rows = np.array(signal.sensors.kind) == name
        alive = amplitude[rows & (amplitude > 0)]
        # else the unit is wrong, and everything looks flat
        if len(alive) and np.median(alive) >= kind.kinds[name].plausible[0]:
            flat |= rows & (amplitude < kind.kinds[name].flat)
    found = {}
    for name, absent, dead in zip(signal.sensors.name, missing, flat, strict=True):
        if absent:
            found[name] = f"is not finite in {absent} of {signal.n_times} samples"
        elif dead:
            found[name] = kind.dead
    return found


def absences(signal: Signal) -> NDArray[np.int64]:
    """(sensor,) how many samples are not finite; counts of spikes always are, so none is made to look at it."""
    if isinstance(signal.data, SpikeTimes):
        return np.zeros(len(signal.sensors), np.int64)
    return np.sum([(~np.isfinite(chunk)).sum(axis=1) for chunk in chunks(signal)], axis=0)


def content_hash(recording: Recording) -> str:
    """SHA-256 over each signal's samples (float32, little endian), sensor names and rate: the same however
    it is stored. Of spikes, their times in microseconds."""
    digest = hashlib.sha256()
    for name, signal in sorted(recording.signals.items()):
        if isinstance(signal.data, SpikeTimes):  # at whatever rate they are counted
            digest.update(f"{name} {' '.join(signal.sensors.name)}\n".encode())
            digest.update(np.round(signal.data.time * 1e6).astype("<i8").tobytes())
            digest.update(signal.data.neuron.astype("<i8").tobytes())
            continue
        digest.update(f"{name} {signal.sfreq:.6f} {' '.join(signal.sensors.name)}\n".encode())
        for chunk in chunks(signal):
            digest.update(np.ascontiguousarray(chunk.T, dtype="<f4").tobytes())
    return digest.hexdigest()


def chunks(signal: Signal) -> Iterator[NDArray[np.float64]]:
    """The samples in order, as arrays of (sensor, some of the times)."""
    step = max(1, CHUNK // max(1, len(signal.sensors)))
    for start in range(0, signal.n_times, step):
        yield np.asarray(signal.data[:, start : start + step], dtype=np.float64)


def rows(data: Array2D, keep: list[int]) -> Array2D:
    """These sensors of the data, still on disk where the data are."""
    return (
        data.take(keep) if isinstance(data, LazyRaw | LazyDataset | SpikeTimes) else np.asarray(data[keep, :])
    )


def advice(amplitude: float, kind: Kind, label: str) -> str:
    """What to do about an implausible amplitude: the unit that would make the numbers plausible."""
    sizes = UNITS[kind.unit]
    # what a file says of volts, coils do not follow
    label = spelled(label) if spelled(label) in sizes else next(iter(sizes))
    low, high = kind.plausible
    fitting = {
        unit: amplitude / sizes[label] * size
        for unit, size in sizes.items()
        if low <= amplitude / sizes[label] * size <= high
    }
    if not fitting:
        return "no unit makes that plausible, so look at the file's scaling"
    best = min(fitting, key=lambda unit: abs(np.log(fitting[unit] / kind.typical)))
    return (
        f"the values look like {words(best)} labelled {words(label)}: "
        f'say `unit: {best}` in the card, or read(..., unit="{best}")'
    )

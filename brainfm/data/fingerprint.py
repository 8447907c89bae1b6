"""A perceptual fingerprint of signal: tells that a recording was seen before, whatever its name or format.

Landmark hashing as audio search does it (Wang 2003, "An industrial-strength audio search algorithm"),
with a landmark of its own: in each sensor's signal between 2 and 15 Hz, the time between successive
extrema, peak to trough to peak. A run of 20 such intervals, coarsely rounded, with which of two
neighbouring swings is the larger, gives one 32-bit hash. Neither sign, unit, offset nor sampling rate
enters. Only hashes divisible by a modulus are kept, so what is kept depends on the signal alone and not
on where it was cut (content-defined sampling, Manber 1994).

What potentials differ by from one sensor to the next, in the order of their names, has landmarks too, which
no reference changes. Every other hash is theirs.

It survives renaming, other formats, 16-bit rounding, another unit or polarity, resampling, cutting at any
point, zero-phase filters that leave 2 to 15 Hz, another reference, and the loss or reordering of sensors. It
does not survive a new reference of some sensors out of many, a bipolar montage, artefact subtraction (ICA,
SSP), filters that are not zero-phase, a change of speed, or a rate below 50 Hz. Spikes are their own
landmarks: the intervals between a neuron's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve, resample_poly

from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.errors import DataError

LOW, HIGH = 2.0, 15.0
KERNEL_SECONDS = 1.0
FINE = 400.0
"""Rate in hertz to which the filtered signal is at least interpolated before its extrema are placed."""
INTERVALS = 20
STEP = 0.025
"""Seconds to which an interval is rounded: far more than the jitter that resampling brings, half of a
typical interval.
"""
MOST = 64
"""Hashes kept in a stretch, on average, at most: the modulus doubles until this holds."""
SEEN = 0.25
"""Share of hashes found from which a recording counts as seen.

Over 47 real recordings of EEG and sEEG no two different ones shared more than 0.014. Found again were 0.82 or
more after rounding, filtering and resampling, 0.48 or more of every second sensor, and 0.38 or more after
another reference, where only what neighbours differ by is left.
"""
LOWEST_RATE = 50.0
"""Hertz below which a signal between `LOW` and `HIGH` has no sharp extrema."""
PIECE = 1 << 24
"""Samples over all sensors that are looked at at once, within `SHORTEST` to `LONGEST` seconds of signal."""
SHORTEST, LONGEST = 60.0, 600.0
BEFORE, AFTER = 2.0, 30.0
"""Seconds looked at around a piece: what a landmark at its first sample leans on, and how far a run of intervals goes on."""
SPARE = 16
"""Times `MOST` that is kept until the whole recording is seen, and what is to be kept of it known."""
FEWEST = 8
"""Hashes that must be found for a recording to count as seen, however short it is."""


@dataclass(frozen=True)
class Fingerprint:
    """Hashes per stretch of `seconds_per_stretch`, each divisible by `modulus`, sorted, none twice within
    a stretch.
    """

    seconds_per_stretch: float
    modulus: int
    stretches: list[list[int]]

    def hashes(self, modulus: int = 1) -> NDArray[np.uint32]:
        """All hashes that `modulus` divides too, sorted."""
        return self._every if modulus <= self.modulus else self._every[self._every % modulus == 0]

    @cached_property
    def _every(self) -> NDArray[np.uint32]:
        """Made once: a manifest asks every entry about every recording."""
        every = np.unique(np.array([h for stretch in self.stretches for h in stretch], np.uint32))
        return every[every % self.modulus == 0]


@runtime_checkable
class Known(Protocol):
    """Data that were prepared and know the fingerprint of the raw signal."""

    def fingerprint(self) -> Fingerprint: ...


def fingerprint(recording: Recording, modality: str, seconds: float = 30.0) -> Fingerprint:
    """The fingerprint of one modality's signal, with one list of hashes for every `seconds` of each
    contiguous stretch.

    Below 50 Hz the landmarks can't be placed and there is no hash: only an exact copy can be found. Of spikes, the
    landmarks are the spikes themselves. Of a prepared recording, it is the fingerprint of the raw one.
    """
    signal = recording.signal(modality)
    if isinstance(signal.data, Known):
        kept = signal.data.fingerprint()
        if kept.seconds_per_stretch != seconds:
            raise DataError(
                f"{recording.name} keeps its fingerprint by {kept.seconds_per_stretch:g} s, not {seconds:g}"
            )
        return kept
    if isinstance(signal.data, SpikeTimes):
        return thinned(seconds, of_spikes(signal.data, seconds))
    if signal.sfreq < LOWEST_RATE:
        return Fingerprint(seconds, 1, [])
    stretches: list[NDArray[np.uint32]] = []
    modulus = 1
    for start, end in signal.stretches:
        n = max(1, int(np.ceil((end - start) / signal.sfreq / seconds)))
        mine = [np.zeros(0, np.uint32)] * n
        for times, hashes in _by_piece(signal, start, end):
            place = np.minimum(np.floor(times / seconds).astype(int), n - 1)
            for k in np.unique(place).tolist():
                mine[k] = np.union1d(mine[k], hashes[place == k])
            modulus, mine = _sparser(mine, SPARE * MOST * n, modulus)
        modulus, stretches = _sparser([*stretches, *mine], SPARE * MOST * (len(stretches) + n), modulus)
    return thinned(seconds, stretches, modulus)


def _by_piece(
    signal: Signal, start: int, end: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.uint32]]]:
    """The landmarks of a contiguous stretch, piece after piece, in memory that does not grow with its length.

    As of the whole, but for runs of intervals that go on for longer than `AFTER`: signal between 2 and 15 Hz has none.
    """
    rate, sensors, chain = signal.sfreq, max(1, len(signal.sensors)), _chain(signal.sensors)
    step = round(float(np.clip(PIECE / sensors / rate, SHORTEST, LONGEST)) * rate)
    for first in range(start, end, step):
        stop = min(first + step, end)
        begin = max(start, first - round(BEFORE * rate))
        data = np.asarray(signal.data[:, begin : min(end, stop + round(AFTER * rate))], np.float64)
        for some in _few_rows(data, chain):
            times, hashes = landmarks(some, rate)
            times = times + (begin - start) / rate
            after = first == start or times >= (first - start) / rate
            kept = np.flatnonzero(after & ((stop == end) | (times < (stop - start) / rate)))
            yield times[kept], hashes[kept]


def _sparser(
    stretches: list[NDArray[np.uint32]], most: int, modulus: int
) -> tuple[int, list[NDArray[np.uint32]]]:
    """The hashes that the first sufficient doubling of the modulus leaves, `most` in all."""
    stretches = [s[s % modulus == 0] for s in stretches]
    while sum(map(len, stretches)) > most:
        modulus *= 2
        stretches = [s[s % modulus == 0] for s in stretches]
    return modulus, stretches


def thinned(seconds: float, stretches: list[NDArray[np.uint32]], modulus: int = 1) -> Fingerprint:
    """The hashes that the smallest sufficient modulus keeps, from the one that they are thinned by already."""
    modulus, stretches = _sparser(stretches, MOST * len(stretches), modulus)
    return Fingerprint(seconds, modulus, [s.tolist() for s in stretches])


def of_spikes(spikes: SpikeTimes, seconds: float) -> list[NDArray[np.uint32]]:
    """The hashes of every run of intervals between a neuron's spikes, by stretch."""
    trains = [spikes.train(row) for row in range(spikes.neurons)]
    times, hashes = zip(*(_hashes(train, np.zeros(len(train))) for train in trains), strict=True)
    return _in_stretches(np.concatenate(times), np.concatenate(hashes), spikes.seconds, seconds)


def overlap(a: Fingerprint, b: Fingerprint) -> float:
    """The share of a's hashes that b holds too, 0 to 1; 0 where a has none. Not symmetric: ask with the
    shorter as `a`.
    """
    share, _ = _found(a, b)
    return share


def seen(a: Fingerprint, b: Fingerprint) -> bool:
    """Whether a model trained on `b` has seen `a`, in whole or in part.

    True where a quarter of all hashes of `a` are in `b`, or a quarter of those of one stretch lie
    together, in two neighbouring stretches of `b`: that finds a shared half minute, and its chance does
    not grow with the length of `b`. At least `FEWEST` hashes must be found either way.
    """
    share, found = _found(a, b)
    if found < FEWEST:
        return False
    return share >= SEEN or any(best >= SEEN for best in stretch_overlap(a, b))


def stretch_overlap(a: Fingerprint, b: Fingerprint) -> list[float]:
    """For each stretch of `a` the share of its hashes in the best two neighbouring stretches of `b`.

    0 where fewer than `FEWEST` are found.
    """
    coarser = max(a.modulus, b.modulus)
    hashes = np.array([h for stretch in b.stretches for h in stretch], np.uint32)
    place = np.repeat(np.arange(len(b.stretches)), [len(stretch) for stretch in b.stretches])
    shares = []
    for stretch in a.stretches:
        wanted = np.array(stretch, np.uint32)
        wanted = wanted[wanted % coarser == 0]
        count = np.bincount(place[np.isin(hashes, wanted)], minlength=len(b.stretches) + 1)
        found = int((count[:-1] + count[1:]).max())
        shares.append(min(1.0, found / len(wanted)) if found >= FEWEST else 0.0)
    return shares


def landmarks(data: NDArray[np.float64], sfreq: float) -> tuple[NDArray[np.float64], NDArray[np.uint32]]:
    """For (sensor, time) data: the time in seconds and the hash of every run of intervals, of all sensors
    together.
    """
    kernel = _kernel(sfreq)
    if data.shape[1] < len(kernel):
        return np.zeros(0), np.zeros(0, np.uint32)
    data = data - data[:, :1]
    band = oaconvolve(data - data.mean(axis=1, keepdims=True), kernel[None], mode="valid", axes=1)
    # Where the signal is flat only rounding noise is left, which would give landmarks of its own.
    band[np.abs(band) < 1e-9 * np.abs(band).max(axis=1, keepdims=True)] = 0
    # Between samples far apart the parabola misplaces an extremum: at 128 Hz every fourth hash would be lost.
    finer = int(np.ceil(FINE / sfreq))
    band = resample_poly(band, finer, 1, axis=1) if finer > 1 else band
    found = [_hashes(*_extrema(row, finer * sfreq)) for row in band]
    times, hashes = zip(*found, strict=True)
    return np.concatenate(times) + KERNEL_SECONDS / 2, np.concatenate(hashes)


def _chain(sensors: Sensors) -> list[int]:
    """The rows that measure potentials, which have a reference, in the order of their names."""
    potentials = [row for row, unit in enumerate(sensors.unit) if unit == "V"]
    return sorted(potentials, key=lambda row: sensors.name[row])


def _few_rows(data: NDArray[np.float64], chain: Sequence[int]) -> Iterator[NDArray[np.float64]]:
    """Sixteen rows at a time, for memory's sake: the sensors, then what neighbours in `chain` differ by; none with a NaN."""
    finite = np.flatnonzero(np.isfinite(data).all(axis=1))
    there = set(finite.tolist())
    chain = [row for row in chain if row in there]
    for first in range(0, len(finite), 16):
        yield data[finite[first : first + 16]]
    for first in range(0, len(chain) - 1, 16):
        yield np.diff(data[chain[first : first + 17]], axis=0)


def _kernel(sfreq: float) -> NDArray[np.float64]:
    """One continuous-time band-pass (Hann-windowed sinc), sampled at any rate: the landmarks need no
    resampling.
    """
    half = round(KERNEL_SECONDS / 2 * sfreq)
    time = np.arange(-half, half + 1) / sfreq
    ideal = 2 * HIGH * np.sinc(2 * HIGH * time) - 2 * LOW * np.sinc(2 * LOW * time)
    window = 0.5 + 0.5 * np.cos(2 * np.pi * time / KERNEL_SECONDS)
    kernel = ideal * window
    return (kernel - window * kernel.sum() / window.sum()) / sfreq  # an offset gives exactly nothing


def _extrema(row: NDArray[np.float64], sfreq: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and values of the extrema between samples, by the parabola through three samples."""
    slope = np.diff(row)
    at = np.flatnonzero(slope[:-1] * slope[1:] < 0) + 1
    before, here, after = row[at - 1], row[at], row[at + 1]
    offset = 0.5 * (before - after) / (before - 2 * here + after)
    return (at + offset) / sfreq, here - 0.25 * (before - after) * offset


def _hashes(
    time: NDArray[np.float64], value: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.uint32]]:
    """The first time and the hash of each run of `INTERVALS` extrema."""
    n = len(time) - INTERVALS
    if n < 1:
        return np.zeros(0), np.zeros(0, np.uint32)
    steps = np.floor(np.diff(time) / STEP).astype(np.uint64)
    swing = np.abs(np.diff(value))
    grows = np.concatenate([[0], swing[1:] > swing[:-1]]).astype(np.uint64)
    mixed = np.zeros(n, np.uint64)
    for k in range(INTERVALS):
        mixed = _mix(
            mixed + steps[k : k + n] * np.uint64(2) + (grows[k : k + n] if k else np.uint64(0)) + np.uint64(1)
        )
    return time[:n], (mixed >> np.uint64(32)).astype(np.uint32)


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's mixing (Steele, Lea & Flood 2014), so that every bit of every interval reaches the
    kept bits.
    """
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _in_stretches(
    time: NDArray[np.float64], hashes: NDArray[np.uint32], length: float, seconds: float
) -> list[NDArray[np.uint32]]:
    stretch = np.floor(time / seconds)
    return [np.unique(hashes[stretch == k]) for k in range(max(1, int(np.ceil(length / seconds))))]


def _found(a: Fingerprint, b: Fingerprint) -> tuple[float, int]:
    """Share and count of a's hashes in b, both thinned to the coarser modulus."""
    coarser = max(a.modulus, b.modulus)
    wanted = a.hashes(coarser)
    found = int(np.isin(wanted, b.hashes(coarser)).sum())
    return (found / len(wanted) if len(wanted) else 0.0), found

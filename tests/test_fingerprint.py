"""The fingerprint finds a recording again after what happens to files, and takes no other recording for
it.
"""

import os
from pathlib import Path

import mne
import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.signal import lfilter

from brainfm.data.fingerprint import Fingerprint, fingerprint, overlap, seen, stretch_overlap
from brainfm.data.modalities import modality
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.spike_times import SpikeTimes

SFREQ = 250.0
STORED = TypeAdapter(Fingerprint)
REAL = Path(os.environ.get("BRAINFM_DATA", "../shared/data")) / "eeg_arithmetic"


def _recording(data: np.ndarray, sfreq: float = SFREQ, breaks: tuple[int, ...] = ()) -> Recording:
    sensors = Sensors.of([f"E{row}" for row in range(len(data))], "eeg", "V")
    return Recording({"eeg": Signal(data, sfreq, sensors, breaks)})


def _brain(seed: int, seconds: float = 90.0, sensors: int = 6) -> np.ndarray:
    """Mixed 1/f noise with a 10 Hz rhythm, the same rhythm in all seeds, in volts."""
    rng = np.random.default_rng(seed)
    noise = lfilter([1], [1, -0.98], rng.standard_normal((sensors, int(seconds * SFREQ))), axis=1)
    rhythm = np.sin(2 * np.pi * 10 * np.arange(noise.shape[1]) / SFREQ)
    return 1e-6 * (rng.standard_normal((sensors, sensors)) @ noise + 3 * rhythm)


def _print(data: np.ndarray, sfreq: float = SFREQ) -> Fingerprint:
    return fingerprint(_recording(data, sfreq), "eeg")


def _sixteen_bits(data: np.ndarray) -> np.ndarray:
    return np.round(data / np.abs(data).max() * 32767)


CHANGES = {
    "sign, unit and 16 bits": lambda x: (_sixteen_bits(-x), SFREQ),
    "offset": lambda x: (x + 1e-3, SFREQ),
    "resampled": lambda x: (mne.filter.resample(x, up=128.0, down=SFREQ, verbose="error"), 128.0),
    "cut": lambda x: (x[:, 3_333:14_141], SFREQ),
    "0.5 to 40 Hz": lambda x: (mne.filter.filter_data(x, SFREQ, 0.5, 40.0, verbose="error"), SFREQ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_finds_a_recording_again(change: str) -> None:
    data = _brain(0)
    changed = _print(*CHANGES[change](data))
    assert overlap(changed, _print(data)) > 0.8
    assert seen(changed, _print(data))


def test_takes_no_other_recording_for_it() -> None:
    prints = [_print(_brain(seed)) for seed in range(8)]
    pairs = [(a, b) for a in prints for b in prints if a is not b]
    assert max(overlap(a, b) for a, b in pairs) < 0.2
    assert not any(seen(a, b) for a, b in pairs)


def test_finds_half_a_minute_inside_minutes_of_something_else() -> None:
    known, other = _brain(0), _brain(1, seconds=300)
    mixed = np.concatenate([other, known[:, :10_000]], axis=1)
    assert overlap(_print(mixed), _print(known)) < 0.5
    assert max(stretch_overlap(_print(mixed), _print(known))) > 0.5
    assert seen(_print(mixed), _print(known))


REFERENCES = {
    "average": lambda x: x - x.mean(axis=0),
    "a sensor": lambda x: x - x[2],
    "lost": lambda x: x[2] - x,
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_survives_another_reference(reference: str) -> None:
    """By what sensors differ by, which none changes: half of the hashes, though what each hears is another signal."""
    data = _brain(0)
    changed = _print(REFERENCES[reference](data))
    assert 0.3 < overlap(changed, _print(data)) < 0.7
    assert seen(changed, _print(data))
    assert not seen(changed, _print(_brain(1)))


@pytest.mark.parametrize("reference", REFERENCES)
def test_neighbours_are_told_by_name(reference: str) -> None:
    """A file may have its sensors in any order."""
    data = _brain(0)
    changed = _recording(REFERENCES[reference](data))
    signal = changed.signal("eeg")
    rows = [4, 0, 3, 1, 5, 2]
    turned = changed.with_signal("eeg", Signal(signal.load()[rows], SFREQ, signal.sensors.take(rows)))
    assert seen(fingerprint(turned, "eeg"), _print(data))


def test_survives_the_loss_of_sensors_in_any_order() -> None:
    """By what each of them hears, also where they have lost their names and neighbours are others."""
    rows, data = [4, 0, 3, 1], _brain(0)
    whole = _recording(data)
    few = Recording({"eeg": Signal(data[rows], SFREQ, whole.signal("eeg").sensors.take(rows))})
    assert overlap(fingerprint(few, "eeg"), _print(data)) > 0.8
    nameless = fingerprint(_recording(data[rows]), "eeg")
    assert overlap(nameless, _print(data)) > 0.5 and seen(nameless, _print(data))


def test_a_new_reference_of_few_sensors_out_of_many_is_not_survived() -> None:
    """Documents a limit: should this fail one day, the module's docstring is out of date."""
    data = _brain(0)
    few = data[[4, 0, 2]]
    assert not seen(_print(few - few.mean(axis=0)), _print(data))


def test_of_what_has_no_reference_sensors_alone_are_heard() -> None:
    data = _brain(0)
    coils = Sensors.of([f"E{row}" for row in range(len(data))], "mag", "T")
    fields = fingerprint(Recording({"meg": Signal(data, SFREQ, coils)}), "meg")
    assert len(fields.hashes(128)) < 0.7 * len(_print(data).hashes(128))


def test_survives_json_and_stays_small() -> None:
    once = _print(_brain(0))
    text = STORED.dump_json(once)
    assert STORED.validate_json(text) == once
    assert len(text) < 1000 * len(once.stretches)
    assert all(h % once.modulus == 0 for stretch in once.stretches for h in stretch)


def test_a_stretch_is_thirty_seconds_and_stops_at_a_break() -> None:
    data = _brain(0)
    whole = fingerprint(_recording(data), "eeg")
    cut = fingerprint(_recording(data, breaks=(10_000,)), "eeg")
    assert (len(whole.stretches), len(cut.stretches)) == (3, 4)
    assert 0.9 < overlap(cut, whole) <= 1


def test_a_flat_or_nan_sensor_leaves_no_hash() -> None:
    data = _brain(0)
    broken = np.concatenate([data, np.full_like(data[:1], 3e-6), np.full_like(data[:1], np.nan)])
    assert _print(broken) == _print(data)
    assert _print(np.full((2, 5_000), 1e-5)).stretches == [[]]


def test_a_sensor_that_falls_silent_leaves_no_hash_of_rounding_noise() -> None:
    data = _brain(0)
    data[:, 5_000:] = 0
    assert _print(data).stretches[1:] == [[], []]


def test_an_empty_fingerprint_matches_nothing() -> None:
    empty = _print(np.full((2, 5_000), 1e-5))
    assert overlap(empty, empty) == 0
    assert not seen(empty, _print(_brain(0)))


def test_a_rate_too_low_leaves_no_landmark() -> None:
    """An exact copy is still found by its content hash; the manifest says unknown of all else."""
    assert _print(_brain(0), 40.0).stretches == []


def test_spikes_are_their_own_landmarks() -> None:
    """Renamed, cut, rounded to a millisecond and with fewer neurons they are found again; another session's are not."""
    first, other = (modality("spikes").simulate(np.random.default_rng(seed), seconds=90.0) for seed in (0, 1))
    original = fingerprint(first, "spikes")
    spikes = first.signal("spikes").data
    assert isinstance(spikes, SpikeTimes)
    kept = spikes.time > 31.7
    cut = SpikeTimes(np.round(spikes.time[kept] - 31.7, 3), spikes.neuron[kept], spikes.neurons, 60.0)
    changed = first.with_signal(
        "spikes", Signal(cut.take(range(5, 25)), 1000.0, first.signal("spikes").sensors.take(range(5, 25)))
    )
    assert seen(fingerprint(changed, "spikes"), original)
    assert not seen(fingerprint(other, "spikes"), original)
    assert overlap(fingerprint(other, "spikes"), original) < 0.01


@pytest.mark.skipif(not REAL.is_dir(), reason="the real recordings (BRAINFM_DATA) are not here")
def test_on_real_recordings_of_the_same_subjects() -> None:
    files = sorted(REAL.glob("Subject0[0-2]_*.edf"))
    raws = [mne.io.read_raw_edf(path, preload=True, verbose="error").pick("eeg").get_data() for path in files]
    prints = [_print(data, 500.0) for data in raws]
    assert len(prints) == 6
    assert not any(seen(a, b) for a in prints for b in prints if a is not b)
    for data, original in zip(raws, prints, strict=True):
        again = mne.filter.resample(data[:, 2_000:], up=256.0, down=500.0, verbose="error")
        assert seen(_print(_sixteen_bits(again[:8]), 256.0), original)

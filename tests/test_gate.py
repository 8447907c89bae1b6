"""The gate: wrong units, dead sensors and numbers that are none do not pass; the hash knows content, not names."""

from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
import pytest

from brainfm.data.amplitude import variation
from brainfm.data.gate import advice, content_hash
from brainfm.data.modalities import modality
from brainfm.data.reading import from_array, read
from brainfm.data.recording import Sensors, Signal
from brainfm.data.units import in_si
from brainfm.errors import DataError

NAMES = ["C3", "Cz", "C4"]


@pytest.fixture
def eeg() -> np.ndarray:
    """Three sensors of 20 µV for 20 s at 100 Hz."""
    return np.random.default_rng(0).normal(0, 20e-6, (3, 2000))


@pytest.mark.parametrize(
    ("stored", "label", "words"),
    [
        (1e6, "V", "microvolts labelled volts: say `unit: µV`"),
        (1e3, "V", "millivolts labelled volts: say `unit: mV`"),
        (1.0, "µV", "volts labelled microvolts: say `unit: V`"),
        (1e6, "mV", "microvolts labelled millivolts: say `unit: µV`"),
    ],
)
def test_a_wrong_unit_is_refused_with_the_right_one(
    eeg: np.ndarray, stored: float, label: str, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        from_array(eeg * stored, 100.0, NAMES, unit=label)


def test_an_edf_in_volts_that_says_microvolts_is_refused(tmp_path: Path, eeg: np.ndarray) -> None:
    raw = mne.io.RawArray(eeg * 1e-6, mne.create_info(NAMES, 100.0, "eeg"), verbose="error")
    mne.export.export_raw(tmp_path / "a.edf", raw, physical_range=(-1e-4, 1e-4), verbose="error")
    with pytest.raises(DataError, match=r"a\.edf: sensor"):
        read(tmp_path / "a.edf")


def test_offset_and_drift_do_not_count(eeg: np.ndarray) -> None:
    drift = 5e-3 + np.linspace(0, 2e-3, 2000)
    signal = from_array(eeg + drift, 100.0, NAMES).signal("eeg")
    assert variation(signal) == pytest.approx([35e-6] * 3, rel=0.2)


def test_no_unit_helps_when_none_fits() -> None:
    assert "no unit makes that plausible" in advice(1e9, modality("eeg").kinds["eeg"], "V")
    with pytest.raises(DataError, match="unit 'T' is not known"):
        in_si("T")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda row: row.fill(3e-5), "Cz is flat"),
        (lambda row: np.multiply(row, 1e-7, out=row), "Cz is flat"),
        (lambda row: row.__setitem__(slice(5, 8), np.nan), "Cz is not finite in 3 of 2000 samples"),
        (lambda row: row.__setitem__(1500, np.inf), "Cz is not finite in 1 of 2000 samples"),
    ],
)
def test_a_bad_sensor_is_refused_or_left_out_with_a_note(eeg: np.ndarray, spoil: object, said: str) -> None:
    spoil(eeg[1])  # type: ignore[operator]
    with pytest.raises(DataError, match=f"sensor {said}"):
        from_array(eeg, 100.0, NAMES)
    kept = from_array(eeg, 100.0, NAMES, on_bad="drop")
    assert kept.signal("eeg").sensors.name == ("C3", "C4")
    np.testing.assert_array_equal(kept.signal("eeg").load(), eeg[[0, 2]])
    assert f"left out: {said}" in kept.notes


def test_nothing_usable_is_refused_even_when_dropping() -> None:
    with pytest.raises(DataError, match="no usable sensor is left"):
        from_array(np.zeros((3, 500)), 100.0, NAMES, on_bad="drop")


def test_short_windows_are_taken_whole(eeg: np.ndarray) -> None:
    steps = np.repeat(np.arange(40), 50) * 1e-3  # each window has an offset of its own
    signal = Signal(eeg + steps, 100.0, Sensors.of(NAMES, "eeg", "V"), tuple(range(50, 2000, 50)))
    assert variation(signal) == pytest.approx([20e-6] * 3, rel=0.1)


def test_the_hash_knows_content_and_not_where_it_lies(tmp_path: Path, eeg: np.ndarray) -> None:
    raw = mne.io.RawArray(eeg, mne.create_info(NAMES, 100.0, "eeg"), verbose="error")
    for name in ("one_raw.fif", "two_raw.fif.gz"):
        raw.save(tmp_path / name, verbose="error")
    first, second = read(tmp_path / "one_raw.fif"), read(tmp_path / "two_raw.fif.gz", subject="x")
    assert first.content_hash == second.content_hash == content_hash(first)
    signal = first.signal("eeg")
    changed = signal.load()
    changed[2, 1999] += 1e-6
    renamed = replace(signal, sensors=replace(signal.sensors, name=("C3", "Cz", "P4")))
    for other in (renamed, replace(signal, data=changed), replace(signal, sfreq=101.0), signal.take([0, 1])):
        assert content_hash(first.with_signal("eeg", other)) != first.content_hash

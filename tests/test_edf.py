"""EDF as hospitals write it: channels at several rates, and recordings that were interrupted."""

from pathlib import Path

import numpy as np
import pytest

from brainfm.data.preprocess import prepare, prepare_lazily
from brainfm.data.preprocess.band_pass import BandPass
from brainfm.data.reading import read
from brainfm.data.windows import take
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError

SECONDS = 60
HERTZ = 3.3
"""Of the sine that every channel holds, 50 µV high."""


def edf(path: Path, rates: dict[str, int], begins: list[float] | None = None) -> Path:
    """Records of one second; with `begins`, an EDF+D that says when each of them began."""
    names, counts = [*rates], [*rates.values()]
    if begins is not None:
        names, counts = [*names, "EDF Annotations"], [*counts, 16]
    n = len(names)

    def column(values: list[object], width: int) -> bytes:
        return b"".join(str(value).encode().ljust(width) for value in values)

    head = column(["0"], 8) + column(["X X X X", "Startdate X X X X"], 80) + b"01.01.2000.00.00"
    head += column([256 * (n + 1)], 8) + column(["" if begins is None else "EDF+D"], 44)
    head += column([SECONDS, 1], 8) + column([n], 4)
    head += column([*names], 16) + column([""] * n, 80) + column(["uV"] * n, 8)
    for value in (-200, 200, -32768, 32767):
        head += column([value] * n, 8)
    head += column([""] * n, 80) + column([*counts], 8) + column([""] * n, 32)
    body = b""
    for second in range(SECONDS):
        for number, rate in enumerate(rates.values()):
            volts = wave(second + np.arange(rate) / rate, number)
            body += np.rint((volts * 1e6 + 200) / 400 * 65535 - 32768).astype("<i2").tobytes()
        if begins is not None:
            body += b"+%g\x14\x14" % begins[second] + b"\0" * (32 - len(b"+%g\x14\x14" % begins[second]))
    path.write_bytes(head + body)
    return path


def wave(seconds: np.ndarray, number: int) -> np.ndarray:
    """What channel `number` measures, in volts."""
    return 50e-6 * np.sin(2 * np.pi * HERTZ * seconds + number)


def test_sensors_slower_than_the_file_are_read_at_their_own_rate(tmp_path: Path) -> None:
    recording = read(edf(tmp_path / "a.edf", {"Cz": 100, "Pz": 100, "ECG": 256}))
    signal = recording.signal("eeg")
    assert signal.sfreq == 100.0 and not signal.data.raw.preload  # type: ignore[union-attr]
    assert not any("upsampled" in note for note in recording.notes)
    truth = np.stack([wave(np.arange(signal.n_times) / 100.0, number) for number in range(2)])
    np.testing.assert_allclose(signal.load(), truth, atol=1e-8)
    np.testing.assert_allclose(signal.data[:, 1001:1333], truth[:, 1001:1333], atol=1e-8)


def test_a_sample_is_the_same_in_every_slice_where_sensors_have_several_rates(tmp_path: Path) -> None:
    """A store, which is made slice by slice, and windows hold what the whole recording does."""
    recording = read(edf(tmp_path / "a.edf", {"Cz": 200, "Pz": 200, "Oz": 100}))
    signal = recording.signal("eeg")
    assert signal.sfreq == 200.0 and "upsampled to the file's highest rate: Oz" in recording.notes
    whole = signal.load()
    away = slice(200, -200)  # a sine does not end where the file does
    np.testing.assert_allclose(whole[2, away], wave(np.arange(signal.n_times) / 200.0, 2)[away], atol=1e-8)
    windows = Sliding(seconds=3.3)([recording], "eeg", [])
    taken = take([recording], windows, range(len(windows)), "eeg")
    for row, start in enumerate(windows.start):
        first = round(start * 200)
        np.testing.assert_allclose(taken[row], whole[:, first : first + 660], atol=1e-10)
    steps = [BandPass(low=0.5, high=30.0)]
    lazily = prepare_lazily(recording, steps, "eeg", tmp_path).signal("eeg")
    at_once = prepare([recording], steps, "eeg")[0].signal("eeg").load()
    np.testing.assert_allclose(lazily.data[:, 3000:4000], at_once[:, 3000:4000], atol=1e-8)


def test_an_edf_that_was_interrupted_is_refused(tmp_path: Path) -> None:
    late = [float(second if second < 20 else second + 60) for second in range(SECONDS)]
    path = edf(tmp_path / "a.edf", {"Cz": 100, "Pz": 100}, late)
    with pytest.raises(DataError, match=r"a\.edf was interrupted, for 60\.000 s after 20\.000 s of signal"):
        read(path)


def test_an_edf_that_might_have_been_interrupted_and_was_not_is_read(tmp_path: Path) -> None:
    path = edf(tmp_path / "a.edf", {"Cz": 100, "Pz": 100}, [float(second) for second in range(SECONDS)])
    assert read(path).signal("eeg").n_times == 100 * SECONDS


def test_records_that_do_not_say_when_they_began_are_refused(tmp_path: Path) -> None:
    path = edf(tmp_path / "a.edf", {"Cz": 100}, [float(second) for second in range(SECONDS)])
    path.write_bytes(path.read_bytes().replace(b"+7\x14\x14", b"\0\0\0\0"))
    with pytest.raises(DataError, match="record 8 does not say when it begins"):
        read(path)

"""The spectrogram baseline tells what happens when, and sees through a reference that all contacts share."""

from collections.abc import Callable

import numpy as np
import pytest

from brainfm.baselines.band_power import BandPower
from brainfm.baselines.spectrogram import Spectrogram, log_spectrogram
from brainfm.data.preprocess import prepare
from brainfm.data.recording import Recording, Sensors, Signal

SFREQ = 200.0
ROWS = np.arange(120)


@pytest.fixture
def windows() -> tuple[np.ndarray, np.ndarray]:
    """A 60 Hz burst early (0) or late (1) in a second of noise, at the middle one of three contacts."""
    rng = np.random.default_rng(0)
    label = ROWS % 2
    signal = rng.normal(0, 1e-5, (120, 3, 200))
    burst = 2e-5 * np.sin(2 * np.pi * 60.0 * np.arange(60) / SFREQ) * np.hanning(60)
    for row, late in enumerate(label):
        start = 120 if late else 20
        signal[row, 1, start : start + 60] += burst
    return signal, label


def accuracy(build: Callable[[], object], signal: np.ndarray, label: np.ndarray) -> float:
    decoder = build()
    train, test = ROWS < 80, ROWS >= 80
    domain = ROWS // 20
    decoder.fit(signal[train], label[train], domain[train])  # type: ignore[attr-defined]
    found = decoder.predict_proba(signal[test], domain[test]).argmax(axis=1)  # type: ignore[attr-defined]
    return float((found == label[test]).mean())


def test_when_a_burst_comes_is_told_by_the_spectrogram_and_not_by_powers(
    windows: tuple[np.ndarray, np.ndarray],
) -> None:
    signal, label = windows
    bands = [[30.0, 50.0], [50.0, 70.0], [70.0, 90.0]]
    assert accuracy(lambda: Spectrogram(reference="none").build(SFREQ, 3, 2), signal, label) > 0.85
    assert accuracy(lambda: BandPower(bands=bands).build(SFREQ, 3, 2), signal, label) < 0.7


def test_a_loud_shared_reference_is_taken_out_first(windows: tuple[np.ndarray, np.ndarray]) -> None:
    signal, label = windows
    shared = np.random.default_rng(1).normal(0, 3e-4, (120, 1, 200))
    recording = Recording(
        {
            "seeg": Signal(
                np.concatenate(list(signal + shared), axis=1),
                SFREQ,
                Sensors.of(["A1", "A2", "A3"], "seeg", "V"),
            )
        }
    )

    def score(part: Spectrogram) -> float:
        made = prepare([recording], part.steps(), "seeg")[0].signal("seeg").load()
        cut = np.stack(np.split(made, 120, axis=1))
        return accuracy(lambda: part.build(SFREQ, cut.shape[1], 2), cut, label)

    assert score(Spectrogram()) > 0.8
    assert score(Spectrogram(reference="none")) < 0.7


def test_the_features_are_the_frequencies_asked_for() -> None:
    tone = np.sin(2 * np.pi * 40.0 * np.arange(400) / SFREQ)[None, None]
    found = log_spectrogram(tone, SFREQ, 0.2, 0.5, 100.0).reshape(20, -1)  # 5 Hz apart, up to 100
    assert (found.argmax(axis=0) == 7).all()  # 40 Hz is the eighth above zero
    assert log_spectrogram(tone, SFREQ, 0.2, 0.5, 50.0).shape[1] == found.shape[1] * 10

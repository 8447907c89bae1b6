"""Sound as numbers: mel bands, voices, and a network that hears."""

from dataclasses import replace
from pathlib import Path

import listeners
import numpy as np
import pytest

from brainfm.data import speech
from brainfm.data.cards import DataCard
from brainfm.data.readers.simulated_speech import SimulatedSpeech
from brainfm.data.recording import Recording, Track
from brainfm.data.sound import mel_spectrogram
from brainfm.data.speech import RATE, sentences, spoken
from brainfm.errors import DataError
from brainfm.sounds.wav2vec2 import Wav2Vec2


@pytest.fixture(scope="module")
def people(folder: Path) -> list[Recording]:
    return DataCard.load(listeners.card(folder)).recordings()


def test_mel_is_that_of_another_library() -> None:
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    sound = spoken("the river opened", "formants").astype(np.float64)
    bank = mel_filter_bank(201, 24, 0.0, 8000.0, RATE, norm=None, mel_scale="htk")
    other = spectrogram(
        sound, window_function(400, "hann"), 400, 160, fft_length=400, power=1.0, center=True,
        pad_mode="constant", mel_filters=bank, mel_floor=0.0,
    )  # fmt: skip
    mine = np.exp(mel_spectrogram(sound, RATE, 24)) - 1e-5
    n = min(len(mine), other.shape[1])
    np.testing.assert_allclose(mine[:n] * 200, other.T[:n], atol=1e-3)
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    loudest = mel_spectrogram(tone, RATE, 24)[50].argmax()
    assert loudest == np.abs(np.linspace(0, 2840.02, 26)[1:-1] - 999.99).argmin()


def test_sentences_differ_and_are_spoken_alike_each_time() -> None:
    said = sentences(30)
    assert len(set(said)) == 30 and said == sentences(30) and said != sentences(30, 1)
    first = spoken(said[0], "formants")
    spoken.cache_clear()
    np.testing.assert_array_equal(first, spoken(said[0], "formants"))
    assert 5 < len(first) / RATE < 12 and np.abs(first).max() == pytest.approx(0.9)


def test_without_espeak_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech.shutil, "which", lambda _: None)
    spoken.cache_clear()
    with pytest.raises(DataError, match="apt-get install espeak-ng"):
        SimulatedSpeech(subjects=1, sentences=2).open(Path("simulated_speech/subject01"))


@pytest.mark.skipif(not speech.can_speak(), reason="espeak-ng is not installed: apt-get install espeak-ng")
def test_espeak_says_words() -> None:
    short, long = (spoken(words, "espeak") for words in ("the river", "the river opened the window at night"))
    assert 0.3 < len(short) / RATE < len(long) / RATE < 5
    assert mel_spectrogram(long, RATE).std(axis=0).min() > 0.1


def test_a_network_of_speech_hears_each_stimulus_by_itself(people: list[Recording]) -> None:
    part = Wav2Vec2(width=32)
    one = people[0]
    heard = part.on([one], "heard")[0].tracks["heard"]
    assert heard.rate == 50.0 and heard.data.shape[1] == 32 and "untrained" in part.said()
    louder = one.tracks["sound"].data.copy()
    onset, duration = one.events.onset[0], one.events.duration[0]
    louder[: round(onset * RATE)] += 1.0
    louder[round((onset + duration) * RATE) :] *= -2.0
    other = replace(one, tracks={"sound": Track(louder, RATE)})
    again = part.on([other], "heard")[0].tracks["heard"].data
    span = slice(round(onset * 50), round((onset + duration) * 50))
    np.testing.assert_array_equal(again[span], heard.data[span])
    assert np.isfinite(heard.data[span]).all() and np.isnan(heard.data[: span.start]).all()
    with pytest.raises(DataError, match="can't be loaded"):
        Wav2Vec2(checkpoint="/nowhere/at/all").on([one], "heard")

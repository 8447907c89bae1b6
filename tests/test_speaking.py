"""Simulated people who say words: few contacts hear them, others hear something alike, and the labels say where each lies."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from brainfm.data.cards import DataCard
from brainfm.data.lobes import lobe_of
from brainfm.data.readers.simulated_words import SimulatedWords
from brainfm.data.recording import Recording
from brainfm.data.speaking import PARCELS, parcel_of, sites
from brainfm.data.speech import NOUNS


def somebody(number: int = 3, **settings: object) -> Recording:
    reader = SimulatedWords.model_validate({"words": 4, "repeats": 12, "moment": 1e-8, **settings})
    return reader.open(reader.find(Path(), "")[number].path)


def evoked(recording: Recording, contacts: slice) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """(word, contact · time) after each onset, slow waves removed, each contact of variance 1; and the words."""
    signal = recording.signal("seeg")
    data = signal.load()[contacts]
    data = data - np.stack([np.convolve(row, np.ones(128) / 128, "same") for row in data])
    data = data / data.std(axis=1, keepdims=True)
    first = [round(onset * signal.sfreq) for onset in recording.events.onset]
    return np.stack([data[:, at : at + 128].ravel() for at in first]), np.array(recording.events.label)


def told(recording: Recording, contacts: slice) -> float:
    """How often a trial is most like the mean of its own word's others."""
    value, word = evoked(recording, contacts)
    right = 0
    for row in range(len(value)):
        rest = np.arange(len(value)) != row
        means = {one: value[rest & (word == one)].mean(axis=0) for one in np.unique(word)}
        right += max(means, key=lambda one: float(means[one] @ value[row])) == word[row]
    return right / len(value)


def test_the_first_electrode_hears_words_and_the_others_next_to_nothing() -> None:
    near, far = (
        np.mean([told(somebody(number), where) for number in (2, 3, 4)])
        for where in (slice(0, 8), slice(8, 32))
    )
    assert near > 0.6 and far < 0.45  # a guess is right a quarter of the time


def test_others_hear_something_too_beyond_their_noise() -> None:
    """With sources of words and of other sounds all but silent, other electrodes lose more than their contacts' noise of 2 µV."""
    loud, quiet = somebody(moment=1e-8).signal("seeg").load(), somebody(moment=1e-12).signal("seeg").load()
    power = (loud - quiet).std(axis=1) ** 2
    assert power[:8].max() > (2e-5) ** 2 and power[8:].max() > (8e-6) ** 2


def test_the_same_seed_gives_the_same_bytes_and_people_differ() -> None:
    a, again, b = somebody(1), somebody(1), somebody(2)
    np.testing.assert_array_equal(a.signal("seeg").load(), again.signal("seeg").load())
    assert a.signal("seeg").sensors.region != b.signal("seeg").sensors.region
    assert set(a.events.label) == set(NOUNS[:4])


def test_speech_and_silence_take_turns_and_do_not_overlap() -> None:
    recording = somebody(tells="speech")
    onset, label = recording.events.onset, recording.events.label
    assert label[:4] == ("speech", "silence", "speech", "silence")
    assert (np.diff(onset) > 0).all()
    assert (onset[2::2] - onset[1:-1:2] >= 1.0).all(), "a window of silence ends before the next word"
    sound = recording.tracks["sound"]
    for start, word in zip(onset, label, strict=True):
        first = round(start * sound.rate)
        loud = np.abs(sound.data[first : first + round(sound.rate)]).max()
        assert (loud > 0) == (word == "speech")


def test_every_contact_has_a_parcel_and_every_parcel_a_lobe() -> None:
    names, directions = sites()
    assert len(names) == 2 * len(PARCELS) and all(lobe_of(name) for name in names)
    assert parcel_of(np.array([0.0, 0.0, 0.04]) + 0.05 * directions[0]) == "ctx-lh-superiortemporal"
    regions = somebody().signal("seeg").sensors.region
    assert set(regions) <= set(names) and len(set(regions)) > 2


@pytest.mark.parametrize("name", ["simulated_words", "simulated_talk"])
def test_cards_of_words_say_what_they_hold(name: str) -> None:
    card = DataCard.load(name)
    assert card.task is not None and card.facts is not None
    recordings = card.recordings(limit=1)
    windows = card.windows(recordings)
    people = card.facts.subjects or 0
    counted = {label: int((windows.label == row).sum()) * people for row, label in enumerate(windows.labels)}
    assert counted == card.facts.windows

"""Simulated people who listen, windows inside what they heard, and stimuli held out for everyone."""

from dataclasses import replace
from pathlib import Path

import listeners
import numpy as np
import pytest

from brainfm.data.cards import DataCard
from brainfm.data.leaks import Fold, check_fold, stimuli
from brainfm.data.listening import Heard, Listener, driven, listening
from brainfm.data.readers.simulated_speech import SimulatedSpeech
from brainfm.data.recording import Events, Recording
from brainfm.data.speech import sentences
from brainfm.data.splits import split
from brainfm.data.windows import Windows
from brainfm.data.windows.inside import Inside
from brainfm.errors import DataError


@pytest.fixture(scope="module")
def people(folder: Path) -> list[Recording]:
    return DataCard.load(listeners.card(folder)).recordings()


def test_a_source_answers_after_the_sound_by_its_response() -> None:
    """Of a click train the mean answer of a source is its response: nothing before, its peaks where they are said to be."""
    person = Listener.draw(np.random.default_rng(0))
    response = person.response(200.0)
    peak = response.argmin(axis=1) / 200
    assert (np.abs(peak - (0.105 + person.delay[:, 1])) < 0.02).all()
    heard = Heard.of(sentences(3), np.random.default_rng(1), "formants")
    session = listening(person, heard, np.random.default_rng(2), 128.0)
    sources = session.moment[-len(person.tuning) :]
    drive = person.tuning @ driven(heard, 128.0)
    for source, kernel, cause in zip(sources, person.response(128.0), drive, strict=True):
        np.testing.assert_allclose(np.corrcoef(source, np.convolve(cause, kernel)[: len(cause)])[0, 1], 1.0)
    assert session.events.label == tuple(sentences(3))


def test_everyone_hears_the_same_sentences_in_an_order_of_their_own(people: list[Recording]) -> None:
    first, second = (one.events for one in people)
    assert sorted(first.label) == sorted(second.label) and first.label != second.label
    assert not np.array_equal(
        people[0].signal("meg").load()[0][:500], people[1].signal("meg").load()[0][:500]
    )
    again = SimulatedSpeech(subjects=2, sentences=12, sensors=18, voice="formants").open(
        Path("simulated_speech/subject02")
    )
    np.testing.assert_array_equal(again.signal("meg").load(), people[1].signal("meg").load())
    planted = SimulatedSpeech(subjects=2, sentences=12, sensors=18, voice="formants", artefacts=30.0)
    jumped = planted.open(Path("simulated_speech/subject02")).signal("meg").load()
    beyond = np.abs(jumped - again.signal("meg").load()).max(axis=1) / again.signal("meg").load().std(axis=1)
    assert beyond.max() > 200


def events_of(*labels: str) -> Events:
    return Events(np.arange(len(labels)) * 10.0 + 1, np.full(len(labels), 6.0), labels)


def test_windows_lie_inside_events_and_begin_later(people: list[Recording]) -> None:
    windows = Inside(seconds=3.0, stride=0.5, offset=0.15)(people, "meg", [])
    whose = stimuli(windows, people)
    assert len(windows) > 100 and "" not in set(whose)
    for row in range(len(windows)):
        events = people[windows.recording[row]].events
        at = events.label.index(whose[row])
        heard = windows.start[row] - 0.15
        assert (
            events.onset[at] - 1e-6 <= heard and heard + 3.0 <= events.onset[at] + events.duration[at] + 1e-6
        )


def test_a_stimulus_is_held_out_for_everyone(people: list[Recording]) -> None:
    windows = Inside(seconds=3.0, stride=0.5, offset=0.15)(people, "meg", [])
    whose = stimuli(windows, people)
    folds = split("CrossStimulus", windows, people, 4)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(len(windows)))
    for fold in folds:
        assert not set(whose[fold.train]) & set(whose[fold.test])
        assert set(windows.recording[fold.test]) == {0, 1}
    leaky = Fold(
        folds[0].train[windows.recording[folds[0].train] == 0], np.flatnonzero(windows.recording == 1), "x"
    )
    with pytest.raises(
        DataError, match=r"stimulus the .* is in both train and test; hold it out for everyone"
    ):
        check_fold("CrossStimulus", leaky, windows, people)
    loose = replace(windows, start=windows.start + 1000.0)
    with pytest.raises(DataError, match="needs every window to begin inside an event"):
        split("CrossStimulus", loose, people, 4)


def test_a_window_belongs_to_the_event_that_it_begins_in() -> None:
    recording = replace(
        SimulatedSpeech(subjects=1, sentences=2, sensors=9, voice="formants").open(Path("a/subject01")),
        events=events_of("a", "b"),
    )
    windows = Windows(np.zeros(5, np.int64), np.array([0.5, 1.0, 7.5, 11.5, 17.5]), 1.0, np.full(5, -1))
    assert stimuli(windows, [recording]).tolist() == ["", "a", "", "b", ""]

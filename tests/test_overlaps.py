"""Declared overlaps: a test set whose people, sessions or pictures the training corpus knows from another set is marked."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from test_probe import QUICK

from brainfm.data.cards import DataCard, overlaps_with
from brainfm.data.fingerprint import Fingerprint
from brainfm.data.provenance import Overlap
from brainfm.data.recording import Recording
from brainfm.errors import DataError
from brainfm.jobs.probe import probe
from brainfm.manifest import Entry, Manifest


def saw(*places: str) -> Manifest:
    """A manifest of recordings called dataset/subject/session."""
    empty = Fingerprint(1.0, 1, [])
    entries = []
    for place in places:
        dataset, subject, session = place.split("/")
        entries.append(
            Entry(
                dataset=dataset,
                subject=subject,
                session=session,
                run="",
                content_hash=place,
                seconds=1.0,
                with_labels=False,
                fingerprint=empty,
            )
        )
    return Manifest(entries=entries)


def place_of(subject: str, session: str) -> Recording:
    return Recording({}, dataset="part", subject=subject, session=session)


@pytest.mark.parametrize(
    ("what", "trained", "spoilt"),
    [
        ("subjects", "whole/01/a", True),
        ("subjects", "whole/02/a", False),
        ("subjects", "whole//a", True),  # who it was is not known: it may not pass for clean
        ("subjects", "other/01/a", False),
        ("sessions", "whole/01/a", True),
        ("sessions", "whole/01/b", False),
        ("sessions", "whole/01/", True),
        ("recordings", "whole/09/z", True),
        ("stimuli", "whole/09/z", True),
        ("stimuli", "other/01/a", False),
    ],
)
def test_what_is_shared_decides_what_spoils(what: str, trained: str, spoilt: bool) -> None:
    overlap = Overlap.model_validate({"card": "whole", "what": what, "why": "it is a part of it"})
    found = saw("third/01/a", trained).shared(place_of("01", "a"), [overlap])
    assert found == (overlap if spoilt else None)


def test_an_overlap_may_concern_some_recordings_only() -> None:
    overlap = Overlap(card="whole", what="recordings", why="why", only=["01", "02/a"])
    manifest = saw("whole/07/x")
    concerned = [
        manifest.shared(place_of(*place), [overlap]) for place in (("01", "z"), ("02", "a"), ("02", "b"))
    ]
    assert concerned == [overlap, overlap, None]


@pytest.mark.parametrize(
    "words", ["{what: subjects, why: x}", "{card: a, dataset: b, what: subjects, why: x}"]
)
def test_an_overlap_names_one_other_set(words: str, tmp_path: Path) -> None:
    path = tiny.card(tmp_path, "one", "{kind: simulated}", more=f"overlaps: [{words}]\n{tiny.TASK}")
    with pytest.raises(DataError, match="names either a `card` or"):
        DataCard.load(path)


def reader(seed: int) -> str:
    return f"{{kind: simulated, subjects: 3, seconds: 60.0, sensors: 8, seed: {seed}}}"


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """A corpus of three people."""
    return tiny.card(folder, "whole", reader(1))


@pytest.fixture(scope="module")
def run(folder: Path, whole: Path) -> Path:
    """A run that saw them all."""
    result = tiny.brainfm(*tiny.train_words(whole, folder / "run", steps=6), "--json")
    assert result.code == 0, result.err
    return folder / "run"


def part(folder: Path, name: str, overlaps: str) -> Path:
    """A test set of other recordings, said to be of the same three people."""
    return tiny.card(folder, name, reader(2), more=f"{overlaps}{tiny.TASK}")


def test_a_table_on_the_same_people_is_marked_and_refused_when_strict(folder: Path, run: Path) -> None:
    plain = probe([run], part(folder, "plain", ""), QUICK)
    assert not plain.contaminated, "other recordings are clean as far as signals tell"
    declared = part(folder, "declared", "overlaps: [{card: whole, what: subjects, why: cut from it}]\n")
    scores = probe([run], declared, QUICK)
    assert scores.contaminated and len(scores.held_out) == 3
    assert scores.contamination == (
        "forbidden overlap: the training corpus holds whole, whose subjects it shares (cut from it)"
    )
    assert any("hold out of the pretraining what declared shares" in note for note in scores.notes)
    with pytest.raises(DataError, match=r"declared: forbidden overlap.*--strict refuses"):
        probe([run], declared, replace(QUICK, strict=True))


def test_people_that_were_held_out_of_the_corpus_may_be_tested(folder: Path, whole: Path) -> None:
    words = tiny.train_words(whole, folder / "held", "data.hold_out={whole: ['03']}", steps=6)
    assert tiny.brainfm(*words, "--json").code == 0
    declared = part(folder, "cut_out", "overlaps: [{card: whole, what: subjects, why: cut from it}]\n")
    scores = probe([folder / "held"], declared, replace(QUICK, strict=True))
    assert scores.held_out == ["subject 03"] and not scores.contaminated
    assert any("2 of the card's 3 folds are left out" in note for note in scores.notes)


def test_shared_pictures_spoil_every_fold(folder: Path, run: Path) -> None:
    declared = part(
        folder, "pictures", "overlaps: [{dataset: whole, what: stimuli, why: the same pictures}]\n"
    )
    scores = probe([run], declared, QUICK)
    assert scores.contaminated and "whose stimuli it shares (the same pictures)" in scores.contamination


def test_the_other_card_may_declare_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tiny.card(
        folder, "corpus", reader(1), more="overlaps: [{card: mine, what: subjects, why: parts of it}]\n"
    )
    mine = DataCard.load(tiny.card(folder, "mine", reader(2)))
    theirs = DataCard.load(corpus)
    load = DataCard.load
    monkeypatch.setattr("brainfm.data.cards.list_cards", lambda: ["corpus", "third"])
    monkeypatch.setattr(DataCard, "load", lambda name: theirs if name == "corpus" else load(name))
    (found,) = overlaps_with(mine, ["corpus", "elsewhere"])
    assert (found.other, found.what, found.why) == ("corpus", "subjects", "parts of it")
    assert overlaps_with(mine, ["elsewhere"]) == []


def test_shipped_cards_declare_what_is_known_of_the_field() -> None:
    """The examples that every corpus builder must know."""
    wanted = {("eeg_tuab", "eeg_tueg", "subjects"), ("eeg_tuev", "eeg_tueg", "subjects")}
    declared = {
        (name, one.other, one.what)
        for name in ("eeg_tuab", "eeg_tuev")
        for one in DataCard.load(name).overlaps
    }
    assert wanted <= declared

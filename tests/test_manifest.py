"""The manifest: what a model saw, recognised under another name, in part, and never by mistake."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from brainfm.data.readers.simulated import Simulated
from brainfm.data.recording import Recording
from brainfm.errors import CheckpointError
from brainfm.manifest import Manifest


@pytest.fixture(scope="module")
def people() -> list[Recording]:
    """Three people, past the gate, each with a place in a dataset."""
    part = Simulated(subjects=3, seconds=90.0, sensors=8)
    return [
        replace(part.read(entry.path), dataset="ours", subject=entry.subject, session=entry.session, run="1")
        for entry in part.find(Path(), "")
    ]


@pytest.fixture(scope="module")
def manifest(people: list[Recording]) -> Manifest:
    return Manifest.of(people[:2], "eeg", with_labels=False)


def cropped(recording: Recording, start: int, end: int) -> Recording:
    """Part of a recording, its numbers changed a little, under a name of its own."""
    signal = recording.signal("eeg")
    data = 1.5 * signal.load()[::-1, start:end]
    sensors = signal.sensors.take(range(len(signal.sensors))[::-1])
    part = replace(signal, data=data, sensors=sensors)
    return replace(
        recording.with_signal("eeg", part),
        dataset="theirs",
        subject="x",
        content_hash=f"{recording.content_hash} from {start}",
        events=type(recording.events)(),
    )


def test_every_recording_is_written_down(manifest: Manifest, people: list[Recording]) -> None:
    assert len(manifest.entries) == 2
    entry = manifest.entries[0]
    assert (entry.dataset, entry.subject, entry.session, entry.run) == ("ours", "01", "01", "1")
    assert entry.content_hash == people[0].content_hash != ""
    assert entry.seconds == 90.0
    assert not entry.with_labels
    assert len(entry.fingerprint.stretches) == 3  # of thirty seconds
    assert all(entry.fingerprint.stretches)


def test_what_was_seen_is_known_again(manifest: Manifest, people: list[Recording]) -> None:
    assert manifest.verdict(people[0], "eeg") == "seen without labels"
    assert manifest.verdict(replace(people[1], dataset="other", subject="9"), "eeg") == "seen without labels"
    assert manifest.verdict(people[2], "eeg") == "clean"


def test_a_part_under_another_name_is_known_again(manifest: Manifest, people: list[Recording]) -> None:
    assert manifest.verdict(cropped(people[0], 3000, 9000), "eeg") == "seen without labels"
    assert manifest.verdict(cropped(people[2], 3000, 9000), "eeg") == "clean"


def test_labels_make_the_verdict_worse(manifest: Manifest, people: list[Recording]) -> None:
    both = manifest + Manifest.of(people[1:2], "eeg", with_labels=True)
    assert len(both.entries) == 3
    assert len(manifest.entries) == 2
    assert both.verdict(people[0], "eeg") == "seen without labels"
    assert both.verdict(people[1], "eeg") == "seen with labels"
    assert both.verdict(people[2], "eeg") == "clean"


def test_without_a_manifest_nothing_is_known(people: list[Recording]) -> None:
    assert Manifest().verdict(people[0], "eeg") == "unknown"


def test_recordings_without_a_hash_are_not_one_recording(people: list[Recording]) -> None:
    """A recording that someone puts together by hand has not been through the gate, which gives it its hash."""
    bare = [replace(recording, content_hash="") for recording in people]
    manifest = Manifest.of(bare[:1], "eeg", with_labels=True)
    assert manifest.verdict(bare[0], "eeg") == "seen with labels"
    assert manifest.verdict(bare[2], "eeg") == "clean"


def test_a_name_is_enough_where_the_signal_is_another(manifest: Manifest, people: list[Recording]) -> None:
    """Sources in place of sensors: no hash and no fingerprint knows it, but its place in its dataset does."""
    signal = people[0].signal("eeg")
    sources = np.linalg.svd(signal.load(), full_matrices=False)[0].T @ signal.load()
    changed = replace(people[0].with_signal("eeg", replace(signal, data=sources)), content_hash="other")
    assert manifest.verdict(replace(changed, dataset="elsewhere"), "eeg") == "clean"
    assert manifest.verdict(changed, "eeg") == "seen without labels"
    nameless = replace(changed, subject="", session="", run="")
    assert manifest.verdict(nameless, "eeg") == "clean"


def test_another_recording_of_a_subject(manifest: Manifest, people: list[Recording]) -> None:
    assert manifest.saw_subject(replace(people[2], subject="01"))
    assert not manifest.saw_subject(people[2])
    assert not manifest.saw_subject(replace(people[0], dataset="theirs"))


def test_it_comes_back_from_its_file(manifest: Manifest, people: list[Recording], tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(manifest.text, encoding="utf-8")
    again = Manifest.load(path)
    assert again == manifest
    assert again.text == manifest.text
    assert again.verdict(cropped(people[1], 0, 6000), "eeg") == "seen without labels"
    assert len(manifest.text) / len(manifest.entries) < 20_000  # bytes: it travels with every checkpoint


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"entries": [{}]}', b'{"entrys": []}', b"\xff\xfe"])
def test_a_damaged_manifest_is_not_taken_for_an_empty_one(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a manifest that this version of brainfm can read"):
        Manifest.load(tmp_path / "manifest.json")


def test_noise_is_not_seen(manifest: Manifest, people: list[Recording]) -> None:
    signal = people[0].signal("eeg")
    noise = 2e-5 * np.random.default_rng(0).normal(size=signal.data.shape)
    other = people[0].with_signal("eeg", replace(signal, data=noise))
    other = replace(other, dataset="elsewhere", content_hash="noise")
    assert manifest.verdict(other, "eeg") == "clean"


def test_stretches_that_were_kept_out_are_clean(people: list[Recording]) -> None:
    """Of the same recording: other stretches were seen, and so is one that only begins in a stretch that was not."""
    part = replace(people[0], kept_out=((20.0, 40.0), (60.0, 90.0)))
    manifest = Manifest.of([part], "eeg", with_labels=False)
    again = Manifest.model_validate_json(manifest.text)
    assert again == manifest
    for windows in ([(20.0, 24.0), (36.0, 40.0)], [(61.0, 65.0)]):
        assert again.verdict(people[0], "eeg", windows) == "clean"
    for windows in ([(18.0, 22.0)], [(20.0, 24.0), (50.0, 54.0)], [(38.0, 62.0)]):
        assert again.verdict(people[0], "eeg", windows) == "seen without labels"
    assert again.verdict(people[0], "eeg") == "seen without labels"
    whole = Manifest.of(people[:1], "eeg", with_labels=False)
    assert whole.verdict(people[0], "eeg", [(20.0, 24.0)]) == "seen without labels"
    other = replace(people[0], content_hash="saved again")  # its clock may be another
    assert again.verdict(other, "eeg", [(20.0, 24.0)]) == "seen without labels"
    assert manifest.digest != whole.digest


def test_the_worst_of_all_entries_counts(people: list[Recording]) -> None:
    """A copy that was saved again is found by its fingerprint, whatever an entry of the same content or name says."""
    held = Manifest.of([replace(people[0], kept_out=((20.0, 40.0),))], "eeg", with_labels=False)
    whole = Manifest.of(people[:1], "eeg", with_labels=False)
    resaved = replace(people[0], dataset="copies", subject="x", content_hash="saved again")
    copy = {told: Manifest.of([resaved], "eeg", with_labels=told) for told in (False, True)}
    inside = [(20.0, 24.0)]
    assert copy[True].verdict(people[0], "eeg", inside) == "seen with labels"
    for both in (held + copy[True], copy[True] + held, whole + copy[True]):
        assert both.verdict(people[0], "eeg", inside) == "seen with labels"
    assert (held + copy[False]).verdict(people[0], "eeg", inside) == "seen without labels"
    named = replace(people[0], content_hash="another export")  # found by its name alone
    assert (whole + copy[True]).verdict(named, "eeg") == "seen with labels"


def test_other_people_do_not_make_a_stretch_that_was_kept_out_seen(people: list[Recording]) -> None:
    held = replace(people[0], kept_out=((20.0, 40.0),))
    for labels in (False, True):
        beside = Manifest.of([held], "eeg", with_labels=False) + Manifest.of(people[1:], "eeg", labels)
        assert beside.verdict(people[0], "eeg", [(20.0, 24.0)]) == "clean"
        assert beside.verdict(people[0], "eeg", [(50.0, 54.0)]) == "seen without labels"


def test_fingerprints_are_left_alone_where_nothing_could_get_worse(
    people: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest.of(people, "eeg", with_labels=False)

    def never(*_: object) -> None:
        raise AssertionError("a fingerprint was compared")

    monkeypatch.setattr("brainfm.manifest.seen", never)
    assert manifest.verdict(people[0], "eeg") == "seen without labels"

"""Of FIF files those are recordings that hold one of their own: a part of another one would be tested on and trained on."""

from pathlib import Path

import mne
import numpy as np
import pytest

from brainfm.data.cards import DataCard
from brainfm.data.fif import recordings_among
from brainfm.data.new_card import new_card
from brainfm.data.readers.mne_file import MneFile
from brainfm.errors import DataError

NAMES = ["Cz", "Pz", "Oz", "C3", "C4", "F3", "F4", "Fz", "O1", "O2", "P3", "P4"]
MINUTES = 2.0


def raw_of(seconds: float, seed: int = 0) -> mne.io.RawArray:
    """Twelve sensors of noise at 1000 Hz."""
    volts = np.random.default_rng(seed).normal(0, 1e-5, (len(NAMES), round(1000 * seconds)))
    return mne.io.RawArray(volts, mne.create_info(NAMES, 1000.0, "eeg"), verbose="error")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording in three parts by either way of naming, one in a single file, and what belongs to them."""
    folder = tmp_path_factory.mktemp("study")
    long, short = raw_of(60 * MINUTES), raw_of(5.0, seed=1)
    long.save(folder / "rest_raw.fif", split_size="3MB", verbose="error")
    long.save(folder / "walk_meg.fif", split_size="3MB", split_naming="bids", verbose="error")
    for name in ("run_raw.fif", "run_raw-1.fif", "day-2.fif", "day-3.fif", "trip_split-02_meg.fif"):
        short.save(folder / name, verbose="error")
    for kind in ("-eve", "_cov", "-fwd", "_ica", "-trans", "-bem-sol"):
        (folder / f"rest{kind}.fif").touch()
    (folder / "rest-eve.fif.gz").touch()
    return folder


OWN = [
    "day-2.fif",
    "day-3.fif",
    "rest_raw.fif",
    "run_raw-1.fif",
    "run_raw.fif",
    "trip_split-02_meg.fif",
    "walk_split-01_meg.fif",
]
"""What is recorded, each once: runs and days that are numbered like parts are none."""


def test_parts_are_those_that_the_first_file_goes_on_in(study: Path) -> None:
    there = {path.name for path in study.iterdir()}
    assert there >= {"rest_raw-1.fif", "rest_raw-2.fif", "walk_split-02_meg.fif", "walk_split-03_meg.fif"}
    assert [path.name for path in recordings_among(sorted(study.iterdir()))] == OWN


def test_a_card_reads_every_recording_once(study: Path) -> None:
    entries = MneFile().find(study, "*.fif")
    assert [entry.path.name for entry in entries] == OWN
    seconds = {
        entry.path.name: MneFile().read(entry.path).signal("eeg").seconds
        for entry in entries
        if entry.path.name.startswith(("rest", "walk"))
    }
    assert seconds == {"rest_raw.fif": 60 * MINUTES, "walk_split-01_meg.fif": 60 * MINUTES}


def test_a_first_card_counts_every_recording_once(study: Path, tmp_path: Path) -> None:
    path = tmp_path / "study.md"
    path.write_text(new_card(study), encoding="utf-8")
    card = DataCard.load(path)
    assert card.facts is not None and card.facts.recordings == len(OWN)
    assert [entry.path.name for entry in card.entries()] == OWN


def test_parts_whose_first_file_is_lost_are_one_recording(tmp_path: Path) -> None:
    """MNE reads from any part on: the second one then is what the third goes on with."""
    raw_of(60 * MINUTES).save(tmp_path / "rest_raw.fif", split_size="3MB", verbose="error")
    (tmp_path / "rest_raw.fif").unlink()
    assert [path.name for path in recordings_among(tmp_path.iterdir())] == ["rest_raw-1.fif"]


def test_epochs_and_averages_are_recordings(tmp_path: Path) -> None:
    names = ["a-ave.fif", "a-epo.fif", "a_epo.fif.gz", "recovered.fif"]
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.touch()
    assert recordings_among(paths) == paths


def test_what_was_cut_out_of_a_recording_beside_it_is_none(tmp_path: Path) -> None:
    """Its very signal would else be tested on and trained on; alone, epochs are all there is of a recording."""
    whole = [
        "rest_raw.fif",
        "sub-01_task-go_meg.fif",
        "other/rest-epo.fif",
        "restless-epo.fif",
        "sub-01_epo.fif",
        "alone-epo.fif",
    ]
    beside = ["alone.fif.json", "alone.json", "alone_events.tsv", "alone"]  # no recording of that name
    cut = ["rest-epo.fif", "rest_ave.fif.gz", "sub-01_task-go_proc-clean_epo.fif"]
    (tmp_path / "other").mkdir()
    for name in (*whole, *cut, *beside):
        (tmp_path / name).touch()
    found = {path.relative_to(tmp_path).as_posix() for path in recordings_among(tmp_path.rglob("*"))}
    assert found - {*beside, "other"} == set(whole)


def test_a_pattern_that_fits_parts_alone_is_one_sentence(study: Path) -> None:
    with pytest.raises(DataError, match=r"none is a recording of its own: rest_raw-1\.fif .* another file"):
        MneFile().find(study, "rest_raw-*.fif")

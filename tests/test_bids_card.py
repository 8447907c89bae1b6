"""BIDS: a first card of a dataset, and what the command line prints of it."""

import json
from collections.abc import Callable
from pathlib import Path

import mne
import pytest
from bids_files import as_json, beside, changed, column, dataset, eeg, ieeg, meg, raw_of, tsv
from typer.testing import CliRunner

from brainfm.cli import app
from brainfm.data.cards import DataCard, recount
from brainfm.data.new_card import new_card
from brainfm.data.readers.bids import Bids
from brainfm.errors import DataError


@pytest.mark.parametrize("make", [eeg, ieeg, meg])
def test_a_first_card_passes_check_and_decodes(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    root = dataset(tmp_path / "study")
    as_json(
        root / "dataset_description.json",
        {"Name": "by hand", "License": "CC0", "Authors": ["A. Hand", "B. Foot"], "DatasetDOI": "doi:10.1/x"},
    )
    path = make(root)
    windows = [(onset, 1.0, "left" if onset % 2 else "right") for onset in range(1, 9)]
    tsv(beside(path, "events.tsv"), [("onset", "duration", "trial_type"), *windows])
    text = new_card(root)
    card = tmp_path / "study.md"
    card.write_text(text, encoding="utf-8")
    first = DataCard.load(card)
    assert recount(first)[1] == []
    assert (first.title, first.licence, first.citation, first.source) == (
        "by hand",
        "CC0",
        "A. Hand, B. Foot",
        "doi:10.1/x",
    )
    assert isinstance(first.reader, Bids) and first.reader.datatype == path.parent.name
    assert "left (4)" in text and "Entities: subject 01 (1);" in text
    named = [
        line.removeprefix("# ") if line.startswith(("# task:", "#   ")) else line
        for line in text.splitlines()
    ]
    named = [line.replace("CrossSubject", "WithinSession").replace("#   ", "  ") for line in named]
    named = [line.replace("seconds: 2.0", "seconds: 0.5") for line in named]
    named.insert(named.index("facts:") + 1, "  windows: {left: 4, right: 4}")
    card.write_text("\n".join(named), encoding="utf-8")
    counted, problems = recount(DataCard.load(card))
    assert problems == [] and counted is not None and counted.windows == {"left": 4, "right": 4}


def test_a_card_reads_with_repairs_only_if_it_says_so(tmp_path: Path) -> None:
    root = dataset(tmp_path / "study")
    eeg(root, "01")
    changed(beside(eeg(root, "02"), "channels.tsv"), column("units", None))
    with pytest.raises(DataError, match="has no column units"):
        new_card(root)
    text = new_card(root, on_error="repair")
    card = tmp_path / "study.md"
    card.write_text(text, encoding="utf-8")
    assert "Repaired: sub-02_task-odd_channels.tsv has no column units" in text
    assert recount(DataCard.load(card))[1] == []
    card.write_text(text.replace('"on_error": "repair"', '"on_error": "raise"'), encoding="utf-8")
    (problem,) = recount(DataCard.load(card))[1]
    assert "has no column units" in problem.found
    card.write_text(text.replace('"on_error": "repair"', '"on_error": "skip"'), encoding="utf-8")
    (problem,) = recount(DataCard.load(card))[1]
    assert "none can be skipped" in problem.found


def test_a_card_may_choose_by_entity_or_by_pattern(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    for task in ("odd", "rest"):
        eeg(root, "01", task)
    assert [entry.path.name for entry in Bids(task="rest").find(root, "")] == ["sub-01_task-rest_eeg.edf"]
    (fitting,) = Bids().find(root, "sub-{subject}/eeg/*_task-odd_*")
    assert (fitting.subject, fitting.path.name) == ("01", "sub-01_task-odd_eeg.edf")
    with pytest.raises(DataError, match="fits the pattern"):
        Bids().find(root, "*.vhdr")


def test_sensors_of_a_dataset_that_no_montage_knows_are_left_out_of_a_first_card(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    path = eeg(root)
    names = ["Fp1", "Cz", "O2", "Nowhere"]
    mne.export.export_raw(path, raw_of(names), overwrite=True, verbose="error")
    rows = [(name, "EEG", "µV") for name in names]
    tsv(beside(path, "channels.tsv"), [("name", "type", "units"), *rows])
    assert '"drop": ["Nowhere"]' in new_card(root)


@pytest.mark.parametrize("name", ["../new.edf", "new.edf"])
def test_a_decoders_reader_takes_a_file_that_is_none_of_the_dataset(tmp_path: Path, name: str) -> None:
    path = eeg(dataset(tmp_path / "study"))
    alone = path.rename(tmp_path / "study" / name)
    recording = Bids(datatype="eeg", reader={"positions": "none"}).read(alone)
    assert "no recording of a BIDS dataset: read without the tables of one" in recording.notes


def told(*words: str | Path) -> str:
    """What a verb prints."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_the_command_line_prints_what_was_read_and_the_log(tmp_path: Path) -> None:
    root = dataset(tmp_path / "study")
    eeg(root, "01")
    changed(beside(eeg(root, "02"), "channels.tsv"), column("units", None))
    with pytest.raises(DataError, match="has no column units"):
        told("data", "read", root)
    said = told("data", "read", root, "--on-error", "repair")
    assert "eeg: 3 sensors, 200 Hz, 10 s" in said
    (line,) = [line for line in said.splitlines() if "has no column units" in line]
    assert line.startswith("sub-02_task-odd_eeg.edf  sub-02_task-odd_channels.tsv has no column units: ")
    found = json.loads(told("data", "read", root, "--on-error", "skip", "--json"))
    assert [row["recording"] for row in found["recordings"]] == ["sub-01_task-odd_eeg.edf"]
    assert [line["recording"] for line in found["log"]] == ["sub-02_task-odd_eeg.edf"]
    assert "nothing was repaired or left out" in told("data", "read", root, "--subject", "01")
    made = json.loads(told("data", "new", root, "--on-error", "repair", "--json"))
    assert made["card"] == str(tmp_path / "study.md")
    assert ["has no column units" in line["said"] for line in made["log"]] == [True]
    with pytest.raises(DataError, match="is no BIDS dataset"):
        new_card(tmp_path, on_error="repair")

"""Little BIDS datasets written by hand, and changes of their tables: what the tests of BIDS share."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mne
import numpy as np

SFREQ, SECONDS = 200.0, 10.0
NAMES = ("Fp1", "Cz", "O2", "T8")
CONTACTS = ("LA1", "LA2", "LA3")
COILS = [
    ("name", "type", "units"),
    ("MEG1", "MEGMAG", "T"),
    ("MEG2", "MEGMAG", "T"),
    ("MEG3", "MEGGRADPLANAR", "T/m"),
    ("EEG1", "ECG", "V"),
]
EVENTS: list[tuple[Any, ...]] = [("onset", "duration", "trial_type"), (1.0, 0.5, "go"), (4.5, "n/a", "stop")]


def samples(n: int, size: float = 2e-5, seed: int = 0) -> np.ndarray:
    return size * np.random.default_rng(seed).normal(size=(n, int(SFREQ * SECONDS)))


def tsv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")


def as_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def raw_of(names: Sequence[str], kinds: Any = "eeg", size: float = 2e-5, seed: int = 0) -> Any:
    """A `Raw` whose file knows nothing but names and samples."""
    info = mne.create_info(list(names), SFREQ, kinds)
    return mne.io.RawArray(samples(len(names), size, seed), info, verbose="error")


def dataset(root: Path) -> Path:
    """What every dataset has."""
    as_json(root / "dataset_description.json", {"Name": "made by hand", "BIDSVersion": "1.10.0"})
    people = [("participant_id", "age", "sex"), ("sub-01", 31, "n/a"), ("sub-02", 45, "f")]
    tsv(root / "participants.tsv", people)
    return root


def eeg(root: Path, subject: str = "01", task: str = "odd", ending: str = ".edf", seed: int = 0) -> Path:
    """One EEG recording with an EOG that the file calls EEG, and its tables."""
    stem = root / f"sub-{subject}" / "eeg" / f"sub-{subject}_task-{task}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = stem.with_name(f"{stem.name}_eeg{ending}")
    mne.export.export_raw(path, raw_of(NAMES, seed=seed), verbose="error")
    rows = [(name, "EOG" if name == "T8" else "EEG", "µV", "good") for name in NAMES]
    tsv(beside(path, "channels.tsv"), [("name", "type", "units", "status"), *rows])
    tsv(beside(path, "events.tsv"), EVENTS)
    as_json(beside(path, "eeg.json"), {"SamplingFrequency": SFREQ, "PowerLineFrequency": 50})
    return path


def ieeg(root: Path, unit: str = "mm", system: str = "MNI152Lin", kind: str = "SEEG") -> Path:
    """One intracranial recording with places in millimetres."""
    path = root / "sub-01" / "ieeg" / "sub-01_task-rest_ieeg.vhdr"
    path.parent.mkdir(parents=True, exist_ok=True)
    mne.export.export_raw(path, raw_of(CONTACTS), verbose="error")
    rows = [(name, kind, "µV") for name in CONTACTS]
    tsv(beside(path, "channels.tsv"), [("name", "type", "units"), *rows])
    places = [(name, 10 + row, -20, 30, "n/a") for row, name in enumerate(CONTACTS)]
    tsv(path.parent / "sub-01_electrodes.tsv", [("name", "x", "y", "z", "size"), *places])
    said = {"iEEGCoordinateSystem": system, "iEEGCoordinateUnits": unit}
    as_json(path.parent / "sub-01_coordsystem.json", said)
    return path


def meg(root: Path, name: str = "sub-01_ses-a_task-rest_run-01_meg.fif", size: float = 5e-13) -> Path:
    """Two magnetometers, a gradiometer, and an EEG electrode that channels.tsv calls ECG."""
    path = root / "sub-01" / "ses-a" / "meg" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = ["mag", "mag", "grad", "eeg"]
    raw = raw_of(("MEG1", "MEG2", "MEG3", "EEG1"), kinds)
    raw._data *= np.array([[size], [size], [20 * size], [2e-5]]) / 2e-5
    raw.save(path, verbose="error")
    tsv(beside(path, "channels.tsv"), COILS)
    return path


def beside(path: Path, name: str) -> Path:
    """The file beside a recording whose name differs in its last word."""
    return path.with_name(f"{path.name.rpartition('_')[0]}_{name}")


def changed(path: Path, change: Callable[[list[list[str]]], list[list[str]]]) -> None:
    """The table after a change of its rows, the names of the columns first."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    tsv(path, change(rows))


def column(name: str, value: str | None, row: int | None = None) -> Any:
    """A change of one column: of one row, of all, or (None) without it."""

    def change(rows: list[list[str]]) -> list[list[str]]:
        at = rows[0].index(name)
        if value is None:
            return [[*each[:at], *each[at + 1 :]] for each in rows]
        return [
            [*each[:at], value if number and row in (None, number) else each[at], *each[at + 1 :]]
            for number, each in enumerate(rows)
        ]

    return change

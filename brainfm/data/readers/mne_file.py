"""Files that MNE reads: EEG and sEEG in EDF, BDF, GDF, BrainVision, EEGLAB, FIF, CNT, EGI; MEG in FIF, CTF, KIT, BTi."""

import re
from pathlib import Path
from typing import Any, ClassVar, Literal

import mne
import numpy as np

from brainfm.data.edf_header import WIDTH, EdfHeader
from brainfm.data.electrodes import Electrodes, electrodes_of
from brainfm.data.events import first_line
from brainfm.data.fif import recordings_among
from brainfm.data.from_mne import (
    UNREADABLE,
    annotations,
    listening,
    recording_of_epochs,
    recording_of_raw,
    stimuli,
    stored_unit,
)
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Events, Recording
from brainfm.data.selection import SensorChoice
from brainfm.errors import DataError

INTRACRANIAL = frozenset({"seeg", "ecog", "dbs"})


class MneFile(Reader, SensorChoice):
    """One file (or EGI folder) through `mne.io.read_raw`, left on disk until sliced, except where it is
    compressed."""

    suffixes: ClassVar[tuple[str, ...]] = (
        ".edf",
        ".bdf",
        ".gdf",
        ".vhdr",
        ".ahdr",
        ".set",
        ".fif",
        ".fif.gz",
        ".cnt",
        ".mff",
        ".ds",
        ".con",
        ".sqd",
        ".mefd",
        ".cdt",
        ".nxe",
        ".nedf",
        ".lay",
        "",
    )

    unit: str | None = None
    """The unit of the stored numbers (V, mV, µV), where the file's own label is wrong."""
    electrodes: Electrodes | None = None
    """Where contacts in the brain are, if the table beside the recording does not say all; with `space: head`,
    where electrodes on the scalp are."""
    maxshield: bool = False
    """Whether to read MEG that was recorded under active shielding and not filtered since (Maxwell), which is distorted."""

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a folder is a recording of 4D or KIT, or a path ends as one of MNE's formats does."""
        return bool(meg_in(path)) if path.is_dir() and not path.suffix else True

    def find(self, folder: Path, pattern: str) -> list[Entry]:
        """As for every reader, without FIF files that hold none or that are read with the first part of theirs: a test set
        would else lie in training under another name. Raises `DataError` where nothing is left."""
        fitting = super().find(folder, pattern)
        own = set(recordings_among(entry.path for entry in fitting))
        if not own:
            raise DataError(
                f"of the files under {folder} that fit the pattern {pattern!r} none is a recording of its own: "
                f"{fitting[0].path.name} holds something else, or goes on with one that begins in another file"
            )
        return [entry for entry in fitting if entry.path in own]

    def open(self, path: Path) -> Recording:
        """The field signals of the file. Raises `DataError` if it is missing, broken, cut short or holds none."""
        with listening() as heard:
            recording = self.convert(path, self.load(path))
        return recording.noting(*heard)

    def convert(self, path: Path, loaded: Any) -> Recording:
        """MNE's object as a recording."""
        make = recording_of_epochs if isinstance(loaded, mne.BaseEpochs) else recording_of_raw
        bare = [name.removeprefix(self.strip) for name in loaded.ch_names]
        inside = set(self.types(loaded.ch_names, loaded.get_channel_types())) & INTRACRANIAL
        scalp = self.electrodes is not None and self.electrodes.space == "head"
        given = electrodes_of(path, bare, self.electrodes) if inside or scalp else None
        return make(loaded, self, self.unit, path.name, given)

    def load(self, path: Path) -> Any:
        """MNE's object for the file, its samples still on disk."""
        if not path.exists():
            raise DataError(f"{path} does not exist")
        check_length(path)
        try:
            loaded = opened(path, self.maxshield)
        except UNREADABLE as error:
            if "Active Shielding" in str(error):
                raise DataError(
                    f"{path.name} was recorded under active shielding, which distorts it until it is filtered (MNE's "
                    "maxwell_filter); to read it all the same, say `maxshield: true`"
                ) from error
            raise DataError(f"{path.name} can't be read ({first_line(error)})") from error
        if path.suffix == ".vhdr":
            check_points(path, loaded.n_times)
        return loaded

    def label(self, path: Path) -> str:
        """The unit that the card or the file gives to the stored numbers."""
        with listening():
            raw = self.load(path)
        return self.unit or stored_unit(raw, raw.ch_names[0])

    def events_in(self, path: Path, source: Literal["annotations", "stim"]) -> Events:
        """The annotations, or the onsets in the stimulus channels. Raises `DataError` where the file has
        none."""
        with listening():
            raw = self.load(path)
            if isinstance(raw, mne.BaseEpochs):
                return self.convert(path, raw).events
            found = annotations(raw) if source == "annotations" else stimuli(raw)
        if not len(found):
            raise DataError(f"{path.name} holds no events as {source}")
        return found

    def first_sample(self, path: Path) -> int:
        """MNE's `first_samp`: FIF numbers its samples from the start of the acquisition, not of the file."""
        with listening():
            return int(getattr(self.load(path), "first_samp", 0))


def meg_in(folder: Path) -> list[Path]:
    """The data of a folder that is one recording of MEG: 4D's (c,rfDC beside a config) or KIT's."""
    if (folder / "config").is_file():
        return sorted(folder.glob("[ce],rf*"))[:1]
    found = [path for path in sorted(folder.glob("*")) if path.suffix in (".con", ".sqd")]
    return found if len(found) == 1 else []


def opened(path: Path, maxshield: bool = False) -> Any:
    """MNE's object of the file or folder, raw or in epochs."""
    if path.is_dir() and (files := meg_in(path)):
        if files[0].suffix in (".con", ".sqd"):
            return mne.io.read_raw_kit(files[0])
        shape = "hs_file" if (path / "hs_file").is_file() else None
        return mne.io.read_raw_bti(files[0], head_shape_fname=shape)
    if maxshield and path.name.endswith((".fif", ".fif.gz")):
        return mne.io.read_raw_fif(path, allow_maxshield="yes", preload=path.suffix == ".gz")
    if path.name.endswith(("-epo.fif", "_epo.fif", "-epo.fif.gz", "_epo.fif.gz")):
        return mne.read_epochs(path)
    if path.name.endswith(("-ave.fif", "_ave.fif", "-ave.fif.gz", "_ave.fif.gz")):
        return averages(path)
    try:
        # a compressed file would be unpacked from its start again for every slice
        return mne.io.read_raw(path, preload=path.suffix == ".gz")
    except UNREADABLE as error:
        if path.suffix == ".set" and "epochs" in str(error):
            return mne.io.read_epochs_eeglab(path)
        raise


def averages(path: Path) -> Any:
    """The averaged responses of a file, one for each condition, as epochs under the conditions' names."""
    found = mne.read_evokeds(path)
    if len({(tuple(one.ch_names), one.info["sfreq"], one.tmin, len(one.times)) for one in found}) > 1:
        raise ValueError("its conditions differ in sensors, rate or length")
    names = [one.comment or f"condition {number}" for number, one in enumerate(found, 1)]
    names = [name if names.count(name) == 1 else f"{name} {number}" for number, name in enumerate(names, 1)]
    events = np.array([[number, 0, number + 1] for number in range(len(found))])
    codes = {name: number + 1 for number, name in enumerate(names)}
    windows = np.stack([one.data for one in found])
    return mne.EpochsArray(windows, found[0].info, events, tmin=found[0].tmin, event_id=codes)


def check_length(path: Path) -> None:
    """Refuse an EDF or BDF that is shorter than its header promises: MNE would read what is left, with a
    warning. Refuse one that has gaps: MNE would join what lies on either side of them."""
    if path.suffix.lower() not in WIDTH:
        return
    header = EdfHeader.of(path)
    if (there := path.stat().st_size) < header.promised:
        raise DataError(
            f"{path.name} is cut short: its header promises {header.promised} bytes, the file has {there}; "
            "get it again"
        )
    if (gap := header.gap(path)) is not None:
        raise DataError(
            f"{path.name} was interrupted, for {gap[1]:.3f} s after {gap[0]:.3f} s of signal, which MNE would join; export it "
            "without gaps (EDF+C), or each stretch as a file of its own"
        )


def check_points(path: Path, n_times: int) -> None:
    """Refuse a BrainVision recording with fewer samples than its header promises, where it does."""
    promised = re.search(r"^DataPoints\s*=\s*(\d+)", path.read_text("utf-8", errors="replace"), re.MULTILINE)
    if promised and int(promised[1]) > n_times:
        raise DataError(
            f"{path.name} is cut short: its header promises {promised[1]} samples, the data file has {n_times}; "
            "get it again"
        )

"""Which FIF files are recordings of their own: not what MNE makes of recordings, and not the parts in which one goes on."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import mne

from brainfm.data.events import stem
from brainfm.data.from_mne import UNREADABLE

NO_RECORDING = re.compile(
    r".*[-_](annot|bem|cov|eve|fwd|ica|inv|proj|sol|src|tfr|trans)\.fif(\.gz)?", re.IGNORECASE
)
"""Names of events, models, solutions and the like, by MNE's conventions for FIF files."""
WHOLE = re.compile(r".+\.fif(\.gz)?", re.IGNORECASE)
CUT = re.compile(r"(?P<of>.+)[-_](epo|ave)\.fif(\.gz)?", re.IGNORECASE)
"""Names of epochs and averages, which somebody has cut out of recordings."""
NUMBERED = (
    re.compile(r"(?P<before>.+)-(?P<number>\d+)(?P<after>\.fif(\.gz)?)", re.IGNORECASE),
    re.compile(r"(?P<before>(.*_)?split)-(?P<number>\d+)(?P<after>_.*\.fif(\.gz)?)", re.IGNORECASE),
)
"""How the parts of one recording are named: rest_raw-1.fif after rest_raw.fif (Neuromag, MNE), and, from the first one on,
rest_split-01_meg.fif (BIDS 1.10, "Split files"). Other files bear such names, too: a run, a day."""


def recordings_among(paths: Iterable[Path]) -> list[Path]:
    """The paths without FIF files that are no recordings, those that are read with the one before them, and epochs and averages
    of a recording that lies beside them."""
    kept = without_cuts([path for path in paths if not NO_RECORDING.fullmatch(path.name)])
    folders = {path.parent for path in kept if numbered(path.name) is not None}
    later = {path for folder in folders for path in continuations(folder)}
    return [path for path in kept if path not in later]


def without_cuts(paths: list[Path]) -> list[Path]:
    """The paths without epochs and averages whose name goes on where that of a recording in the same folder ends: they hold its
    very signal, once more. Where the recording is not there, they are all there is of it."""
    continuous = [path for path in paths if WHOLE.fullmatch(path.name) and not CUT.fullmatch(path.name)]
    whole = {(path.parent, stem(path)) for path in continuous}

    def beside(path: Path) -> bool:
        cut = CUT.fullmatch(path.name)
        ends = [found.start() for found in re.finditer("[-_]|$", cut["of"])] if cut else []
        return any((path.parent, path.name[:end]) in whole for end in ends)

    return [path for path in paths if not beside(path)]


def continuations(folder: Path) -> set[Path]:
    """The files in a folder in which a recording goes on that begins in another one.

    Names only say what to ask: whether rest-2.fif is a part or a second run is in the header of the file that goes before.
    """
    alike: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for path in folder.iterdir():
        series, number = numbered(path.name) or (path.name, 0)
        alike[series].append((number, path.name))
    found: set[str] = set()
    for files in alike.values():
        for _, name in sorted(files)[:-1]:  # after the last one there is nothing that it could go on in
            if name not in found:
                found |= later_parts(folder / name)
    return {folder / name for name in found}


def numbered(name: str) -> tuple[str, int] | None:
    """The name of the series that a FIF file is named in, which is that of its first where that has no number, and its
    number; None where it has none."""
    found = next(filter(None, (pattern.fullmatch(name) for pattern in NUMBERED)), None)
    return found and (found["before"] + found["after"], int(found["number"]))


def later_parts(path: Path) -> set[str]:
    """The names of the files that are read with this one; none where it holds no continuous recording."""
    try:
        raw = mne.io.read_raw_fif(path, allow_maxshield="yes", on_split_missing="ignore", verbose="error")
    except UNREADABLE:  # what is wrong with a file is for its reader to say
        return set()
    return {part.name for part in raw.filenames[1:] if part is not None}

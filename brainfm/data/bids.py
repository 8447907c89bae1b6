"""BIDS datasets: which recordings there are, what their names say, and which files beside them apply.

Names, folders and the inheritance principle by the Brain Imaging Data Structure, version 1.10 (Gorgolewski et al. 2016;
Pernet et al. 2019 for EEG, Holdgraf et al. 2019 for iEEG, Niso et al. 2018 for MEG).
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainfm.errors import DataError

DESCRIPTION = "dataset_description.json"
FORMATS = {
    "eeg": (".edf", ".bdf", ".vhdr", ".set", ".fif"),
    "meg": (".fif", ".fif.gz", ".ds", ".con", ".sqd", ".kdf", ".raw.mhd", ""),
    "ieeg": (".edf", ".bdf", ".vhdr", ".set", ".fif", ".nwb", ".mefd"),
    "func": (".nii", ".nii.gz", ".dtseries.nii", ".ptseries.nii", ".func.gii"),
}
"""Of each folder of recordings, the formats of the recordings in it; "" is a folder, as 4D's MEG is stored."""
SUFFIX = {"eeg": "eeg", "meg": "meg", "ieeg": "ieeg", "func": "bold"}
"""The last word of a recording's name in that folder."""
KEYS = {
    "subject": "sub",
    "session": "ses",
    "task": "task",
    "acquisition": "acq",
    "run": "run",
    "processing": "proc",
    "direction": "dir",
    "reconstruction": "rec",
    "echo": "echo",
    "space": "space",
    "resolution": "res",
    "density": "den",
    "description": "desc",
}
"""BIDS's entities, which `read` takes as keywords, and their keys in file names. `split` is not one of them: the parts of
one recording are read as one."""
NO_SIGNAL = ("calibration", "crosstalk")
"""The `acq` of files that are named as MEG and hold what Maxfilter needs (BIDS 1.10, "Magnetoencephalography")."""
EMPTY_ROOM = "emptyroom"
"""The subject under which MEG without anybody is kept."""


@dataclass(frozen=True)
class Named:
    """What the name of a file says: `entities` under their keys, the last word and the ending."""

    entities: Mapping[str, str]
    suffix: str
    ending: str


def named(path: Path) -> Named:
    """The parts of a name such as sub-01_task-rest_run-1_eeg.vhdr."""
    stem, dot, ending = path.name.partition(".")
    pieces = stem.split("_")
    suffix = pieces.pop()
    pairs = [piece.partition("-") for piece in pieces]
    return Named({key: value for key, dash, value in pairs if dash}, suffix, (dot + ending).lower())


def is_recording(path: Path) -> bool:
    """Whether a path is named, and lies, as a recording of a brain does; of one that is split, only its first part."""
    name, folder = named(path), path.parent.name
    if "sub" not in name.entities or name.suffix != SUFFIX.get(folder):
        return False
    if name.entities.get("acq") in NO_SIGNAL:
        return False
    later = name.entities.get("split", "1").lstrip("0") not in ("", "1")
    return not later and name.ending in FORMATS[folder] and (bool(name.ending) or path.is_dir())


def described_root(path: Path) -> Path | None:
    """The dataset that a path lies in (or is), by its dataset_description.json; None if it lies in none."""
    where = path.absolute()
    return next((folder for folder in (where, *where.parents) if (folder / DESCRIPTION).is_file()), None)


def root_of(path: Path) -> Path | None:
    """The dataset that a path lies in: the described one, else the folder that holds `sub-…`; None if it lies in none."""
    if (root := described_root(path)) is not None:
        return root
    where = path.absolute()
    for folder in (where, *where.parents):
        if folder.name.startswith("sub-") and not is_recording(folder):
            return folder.parent
    return where if where.is_dir() and next(iter(recordings(where)), None) else None


def recordings(root: Path) -> Iterator[Path]:
    """The recordings of a dataset, sorted by subject, session and name. Derivatives and source data are other datasets."""
    for folder in sorted([*root.glob("sub-*/*/"), *root.glob("sub-*/ses-*/*/")]):
        if folder.name in SUFFIX and folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if is_recording(path))


def chosen(
    paths: Sequence[Path], wanted: Mapping[str, Collection[str]], datatypes: Collection[str]
) -> list[Path]:
    """The recordings whose entities are among those wanted. Raises `DataError` that says what there is instead."""
    left = [path for path in paths if not datatypes or path.parent.name in datatypes]
    if not left:
        there = ", ".join(sorted({path.parent.name for path in paths})) or "no recording"
        raise DataError(f"the dataset holds no {' or '.join(sorted(datatypes))} recording; it holds {there}")
    for entity, values in wanted.items():
        key = KEYS[entity]
        fitting = [path for path in left if same(named(path).entities.get(key), key, values)]
        if not fitting:
            others = sorted({named(path).entities.get(key, "") for path in left} - {""})
            raise DataError(
                f"no recording of {entity} {' or '.join(sorted(values))}; "
                f"there is {', '.join(others[:20]) + (', …' if len(others) > 20 else '') or f'no {entity}'}"
            )
        left = fitting
    return left


def same(value: str | None, key: str, wanted: Collection[str]) -> bool:
    """Whether an entity is one of those wanted, with or without `sub-`; numbers of runs do not mind zeros in front."""
    if value is None:
        return False
    bare = {one.removeprefix(f"{key}-") for one in wanted}
    if key in ("run", "echo"):
        return value.lstrip("0") in {one.lstrip("0") for one in bare}
    return value in bare


def beside(
    root: Path, path: Path, suffix: str, ending: str, free: Collection[str] = (), less: Collection[str] = ()
) -> list[Path]:
    """The files `…_suffix.ending` that apply to a recording, from the dataset's root down to its own folder.

    The inheritance principle: a file applies if it lies in a folder above, or in the same, and has no entity that the
    recording has not, but those that are `free` in it. Of two in one folder the one that says more comes later.
    """
    mine = {key: value for key, value in named(path).entities.items() if key not in less}
    found = []
    for folder in reversed([each for each in path.absolute().parents if each.is_relative_to(root)]):
        here = [(named(file), file) for file in folder.glob(f"*{suffix}{ending}")]
        fitting = [
            (len(name.entities), file.name, file)
            for name, file in here
            if name.suffix == suffix
            and name.ending == ending
            and all(mine.get(key) == value for key, value in name.entities.items() if key not in free)
        ]
        found += [file for *_, file in sorted(fitting)]
    return found


def table(file: Path) -> list[dict[str, str]]:
    """The rows of a BIDS table, every value a text. Raises `DataError` if it is broken."""
    import pandas as pd

    try:
        rows = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise DataError(f"{file.name} can't be read as a table ({str(error).splitlines()[0]})") from error
    return [{str(key): str(value).strip() for key, value in row.items()} for row in rows.to_dict("records")]


def sidecar(files: Sequence[Path]) -> dict[str, Any]:
    """What JSON files say together, the later before the earlier. Raises `DataError` for one that is broken."""
    said: dict[str, Any] = {}
    for file in files:
        try:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
        except (ValueError, OSError):
            raise DataError(f"{file.name} is not valid JSON") from None
        if not isinstance(content, dict):
            raise DataError(f"{file.name} should hold one JSON object")
        said.update(content)
    return said


def participant(root: Path, subject: str) -> dict[str, str] | None:
    """The row of a subject in participants.tsv, without what is n/a; None if the table is there and lacks it."""
    file = root / "participants.tsv"
    if not file.is_file():
        return {}
    for row in table(file):
        if row.get("participant_id") in (f"sub-{subject}", subject):
            return {
                key: value
                for key, value in row.items()
                if value not in ("n/a", "") and key != "participant_id"
            }
    return None


def asked(source: Any) -> tuple[Path, dict[str, str]] | None:
    """The dataset and the entities of a `mne_bids.BIDSPath`, known by its attributes; None for anything else."""
    if not (hasattr(source, "entities") and hasattr(source, "root") and hasattr(source, "datatype")):
        return None
    if source.root is None:
        raise DataError("the BIDSPath has no root; give the dataset's folder: BIDSPath(root=...)")
    wanted = {key: str(value) for key, value in source.entities.items() if value is not None and key in KEYS}
    datatype = source.datatype or {suffix: folder for folder, suffix in SUFFIX.items()}.get(source.suffix)
    return Path(source.root), {**wanted, **({"datatype": datatype} if datatype else {})}

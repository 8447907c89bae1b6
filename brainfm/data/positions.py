"""Where sensors of field signals are: canonical names, positions from the file or a named montage, brought to MNI."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Frame, Sensors
from brainfm.errors import DataError

Positions = Literal["auto", "none"]
DEFAULT_MONTAGE = "standard_1005"
SUCCESSORS = {"standard_1005": "colin27_1005", "standard_1020": "colin27_1020"}
"""MNE 1.13 renamed its montages; both names serve, with every version."""
HEAD = (0.04, 0.2)
"""How far from the head's origin an electrode can be, in metres; a file with others holds another unit."""
ALIASES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
"""The 10-20 system's old names (Jasper 1958) and those of the 10-10 system at the same places (ACNS 2006)."""
EARS = frozenset({"A1", "A2", "M1", "M2"})
REFERENCE = re.compile(r"[-_: ]+(?:REF|LE|AVG|AV|AR|CAR|A1|A2|M1|M2|A1A2|A12|CZ)$", re.IGNORECASE)


def canonical(name: str, montage: str = DEFAULT_MONTAGE) -> str | None:
    """The montage's name for a sensor that a file calls `name`, None if there is none.

    Case, a leading "EEG", trailing dots and the reference ("-REF", "-A2") do not count; T3 is T7. "A2-A1" is
    no sensor with a reference but a difference of two ears, so it has no canonical name.
    """
    known = {key.upper(): key for key in head_positions(montage)}
    bare = re.sub(r"^EEG[-_: ]*", "", name.strip(), flags=re.IGNORECASE).rstrip(". ")
    without = REFERENCE.sub("", bare)
    for candidate in (bare, without):
        upper = candidate.upper()
        modern = ALIASES.get(upper, upper)
        found = known.get(modern) or known.get(upper)
        if found and not (candidate != bare and upper in EARS):
            return found
    return None


def canonical_names(names: Sequence[str], montage: str = DEFAULT_MONTAGE) -> list[str]:
    """Each name in its canonical form; unknown names, and names that would then occur twice, stay as they
    are."""
    better = [canonical(name, montage) or name for name in names]
    return [new if better.count(new) == 1 else old for old, new in zip(names, better, strict=True)]


def eeg_sensors(
    names: Sequence[str],
    given: NDArray[np.float64] | None,
    montage: str | None,
    positions: Positions,
    where: str,
    kind: str = "eeg",
) -> tuple[Sensors, list[str]]:
    """The sensor table of an EEG recording and notes on how it came about.

    `given` are the file's own positions, (sensor, 3) in metres in head coordinates, NaN where unknown. What
    they leave open comes from `montage` (default standard_1005) by canonical name. Raises `DataError` that
    names the unknown sensors.
    """
    table = canonical_names(names, montage or DEFAULT_MONTAGE)
    notes = [
        f"renamed {old} to {new}" for old, new in zip(names, table, strict=True) if old.upper() != new.upper()
    ]
    notes = (
        [f"renamed sensors: {', '.join(note.removeprefix('renamed ') for note in notes)}"] if notes else []
    )
    if positions == "none":
        return Sensors.of(table, kind, "V"), [*notes, "positions left out, as asked"]
    head, more = plausible(given, len(names))
    open_ = np.flatnonzero(np.isnan(head).any(axis=1))
    places = head_positions(montage or DEFAULT_MONTAGE)
    refuse_unknown(
        [table[row] for row in open_ if table[row] not in places], montage or DEFAULT_MONTAGE, where
    )
    head[open_] = [places[table[row]] for row in open_] if len(open_) else head[open_]
    if len(open_):
        more.append(f"positions of {len(open_)} sensors from the montage {montage or DEFAULT_MONTAGE}")
    return Sensors.of(table, kind, "V", position=to_mni(head), frame="approximate"), [*notes, *more]


@dataclass(frozen=True)
class Given:
    """What a file says of its channels: `position` (channel, 3) in metres and `orientation` (channel, 3), NaN where
    unknown, in head coordinates unless `frame` says otherwise; `region` a word each."""

    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    region: tuple[str, ...] = ()
    frame: Frame = "none"

    def take(self, rows: Sequence[int]) -> "Given":
        """The same of some channels."""
        region = tuple(self.region[row] for row in rows) if self.region else ()
        return replace(
            self, position=self.position[list(rows)], orientation=self.orientation[list(rows)], region=region
        )


def coils(
    names: Sequence[str], kinds: Sequence[str], units: Sequence[str], given: Given | None
) -> tuple[Sensors, list[str]]:
    """The sensor table of MEG coils: where each is and which way it points, brought to MNI as the head is.

    A magnetometer's orientation is its normal, a planar gradiometer's the direction in which it takes the difference, so that
    turning either round turns its sign. Units are T and T/m.
    """
    n = len(names)
    given = given or Given(np.full((n, 3), np.nan), np.full((n, 3), np.nan))
    turned = given.orientation @ head_to_mni()[:3, :3].T
    table = Sensors(
        name=tuple(names),
        kind=tuple(kinds),
        unit=tuple(units),
        position=to_mni(given.position),
        orientation=turned / np.linalg.norm(turned, axis=1, keepdims=True),  # NaN stays NaN
        region=("",) * n,
        frame="approximate" if np.isfinite(given.position).all(axis=1).any() else "none",
    )
    unknown = [name for name, known in zip(names, table.located, strict=True) if not known]
    return table, [f"no position in the file for {', '.join(unknown[:12])}"] if unknown else []


def contacts(names: Sequence[str], kinds: Sequence[str], given: Given | None) -> tuple[Sensors, list[str]]:
    """The sensor table of contacts in or on the brain. No montage knows them: only a table of electrodes says where they are."""
    n = len(names)
    given = given or Given(np.full((n, 3), np.nan), np.full((n, 3), np.nan))
    table = Sensors(
        name=tuple(names),
        kind=tuple(kinds),
        unit=("V",) * n,
        position=given.position,
        orientation=np.full((n, 3), np.nan),
        region=given.region or ("",) * n,
        frame=given.frame if np.isfinite(given.position).all(axis=1).any() else "none",
    )
    unknown = [name for name, known in zip(names, table.located, strict=True) if not known]
    return table, [f"no position for {', '.join(unknown[:12])}"] if unknown else []


def plausible(given: NDArray[np.float64] | None, n: int) -> tuple[NDArray[np.float64], list[str]]:
    """The file's positions where they can be electrodes on a head, else NaN with a note."""
    head = np.full((n, 3), np.nan) if given is None else np.array(given, dtype=float)
    radius = np.linalg.norm(head, axis=1)
    head[radius == 0] = np.nan
    wrong = (radius > 0) & ~((radius > HEAD[0]) & (radius < HEAD[1]))
    if not wrong.any():
        return head, []
    head[wrong] = np.nan
    return head, [
        f"the file's positions of {int(wrong.sum())} sensors were not used: "
        f"{np.median(radius[wrong]):.3g} m from the middle of the head"
    ]


def refuse_unknown(unknown: list[str], montage: str, where: str) -> None:
    """Raise `DataError` that names the sensors without a position."""
    if unknown:
        more = " …" if len(unknown) > 20 else ""
        raise DataError(
            f"{where}: the positions of {', '.join(unknown[:20])}{more} are neither in the file nor in the "
            f"montage {montage}; name another `montage:`, `rename:` or `drop:` them, or say `positions: none` "
            "to go without"
        )


@lru_cache(maxsize=8)
def head_positions(montage: str) -> dict[str, NDArray[np.float64]]:
    """The sensors of a montage that MNE knows by name, in metres in head coordinates."""
    import mne

    made = None
    for name in (SUCCESSORS.get(montage, montage), montage):
        with contextlib.suppress(ValueError):
            made = made or mne.channels.make_standard_montage(name)
    if made is None:
        raise DataError(
            f"montage {montage!r} is not one that MNE knows; mne.channels.get_builtin_montages() lists them"
        )
    info = mne.create_info(made.ch_names, 1.0, "eeg").set_montage(made, verbose="error")
    return {channel["ch_name"]: np.array(channel["loc"][:3]) for channel in info["chs"]}


def to_mni(head: NDArray[np.float64]) -> NDArray[np.float64]:
    """Head coordinates to MNI, both in metres, by the transform of MNE's fsaverage head: right to a
    centimetre or so."""
    matrix = head_to_mni()
    return np.asarray(head @ matrix[:3, :3].T + matrix[:3, 3])


@lru_cache(maxsize=1)
def head_to_mni() -> NDArray[np.float64]:
    """The (4, 4) transform from head coordinates to the MRI coordinates of fsaverage, which is a brain in
    MNI305."""
    import mne

    file = Path(mne.__file__).parent / "data" / "fsaverage" / "fsaverage-trans.fif"
    return np.asarray(mne.read_trans(file)["trans"])

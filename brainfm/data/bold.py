"""Blood oxygen: what every reader of fMRI asks of a file — how long a volume takes, in what unit, in whose space."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from brainfm.data.confounds import TRACK, Confounds, confounds_of
from brainfm.data.events import bare, stem
from brainfm.data.recording import Events, Frame, Recording, Sensors, Signal, Track
from brainfm.data.units import in_si
from brainfm.errors import DataError
from brainfm.part import Settings

Unit = Literal["raw", "%", "1", "z"]
POSSIBLE = (0.05, 20.0)
"""Seconds that a volume can take; a header with another number holds another unit."""
CENTRED = 5.0
"""Standard deviations from zero within which a signal in percent or z has its mean."""
VOXELS = 1 << 14
"""Voxels that are turned into percent at once."""


class BoldUnit(Settings):
    """What the numbers of a file of fMRI are, which no file reliably says."""

    unit: Unit = Field(
        description="raw: scanner units, turned into percent signal change of each voxel's mean over the run; "
        "%, 1 (a share of the baseline) or z: what the numbers are already"
    )

    @model_validator(mode="before")
    @classmethod
    def _say_the_unit(cls, value: Any) -> Any:
        """A missing unit is asked for in words: it is the first thing that everybody leaves out."""
        if isinstance(value, Mapping) and "unit" not in value:
            raise ValueError(
                "`unit:` is missing and can't be guessed: say `raw` (scanner units, as BIDS and fMRIPrep have them), "
                '"%", "1" (a share of the baseline) or `z`'
            )
        return value

    @property
    def si(self) -> str:
        """The unit in memory."""
        return "z" if self.unit == "z" else "%"

    def course(self, values: NDArray[np.float32], where: str) -> tuple[NDArray[np.float32], list[str]]:
        """A (sensor, volume) time course in percent or z, and a note where it was turned into that."""
        refuse_wrong_unit(values, self.unit, where)
        if self.unit != "raw":
            return values * np.float32(in_si(self.unit, "%")), []
        note = "raw scanner units turned into percent signal change: each voxel by its own mean over the run"
        return percent_change(values), [note]

    def betas(self, values: NDArray[np.float32], where: str) -> NDArray[np.float32]:
        """(sensor, map) estimated responses in percent or z; raw ones have no baseline to be a percentage of."""
        if self.unit == "raw":
            raise DataError(
                f"{where}: responses in raw units have no baseline in the file, so they can't become percent; "
                'divide them by it, or by their error, and say `unit: "%"` or `unit: z`'
            )
        return values * np.float32(in_si(self.unit, "%"))


class Bold(BoldUnit):
    """What a file of fMRI does not reliably say of time and space. Nothing of it is guessed."""

    tr: float | None = Field(
        default=None, gt=0, description="seconds from one volume to the next, where the file does not say"
    )
    header_tr: Literal["trust", "ignore"] = Field(
        default="trust", description="`ignore` a header that is known to be wrong"
    )
    space: str = Field(
        default="", description="MNI... or native; default: what name (space-...) or header say, else native"
    )
    confounds: Confounds | None = Field(default=None, description="fMRIPrep's table, kept as a track")

    def sfreq(self, path: Path, header: float | None) -> float:
        """Volumes a second, of a file whose header states this repetition time (None: it states none)."""
        found = {"`tr:`": self.tr, **sidecar_tr(path)}
        if self.header_tr == "trust":
            found["its header"] = header
        return 1 / repetition_time({who: tr for who, tr in found.items() if tr is not None}, path.name)

    def run(
        self,
        values: NDArray[np.float32],
        sfreq: float,
        sensors: Sensors,
        path: Path,
        notes: Sequence[str] = (),
    ) -> Recording:
        """A run's values (sensor, volume) as the file has them, in percent or z, with the confounds beside it."""
        data, more = self.course(values, path.name)
        tracks = {}
        if self.confounds is not None:
            tracks[TRACK], said = confounds_of(path, self.confounds, data.shape[1], sfreq)
            more += said
        signal = Signal(data, sfreq, sensors)
        return Recording({"fmri": signal}, tracks=tracks, source=path.name, notes=(*notes, *more))

    def frame(self, path: Path, header_says_mni: bool = False) -> Frame:
        """How well the file's coordinates are known in MNI space."""
        named = re.search(r"(?:^|_)space-([A-Za-z0-9]+)", path.name)
        space = self.space or (named[1] if named else "MNI" if header_says_mni else "native")
        return "exact" if space.upper().startswith("MNI") else "own"


def repetition_time(found: Mapping[str, float], where: str) -> float:
    """The one number of seconds that all sources agree on. Raises `DataError` where none says it, or two differ."""
    if not found:
        raise DataError(
            f"{where} does not say how long a volume takes: its header holds no time in a unit of time, and no "
            ".json beside it a RepetitionTime; say it in the reader, such as `tr: 2.5` (seconds)"
        )
    for who, tr in found.items():
        if not POSSIBLE[0] <= tr <= POSSIBLE[1]:
            raise DataError(
                f"{where}: {who} says {tr:g} s a volume, which is not possible (milliseconds?); say `tr:` in "
                "seconds, and `header_tr: ignore` if the header is wrong"
            )
    (first, chosen), *others = found.items()
    for who, tr in others:
        if not np.isclose(tr, chosen, rtol=1e-3):
            raise DataError(
                f"{where}: {first} says {chosen:g} s a volume and {who} says {tr:g} s; correct the one that is "
                "wrong, or say `header_tr: ignore` with the right `tr:`"
            )
    return round(chosen, 6)  # a header holds 32 bits


def sidecar_tr(path: Path) -> dict[str, float | None]:
    """What BIDS's .json of a recording says of its repetition time, by the nearest that says it."""
    for file in sidecars(path):
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            raise DataError(f"{file.name} is not valid JSON") from None
        if isinstance(said, dict) and isinstance(said.get("RepetitionTime"), int | float):
            return {file.name: float(said["RepetitionTime"])}
    return {}


def sidecars(path: Path) -> Iterator[Path]:
    """The .json files that hold for a recording, the nearest first (BIDS 1.10, "The inheritance principle").

    A file above it holds for it if all its entities are the recording's; the dataset's root is where
    dataset_description.json lies. Without one only the recording's own folder counts.
    """
    entities = set(bare(path).split("_"))
    above = [folder for folder in path.parents if (folder / "dataset_description.json").exists()]
    last = above[0] if above else path.parent
    for folder in path.parents:
        fitting = [file for file in folder.glob("*.json") if set(file.stem.split("_")) <= entities]
        yield from sorted(fitting, key=lambda file: -len(file.stem.split("_")))
        if folder == last:
            return


def beside(path: Path, name: str, what: str) -> Path:
    """A file named relative to a recording ("{stem}" is its name). Raises `DataError` where it is not there."""
    file = path.parent / name.replace("{stem}", stem(path))
    if not file.is_file():
        raise DataError(f"{path.name}: its {what} should be {file}, which is not there")
    return file


def refuse_wrong_unit(values: NDArray[np.float32], unit: Unit, where: str) -> None:
    """Raise `DataError` where scanner units are called percent, or percent scanner units."""
    mean, spread = values.mean(axis=1, dtype=np.float64), values.std(axis=1, dtype=np.float64)
    alive = np.isfinite(spread) & (spread > 0)
    if not alive.any():
        return  # the gate says so
    middle, typical = float(np.median(np.abs(mean[alive]))), float(np.median(spread[alive]))
    if unit == "raw" and not np.median(mean[alive]) > typical:
        raise DataError(
            f"{where}: its values vary by {typical:.3g} around {np.median(mean[alive]):.3g}, so they are no raw "
            'scanner units, which are positive; say `unit: "%"` or `unit: z`'
        )
    if unit != "raw" and middle > CENTRED * typical:
        raise DataError(
            f"{where}: its values lie around {middle:.4g}, but a signal in {unit} lies around zero; "
            "say `unit: raw`, which turns them into percent signal change"
        )


def percent_change(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(sensor, volume) percent of each row's mean; rows whose mean is not positive become NaN, for the gate to name."""
    out = np.empty_like(values)
    for start in range(0, len(values), VOXELS):
        rows = values[start : start + VOXELS].astype(np.float64)
        mean = rows.mean(axis=1, keepdims=True)
        out[start : start + VOXELS] = 100 * (rows / np.where(mean > 0, mean, np.nan) - 1)
    return out


def recording_of_responses(
    values: NDArray[np.float32],
    labels: Sequence[str],
    sensors: Sensors,
    seconds: float,
    where: str,
    tracks: Mapping[str, NDArray[np.generic]] | None = None,
) -> Recording:
    """Estimated responses (sensor, map), each one sample of `seconds` under its label ("" has none), as a recording.

    A response has no course in time: its length is nominal, and a break follows each. `tracks` hold one entry per map (the image
    that was seen), at the same rate. A map that repeats another is left out with a note: copies on both sides of
    a split are a leak.
    """
    tracks = tracks or {}
    for name, length in {
        "labels": len(labels),
        **{f"the track {key}": len(one) for key, one in tracks.items()},
    }.items():
        if length != values.shape[1]:
            raise DataError(f"{where}: {length} {name} do not fit {values.shape[1]} responses")
    first = np.sort(np.unique(values, axis=1, return_index=True)[1])
    copies = values.shape[1] - len(first)
    count, rate = len(first), 1 / seconds
    signal = Signal(values[:, first], rate, sensors, tuple(range(1, count)))
    kept = [labels[row] for row in first]
    named = np.array([row for row, label in enumerate(kept) if label], dtype=int)
    events = Events(named * seconds, np.full(len(named), seconds), tuple(kept[row] for row in named))
    notes = (f"{copies} responses that copy another were left out",) if copies else ()
    return Recording(
        {"fmri": signal},
        events=events,
        tracks={name: Track(one[first], rate) for name, one in tracks.items()},
        source=where,
        notes=notes,
    )

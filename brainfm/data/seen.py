"""One person's responses to pictures: a table of trials, what was seen at each, and when.

What the literature calls betas: one amplitude a voxel and trial, estimated beforehand (Allen et al. 2022, Nature Neuroscience
25, "Single-trial betas"). Which space and which version of the betas they are is kept with them, since scores of different ones
can't be compared.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Recording, Sensors
from brainfm.errors import DataError

Rows = NDArray[np.int64]
Scaling = Literal["none", "session_all", "session_train"]
"""How responses were standardised: not; each voxel within each session over all its trials (NSD, Brain-IT, BrainDiVE); or by
the training trials of the session alone (MindEye2's paper)."""


class Pictures(Protocol):
    """(picture, channel, height, width) in [0, 1], in memory or read when rows are asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, key: Any) -> Any: ...


@dataclass(frozen=True)
class SessionStatistics:
    """What the responses of each session were standardised by: `mean` and `spread` are (session, voxel)."""

    scaling: Scaling
    sessions: NDArray[np.int64]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """Trials of one person. `picture` are rows of `pictures`, whose `names` are the same for all people who saw them.

    A row may stand for several trials of one picture that were averaged; `repeats` counts them.
    """

    subject: str
    response: NDArray[np.float32]
    """(trial, voxel)"""
    voxels: Sensors
    picture: NDArray[np.int64]
    pictures: Pictures
    session: NDArray[np.int64]
    names: tuple[str, ...]
    dataset: str = ""
    space: str = ""
    """Where the voxels are from: "func1pt8mm", "fsaverage", …; "" where it is not known."""
    beta_version: str = ""
    """How the responses were estimated: "betas_fithrf", …"""
    repeats: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    statistics: SessionStatistics | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.repeats):
            object.__setattr__(self, "repeats", np.ones(len(self.response), np.int64))
        trials, voxels = self.response.shape
        if {len(self.picture), len(self.session), len(self.repeats)} != {trials}:
            raise DataError(f"{self.who}: {trials} responses need a picture, a session and a count each")
        if voxels != len(self.voxels):
            raise DataError(
                f"{self.who}: responses of {voxels} voxels do not fit a table of {len(self.voxels)}"
            )
        if len(self.names) != self.pictures.shape[0] or len(set(self.names)) != len(self.names):
            raise DataError(f"{self.who}: {self.pictures.shape[0]} pictures need a name of their own each")
        if trials and not 0 <= self.picture.min() <= self.picture.max() < len(self.names):
            raise DataError(f"{self.who}: a trial shows picture {self.picture.max()} of {len(self.names)}")
        if not np.isfinite(self.response).all():
            bad = int((~np.isfinite(self.response)).any(axis=0).sum())
            raise DataError(
                f"{self.who}: {bad} of {voxels} voxels hold responses that are no numbers; leave them out"
            )

    def __len__(self) -> int:
        return len(self.response)

    @property
    def who(self) -> str:
        """Dataset and subject, for messages and for the identity of voxels."""
        return f"{self.dataset}/{self.subject}" if self.dataset else self.subject

    @property
    def shown(self) -> tuple[str, ...]:
        """The names of the pictures of all trials, each once, in order of the table."""
        return tuple(self.names[row] for row in np.unique(self.picture))

    def rows(self, rows: Sequence[int] | Rows) -> "Seen":
        """These trials, in this order; the table of pictures stays whole."""
        rows = np.asarray(rows, np.int64)
        return replace(
            self,
            response=self.response[rows],
            picture=self.picture[rows],
            session=self.session[rows],
            repeats=self.repeats[rows],
        )

    def showing(self, names: Sequence[str]) -> Rows:
        """The rows of trials that showed one of these pictures."""
        wanted = np.isin(np.array(self.names, dtype=str), list(names))
        return np.flatnonzero(wanted[self.picture]).astype(np.int64)

    def images(self, rows: Sequence[int] | Rows | None = None) -> NDArray[np.float32]:
        """(trial, channel, height, width) what was seen at these trials, or at all."""
        asked = self.picture if rows is None else self.picture[np.asarray(rows, np.int64)]
        each, back = np.unique(asked, return_inverse=True)  # a file is read in rising order, each row once
        return np.asarray(self.pictures[each], np.float32)[back]

    def standardised(self, scaling: Scaling, train: Sequence[int] | Rows | None = None) -> "Seen":
        """Each voxel within each session to mean 0 and spread 1, by all its trials or by its trials among `train`.

        A voxel that never changes in a session becomes 0. Raises `DataError` for responses that were standardised or averaged
        before, and where a session has fewer than two trials to be standardised by.
        """
        if self.statistics is not None or (self.repeats > 1).any():
            raise DataError(f"{self.who}: standardise single trials, once, before anything else")
        if (scaling == "session_train") != (train is not None):
            raise DataError("session_train needs the training rows, and the other ways take none")
        if scaling == "none":
            return self
        fitted = np.ones(len(self), bool) if train is None else np.isin(np.arange(len(self)), train)
        sessions = np.unique(self.session)
        response = np.empty_like(self.response)
        means, spreads = [], []
        for session in sessions:
            here = self.session == session
            by = self.response[here & fitted].astype(np.float64)
            if len(by) < 2:
                raise DataError(
                    f"{self.who}: session {session} has {len(by)} trials to be standardised by; it needs two"
                )
            mean, spread = by.mean(axis=0), by.std(axis=0)
            still = spread <= 1e-6 * np.abs(by).max(axis=0)
            response[here] = (self.response[here] - mean) * np.where(still, 0, 1 / np.where(still, 1, spread))
            means.append(mean)
            spreads.append(np.where(still, 0, spread))
        statistics = SessionStatistics(
            scaling, sessions, np.array(means, np.float32), np.array(spreads, np.float32)
        )
        return replace(self, response=response, statistics=statistics)

    def averaged(self) -> "Seen":
        """One row a picture: the mean over its trials, in order of the table; the session is that of the first of them."""
        each, first, back = np.unique(self.picture, return_index=True, return_inverse=True)
        count = np.bincount(back, weights=self.repeats)
        total = np.zeros((len(each), self.response.shape[1]))
        np.add.at(total, back, self.response * self.repeats[:, None])
        return replace(
            self,
            response=(total / count[:, None]).astype(np.float32),
            picture=each.astype(np.int64),
            session=self.session[first],
            repeats=count.astype(np.int64),
        )

    @classmethod
    def of(cls, recording: Recording | Sequence[Recording], track: str = "image") -> "Seen":
        """Of recordings of one person whose every sample is a trial, with what was seen at each as a track.

        A picture's name is a hash of its pixels, so that a repeat is known as one, in other recordings and people too. Raises
        `DataError` where a recording has no such track or one that does not fit.
        """
        recordings = [recording] if isinstance(recording, Recording) else list(recording)
        if len({(one.dataset, one.subject) for one in recordings}) != 1:
            raise DataError("responses to pictures are of one person; give each person a table of their own")
        signals = [one.signal("fmri") for one in recordings]
        if len({signal.sensors.name for signal in signals}) != 1:
            raise DataError(f"{recordings[0].name}: its recordings have different voxels; pick common ones")
        images = np.concatenate([pictures_of(one, track) for one in recordings])
        digests = [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in images]
        names = tuple(dict.fromkeys(digests))
        row = {name: number for number, name in enumerate(names)}
        sessions: dict[tuple[str, str], int] = {}
        session = [
            sessions.setdefault((one.session, one.run), len(sessions))
            for one, signal in zip(recordings, signals, strict=True)
            for _ in range(signal.n_times)
        ]
        return cls(
            subject=recordings[0].subject or recordings[0].name,
            response=np.concatenate([signal.load().T for signal in signals]).astype(np.float32),
            voxels=signals[0].sensors,
            picture=np.array([row[name] for name in digests], np.int64),
            pictures=images[[digests.index(name) for name in names]],
            session=np.array(session, np.int64),
            names=names,
            dataset=recordings[0].dataset,
        )


def pictures_of(recording: Recording, track: str) -> NDArray[np.float32]:
    """(trial, channel, height, width) the frames of a track, one for every sample of the signal; bytes become [0, 1]."""
    if track not in recording.tracks:
        has = ", ".join(recording.tracks) or "none"
        raise DataError(f"{recording.name} has no track {track!r} of what was seen, only {has}")
    data, samples = np.asarray(recording.tracks[track].data), recording.signal("fmri").n_times
    if len(data) != samples:
        raise DataError(f"{recording.name}: {len(data)} pictures do not fit {samples} responses")
    return as_pictures(data, recording.name)


def as_pictures(data: NDArray[Any], where: str) -> NDArray[np.float32]:
    """(picture, channel, height, width) in [0, 1] of grey pictures or of ones whose last or first axis is colour.

    Raises `DataError` for other shapes, and for numbers that are neither bytes nor in [0, 1].
    """
    if data.ndim == 3:
        data = data[:, None]
    elif data.ndim == 4 and data.shape[-1] in (1, 3) and data.shape[1] not in (1, 3):
        data = data.transpose(0, 3, 1, 2)
    if data.ndim != 4 or data.shape[1] not in (1, 3):
        raise DataError(f"{where}: pictures of shape {data.shape[1:]} are neither grey nor of three colours")
    found = data.astype(np.float32) / np.float32(255 if data.dtype == np.uint8 else 1)
    if found.size and not (found.min() >= 0 and found.max() <= 1):
        raise DataError(f"{where}: pictures hold {found.min():g} to {found.max():g}; give bytes, or 0 to 1")
    return np.ascontiguousarray(found)


def refuse_mixed(people: Sequence[Seen]) -> None:
    """Raise `DataError` where people's responses are of different spaces or versions, or were standardised differently."""
    kept: dict[str, list[str]] = {
        "space": [one.space for one in people],
        "beta_version": [one.beta_version for one in people],
        "standardisation": ["none" if one.statistics is None else one.statistics.scaling for one in people],
    }
    for what, values in kept.items():
        if len(set(values)) > 1:
            told = ", ".join(
                f"{one.who} {value or 'unknown'}" for one, value in zip(people, values, strict=True)
            )
            raise DataError(f"people differ in {what} ({told}); responses of one kind alone go together")

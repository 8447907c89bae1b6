"""Sounds: what filters or a network make of what was heard; one file a way."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Recording, Track
from brainfm.errors import DataError
from brainfm.part import Part, suggest


class Sound(Part):
    """A track of features of a track of sound. A part of this family has its own `rate`, `names` and `hear`.

    Each event is heard by itself, sound before and after it cut off, so that no context leaks from one stimulus into another
    (Défossez et al. 2023 cut at the borders of blocks); without events, all is one. What lies between is not told.
    """

    rate: ClassVar[float]
    """Hertz of the features."""

    of: str = "sound"

    def hear(self, sounds: Sequence[NDArray[np.float32]], rate: float) -> list[NDArray[np.float32]]:
        """(time, column) features at `self.rate` of each sound, (time,) at `rate` hertz, from its start to its end at least."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def said(self) -> str:
        """What a reader must know of it, "" for nothing."""
        return ""

    def on(self, recordings: Sequence[Recording], name: str) -> list[Recording]:
        """The recordings with a track of that name. Whoever heard the same has the same; it is computed once.

        Raises `DataError` where there is no such sound.
        """
        pieces = [cut(recording, self.of) for recording in recordings]
        every = {digest(sound): sound for several in pieces for _, sound in several}
        rates = {recording.tracks[self.of].rate for recording in recordings}
        if len(rates) > 1:
            raise DataError(f"the track {self.of} has {min(rates):g} and {max(rates):g} Hz; resample it")
        heard = dict(zip(every, self.hear(list(every.values()), rates.pop()), strict=True))
        return [
            replace(one, tracks={**one.tracks, name: self._track(several, heard)})
            for one, several in zip(recordings, pieces, strict=True)
        ]

    def _track(
        self,
        pieces: Sequence[tuple[float, NDArray[np.float32]]],
        heard: dict[str, NDArray[np.float32]],
    ) -> Track:
        placed = [(round(onset * self.rate), heard[digest(sound)]) for onset, sound in pieces]
        length = max(first + len(found) for first, found in placed)
        data = np.full((length, placed[0][1].shape[1]), np.nan, np.float32)
        for first, found in placed:
            data[first : first + len(found)] = found
        names = tuple(f"{self.kind}{column + 1}" for column in range(data.shape[1]))
        return Track(data, self.rate, "1", names=names)


def cut(recording: Recording, name: str) -> list[tuple[float, NDArray[np.float32]]]:
    """When each stimulus began, in seconds, and its sound. Raises `DataError` where there is none."""
    if name not in recording.tracks:
        raise DataError(f"{recording.name} has no track {name!r}{suggest(name, recording.tracks)}")
    track = recording.tracks[name]
    if np.ndim(track.data) != 1:
        raise DataError(f"{recording.name}: the track {name} is no sound of one channel; mix its channels")
    if not len(recording.events):
        return [(track.start, np.asarray(track.data, np.float32))]
    found = []
    for onset, duration in zip(recording.events.onset, recording.events.duration, strict=True):
        first = round((onset - track.start) * track.rate)
        piece = track.data[max(first, 0) : first + round(duration * track.rate)]
        found.append((float(onset), np.asarray(piece, np.float32)))
    return found


def digest(sound: NDArray[np.float32]) -> str:
    """A hash of a sound."""
    return hashlib.sha256(np.ascontiguousarray(sound).tobytes()).hexdigest()

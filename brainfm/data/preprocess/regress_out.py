"""Take confounds and slow drift out of every sensor, within a run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.confounds import fitting
from brainfm.data.preprocess import Step
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError


class RegressOut(Step):
    """What the least-squares fit of confounds and drift leaves of each sensor, its mean kept.

    `track` names the recording's track of confounds, `columns` those of its columns that are used (names or patterns; default:
    all). `drift` is taken out by the same fit, never before it: filtering first and regressing after would bring it back
    (Lindquist et al. 2019). `cosine` holds every wave slower than `slowest` seconds (SPM's high-pass), `polynomial` every
    power up to `order`. `standardise` then brings each sensor to mean 0 and standard deviation 1 in its stretch; the unit
    becomes "z". Each contiguous stretch is a run of its own.
    """

    track: str = ""
    columns: list[str] = Field(default=[])
    drift: Literal["none", "linear", "polynomial", "cosine"] = "none"
    order: int = Field(default=2, ge=1)
    slowest: float = Field(default=128.0, gt=0)
    standardise: bool = False

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` for a track that is not there or not the signal's, and a stretch too short for the fit."""
        signal = recording.signal(modality)
        if not (self.track or self.standardise) and self.drift == "none":
            raise DataError("regress_out needs a `track:` of confounds, a `drift:`, or both")
        confounds, names = self.confounds(recording, signal)
        pieces = []
        for first, last in signal.stretches:
            design = np.concatenate([confounds[first:last], self.waves(last - first, signal.sfreq)], axis=1)
            piece = np.asarray(signal.data[:, first:last], np.float64)
            pieces.append(self.cleaned(piece, design, recording.name))
        table = with_unit(signal.sensors, "z") if self.standardise else signal.sensors
        changed = recording.with_signal(
            modality, replace(signal, data=np.concatenate(pieces, axis=1), sensors=table)
        )
        return changed.noting(self.said(names))

    def confounds(self, recording: Recording, signal: Signal) -> tuple[NDArray[np.float64], list[str]]:
        """(sample, column) the wanted columns, and their names."""
        if not self.track:
            return np.zeros((signal.n_times, 0)), []
        if self.track not in recording.tracks:
            there = ", ".join(recording.tracks) or "none"
            raise DataError(f"{recording.name} has no track {self.track!r} of confounds; its tracks: {there}")
        track = recording.tracks[self.track]
        values = np.asarray(track.data, np.float64).reshape(len(track.data), -1)
        if len(values) != signal.n_times or track.rate != signal.sfreq or track.start != 0:
            raise DataError(
                f"{recording.name}: the track {self.track} has {len(values)} rows at {track.rate:g} Hz, the signal "
                f"{signal.n_times} samples at {signal.sfreq:g} Hz; regress it out before the signal is changed in time"
            )
        names = list(track.names) or [f"{self.track}{number + 1}" for number in range(values.shape[1])]
        rows = fitting(names, self.columns, f"{recording.name}: the track {self.track}")
        return values[:, rows], [names[row] for row in rows]

    def waves(self, n_times: int, sfreq: float) -> NDArray[np.float64]:
        """(sample, regressor) the drift, without the constant."""
        if self.drift == "none" or n_times < 3:  # `cleaned` refuses so short a stretch
            return np.zeros((n_times, 0))
        from nilearn.glm.first_level import make_first_level_design_matrix

        model = "cosine" if self.drift == "cosine" else "polynomial"
        order = 1 if self.drift == "linear" else self.order
        found = make_first_level_design_matrix(
            np.arange(n_times) / sfreq, drift_model=model, drift_order=order, high_pass=1 / self.slowest
        )
        return np.asarray(found.drop(columns="constant"), np.float64)

    def cleaned(
        self, piece: NDArray[np.float64], design: NDArray[np.float64], where: str
    ) -> NDArray[np.float64]:
        """One stretch (sensor, sample) without what the design explains."""
        if piece.shape[1] < 3:
            raise DataError(
                f"{where}: a stretch of {piece.shape[1]} samples has no course in time to clean; leave regress_out "
                "out for maps of responses"
            )
        if design.shape[1] >= piece.shape[1] - 1:
            raise DataError(
                f"{where}: {design.shape[1]} regressors leave nothing of a stretch of {piece.shape[1]} samples; "
                "choose fewer columns or a shorter `slowest:`"
            )
        if design.shape[1]:
            # of unit size, so that metres and squares of metres weigh alike in the rank
            centred = design - design.mean(axis=0)
            centred = centred / np.maximum(centred.std(axis=0), np.finfo(float).tiny)
            piece = piece - (centred @ np.linalg.lstsq(centred, piece.T)[0]).T
        if not self.standardise:
            return piece
        size = piece.std(axis=1, keepdims=True)
        if not (size > 0).all():
            raise DataError(f"{where}: sensor number {int(np.argmin(size))} is flat and can't be scaled")
        return np.asarray((piece - piece.mean(axis=1, keepdims=True)) / size)

    def said(self, names: Sequence[str]) -> str:
        """For the recording's notes."""
        drift = {
            "none": "",
            "linear": "linear drift",
            "polynomial": f"drift of order {self.order}",
            "cosine": f"waves slower than {self.slowest:g} s",
        }[self.drift]
        what = [
            *([f"{len(names)} confounds ({', '.join(names)})"] if names else []),
            *([drift] * bool(drift)),
        ]
        scaled = ["each sensor brought to mean 0 and size 1 in its run"] * self.standardise
        return "regress_out: " + "; ".join([*([f"{' and '.join(what)} taken out"] if what else []), *scaled])


def with_unit(sensors: Sensors, unit: str) -> Sensors:
    """The same table in another unit."""
    return replace(sensors, unit=(unit,) * len(sensors))

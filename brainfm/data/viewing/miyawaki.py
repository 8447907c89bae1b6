"""Miyawaki et al. 2008 (Neuron 60, 915) as responses to pictures, as `nilearn.datasets.fetch_miyawaki2008` leaves its files.

`func/data_random_run01.nii.gz` is a run, `label/data_random_run01_label.csv` has a line a volume: 100 numbers, the 10 × 10
patches that were shown column by column, 1 bright and 0 dark, or −1 throughout for rest. `mask/mask.nii.gz` is the visual cortex.
"""

from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.images import load, values
from brainfm.data.recording import Sensors
from brainfm.data.seen import Seen
from brainfm.data.viewing import Viewing
from brainfm.errors import DataError

DELAY = 2
"""Volumes of 2 s by which the blood is late."""
SIDE = 10
"""Patches along a picture's side."""


class Miyawaki(Viewing):
    """One subject, called 01."""

    kinds: list[Literal["random", "figure"]] = Field(default=["random", "figure"], min_length=1)

    def people(self, root: Path) -> list[Seen]:
        return [miyawaki(root, tuple(self.kinds))]


def miyawaki(root: Path, kinds: tuple[str, ...] = ("random", "figure")) -> Seen:
    """The one subject's trials, each the mean over the volumes of a picture, of runs whose linear drift was taken off.

    `kinds` are of runs: random pictures, and figures. A session is a run. Raises `DataError` where a file is missing or does
    not fit.
    """
    runs = [path for kind in kinds for path in sorted((root / "func").glob(f"data_{kind}_run*.nii.gz"))]
    if not runs:
        raise DataError(
            f"{root / 'func'} holds no run of {' or '.join(kinds)}; fetch the set by nilearn first"
        )
    inside = values(load(root / "mask" / "mask.nii.gz", "a mask")) > 0
    response, picture, session = [], [], []
    for number, path in enumerate(runs):
        told, shown = trials(path, root / "label" / path.name.replace(".nii.gz", "_label.csv"), inside)
        response.append(told)
        picture.append(shown)
        session += [number] * len(told)
    every = np.concatenate(picture)
    patterns, row = np.unique(every, axis=0, return_inverse=True)
    names = tuple("".join("01"[one] for one in pattern) for pattern in patterns)
    return Seen(
        subject="01",
        response=np.concatenate(response),
        voxels=Sensors.of([f"voxel {one + 1}" for one in range(int(inside.sum()))], "voxel", "1"),
        picture=row.reshape(-1).astype(np.int64),
        pictures=patterns.reshape(-1, 1, SIDE, SIDE).transpose(0, 1, 3, 2).astype(np.float32),
        session=np.array(session, np.int64),
        names=names,
        dataset="miyawaki2008",
        space="native",
        beta_version=f"mean of volumes, {DELAY} late",
    )


def trials(
    run: Path, label: Path, inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(trial, voxel) responses and (trial, patch) pictures of a run, those left out whose volumes the run does not reach."""
    image = values(load(run, "a run"), np.float32)
    if image.ndim != 4 or image.shape[:3] != inside.shape:
        raise DataError(f"{run.name} has shape {image.shape}, which the mask of {inside.shape} does not fit")
    if not label.is_file():
        raise DataError(f"{label} does not exist; it says what was seen at each volume")
    shown = np.loadtxt(label, dtype=np.int64, delimiter=",", ndmin=2)
    if shown.shape != (image.shape[3], SIDE**2):
        raise DataError(
            f"{label.name} has {shown.shape} numbers; {image.shape[3]} volumes need {SIDE**2} each"
        )
    course = level(image[inside].T.astype(np.float64))
    told, seen = [], []
    for start, stop in blocks(shown):
        if shown[start, 0] >= 0 and stop + DELAY <= len(course):
            told.append(course[start + DELAY : stop + DELAY].mean(axis=0))
            seen.append(shown[start])
    if not told:
        raise DataError(f"{label.name} tells of no picture whose response is in {run.name}")
    return np.array(told, np.float32), np.array(seen)


def blocks(shown: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The first volume of every stretch with the same on the screen, and the one after its last."""
    changes = np.flatnonzero((shown[1:] != shown[:-1]).any(axis=1)) + 1
    return list(pairwise([0, *changes.tolist(), len(shown)]))


def level(course: NDArray[np.float64]) -> NDArray[np.float64]:
    """(volume, voxel) without mean and linear drift."""
    from scipy.signal import detrend

    return np.asarray(detrend(course, axis=0))

"""The Natural Scenes Dataset as responses to pictures, from its own folders (Allen et al. 2022; NSD Data Manual).

Betas are 16-bit numbers, percent signal change times 300, a volume of (x, y, z, trial) for each session of 750 trials; HDF5
written by MATLAB turns the axes round. In the mask nsdgeneral only values above 0 are voxels: −1 is outside of cortex and 0 is
cortex that is not in it, and who took all but −1 got a hundred thousand voxels and wrong ceilings.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.images import load, values
from brainfm.data.readers.temporaldata import need_h5py
from brainfm.data.recording import Sensors
from brainfm.data.seen import Seen
from brainfm.data.stimuli import Hdf5Pictures
from brainfm.data.variables import from_matlab, variable
from brainfm.data.viewing import Viewing, number_in
from brainfm.errors import DataError

TRIALS = 750
"""Of a session."""
NSDGENERAL = {1: 15724, 2: 14278, 3: 15226, 4: 13153, 5: 13039, 6: 17907, 7: 12682, 8: 14386}
"""Voxels of the mask nsdgeneral at 1.8 mm, by subject."""
SCALE = 300.0
BLOCK = 50
"""Trials of an HDF5 file that are read at once."""


class Nsd(Viewing):
    """Subjects are called subj01 to subj08."""

    beta_version: str = "betas_fithrf_GLMdenoise_RR"
    space: str = "func1pt8mm"
    mask: str = "nsdgeneral"
    sessions: list[int] | None = Field(default=None, description="from 1; none: all that are there")

    def people(self, root: Path) -> list[Seen]:
        folders = (root / "nsddata_betas" / "ppdata").glob(f"subj*/{self.space}/{self.beta_version}")
        there = [number for one in folders if (number := number_in(one.parents[1].name)) is not None]
        return [
            nsd(root, subject, self.beta_version, self.sessions, self.space, self.mask)
            for subject in self.asked(root, there)
        ]


def nsd(
    root: Path,
    subject: int,
    beta_version: str = "betas_fithrf_GLMdenoise_RR",
    sessions: Sequence[int] | None = None,
    space: str = "func1pt8mm",
    mask: str = "nsdgeneral",
) -> Seen:
    """One subject's trials in percent signal change, all sessions that are there or these (from 1), not yet standardised.

    Voxels that are not measured in one of the sessions are left out, with a note. Raises `DataError` where a file is missing or
    does not fit, and where nsdgeneral at 1.8 mm has another number of voxels than the published one.
    """
    person = f"subj{subject:02d}"
    folder = root / "nsddata_betas" / "ppdata" / person / space / beta_version
    if sessions is None:
        found = {int(path.name.split("session")[1][:2]) for path in folder.glob("betas_session[0-9][0-9].*")}
        sessions = sorted(found)
    if not sessions:
        raise DataError(f"{folder} holds no betas_sessionNN; give the folder of NSD that holds nsddata_betas")
    where = load(root / "nsddata" / "ppdata" / person / space / "roi" / f"{mask}.nii.gz", "a mask")
    inside = values(where) > 0
    expected = NSDGENERAL.get(subject) if (mask, space) == ("nsdgeneral", "func1pt8mm") else None
    if expected is not None and int(inside.sum()) != expected:
        raise DataError(f"{person}: {mask} has {int(inside.sum())} voxels above 0, it should have {expected}")
    blocks = [betas_of(folder, session, inside) for session in sessions]
    measured = np.logical_and.reduce([np.isfinite(one).all(axis=0) & (one.std(axis=0) > 0) for one in blocks])
    if not measured.any():
        raise DataError(f"{person}: no voxel of {mask} was measured in every session")
    shown = shown_to(root, subject, sessions, [len(one) for one in blocks])
    index = np.argwhere(inside)[measured]
    position = np.c_[index, np.ones(len(index))] @ where.affine.T
    voxels = Sensors.of(
        ["-".join(map(str, one)) for one in index.tolist()], "voxel", "%", position[:, :3] / 1000, "own"
    )
    each, picture = np.unique(shown, return_inverse=True)
    lost = int((~measured).sum())
    return Seen(
        subject=person,
        response=np.concatenate([one[:, measured] for one in blocks]),
        voxels=voxels,
        picture=picture.astype(np.int64),
        pictures=Hdf5Pictures(
            root / "nsddata_stimuli" / "stimuli" / "nsd" / "nsd_stimuli.hdf5", "imgBrick", each
        ),
        session=np.repeat(np.asarray(sessions, np.int64), [len(one) for one in blocks]),
        names=tuple(name_of(one) for one in each.tolist()),
        dataset="fmri_nsd",
        space=space,
        beta_version=beta_version,
        notes=(f"{lost} of {len(measured)} voxels were not measured in every session",) if lost else (),
    )


def betas_of(folder: Path, session: int, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(trial, voxel) percent of one session, from `.hdf5` or `.nii.gz`; voxels in the order of the mask's volume."""
    stem = f"betas_session{session:02d}"
    path = next((one for end in ("hdf5", "nii.gz") if (one := folder / f"{stem}.{end}").exists()), None)
    if path is None:
        raise DataError(f"{folder} holds neither {stem}.hdf5 nor {stem}.nii.gz")
    if path.suffix != ".hdf5":
        volume = values(load(path, "betas"), np.float32)
        if volume.shape[:-1] != inside.shape:
            raise DataError(f"{path.name} has volumes of {volume.shape[:-1]}, the mask is {inside.shape}")
        return np.asarray(volume[inside].T / SCALE, np.float32)
    h5py = need_h5py(path)
    try:
        with h5py.File(path, "r") as file:
            dataset = file["betas"]
            if dataset.shape[1:] != inside.shape[::-1]:
                raise DataError(
                    f"{path.name} has volumes of {dataset.shape[:0:-1]}, the mask is {inside.shape}"
                )
            pieces = [
                # MATLAB's axes are turned round: (trial, z, y, x)
                dataset[at : at + BLOCK].transpose(0, 3, 2, 1)[:, inside]
                for at in range(0, dataset.shape[0], BLOCK)
            ]
    except (OSError, KeyError) as error:
        raise DataError(f"{path.name} can't be read as betas ({error}); get it again") from error
    return np.concatenate(pieces).astype(np.float32) / np.float32(SCALE)


def design(root: Path) -> dict[str, NDArray[np.int64]]:
    """The experiment's tables, counted from 0: `masterordering` (trial,), `subjectim` (subject, 10000), `sharedix` (1000,)."""
    path = root / "nsddata" / "experiments" / "nsd" / "nsd_expdesign.mat"
    content = from_matlab(path)
    names = ("masterordering", "subjectim", "sharedix")
    return {
        name: np.atleast_1d(np.asarray(variable(content, name, path.name), np.int64)) - 1 for name in names
    }


def name_of(picture: int) -> str:
    """What a picture of the 73,000 is called here, from 0."""
    return f"nsd {picture:05d}"


def shown_to(root: Path, subject: int, sessions: Sequence[int], counts: Sequence[int]) -> NDArray[np.int64]:
    """(trial,) which of the 73,000 pictures, from 0, each trial of these sessions showed; `counts` trials of each are there."""
    tables = design(root)
    order = tables["masterordering"]
    trials = np.concatenate(
        [(session - 1) * TRIALS + np.arange(count) for session, count in zip(sessions, counts, strict=True)]
    )
    if max(counts) > TRIALS or trials.max() >= len(order):
        raise DataError(
            f"sessions {list(sessions)} of {list(counts)} trials do not fit a design of {len(order)}"
        )
    return np.asarray(tables["subjectim"][subject - 1, order[trials]])


def shared1000(root: Path) -> tuple[str, ...]:
    """The names of the pictures that everybody saw: what is tested, and what nobody may train on."""
    return tuple(name_of(one) for one in np.sort(design(root)["sharedix"]).tolist())

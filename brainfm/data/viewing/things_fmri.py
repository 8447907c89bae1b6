"""THINGS-fMRI as responses to pictures, from the table release (Hebart et al. 2023, eLife 12; figshare 20492835, `betas_csv`).

`sub-01_ResponseData.h5` is a pandas table whose block of floats is (voxel, trial); a row of `sub-01_VoxelMetadata.csv` describes
each voxel, among others by columns that are 1 where it is of a region, and one of `sub-01_StimulusMetadata.csv` each trial. Test
pictures, trial_type "test", were shown twelve times.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from brainfm.data.readers.temporaldata import need_h5py
from brainfm.data.recording import Sensors
from brainfm.data.seen import Seen
from brainfm.data.stimuli import FilePictures
from brainfm.data.viewing import Viewing, number_in
from brainfm.errors import DataError

BLOCK = "ResponseData/block0_values"


class ThingsFmri(Viewing):
    """Subjects are called sub-01 to sub-03."""

    pictures: str = Field(default="images", description="folder of THINGS' pictures, inside the set's")
    regions: list[str] = Field(default=["IT"], min_length=1, description="columns of the voxels' table")

    def people(self, root: Path) -> list[Seen]:
        names = [
            one.name.removesuffix("_ResponseData.h5")
            for one in (root / "betas_csv").glob("*_ResponseData.h5")
        ]
        there = [number for name in names if (number := number_in(name)) is not None]
        return [
            things_fmri(root, subject, root / self.pictures, self.regions)
            for subject in self.asked(root, there)
        ]


def things_fmri(root: Path, subject: int, pictures: Path, regions: Sequence[str] = ("IT",)) -> Seen:
    """One subject's trials, of the voxels of any of these regions; `pictures` is the folder of THINGS' image files.

    Raises `DataError` where files are missing or do not fit, and for a region that the table does not have.
    """
    stem = root / "betas_csv" / f"sub-{subject:02d}"
    voxels, trials = (table_of(Path(f"{stem}_{name}Metadata.csv")) for name in ("Voxel", "Stimulus"))
    if unknown := [name for name in regions if name not in voxels]:
        raise DataError(
            f"{stem.name}: no column {unknown[0]!r} among those of its voxels: {', '.join(voxels)}"
        )
    inside = {name: np.array([float(one or 0) == 1 for one in voxels[name]]) for name in regions}
    rows = np.flatnonzero(np.logical_or.reduce(list(inside.values())))
    if not len(rows):
        raise DataError(f"{stem.name}: no voxel is of {', '.join(regions)}")
    path = Path(f"{stem}_ResponseData.h5")
    h5py = need_h5py(path)
    try:
        with h5py.File(path, "r") as file:
            found = file[BLOCK].shape
            if found != (len(voxels["voxel_id"]), len(trials["stimulus"])):
                raise DataError(f"{path.name} is of {found} voxels and trials, its tables of others")
            response = np.asarray(file[BLOCK][rows], np.float32).T
    except (OSError, KeyError) as error:
        raise DataError(f"{path.name} can't be read at {BLOCK} ({error}); get it again") from error
    measured = np.isfinite(response).all(axis=0) & (response.std(axis=0) > 0)
    of = [next(name for name in regions if inside[name][row]) for row in rows]
    names = [voxels["voxel_id"][row] for row in rows]
    shown = sorted(set(trials["stimulus"]))
    there = {one.name: one for one in sorted(pictures.rglob("*")) if one.is_file()}
    if missing := [name for name in shown if name not in there]:
        raise DataError(f"{pictures} lacks {len(missing)} of {len(shown)} pictures, {missing[0]} among them")
    row_of = {name: number for number, name in enumerate(shown)}
    lost = int((~measured).sum())
    return Seen(
        subject=f"sub-{subject:02d}",
        response=response[:, measured],
        voxels=Sensors.of(names, "voxel", "1").with_regions(of).take(np.flatnonzero(measured).tolist()),
        picture=np.array([row_of[name] for name in trials["stimulus"]], np.int64),
        pictures=FilePictures([there[name] for name in shown]),
        session=np.array([int(float(one)) for one in trials["session"]], np.int64),
        names=tuple(shown),
        dataset="fmri_things",
        space="T1w",
        beta_version="betas_csv",
        notes=(f"{lost} of {len(measured)} voxels were not measured",) if lost else (),
    )


def kept_for_test(root: Path, subject: int) -> tuple[str, ...]:
    """The names of the pictures whose trials the table calls test."""
    trials = table_of(root / "betas_csv" / f"sub-{subject:02d}_StimulusMetadata.csv")
    pairs = zip(trials["stimulus"], trials["trial_type"], strict=True)
    return tuple(sorted({name for name, kind in pairs if kind == "test"}))


def table_of(path: Path) -> dict[str, list[str]]:
    """The columns of a table by name. Raises `DataError` where it is missing."""
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}

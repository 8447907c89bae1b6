"""BOLD5000 as responses to pictures, from the release of its regions of interest (Chang et al. 2019, figshare 6459449).

`ROIs/CSI1/mat/CSI1_ROIs_TR34.mat` holds an array (trial, voxel) for each region and hemisphere, trials in the order of
`ROIs/stim_lists/CSI01_stim_lists.txt`; a name there that begins with `rep_` is that of a picture shown again.
"""

from pathlib import Path

import numpy as np
from pydantic import Field

from brainfm.data.recording import Sensors
from brainfm.data.seen import Seen
from brainfm.data.stimuli import FilePictures
from brainfm.data.variables import from_matlab, variable
from brainfm.data.viewing import Viewing, number_in
from brainfm.errors import DataError

REGIONS = tuple(f"{side}{name}" for name in ("EarlyVis", "PPA", "LOC", "OPA", "RSC") for side in ("LH", "RH"))
AGAIN = "rep_"


class Bold5000(Viewing):
    """Subjects are called CSI1 to CSI4."""

    pictures: str = Field(default="Presented_Stimuli", description="folder of the pictures, inside the set's")
    volumes: str = Field(default="TR34", description="the average over volumes that counts as the response")

    def people(self, root: Path) -> list[Seen]:
        found = (root / "ROIs").glob(f"CSI*/mat/*_ROIs_{self.volumes}.mat")
        there = [number for one in found if (number := number_in(one.parents[1].name)) is not None]
        return [
            bold5000(root, subject, root / self.pictures, self.volumes) for subject in self.asked(root, there)
        ]


def bold5000(root: Path, subject: int, pictures: Path, volumes: str = "TR34") -> Seen:
    """One subject's trials; `pictures` is the folder of the presented ones, `volumes` the average that counts as the response.

    The lists tell no sessions, so all trials are of one: responses are standardised over the whole. Raises `DataError` where
    files are missing or do not fit.
    """
    path = root / "ROIs" / f"CSI{subject}" / "mat" / f"CSI{subject}_ROIs_{volumes}.mat"
    content = from_matlab(path)
    blocks = [np.atleast_2d(np.asarray(variable(content, name, path.name), np.float32)) for name in REGIONS]
    listed = root / "ROIs" / "stim_lists" / f"CSI{subject:02d}_stim_lists.txt"
    if not listed.is_file():
        raise DataError(f"{listed} does not exist; it says what was seen at each trial")
    files = [
        line.strip().removeprefix(AGAIN) for line in listed.read_text(encoding="utf-8").splitlines() if line
    ]
    if {len(one) for one in blocks} != {len(files)}:
        raise DataError(
            f"{path.name}: {len(blocks[0])} responses do not fit {len(files)} lines of {listed.name}"
        )
    response = np.concatenate(blocks, axis=1)
    measured = np.isfinite(response).all(axis=0) & (response.std(axis=0) > 0)
    region = [name for name, one in zip(REGIONS, blocks, strict=True) for _ in range(one.shape[1])]
    names = [
        f"{name} {row + 1}" for name, one in zip(REGIONS, blocks, strict=True) for row in range(one.shape[1])
    ]
    kept = np.flatnonzero(measured).tolist()
    there = {one.name: one for one in sorted(pictures.rglob("*")) if one.is_file()}
    shown = sorted(set(files))
    if missing := [name for name in shown if name not in there]:
        raise DataError(f"{pictures} lacks {len(missing)} of {len(shown)} pictures, {missing[0]} among them")
    row = {name: number for number, name in enumerate(shown)}
    lost = len(measured) - len(kept)
    return Seen(
        subject=f"CSI{subject}",
        response=response[:, measured],
        voxels=Sensors.of(names, "voxel", "1").with_regions(region).take(kept),
        picture=np.array([row[name] for name in files], np.int64),
        pictures=FilePictures([there[name] for name in shown]),
        session=np.zeros(len(files), np.int64),
        names=tuple(shown),
        dataset="fmri_bold5000",
        space="regions",
        beta_version=volumes,
        notes=(f"{lost} of {len(measured)} voxels were not measured",) if lost else (),
    )

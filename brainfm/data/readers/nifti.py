"""Volumes of fMRI: NIfTI in four dimensions over time, or maps of responses, one a volume; as voxels or as parcels."""

import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data import images
from brainfm.data.bold import Bold, beside, recording_of_responses
from brainfm.data.events import first_line
from brainfm.data.readers import Reader
from brainfm.data.recording import Frame, Recording, Sensors
from brainfm.data.regions import Atlas, names_in
from brainfm.errors import DataError

TIME = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
"""Seconds in a unit of NIfTI's `xyzt_units`."""
SPACE = {"meter": 1.0, "mm": 1e-3, "micron": 1e-6, "unknown": 1e-3}
"""Metres; a header that names no unit means millimetres, as every reader of NIfTI takes it."""
MNI = 4
"""The code of `sform_code` and `qform_code` that says MNI152 (nifti1.h)."""
MASKS = ("varies", "epi")


class Nifti(Reader, Bold):
    """One `.nii` or `.nii.gz` per recording. Paths are relative to it, and "{stem}" in them is its name.

    The sensors are the voxels of a mask, called by their place in the grid, or the parcels of an atlas.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".nii", ".nii.gz")

    mask: str = Field(
        default="varies",
        description="varies: every voxel that is not constant; epi: the brain by nilearn's compute_epi_mask; "
        "else a mask image's file",
    )
    shared: str = Field(
        default="",
        description='images such as "../*/bold.nii.gz" whose masks a voxel must all be in, so that the runs of a '
        "person share their voxels",
    )
    atlas: str = Field(default="", description="a label image on this machine: its parcels instead of voxels")
    names: str = Field(default="", description="the atlas's table of names")
    maps: str = Field(
        default="",
        description="the volumes are estimated responses: a table (TSV) with a row of trial_type for each, in their order, "
        "or with a column `file` that names this image",
    )
    seconds: float = Field(default=1.0, gt=0, description="how long a response counts for: a nominal length")

    def open(self, path: Path) -> Recording:
        """The image as a recording. Raises `DataError` where it can't be read, or does not say what it must."""
        image = load(path)
        if self.maps:
            return self.responses_of(image, path)
        if image.ndim != 4 or image.shape[3] < 2:
            raise DataError(
                f"{path.name} of shape {image.shape} is no time course; if its volumes are responses, say which "
                'in a table: `maps: "{stem}_maps.tsv"`'
            )
        sfreq = self.sfreq(path, header_tr(image))
        values, sensors, notes = self.sensed(image, path)
        return self.run(values, sfreq, sensors, path, notes)

    def label(self, path: Path) -> str:
        """The unit after the reader's own conversion: an image has none that could be trusted."""
        return "%" if self.unit == "raw" else self.unit

    def responses_of(self, image: Any, path: Path) -> Recording:
        """Maps of responses under the labels of their table."""
        labels = labels_in(beside(path, self.maps, "table of maps"), path)
        values, sensors, notes = self.sensed(image, path)
        found = recording_of_responses(
            self.betas(values, path.name), labels, sensors, self.seconds, path.name
        )
        return found.noting(*notes)

    def sensed(self, image: Any, path: Path) -> tuple[NDArray[np.float32], Sensors, list[str]]:
        """Values (sensor, volume) as the file has them, their sensors, and notes."""
        if self.names and not self.atlas:
            raise DataError(f"{path.name}: `names:` are those of an `atlas:`; say which")
        return self.parcels(image, path) if self.atlas else self.voxels(image, path)

    def voxels(self, image: Any, path: Path) -> tuple[NDArray[np.float32], Sensors, list[str]]:
        """The voxels inside the mask."""
        inside, notes = self.inside(image, path)
        index = np.argwhere(inside)
        if not len(index):
            raise DataError(f"{path.name}: no voxel lies inside the mask {self.mask!r}")
        values = volumes(image)[inside]
        position, frame, more = self.placed(image, index, path)
        names = [f"x{x:03d}y{y:03d}z{z:03d}" for x, y, z in index.tolist()]
        left = int(inside.size - len(index))
        notes = [*notes, *more, f"mask {self.mask}: {len(index)} voxels, {left} outside it"]
        return values, Sensors.of(names, "voxel", self.si, position, frame), notes

    def parcels(self, image: Any, path: Path) -> tuple[NDArray[np.float32], Sensors, list[str]]:
        """The mean of each parcel's voxels (nilearn's `NiftiLabelsMasker`), placed in its middle."""
        from nilearn.maskers import NiftiLabelsMasker

        file = beside(path, self.atlas, "atlas")
        table = names_in(beside(path, self.names, "table of names")) if self.names else {}
        labels, notes = on_grid(images.load(file, "an atlas"), image, file.name, "the atlas")
        atlas = Atlas.of(np.asarray(labels.dataobj), labels.affine, table, file.name)
        series = image if image.ndim == 4 else image.slicer[..., None]
        with warnings.catch_warnings(
            action="ignore"
        ):  # of settings that we do not use, and nilearn will change
            values = np.asarray(NiftiLabelsMasker(labels, reports=False).fit_transform(series), np.float32).T
        kept = [label for label in np.unique(atlas.values).tolist() if label != 0]  # the masker's order
        middle = np.stack([np.argwhere(atlas.values == label).mean(axis=0) for label in kept])
        position, frame, more = self.placed(image, middle, path)
        names = [atlas.name(label) for label in kept]
        absent = sorted(set(table) - set(kept) - {0})
        said = ", ".join(table[label] for label in absent[:12])
        lost = [f"no voxel of the image lies in {said}"] if absent else []
        sensors = Sensors.of(names, "parcel", self.si, position, frame).with_regions(names)
        return values, sensors, [*notes, *more, *lost]

    def placed(
        self, image: Any, index: NDArray[Any], path: Path
    ) -> tuple[NDArray[np.float64] | None, Frame, list[str]]:
        """Metres of places in the grid, how well they are known in MNI space, and a note where the header knows none."""
        from nibabel.affines import apply_affine

        codes = {int(image.header["sform_code"]), int(image.header["qform_code"])}
        if codes == {0}:
            return None, "none", ["the header says nothing of where its voxels are"]
        metres = apply_affine(image.affine, index) * SPACE[image.header.get_xyzt_units()[0]]
        return metres, self.frame(path, MNI in codes), []

    def inside(self, image: Any, path: Path) -> tuple[NDArray[np.bool_], list[str]]:
        """(x, y, z) True in the mask, and notes."""
        if self.mask not in MASKS:
            if self.shared:
                raise DataError(f"{path.name}: a mask's file serves every run; leave out `shared:`")
            file = beside(path, self.mask, "mask")
            mask, notes = on_grid(images.load(file, "a mask"), image, file.name, "the mask")
            values = np.asarray(mask.dataobj)
            return values.reshape(values.shape[:3]) > 0, notes
        files = sorted(path.parent.glob(self.shared)) if self.shared else [path]
        if path.resolve() not in {file.resolve() for file in files}:
            raise DataError(
                f"{path.name}: `shared: {self.shared}` finds {len(files)} images, none of them this one"
            )
        inside = np.ones(image.shape[:3], dtype=bool)
        for file in files:
            mask = mask_of(self.mask, file, file.stat().st_mtime_ns)
            if mask.shape != inside.shape:
                raise DataError(
                    f"{path.name} has a grid of {inside.shape}, {file} one of {mask.shape}; align them first"
                )
            inside &= mask
        return inside, [f"voxels shared by {len(files)} images"] if self.shared else []


@lru_cache(maxsize=64)
def mask_of(kind: str, file: Path, changed: int) -> NDArray[np.bool_]:
    """(x, y, z) True where an image's voxels vary, or lie in the brain by nilearn. `changed` is the file's time stamp."""
    image = load(file)
    if kind == "epi":
        from nilearn.masking import compute_epi_mask

        try:
            with warnings.catch_warnings(action="ignore"):  # an empty mask is refused with a sentence
                return np.asarray(compute_epi_mask(image).dataobj) > 0
        except ValueError as error:
            raise DataError(
                f"{file.name}: nilearn finds no brain in it ({first_line(error)}); give a mask's file"
            ) from error
    values = volumes(image)
    finite = np.isfinite(values).all(axis=3)
    varies = values.max(axis=3) > values.min(axis=3) if values.shape[3] > 1 else values[..., 0] != 0
    return np.asarray(finite & varies)


def load(path: Path) -> Any:
    """nibabel's image, its values still on disk. Raises `DataError` if it is missing, broken, or of another kind."""
    import nibabel

    image = images.load(path, "NIfTI")
    if isinstance(image, nibabel.Cifti2Image):
        raise DataError(f"{path.name} holds grayordinates, not volumes: say `reader: {{kind: cifti, ...}}`")
    if not isinstance(image, nibabel.Nifti1Image) or image.ndim not in (3, 4):
        raise DataError(f"{path.name} of shape {image.shape} is no volume or series of volumes of NIfTI")
    return image


def volumes(image: Any) -> NDArray[np.float32]:
    """All values, (x, y, z, volume). Raises `DataError` for a file that is cut short."""
    values = images.values(image, np.float32)
    return values if values.ndim == 4 else values[..., None]


def header_tr(image: Any) -> float | None:
    """Seconds from one volume to the next, where the header states a time in a unit of time, else None."""
    unit = image.header.get_xyzt_units()[1]
    zoom = float(image.header.get_zooms()[3])
    return zoom * TIME[unit] if unit in TIME and zoom > 0 else None


def on_grid(labels: Any, image: Any, name: str, what: str) -> tuple[Any, list[str]]:
    """A mask or an atlas on the image's grid, and a note where it had to be resampled (nearest neighbour)."""
    from nilearn.image import resample_to_img

    grid = image if image.ndim == 3 else image.slicer[..., 0]
    if labels.shape[:3] == grid.shape and np.allclose(labels.affine, grid.affine, atol=1e-3):
        return labels, []
    moved = resample_to_img(labels, grid, interpolation="nearest", force_resample=True, copy_header=True)
    if not np.asarray(moved.dataobj).any():
        raise DataError(f"{what} {name} and the image do not overlap; are they in one space?")
    return moved, [f"{what} {name} was resampled to the image's grid"]


def labels_in(table: Path, path: Path) -> Sequence[str]:
    """The label of each map of a file ("n/a" has none). Raises `DataError` for a table that does not say it."""
    import pandas as pd

    rows = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)
    if "trial_type" not in rows:
        raise DataError(f"{table.name} has no column trial_type; it has {', '.join(map(str, rows))}")
    if "file" in rows:
        rows = rows[rows["file"] == path.name]
        if not len(rows):
            raise DataError(f"{table.name} has no row whose file is {path.name}")
    return ["" if label == "n/a" else label for label in rows["trial_type"]]
